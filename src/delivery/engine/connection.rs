//! The thread of a connection: opens it, sends the messages of its group one after the other,
//! closes it. It calls nothing of PostgreSQL's.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smtp_client::connection::{Connection, Io};
use smtp_client::timeouts::Timeouts;
use smtp_client::tls::TlsCache;
use smtp_client::wait::{Interrupted, Wait};

use super::attempt::{Attempt, failure_of, is_interrupt, understood};
use super::channel::{Channel, ThreadWait};
use super::group::Group;
use super::job::{Closed, ConnectionId, Done, Event, Job, JobContent, NotOpened};
use super::remote::Remote;
use super::signing::{self, NotSigned};
use crate::conversation::authority::Environment;
use crate::conversation::{Problem, login};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(2);
/// How long the answer to the final dot is awaited at least (RFC 5321 §4.5.3.2.6): the server has
/// the message by then.
const FINAL_DOT: Duration = Duration::from_secs(600);
/// For a message that somebody has taken the content from.
const GONE: &str = "not sent: a piece of its content is missing";

/// For a message in whose header readers see different authors: a signature must not vouch for one
/// of them.
const SEVERAL_FROM: &str = "not sent: the message has several From fields";
const NOT_SIGNED: &str = "not sent: the message could not be signed";

/// What a connection's thread is started with.
pub struct Start {
    pub channel: Arc<Channel>,
    pub group: Arc<Group>,
    pub id: ConnectionId,
    pub sessions: Arc<TlsCache>,
}

impl Start {
    /// The thread's work.
    pub fn run(self) {
        let wait = ThreadWait::new(&self.channel);
        let remote = Remote {
            channel: &self.channel,
            group: &self.group,
            sessions: &self.sessions,
        };
        let io = Io {
            wait: &wait,
            trace: None,
        };
        let mut sender = Sender {
            start: &self,
            wait: &wait,
            environment: Environment {
                io: &io,
                authority: &remote,
            },
            remote: &remote,
            report: FinalReport {
                start: &self,
                message_id: None,
                is_made: false,
            },
        };
        sender.run();
    }
}

/// Tells that the thread has ended, also where it has panicked.
struct FinalReport<'a> {
    start: &'a Start,
    /// The message in hand.
    message_id: Option<i64>,
    is_made: bool,
}

impl Drop for FinalReport<'_> {
    fn drop(&mut self) {
        if !self.is_made {
            self.start.channel.post(Event::Closed(Closed {
                connection: self.start.id,
                message_id: self.message_id,
            }));
        }
    }
}

struct Sender<'a> {
    start: &'a Start,
    wait: &'a ThreadWait<'a>,
    environment: Environment<'a>,
    remote: &'a Remote<'a>,
    report: FinalReport<'a>,
}

/// A connection, and how many messages it has carried.
struct Used {
    connection: Connection,
    messages: u32,
}

impl Sender<'_> {
    fn run(&mut self) {
        let Some(mut used) = self.open() else {
            return;
        };
        self.post(Event::Opened(self.start.id));
        let options = &self.start.group.login.server.options.queue;
        let is_stopped = || self.start.channel.stop.is_told();
        while let Some(job) = self.start.group.next(IDLE, is_stopped) {
            self.report.message_id = Some(job.message_id);
            let Some(done) = self.send(&mut used, &job) else {
                return;
            };
            self.report.message_id = None;
            self.post(Event::Done(done));
            if used.connection.is_over() {
                return;
            }
            if used.messages >= options.max_messages_per_connection() {
                break;
            }
        }
        // The last message is with the server, whatever comes of QUIT.
        let _ = used.connection.quit(self.environment.io);
    }

    fn post(&self, event: Event) {
        self.start.channel.post(event);
    }

    /// A connection that is ready for MAIL. If there is none, that is reported.
    fn open(&mut self) -> Option<Used> {
        let problem = match self.connect() {
            Ok(connection) => {
                return Some(Used {
                    connection,
                    messages: 0,
                });
            }
            Err(problem) => problem,
        };
        let is_stopped = self.wait.is_stopped() || is_interrupt(&problem);
        self.report.is_made = true;
        self.post(Event::NotOpened(NotOpened {
            connection: self.start.id,
            failure: (!is_stopped).then(|| failure_of(&problem)),
            message_id: self.report.message_id,
        }));
        None
    }

    fn connect(&self) -> Result<Connection, Problem> {
        let login = &self.start.group.login;
        let (mut connection, _) = login.opening.connect(&self.environment)?;
        let mapping = login.mapping.as_deref();
        login::log_in(
            &mut connection,
            &login.opening,
            &login.server,
            mapping,
            &self.environment,
        )?;
        connection.set_timeouts(timeouts(login.opening.timeout));
        Ok(connection)
    }

    /// Sends a message. A kept connection that turns out to be closed is replaced, once and at
    /// once; `None` where there is no other, which is reported.
    fn send(&mut self, used: &mut Used, job: &Job) -> Option<Done> {
        let mut attempt = self.attempt(used, job);
        if attempt.again {
            used.connection.hang_up();
            *used = self.open()?;
            attempt = self.attempt(used, job);
        }
        Some(Done {
            message_id: job.message_id,
            connection: self.start.id,
            results: attempt.results,
            failure: attempt.failure,
            remote: self.remote_name(&used.connection),
        })
    }

    fn attempt(&self, used: &mut Used, job: &Job) -> Attempt {
        let missing = Cell::new(false);
        let mut body = Body {
            job,
            remote: self.remote,
            wait: self.wait,
            missing: &missing,
            fields: "",
        };
        let fields = match signing::fields(self.remote, |at| body.piece(at)) {
            Ok(fields) => fields,
            Err(_) if missing.get() => return Attempt::refused(job, GONE),
            Err(NotSigned::SeveralFrom) => return Attempt::refused(job, SEVERAL_FROM),
            Err(NotSigned::Failed) if self.wait.is_stopped() => return Attempt::not_tried(job),
            Err(NotSigned::Failed) => return Attempt::deferred(job, NOT_SIGNED),
        };
        body.fields = &fields;
        let Used {
            connection,
            messages,
        } = used;
        let envelope = match understood(job, fields.len() as u64, connection.session()) {
            Ok(envelope) => envelope,
            Err(reason) => return Attempt::refused(job, &reason),
        };
        let options = &self.start.group.login.server.options.queue;
        let most = options.max_recipients_per_message();
        let sent = connection.send_fetched(&envelope, body, most, self.environment.io);
        self.wait.dot_out.store(false, Ordering::SeqCst);
        let kept = *messages > 0;
        *messages += 1;
        match sent {
            Ok(_) if missing.get() => Attempt::refused(job, GONE),
            Ok(sent) => Attempt::of(&sent, kept),
            Err(failure) => Attempt::unsendable(job, &failure),
        }
    }

    fn remote_name(&self, connection: &Connection) -> String {
        let peer = connection.peer();
        let address = peer.ip().to_canonical();
        let host = &self.start.group.login.opening.host;
        format!("{host}[{address}]:{}", peer.port())
    }
}

/// Where a server has no limit, RFC 5321 has one: an answer may never come.
fn timeouts(timeout: Option<Duration>) -> Timeouts {
    match timeout {
        None => Timeouts::rfc5321(),
        Some(limit) => Timeouts {
            final_dot: Some(limit.max(FINAL_DOT)),
            ..Timeouts::uniform(timeout)
        },
    }
}

/// The content of a message, fetched piece by piece where it is large.
#[derive(Clone)]
struct Body<'a> {
    job: &'a Job,
    remote: &'a Remote<'a>,
    wait: &'a ThreadWait<'a>,
    /// Whether a piece was gone.
    missing: &'a Cell<bool>,
    /// What is sent in front of the content.
    fields: &'a str,
}

impl<'a> Body<'a> {
    /// A piece of the content, counted from 0; `None` behind the last.
    fn piece(&self, at: usize) -> Option<Result<Piece<'a>, Interrupted>> {
        let job = self.job;
        match &job.content {
            JobContent::Whole(octets) => (at == 0).then_some(Ok(Piece::Lent(octets))),
            JobContent::Pieces(numbers) => numbers.get(at).map(|number| {
                self.wait.check()?;
                let piece = self.remote.piece(job.message_id, *number)?;
                self.missing.set(piece.is_none());
                piece.map(Piece::Fetched).ok_or(Interrupted)
            }),
        }
    }
}

/// Octets of a piece.
enum Piece<'a> {
    Lent(&'a [u8]),
    Fetched(Vec<u8>),
}

impl AsRef<[u8]> for Piece<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Lent(octets) => octets,
            Self::Fetched(octets) => octets,
        }
    }
}

impl<'a> IntoIterator for Body<'a> {
    type Item = Result<Piece<'a>, Interrupted>;
    type IntoIter = Pieces<'a>;

    fn into_iter(self) -> Pieces<'a> {
        self.wait.dot_out.store(false, Ordering::SeqCst);
        Pieces {
            has_fields: !self.fields.is_empty(),
            body: self,
            at: 0,
        }
    }
}

struct Pieces<'a> {
    body: Body<'a>,
    has_fields: bool,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, Interrupted>;

    fn next(&mut self) -> Option<Self::Item> {
        if mem::take(&mut self.has_fields) {
            return Some(Ok(Piece::Lent(self.body.fields.as_bytes())));
        }
        let piece = self.body.piece(self.at);
        self.at += 1;
        if piece.is_none() {
            // The final dot follows.
            self.body.wait.dot_out.store(true, Ordering::SeqCst);
        }
        piece
    }
}
