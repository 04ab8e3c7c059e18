//! A message as it is read: its signed fields and the hash of its body.

use crate::authors::{self, AuthorsError};
use crate::body::BodyHash;
use crate::header::{Header, HeaderReader, LIMIT, Step};
use crate::lines::{Lines, Token};
use crate::name::Domain;

/// Why a message can't be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// RFC 6376 §5.4 has the field From signed.
    #[error("the message has no From field")]
    NoFrom,
    /// RFC 5322 §3.6 allows one. Readers don't agree on which one they show.
    #[error("the message has several From fields")]
    SeveralFrom,
    /// The signed fields exceed [`LIMIT`].
    #[error("the header fields to sign take more than {LIMIT} octets")]
    HeaderTooLarge,
}

/// Reads a message once, in pieces of any size. It takes constant memory beside the fields that are
/// signed.
///
/// The message is what a caller hands to the transport: CR, LF and CRLF each end a line and are
/// signed as CRLF, and dots are not doubled. How the message is cut into pieces has no influence.
pub struct MessageHasher {
    lines: Lines,
    header: HeaderReader,
    body: BodyHash,
    in_body: bool,
}

impl Default for MessageHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageHasher {
    /// At the beginning of a message.
    pub fn new() -> Self {
        Self {
            lines: Lines::default(),
            header: HeaderReader::default(),
            body: BodyHash::new(),
            in_body: false,
        }
    }

    /// Reads the next octets.
    pub fn feed(&mut self, piece: &[u8]) {
        let Self {
            lines,
            header,
            body,
            in_body,
        } = self;
        lines.split(piece, |token| {
            if *in_body {
                return body.take(token);
            }
            *in_body = match header.take(token) {
                Step::Header => false,
                Step::End => true,
                Step::Body => {
                    body.take(Token::Text(header.line()));
                    body.take(token);
                    true
                }
            };
        });
    }

    /// The domains of the authors as soon as the header has been read, as
    /// [`HashedMessage::authors`], and `None` before that. Whoever has no key for them need not
    /// read on.
    ///
    /// # Errors
    /// As [`Self::finish`] and [`HashedMessage::authors`].
    pub fn authors(&self) -> Option<Result<Vec<Domain>, AuthorsError>> {
        let from = self.in_body.then(|| check(self.header.header()))?;
        Some(from.map_err(AuthorsError::from).and_then(authors::parse))
    }

    /// Ends the message.
    ///
    /// # Errors
    /// Where it has no From field, or several, or its header is too large.
    pub fn finish(mut self) -> Result<HashedMessage, MessageError> {
        // A last line without a line end that belongs to no field.
        if !self.in_body && !self.header.line().is_empty() {
            self.body.take(Token::Text(self.header.line()));
        }
        let header = self.header.into_header();
        check(&header)?;
        Ok(HashedMessage {
            header,
            body_hash: self.body.finish(),
        })
    }
}

/// The value of the only field From.
fn check(header: &Header) -> Result<&[u8], MessageError> {
    if header.is_too_large() {
        return Err(MessageError::HeaderTooLarge);
    }
    let mut from = header.from();
    match (from.next(), from.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(MessageError::NoFrom),
        (Some(_), Some(_)) => Err(MessageError::SeveralFrom),
    }
}

/// What is signed of a message: by as many keys as there are.
pub struct HashedMessage {
    header: Header,
    body_hash: [u8; 32],
}

impl HashedMessage {
    /// Reads a whole message in pieces.
    ///
    /// # Errors
    /// As [`MessageHasher::finish`].
    pub fn read(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, MessageError> {
        let mut hasher = MessageHasher::new();
        for piece in pieces {
            hasher.feed(piece.as_ref());
        }
        hasher.finish()
    }

    /// The domains of the addresses in the field From, each once, in their order: one in nearly
    /// every message, none where the only addresses are address literals or an empty group.
    ///
    /// # Errors
    /// Where the field is not a list of addresses (RFC 5322 §3.4, RFC 6854). Such a message can be
    /// signed by a domain that is known otherwise.
    pub fn authors(&self) -> Result<Vec<Domain>, AuthorsError> {
        // There is exactly one.
        self.header
            .from()
            .next()
            .map_or(Ok(Vec::new()), authors::parse)
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn body_hash(&self) -> &[u8; 32] {
        &self.body_hash
    }
}
