//! The transcript of a conversation, without secrets.
//!
//! Lines are collected only while enabled. The driver of the session takes them. Message data
//! appears as a count of octets.

use crate::reply::Reply;

/// The lines that were not taken yet. Unless enabled it is empty and costs nothing.
#[derive(Debug, Default)]
pub struct Transcript {
    enabled: bool,
    lines: Vec<String>,
}

impl Transcript {
    /// Starts or stops collecting.
    pub fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// The lines since the last call.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// A fact about the connection, which is not a line of the protocol.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if self.enabled {
            self.lines.push(format!("* {}", text()));
        }
    }

    pub(crate) fn client(&mut self, text: impl FnOnce() -> String) {
        if self.enabled {
            self.lines.push(format!("C: {}", text()));
        }
    }

    pub(crate) fn server(&mut self, reply: &Reply) {
        if self.enabled {
            self.lines
                .extend(reply.to_string().lines().map(|line| format!("S: {line}")));
        }
    }
}
