//! Bodies, attachments and images, and what names them.

use std::borrow::Cow;
use std::fmt::Write as _;

use mail_builder::headers::HeaderType;
use mail_builder::headers::content_type::ContentType as Built;
use mail_builder::headers::raw::Raw;
use memchr::{memchr, memchr_iter};
use smtp_core::text::TextError;

use crate::content_type::ContentType;
use crate::error::{ComposeError, Field, Problem, bounded, only, printable};

/// Octets of a content id: it must fit on a line.
const LONGEST_ID: usize = 255;
/// Octets of a parameter in sections, so that a section fits on a line (RFC 2231 §3).
const SECTION: usize = 16;

/// A body: plain or HTML, with line ends of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyText<'a>(Cow<'a, str>);

impl<'a> BodyText<'a> {
    /// Takes a text without NUL. CR LF, LF and CR each end a line; they become CR LF in the message.
    ///
    /// # Errors
    /// At the first NUL, which has no place in a message (RFC 5322 §3.5), with `field` as the place.
    pub fn parse(field: Field, text: &'a str) -> Result<Self, ComposeError> {
        if let Some(index) = memchr(0, text.as_bytes()) {
            let error = TextError::Unexpected {
                character: '\0',
                index: text[..index].chars().count(),
            };
            return Err(Problem::Text(error).of(field));
        }
        Ok(Self(match has_bare_cr(text.as_bytes()) {
            true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
            false => Cow::Borrowed(text),
        }))
    }

    /// The text. No CR stands alone in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a reader is asked to show an attachment (RFC 2183 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Among the text.
    Inline,
    /// Apart from the text.
    Attachment,
}

/// The name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName<'a>(Cow<'a, str>);

impl<'a> FileName<'a> {
    /// Takes a name in any script, of any length.
    ///
    /// # Errors
    /// Where there is none, and at the first control character.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, ComposeError> {
        let text = text.into();
        printable(Field::FileName, &text)?;
        bounded(Field::FileName, &text, usize::MAX)?;
        Ok(Self(text))
    }
}

/// What `cid:` in an HTML body refers to (RFC 2392).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentId<'a>(&'a str);

impl<'a> ContentId<'a> {
    /// Takes `logo` or `logo@example.com`, with or without `<` and `>`.
    ///
    /// # Errors
    /// At the first character that is not a letter or a digit of ASCII or one of
    /// ``!#$%&'*+-/=?^_`{|}~.@``, and where there is none or more than 255.
    pub fn parse(text: &'a str) -> Result<Self, ComposeError> {
        let bracketed = text.strip_prefix('<').and_then(|id| id.strip_suffix('>'));
        let id = bracketed.unwrap_or(text);
        only(Field::ContentId, id, |character| {
            character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@".contains(character)
        })?;
        bounded(Field::ContentId, id, LONGEST_ID)?;
        Ok(Self(id))
    }

    /// Without `<` and `>`.
    pub fn as_str(&self) -> &str {
        self.0
    }
}

/// A file.
#[derive(Clone)]
pub struct Attachment<'a> {
    /// What is in it. A text may be in any charset: the octets are sent as they are.
    pub content_type: ContentType,
    /// Its octets.
    pub content: &'a [u8],
    /// Its name.
    pub file_name: Option<FileName<'a>>,
    /// Where it is shown.
    pub disposition: Disposition,
}

/// An image that the HTML body shows.
#[derive(Clone)]
pub struct InlineImage<'a> {
    /// What is in it.
    pub content_type: ContentType,
    /// Its octets.
    pub content: &'a [u8],
    /// What the HTML body calls it.
    pub content_id: ContentId<'a>,
    /// Its name.
    pub file_name: Option<FileName<'a>>,
}

impl Disposition {
    /// The value of Content-Disposition.
    pub(crate) fn built<'a>(self, file_name: Option<&'a FileName<'a>>) -> HeaderType<'a> {
        let kind = match self {
            Self::Inline => "inline",
            Self::Attachment => "attachment",
        };
        match file_name.map(|name| name.0.as_ref()) {
            None => Built::new(kind).into(),
            // Readers would take it for an encoded word, although it has no place here.
            Some(name) if name.contains("=?") => Raw::new(sections(kind, name)).into(),
            Some(name) => Built::new(kind).attribute("filename", name).into(),
        }
    }

    /// Whether mail-builder may choose the encoding of a text: it leaves some control characters
    /// bare, and in an inline part it takes LF for a line end.
    pub(crate) fn keeps(self, content: &[u8]) -> bool {
        let control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n');
        let bare_lf = || memchr_iter(b'\n', content).any(|at| at == 0 || content[at - 1] != b'\r');
        !content.iter().any(|byte| control(byte))
            && !has_bare_cr(content)
            && (self == Self::Attachment || !bare_lf())
    }
}

fn has_bare_cr(text: &[u8]) -> bool {
    memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'))
}

/// A file name in percent-encoding, in sections (RFC 2231 §4.1).
fn sections(kind: &str, name: &str) -> String {
    let mut value = kind.to_owned();
    for (number, section) in name.as_bytes().chunks(SECTION).enumerate() {
        let charset = if number == 0 { "UTF-8''" } else { "" };
        let _ = write!(value, "; filename*{number}*={charset}");
        for byte in section {
            let _ = match byte.is_ascii_alphanumeric() {
                true => write!(value, "{}", char::from(*byte)),
                false => write!(value, "%{byte:02X}"),
            };
        }
    }
    value
}
