//! Bodies, attachments and images, and what names them.

use std::borrow::Cow;
use std::fmt::Write as _;

use mail_builder::headers::HeaderType;
use mail_builder::headers::content_type::ContentType as Built;
use mail_builder::headers::raw::Raw;
use memchr::{memchr, memchr2_iter};
use smtp_core::memory::{self, OutOfMemory};
use smtp_core::text::TextError;

use crate::content_type::ContentType;
use crate::error::{ComposeError, Field, Problem, bounded, only, printable};

/// Octets of a content id: it must fit on a line.
const LONGEST_ID: usize = 255;
/// Octets of a parameter in sections, so that a section fits on a line (RFC 2231 §3).
const SECTION: usize = 16;
/// Octets of a quoted name that stands on one line for certain.
const LONGEST_LINE: usize = 60;
/// Octets of a name that mail-builder does not split.
const LONGEST_WHOLE: usize = 78;

/// A body: plain or HTML, with line ends of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyText<'a>(Cow<'a, str>);

impl<'a> BodyText<'a> {
    /// Takes a text without NUL. CR LF, LF and CR each end a line and become CR LF (RFC 2046
    /// §4.1.1): a text with others is copied once.
    ///
    /// # Errors
    /// At the first NUL, which has no place in a message (RFC 5322 §3.5), and where there is no
    /// memory for a copy, with `field` as the place.
    pub fn parse(field: Field, text: &'a str) -> Result<Self, ComposeError> {
        if let Some(index) = memchr(0, text.as_bytes()) {
            let error = TextError::Unexpected {
                character: '\0',
                index: text[..index].chars().count(),
            };
            return Err(Problem::Text(error).of(field));
        }
        match with_crlf(text) {
            Ok(text) => Ok(Self(text)),
            Err(OutOfMemory) => Err(Problem::OutOfMemory.of(field)),
        }
    }

    /// The text, with CR LF at the end of each line.
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
            // Readers would take it for an encoded word, although it has no place here; and not all
            // of them join what is folded between quotes.
            Some(name) if name.contains("=?") || is_folded(name) => {
                Raw::new(sections(kind, name)).into()
            }
            Some(name) => Built::new(kind).attribute("filename", name).into(),
        }
    }

    /// Whether mail-builder may choose the encoding of a text: it leaves some control characters
    /// bare, and in an inline part it takes LF for a line end.
    pub(crate) fn keeps(self, content: &[u8]) -> bool {
        let control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n');
        let altered = |at: usize| self == Self::Inline || content[at] == b'\r';
        !content.iter().any(control) && !bare_line_ends(content).any(altered)
    }
}

/// Where CR and LF stand alone.
fn bare_line_ends(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr2_iter(b'\r', b'\n', text).filter(|&at| match text[at] {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => at == 0 || text[at - 1] != b'\r',
    })
}

fn with_crlf(text: &str) -> Result<Cow<'_, str>, OutOfMemory> {
    let bare = bare_line_ends(text.as_bytes()).count();
    if bare == 0 {
        return Ok(Cow::Borrowed(text));
    }
    let mut lines = String::new();
    memory::fallible(|| lines.try_reserve_exact(text.len() + bare)).map_err(|_| OutOfMemory)?;
    let mut begin = 0;
    for end in bare_line_ends(text.as_bytes()) {
        lines.extend([&text[begin..end], "\r\n"]);
        begin = end + 1;
    }
    lines.push_str(&text[begin..]);
    Ok(Cow::Owned(lines))
}

/// Whether mail-builder would break a line within the quotes of a name: a longer one it splits.
fn is_folded(name: &str) -> bool {
    let escaped = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
    let quoted = name.len() + escaped.count();
    name.is_ascii() && name.len() <= LONGEST_WHOLE && quoted > LONGEST_LINE
}

/// A file name in percent-encoding, in sections (RFC 2231 §4.1) of whole characters.
fn sections(kind: &str, name: &str) -> String {
    let mut value = kind.to_owned();
    let (mut number, mut room) = (0, 0);
    for character in name.chars() {
        let octets = character.len_utf8();
        if octets > room {
            let charset = if number == 0 { "UTF-8''" } else { "" };
            let _ = write!(value, "; filename*{number}*={charset}");
            (number, room) = (number + 1, SECTION);
        }
        room -= octets;
        if character.is_ascii_alphanumeric() {
            value.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}
