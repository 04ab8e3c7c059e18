//! What a connection's thread is to do, and what it reports.

use mail_queue::backoff::Ticket;
use mail_queue::server::ServerFailure;
use mail_queue::verdict::Verdict;
use smtp_core::envelope::Envelope;

use super::remote::Question;

/// A group of connections of a worker, see [`super::group::Group`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupId(pub u64);

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
    /// A connection is ready for its first message.
    Opened(GroupId),
    /// There is no connection; the thread ends.
    NotOpened(NotOpened),
    /// A message was tried.
    Done(Done),
    /// A connection is closed; the thread ends.
    Closed(Closed),
    /// The thread waits for an answer.
    Question(Question),
}

pub struct NotOpened {
    pub group: GroupId,
    pub ticket: Ticket,
    /// `None`: the worker stops.
    pub failure: Option<(ServerFailure, String)>,
    /// The message that was to be sent over it, by a connection that had to be replaced.
    pub message_id: Option<i64>,
}

pub struct Done {
    pub message_id: i64,
    pub group: GroupId,
    pub ticket: Ticket,
    /// For each recipient of the envelope.
    pub verdicts: Vec<RecipientVerdict>,
    /// The server failed meanwhile.
    pub failure: Option<(ServerFailure, String)>,
    /// `host[address]:port`
    pub remote: String,
}

pub struct RecipientVerdict {
    pub verdict: Verdict,
    /// The server's reply, or what happened.
    pub reply: Option<String>,
}

pub struct Closed {
    pub group: GroupId,
    pub ticket: Ticket,
    /// The thread died with this message in its hands.
    pub message_id: Option<i64>,
}
