//! What a peer received.

use memchr::memmem::find;
use std::fmt;

/// All connections of one peer, in the order of their arrival.
#[derive(Debug)]
pub struct Record {
    pub conversations: Vec<Conversation>,
}

impl Record {
    pub fn accepted(&self) -> usize {
        self.conversations.len()
    }

    /// The only conversation there must have been.
    #[track_caller]
    pub fn only(&self) -> &Conversation {
        assert_eq!(self.accepted(), 1, "connections: {:?}", self.conversations);
        &self.conversations[0]
    }
}

#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// Received as plain text; TLS records are not included.
    pub plain: Vec<u8>,
    /// Received inside TLS, decrypted.
    pub tls: Vec<u8>,
    /// The number of reads: approximately the number of the client's packets.
    pub reads: usize,
    /// The handshake, if there was one; an error has the wording of the TLS library.
    pub handshake: Option<Result<Handshake, String>>,
    pub ending: Ending,
}

impl Conversation {
    /// Whether every step was played.
    pub fn completed(&self) -> bool {
        self.ending == Ending::Completed
    }

    /// Everything received, in order, as text.
    pub fn text(&self) -> String {
        let all = [self.plain.as_slice(), self.tls.as_slice()].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The lines received, without their line endings.
    pub fn lines(&self) -> Vec<String> {
        self.text()
            .split_terminator("\r\n")
            .map(str::to_owned)
            .collect()
    }

    /// The message on the wire: between the line DATA and the final dot, both excluded.
    #[track_caller]
    pub fn message(&self) -> Vec<u8> {
        let all = [self.plain.as_slice(), self.tls.as_slice()].concat();
        let start = find(&all, b"\r\nDATA\r\n").expect("no DATA was heard") + 8;
        // The line end before an immediate final dot is that of the DATA line.
        let end = find(&all[start - 2..], b"\r\n.\r\n").expect("no final dot was heard");
        all[start..(start + end).max(start)].to_vec()
    }

    #[track_caller]
    pub fn tls_session(&self) -> &Handshake {
        match &self.handshake {
            Some(Ok(handshake)) => handshake,
            other => panic!("no TLS session: {other:?}"),
        }
    }

    pub fn heard(&self, bytes: &[u8]) -> bool {
        find(&self.plain, bytes).is_some() || find(&self.tls, bytes).is_some()
    }
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.plain.escape_ascii())?;
        if self.handshake.is_some() {
            write!(f, ", under TLS \"{}\"", self.tls.escape_ascii())?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub struct Handshake {
    pub server_name: Option<String>,
    pub version: String,
    pub cipher: String,
    pub client_certificates: usize,
    pub resumed: bool,
    /// Whether the server sent a HelloRetryRequest.
    pub retried: bool,
}

/// How a script ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    #[default]
    Playing,
    Completed,
    /// The client closed, reset, or refused TLS before this step was done (counted from 0).
    ClientLeft(usize),
    /// The client sent something that the script does not allow.
    Broken(String),
}
