//! Lines of a message that arrives in pieces. CRLF, CR and LF each end a line: the transport sends
//! all of them as CRLF.

use memchr::memchr2;

/// What a piece consists of.
#[derive(Clone, Copy)]
pub(crate) enum Token<'a> {
    /// Octets of one line, at least one.
    Text(&'a [u8]),
    LineEnd,
}

/// The place between two pieces.
#[derive(Default)]
pub(crate) struct Lines {
    /// The last octet was a CR, which ended a line: an LF that follows belongs to it.
    after_cr: bool,
}

impl Lines {
    /// Calls `take` with the tokens of the next piece.
    pub fn split<'a>(&mut self, piece: &'a [u8], mut take: impl FnMut(Token<'a>)) {
        let Some(last) = piece.last() else { return };
        let mut rest = match piece.strip_prefix(b"\n") {
            Some(after) if self.after_cr => after,
            _ => piece,
        };
        self.after_cr = *last == b'\r';
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            if end > 0 {
                take(Token::Text(&rest[..end]));
            }
            take(Token::LineEnd);
            let behind = &rest[end..];
            rest = behind.strip_prefix(b"\r\n").unwrap_or(&behind[1..]);
        }
        if !rest.is_empty() {
            take(Token::Text(rest));
        }
    }
}

pub(crate) fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// The runs of white space and of other octets in a text.
pub(crate) fn runs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunk_by(|one, next| is_space(*one) == is_space(*next))
}
