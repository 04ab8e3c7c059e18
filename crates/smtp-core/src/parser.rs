//! A resumable parser of replies (RFC 5321 §4.2): bytes in, in whatever pieces they arrive; a
//! reply, "more", or a violation out. What it returns does not depend on the pieces.
//!
//! It holds at most one unfinished line and the reply's earlier lines, both capped by
//! [`crate::limits`], and stops after the line that completes a reply: the caller decides about
//! what follows.

use std::fmt;

use memchr::memchr;

use crate::limits;
use crate::reply::{Code, Reply, sanitise};

/// How a peer broke the reply syntax. The session ends: later replies can't be paired with
/// commands.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A line longer than [`limits::REPLY_LINE`].
    #[error("malformed reply: a line of more than {} octets", limits::REPLY_LINE)]
    LineTooLong,
    /// A reply longer than [`limits::REPLY`].
    #[error("malformed reply: more than {} octets", limits::REPLY)]
    ReplyTooLong,
    /// A line that does not start with a code from 200 to 599 and a separator. It is sanitised, and
    /// shown cut.
    #[error("malformed reply: \"{}\"", beginning(.0))]
    NotAReply(String),
    /// Lines of one reply with different codes (RFC 5321 §4.2.1).
    #[error("malformed reply: a line with code {second} in a reply that began with {first}")]
    CodesDiffer {
        /// The code of the first line.
        first: Code,
        /// The code that differs.
        second: Code,
    },
}

/// The parser. A session has one, and feeds it all bytes of the server.
#[derive(Default)]
pub struct ReplyParser {
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The lines of an unfinished reply and their code.
    lines: Vec<String>,
    code: Option<Code>,
    /// Octets of the unfinished reply, its complete lines only.
    octets: usize,
}

impl ReplyParser {
    /// Takes `input` up to the end of a reply. Returns how many bytes of it were used and the
    /// reply, if it is complete; without one, all bytes were used.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), Violation> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest)?;
                return Ok((input.len(), None));
            };
            used += end + 1;
            let reply = if self.line.is_empty() {
                self.line_complete(&rest[..=end])?
            } else {
                self.keep(&rest[..=end])?;
                let line = std::mem::take(&mut self.line);
                self.line_complete(&line)?
            };
            if reply.is_some() {
                return Ok((used, reply));
            }
        }
        Ok((used, None))
    }

    /// Whether a reply has begun but not ended.
    pub fn is_mid_reply(&self) -> bool {
        self.code.is_some() || !self.line.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.line.len() + bytes.len() > limits::REPLY_LINE {
            return Err(Violation::LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// One whole line with its LF. A bare LF ends a line too: refusing it gains nothing in a
    /// client.
    fn line_complete(&mut self, line: &[u8]) -> Result<Option<Reply>, Violation> {
        if line.len() > limits::REPLY_LINE {
            return Err(Violation::LineTooLong);
        }
        self.octets += line.len();
        if self.octets > limits::REPLY {
            return Err(Violation::ReplyTooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, last, text) = split(line).ok_or_else(|| not_a_reply(line))?;
        let first = *self.code.get_or_insert(code);
        if first != code {
            return Err(Violation::CodesDiffer {
                first,
                second: code,
            });
        }
        self.lines.push(sanitise(text));
        if !last {
            return Ok(None);
        }
        self.code = None;
        self.octets = 0;
        Ok(Some(Reply::new(code, self.lines.drain(..))))
    }
}

/// Does not show the text: it may repeat a secret, and is masked only when it is complete.
impl fmt::Debug for ReplyParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyParser")
            .field("octets", &(self.octets + self.line.len()))
            .finish_non_exhaustive()
    }
}

/// Code, whether it is the last line, and text.
fn split(line: &[u8]) -> Option<(Code, bool, &[u8])> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    let code = Code::from_digits(digits)?;
    match rest {
        [] => Some((code, true, rest)),
        [b' ', text @ ..] => Some((code, true, text)),
        [b'-', text @ ..] => Some((code, false, text)),
        _ => None,
    }
}

fn not_a_reply(line: &[u8]) -> Violation {
    Violation::NotAReply(sanitise(line))
}

fn beginning(line: &str) -> &str {
    const SHOWN: usize = 80;
    line.char_indices()
        .nth(SHOWN)
        .map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(input: &[u8]) -> Result<Option<Reply>, Violation> {
        ReplyParser::default().feed(input).map(|(_, reply)| reply)
    }

    fn lines(input: &[u8]) -> Vec<String> {
        one(input).unwrap().unwrap().lines().to_vec()
    }

    #[test]
    fn empty_text_bare_lf_and_many_lines_are_read() {
        assert_eq!(lines(b"250\r\n"), [""]);
        assert_eq!(lines(b"250 \r\n"), [""]);
        assert_eq!(lines(b"250-\r\n250\r\n"), ["", ""]);
        assert_eq!(lines(b"250-a\n250 b\n"), ["a", "b"]);
        assert_eq!(one(b"250-a\r\n250 b").unwrap(), None);
    }

    #[test]
    fn what_is_not_a_reply_is_a_violation() {
        for input in [
            "2a0 x", "25 x", "2500 x", "abc", "", "199 x", "600 x", "-1", "250_x", "1000",
        ] {
            let line = format!("{input}\r\n");
            assert!(
                matches!(one(line.as_bytes()), Err(Violation::NotAReply(_))),
                "{input}"
            );
        }
        assert!(matches!(
            one(b"250-a\r\n251 b\r\n"),
            Err(Violation::CodesDiffer { .. })
        ));
    }

    /// At the cap and one past, and while reading.
    #[test]
    fn a_line_is_capped_while_it_is_read() {
        let mut line = b"250 ".to_vec();
        line.resize(limits::REPLY_LINE - 2, b'x');
        line.extend_from_slice(b"\r\n");
        assert!(one(&line).unwrap().is_some());
        line.insert(5, b'x');
        assert_eq!(one(&line), Err(Violation::LineTooLong));
        assert_eq!(one(&line[..limits::REPLY_LINE]).unwrap(), None);
        assert_eq!(
            one(&vec![b'2'; limits::REPLY_LINE + 1]),
            Err(Violation::LineTooLong)
        );
    }

    /// At the cap and one past.
    #[test]
    fn a_reply_is_capped() {
        let line = b"250-123456789\r\n0".split_last().unwrap().1;
        let mut reply = line.repeat(limits::REPLY / line.len() - 1);
        let rest = limits::REPLY - reply.len();
        let mut last = b"250 ".to_vec();
        last.resize(rest - 2, b'x');
        last.extend_from_slice(b"\r\n");
        reply.extend_from_slice(&last);
        assert_eq!(reply.len(), limits::REPLY);
        assert!(one(&reply).unwrap().is_some());
        reply.insert(5, b'x');
        assert_eq!(one(&reply), Err(Violation::ReplyTooLong));
    }

    #[test]
    fn parsing_stops_behind_the_reply() {
        let mut parser = ReplyParser::default();
        let (used, reply) = parser.feed(b"250 a\r\n250 b\r\n").unwrap();
        assert_eq!((used, reply.unwrap().text()), (7, "a"));
        assert!(!parser.is_mid_reply());
    }

    /// Everything that one parser yields from `pieces`, up to the first violation.
    fn all(pieces: &[&[u8]]) -> (Vec<Reply>, Option<Violation>) {
        let mut parser = ReplyParser::default();
        let mut replies = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                match parser.feed(rest) {
                    Ok((used, reply)) => {
                        replies.extend(reply);
                        rest = &rest[used..];
                    }
                    Err(violation) => return (replies, Some(violation)),
                }
            }
        }
        (replies, None)
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_pieces(
            input in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "((2[0-9]{2}|354|421|5[0-9]{2})[- ][a-z \\x00-\\x1f]{0,12}\r?\n){0,12}".prop_map(String::into_bytes),
            ],
            size in 1usize..20,
        ) {
            let pieces: Vec<&[u8]> = input.chunks(size).collect();
            prop_assert_eq!(all(&[&input]), all(&pieces));
        }
    }
}
