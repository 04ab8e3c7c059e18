//! Content types with their parameters (RFC 2045 §5.1).

use mail_builder::headers::content_type::ContentType as Built;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::{Header as _, HeaderType};

use crate::error::{ComposeError, Field, Problem, bounded, printable};

/// Octets of `type/subtype` and of the name of a parameter (RFC 6838 §4.2 allows 127 each).
const LONGEST: usize = 255;
const LONGEST_PARAMETER: usize = 50;

/// `type/subtype` with parameters; neither `multipart` nor `message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// In lower case.
    media_type: String,
    /// The names in lower case.
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// Takes `text/plain; charset=utf-8`: a value is a token or a quoted string.
    ///
    /// # Errors
    /// Where the text is something else, has a control character, names a parameter twice, or is of
    /// a composite type; with `field` as its place.
    pub fn parse(field: Field, text: &str) -> Result<Self, ComposeError> {
        printable(field, text)?;
        let malformed = || Problem::ContentType.of(field);
        let (media_type, mut rest) = match text.find(';') {
            Some(index) => text.split_at(index),
            None => (text, ""),
        };
        let media_type = media_type.trim().to_ascii_lowercase();
        bounded(field, &media_type, LONGEST)?;
        let (main, sub) = media_type.split_once('/').ok_or_else(malformed)?;
        if !is_token(main) || !is_token(sub) {
            return Err(malformed());
        }
        if matches!(main, "multipart" | "message") {
            return Err(Problem::Composite.of(field));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(after) = rest.strip_prefix(';') {
            let after = after.trim_start();
            if after.is_empty() {
                rest = after;
                break;
            }
            let (name, value, after) = parameter(after).ok_or_else(malformed)?;
            bounded(field, &name, LONGEST_PARAMETER)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(Problem::Repeated.of(field));
            }
            parameters.push((name, value));
            rest = after;
        }
        match rest.is_empty() {
            true => Ok(Self {
                media_type,
                parameters,
            }),
            false => Err(malformed()),
        }
    }

    /// `text/plain; charset=utf-8`.
    pub fn plain() -> Self {
        Self::utf8("text/plain")
    }

    /// `text/html; charset=utf-8`.
    pub fn html() -> Self {
        Self::utf8("text/html")
    }

    fn utf8(media_type: &str) -> Self {
        Self {
            media_type: media_type.to_owned(),
            parameters: vec![("charset".to_owned(), "utf-8".to_owned())],
        }
    }

    /// Whether it is `text/…`.
    pub fn is_text(&self) -> bool {
        self.media_type.starts_with("text/")
    }

    /// The same type with the charset that `text` really has: UTF-8, or US-ASCII where that is what
    /// it says and the text has nothing else. Bodies are labelled so by themselves; this is for an
    /// attachment whose content is a Rust string.
    #[must_use]
    pub fn labelled(mut self, text: &str) -> Self {
        let is_text = self.is_text();
        let mut parameters = self.parameters.iter_mut();
        match parameters.find(|(name, _)| name == "charset") {
            Some((_, value)) if value.eq_ignore_ascii_case("us-ascii") && text.is_ascii() => {}
            Some((_, value)) => *value = "utf-8".to_owned(),
            None if is_text => self
                .parameters
                .push(("charset".to_owned(), "utf-8".to_owned())),
            None => {}
        }
        self
    }

    pub(crate) fn built<'a>(self) -> Built<'a> {
        self.parameters
            .into_iter()
            .fold(Built::new(self.media_type), |built, (name, value)| {
                built.attribute(name, value)
            })
    }

    /// As a header field in which mail-builder does not recognize the type, so that it encodes the
    /// content in base64.
    pub(crate) fn opaque<'a>(self) -> HeaderType<'a> {
        let mut field = Vec::new();
        self.built()
            .write_header(&mut field, "Content-Type: ".len());
        let field = String::from_utf8_lossy(&field).replace("\r\n", "");
        Raw::new(field).into()
    }
}

/// The name, the value and the rest of `name=value…`, up to the next semicolon.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    // An asterisk has a meaning of its own (RFC 2231).
    if !is_token(&name) || name.contains('*') {
        return None;
    }
    let rest = rest.trim_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let (value, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            let value = value.trim_end();
            (is_token(value).then(|| value.to_owned())?, rest)
        }
    };
    Some((name, value, rest.trim_start()))
}

/// What stands before the closing quotation mark, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &text[index + 1..])),
            _ => value.push(character),
        }
    }
    None
}

/// RFC 2045 §5.1.
fn is_token(text: &str) -> bool {
    const SPECIAL: &str = "()<>@,;:\\\"/[]?=";
    !text.is_empty()
        && text
            .chars()
            .all(|character| character.is_ascii_graphic() && !SPECIAL.contains(character))
}

#[cfg(test)]
mod tests;
