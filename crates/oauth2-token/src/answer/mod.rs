//! The answer of a token endpoint: HTTP/1.1 (RFC 9112), read incrementally, and what it says.

mod body;
mod error;

use smtp_core::secret::Secret;

use crate::buffer::SecretBuffer;
use crate::token::Token;

pub use error::{AnswerError, Malformed, Reason, Refusal};

/// Octets of an answer, with its head and what frames its chunks.
pub const LIMIT: usize = 64 * 1024;
/// Fields of a head.
const FIELDS: usize = 64;
/// Octets of the line that gives the size of a chunk.
const CHUNK_LINE: usize = 256;

/// Reads one answer. However the octets are cut, the result is the same.
pub struct AnswerParser {
    /// All that was received.
    received: SecretBuffer,
    /// How much of it is done with.
    done: usize,
    /// Up to where it was searched for the end of a line in vain.
    searched: usize,
    state: State,
    status: u16,
    body: SecretBuffer,
    secrets: Vec<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// A body of a known length: octets left.
    Length(usize),
    ChunkSize,
    /// Octets left in a chunk.
    Chunk(usize),
    ChunkEnd,
    Trailer,
    UntilClose,
    Complete,
}

impl AnswerParser {
    pub(crate) fn new(secrets: Vec<Secret>) -> Self {
        Self {
            received: SecretBuffer::default(),
            done: 0,
            searched: 0,
            state: State::Head,
            status: 0,
            body: SecretBuffer::default(),
            secrets,
        }
    }

    /// Takes the next octets. True once the answer is complete; what follows it is ignored.
    ///
    /// # Errors
    /// [`AnswerError::Malformed`]. The parser is of no use then.
    pub fn feed(&mut self, octets: &[u8]) -> Result<bool, AnswerError> {
        if self.state == State::Complete {
            return Ok(true);
        }
        let room = LIMIT - self.received.as_slice().len();
        self.received.push(&octets[..octets.len().min(room)]);
        while self.step()? {
            self.searched = self.done;
        }
        if self.state != State::Complete && octets.len() > room {
            return Err(Malformed::TooLarge.into());
        }
        Ok(self.state == State::Complete)
    }

    /// The connection has ended. `clean` where the peer itself has ended it, which with TLS a
    /// close_notify proves: only then does a body of unknown length end here.
    ///
    /// # Errors
    /// [`Malformed::Truncated`], or [`Malformed::Empty`] where nothing was received.
    pub fn end(&mut self, clean: bool) -> Result<(), AnswerError> {
        match self.state {
            State::Complete => {}
            State::UntilClose if clean => self.state = State::Complete,
            _ if self.received.as_slice().is_empty() => return Err(Malformed::Empty.into()),
            _ => return Err(Malformed::Truncated.into()),
        }
        Ok(())
    }

    /// What the answer grants.
    ///
    /// # Errors
    /// The endpoint refused, or was unable, or said nothing that makes sense; the answer is not
    /// complete.
    pub fn into_token(self) -> Result<Token, AnswerError> {
        if self.state != State::Complete {
            return Err(Malformed::Truncated.into());
        }
        let mut body = self.body.into_inner();
        match self.status {
            200 => Ok(body::token(&mut body)?),
            status => Err(body::refusal(status, &mut body, &self.secrets)),
        }
    }

    /// One step on; false where that takes more octets.
    fn step(&mut self) -> Result<bool, Malformed> {
        match self.state {
            State::Head => return self.head(),
            State::Length(left) => match left - self.copy(left) {
                0 => self.state = State::Complete,
                left => {
                    self.state = State::Length(left);
                    return Ok(false);
                }
            },
            State::ChunkSize => return self.chunk_size(),
            State::Chunk(left) => match left - self.copy(left) {
                0 => self.state = State::ChunkEnd,
                left => {
                    self.state = State::Chunk(left);
                    return Ok(false);
                }
            },
            State::ChunkEnd => match self.pending() {
                [b'\r', b'\n', ..] => {
                    self.done += 2;
                    self.state = State::ChunkSize;
                }
                [_, _, ..] => return Err(Malformed::Chunk),
                _ => return Ok(false),
            },
            State::Trailer => {
                let Some(end) = find_line_end(self.unsearched()) else {
                    self.searched = self.received.as_slice().len();
                    return Ok(false);
                };
                let end = self.searched + end + 1;
                let line = &self.received.as_slice()[self.done..end];
                if matches!(line, [b'\n'] | [b'\r', b'\n']) {
                    self.state = State::Complete;
                }
                self.done = end;
            }
            State::UntilClose => {
                self.copy(usize::MAX);
                return Ok(false);
            }
            State::Complete => return Ok(false),
        }
        Ok(true)
    }

    fn pending(&self) -> &[u8] {
        &self.received.as_slice()[self.done..]
    }

    fn unsearched(&self) -> &[u8] {
        &self.received.as_slice()[self.searched..]
    }

    /// Moves up to so many octets to the body, and returns how many there were.
    fn copy(&mut self, most: usize) -> usize {
        let pending = &self.received.as_slice()[self.done..];
        let count = pending.len().min(most);
        self.body.push(&pending[..count]);
        self.done += count;
        count
    }

    /// Reads a head as far as its lines are complete, so that no result depends on how they were
    /// cut.
    fn head(&mut self) -> Result<bool, Malformed> {
        let pending = &self.received.as_slice()[self.done..];
        if pending.first().is_some_and(|&first| first != b'H') {
            return Err(Malformed::NotHttp);
        }
        let last = self.unsearched().iter().rposition(|&octet| octet == b'\n');
        let Some(last) = last.map(|last| self.searched - self.done + last) else {
            self.searched = self.received.as_slice().len();
            return Ok(false);
        };
        self.searched = self.received.as_slice().len();
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(&pending[..=last]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
            Err(_) => return Err(Malformed::Head),
        };
        let status = response.code.unwrap_or_default();
        let state = match status {
            // Interim answers (RFC 9110 §15.2) come before the one that counts.
            100 | 102..200 => State::Head,
            204 | 304 => State::Complete,
            _ => framing(
                response.version,
                response.headers,
                LIMIT - self.done - length,
            )?,
        };
        self.state = state;
        self.status = status;
        self.done += length;
        Ok(true)
    }

    fn chunk_size(&mut self) -> Result<bool, Malformed> {
        let pending = self.pending();
        let Some(end) = find_line_end(&pending[..pending.len().min(CHUNK_LINE)]) else {
            return match pending.len() > CHUNK_LINE {
                true => Err(Malformed::Chunk),
                false => Ok(false),
            };
        };
        // An empty size is none, though httparse takes it for 0.
        if !pending.first().is_some_and(u8::is_ascii_hexdigit) {
            return Err(Malformed::Chunk);
        }
        let size = match httparse::parse_chunk_size(&pending[..=end]) {
            Ok(httparse::Status::Complete((length, size))) if length == end + 1 => size,
            _ => return Err(Malformed::Chunk),
        };
        self.done += end + 1;
        self.state = match usize::try_from(size) {
            Ok(0) => State::Trailer,
            Ok(size) if size <= LIMIT - self.done => State::Chunk(size),
            _ => return Err(Malformed::TooLarge),
        };
        Ok(true)
    }
}

/// Where the body ends (RFC 9112 §6.3). A head that leaves a doubt is refused.
fn framing(
    version: Option<u8>,
    fields: &[httparse::Header<'_>],
    room: usize,
) -> Result<State, Malformed> {
    let mut chunked = false;
    let mut length = None;
    for field in fields {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Malformed::Length);
            }
            // Too large for a number is too large.
            let number = str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            let number = number.unwrap_or(usize::MAX);
            if length.replace(number).is_some_and(|other| other != number) {
                return Err(Malformed::Length);
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || version != Some(1) || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed::Coding);
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("content-encoding")
            && !value.eq_ignore_ascii_case(b"identity")
        {
            return Err(Malformed::Coding);
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Malformed::Length),
        (true, None) => Ok(State::ChunkSize),
        (false, Some(length)) if length > room => Err(Malformed::TooLarge),
        (false, Some(length)) => Ok(State::Length(length)),
        (false, None) => Ok(State::UntilClose),
    }
}

fn find_line_end(octets: &[u8]) -> Option<usize> {
    octets.iter().position(|&octet| octet == b'\n')
}
