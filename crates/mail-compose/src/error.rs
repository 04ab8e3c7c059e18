//! What is wrong with a part of a message, and with which part.

use std::fmt;

use smtp_core::text::TextError;

/// Why a message can't be composed. No text of the message is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ComposeError {
    /// The part of the input.
    pub field: Field,
    /// What is wrong with it.
    pub problem: Problem,
}

/// A part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The address of the sender.
    Sender,
    /// The list of addresses in To.
    To,
    /// The list of addresses in Cc.
    Cc,
    /// The list of addresses that get the message without being named in it.
    Bcc,
    /// The list of addresses in Reply-To.
    ReplyTo,
    /// To, Cc and Bcc together.
    Recipients,
    /// The subject.
    Subject,
    /// The priority.
    Priority,
    /// The plain body.
    Text,
    /// The HTML body.
    Html,
    /// The content type of the plain body.
    TextType,
    /// The content type of an attachment or an image.
    AttachmentType,
    /// The file name of an attachment or an image.
    FileName,
    /// The content id of an image.
    ContentId,
    /// The name of an extra header field.
    HeaderName,
    /// The value of an extra header field.
    HeaderValue,
    /// The date.
    Date,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sender => "sender",
            Self::To => "To",
            Self::Cc => "Cc",
            Self::Bcc => "Bcc",
            Self::ReplyTo => "Reply-To",
            Self::Recipients => "recipients",
            Self::Subject => "subject",
            Self::Priority => "priority",
            Self::Text => "text body",
            Self::Html => "HTML body",
            Self::TextType => "content type of the text body",
            Self::AttachmentType => "content type of an attachment",
            Self::FileName => "file name",
            Self::ContentId => "content id",
            Self::HeaderName => "name of a header field",
            Self::HeaderValue => "value of a header field",
            Self::Date => "date",
        })
    }
}

/// What is wrong with a part of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A character that has no place in this field: a control character in nearly all of them.
    #[error(transparent)]
    Text(TextError),
    /// One element of a list is not an address.
    #[error("address {number}: {error}")]
    Address {
        /// Its place among the addresses of the list, from 1.
        number: usize,
        /// What is wrong with it. Characters are counted from the beginning of the address.
        error: TextError,
    },
    /// An address without a domain, which RFC 5322 §3.4.1 asks for.
    #[error("address {number}: no domain")]
    NoDomain {
        /// Its place among the addresses of the list, from 1.
        number: usize,
    },
    /// More than one address where one is needed.
    #[error("{0} addresses, where one is needed")]
    NotOne(usize),
    /// Nothing where something is needed.
    #[error("nothing is given")]
    Missing,
    /// Longer than a line of the message may be.
    #[error("{length} octets, allowed are {longest}")]
    TooLong {
        /// Its octets.
        length: usize,
        /// The most that are allowed.
        longest: usize,
    },
    /// Not `type/subtype; name=value; …` (RFC 2045 §5.1).
    #[error("not a content type, such as text/plain; charset=utf-8")]
    ContentType,
    /// `multipart/…` or `message/…`: the content would be read as parts of the message.
    #[error("multipart and message types are not allowed")]
    Composite,
    /// A parameter of a content type occurs twice, a header field that may occur once, a content
    /// id.
    #[error("given more than once")]
    Repeated,
    /// A header field that is composed from other parts of the input, or that has no place here.
    #[error("reserved")]
    Reserved,
    /// A number outside of its range.
    #[error("not between {lowest} and {highest}")]
    Range {
        /// The lowest number that is allowed.
        lowest: i64,
        /// The highest.
        highest: i64,
    },
    /// There is no memory for a copy.
    #[error("out of memory")]
    OutOfMemory,
}

impl Problem {
    pub(crate) fn of(self, field: Field) -> ComposeError {
        ComposeError {
            field,
            problem: self,
        }
    }
}

/// Refuses control characters: CR and LF would begin another header field.
pub(crate) fn printable(field: Field, text: &str) -> Result<(), ComposeError> {
    smtp_core::text::printable(text).map_err(|error| Problem::Text(error).of(field))
}

/// Refuses the first character that is not allowed.
pub(crate) fn only(
    field: Field,
    text: &str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), ComposeError> {
    match text
        .chars()
        .enumerate()
        .find(|(_, character)| !allowed(*character))
    {
        None => Ok(()),
        Some((index, character)) => {
            Err(Problem::Text(TextError::Unexpected { character, index }).of(field))
        }
    }
}

/// Refuses an empty text and one of more octets than `longest`.
pub(crate) fn bounded(field: Field, text: &str, longest: usize) -> Result<(), ComposeError> {
    match text.len() {
        0 => Err(Problem::Missing.of(field)),
        length if length > longest => Err(Problem::TooLong { length, longest }.of(field)),
        _ => Ok(()),
    }
}
