//! What a connection's thread is to do, and what it reports.

use mail_queue::server::ServerFailure;
use mail_queue::suppression::Counted;
use mail_queue::verdict::Verdict;
use smtp_core::envelope::Envelope;

use super::remote::Question;

/// A group of connections of a worker, see [`super::group::Group`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupId(pub u64);

/// A connection of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// A message to be sent.
pub struct Job {
    pub message_id: i64,
    /// With the recipients that are due.
    pub envelope: Envelope,
    pub content: JobContent,
    /// Octets.
    pub size: u64,
}

/// Where the octets of a message are.
pub enum JobContent {
    Whole(Vec<u8>),
    /// In the table, in pieces with these numbers.
    Pieces(Vec<i32>),
}

/// What a thread reports.
pub enum Event {
    /// The connection is ready for its first message.
    Opened(ConnectionId),
    /// It could not be opened; the thread ends.
    NotOpened(NotOpened),
    /// A message was tried.
    Done(Done),
    /// The connection is closed; the thread ends.
    Closed(Closed),
    /// The thread waits for an answer.
    Question(Question),
}

impl Event {
    /// Whether nobody is worse off if it is looked at a little later.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Done(done) if done.failure.is_none())
    }
}

/// A connection that could not be opened.
pub struct NotOpened {
    pub connection: ConnectionId,
    /// `None`: the worker stops.
    pub failure: Option<(ServerFailure, String)>,
    /// The message that was to be sent over it, in place of a connection that had been closed.
    pub message_id: Option<i64>,
}

/// A message that was tried.
pub struct Done {
    pub message_id: i64,
    pub connection: ConnectionId,
    /// For each recipient of the envelope.
    pub results: Vec<RecipientResult>,
    /// The server failed meanwhile.
    pub failure: Option<(ServerFailure, String)>,
    /// `host[address]:port`
    pub remote: String,
}

/// What came of one recipient.
pub struct RecipientResult {
    pub verdict: Verdict,
    /// The server's reply, or what happened.
    pub reply: Option<String>,
    /// For the suppression list.
    pub counted: Option<Counted<()>>,
    pub is_mailbox_failure: bool,
}

impl RecipientResult {
    /// Without an answer of a server.
    pub fn of(verdict: Verdict, reply: String) -> Self {
        Self {
            verdict,
            reply: Some(reply),
            counted: None,
            is_mailbox_failure: false,
        }
    }
}

/// A connection that was closed.
pub struct Closed {
    pub connection: ConnectionId,
    /// The thread died with this message in its hands.
    pub message_id: Option<i64>,
}
