//! What a peer heard.

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

    /// The one conversation that there must have been.
    #[track_caller]
    pub fn only(&self) -> &Conversation {
        assert_eq!(self.accepted(), 1, "connections: {:?}", self.conversations);
        &self.conversations[0]
    }
}

#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// Heard in clear; records of TLS are not among it.
    pub plain: Vec<u8>,
    /// Heard inside TLS.
    pub tls: Vec<u8>,
    /// How often bytes arrived: about the number of the client's packets.
    pub reads: usize,
    /// The handshake, if there was one; an error is in the words of the TLS library.
    pub handshake: Option<Result<Handshake, String>>,
    pub ending: Ending,
}

impl Conversation {
    /// Whether every step was played.
    pub fn completed(&self) -> bool {
        self.ending == Ending::Completed
    }

    /// Everything heard, in order, as text.
    pub fn text(&self) -> String {
        let all = [self.plain.as_slice(), self.tls.as_slice()].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The lines heard, without their ends.
    pub fn lines(&self) -> Vec<String> {
        self.text()
            .split_terminator("\r\n")
            .map(str::to_owned)
            .collect()
    }

    /// Between the line DATA and the final dot, both excluded: the message as it went over the wire.
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
    /// Whether the server asked for another ClientHello.
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
    /// The client said something that the script does not allow.
    Broken(String),
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
