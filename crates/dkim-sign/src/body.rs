//! The hash of a body in its relaxed form (RFC 6376 §3.4.4): white space at the end of a line is
//! left out, other white space becomes one space, empty lines at the end are left out, and the last
//! line ends in CRLF. A body without text has the hash of nothing.

use ring::digest::{Context, SHA256};

use crate::lines::{Token, is_space, runs};

/// Octets that are collected before they are hashed: hashing word by word is slow.
const BUFFER: usize = 8192;

pub(crate) struct BodyHash {
    context: Context,
    buffer: Vec<u8>,
    /// Line ends that count if text follows.
    line_ends: u64,
    /// White space that counts if text follows on the same line.
    space: bool,
    has_text: bool,
}

impl BodyHash {
    pub fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            buffer: Vec::with_capacity(BUFFER),
            line_ends: 0,
            space: false,
            has_text: false,
        }
    }

    pub fn take(&mut self, token: Token<'_>) {
        match token {
            Token::Text(text) => self.text(text),
            Token::LineEnd => {
                self.space = false;
                self.line_ends += 1;
            }
        }
    }

    pub fn finish(mut self) -> [u8; 32] {
        if self.has_text {
            self.push(b"\r\n");
        }
        self.context.update(&self.buffer);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        hash
    }

    fn text(&mut self, text: &[u8]) {
        for run in runs(text) {
            if is_space(run[0]) {
                self.space = true;
                continue;
            }
            for _ in 0..std::mem::take(&mut self.line_ends) {
                self.push(b"\r\n");
            }
            if std::mem::take(&mut self.space) {
                self.push(b" ");
            }
            self.push(run);
            self.has_text = true;
        }
    }

    fn push(&mut self, octets: &[u8]) {
        if self.buffer.len() + octets.len() > BUFFER {
            self.context.update(&self.buffer);
            self.buffer.clear();
        }
        match octets.len() {
            ..=BUFFER => self.buffer.extend_from_slice(octets),
            _ => self.context.update(octets),
        }
    }
}
