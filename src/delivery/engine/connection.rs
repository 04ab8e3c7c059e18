//! The thread of a connection: opens it, sends the messages of its group one after the other, closes it. It calls nothing
//! of PostgreSQL's.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail_queue::backoff::Ticket;
use mail_queue::server::ServerFailure;
use mail_queue::verdict::{self, End, Judgement, Verdict};
use smtp_client::connection::{Cause, Connection, Failure, Io};
use smtp_client::error::NetError;
use smtp_client::send::{self, Ended};
use smtp_client::timeouts::Timeouts;
use smtp_client::tls::TlsCache;
use smtp_client::wait::{Interrupted, Wait};
use smtp_core::envelope::Envelope;
use smtp_core::session::{CommandError, Session};
use smtp_core::transaction::Outcome;

use super::channel::{Channel, ThreadWait};
use super::group::Group;
use super::job::{Closed, Done, Event, GroupId, Job, JobContent, NotOpened, RecipientVerdict};
use super::remote::Remote;
use crate::conversation::authority::Environment;
use crate::conversation::{Problem, login};
use crate::delivery::store::claim::DOUBT;
use crate::errors::queue::{failure_line, reply_line, server_failure};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(2);
/// How long the answer to the final dot is awaited at least (RFC 5321 §4.5.3.2.6): the server has the message by then.
const FINAL_DOT: Duration = Duration::from_secs(600);

/// For a message that somebody has taken the content from.
const GONE: &str = "not sent: a piece of its content is missing";

/// What a connection's thread is started with.
pub struct Start {
    pub channel: Arc<Channel>,
    pub group: Arc<Group>,
    pub id: GroupId,
    pub ticket: Ticket,
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
            report: Report {
                start: &self,
                message_id: None,
                is_over: false,
            },
        };
        sender.run();
    }
}

/// Tells that the thread has ended, also where it has panicked.
struct Report<'a> {
    start: &'a Start,
    /// The message in hand.
    message_id: Option<i64>,
    is_over: bool,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.start.channel.post(Event::Closed(Closed {
                group: self.start.id,
                ticket: self.start.ticket,
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
    report: Report<'a>,
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
        while let Some(job) = self
            .start
            .group
            .next(IDLE, || self.start.channel.stop.is_told())
        {
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
        self.report.is_over = true;
        self.post(Event::NotOpened(NotOpened {
            group: self.start.id,
            ticket: self.start.ticket,
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
        let timeout = login.opening.timeout;
        connection.set_timeouts(Timeouts {
            final_dot: Some(timeout.unwrap_or_default().max(FINAL_DOT)),
            ..timeouts(timeout)
        });
        Ok(connection)
    }

    /// Sends a message. A kept connection that turns out to be closed is replaced, once and at once; `None` where there is
    /// no other, which is reported.
    fn send(&mut self, used: &mut Used, job: &Job) -> Option<Done> {
        let attempt = self.attempt(used, job);
        if !attempt.judgement.again {
            return Some(self.done(used, job, attempt));
        }
        used.connection.hang_up();
        *used = self.open()?;
        let attempt = self.attempt(used, job);
        Some(self.done(used, job, attempt))
    }

    fn attempt(&self, used: &mut Used, job: &Job) -> Attempt {
        let Used {
            connection,
            messages,
        } = used;
        let envelope = match understood(&job.envelope, job.size, connection.session()) {
            Ok(envelope) => envelope,
            Err(reason) => return Attempt::refused(job, reason),
        };
        let missing = Cell::new(false);
        let body = Body {
            job,
            remote: self.remote,
            wait: self.wait,
            missing: &missing,
        };
        let options = &self.start.group.login.server.options.queue;
        let most = options.max_recipients_per_message();
        self.wait.dot_out.store(false, Ordering::SeqCst);
        let sent = connection.send_fetched(&envelope, body, most, self.environment.io);
        self.wait.dot_out.store(false, Ordering::SeqCst);
        let kept = *messages > 0;
        *messages += 1;
        match sent {
            Ok(_) if missing.get() => Attempt::refused(job, GONE.to_owned()),
            Ok(sent) => Attempt::of(sent, kept),
            Err(failure) => Attempt::unsendable(job, &failure),
        }
    }

    fn done(&self, used: &Used, job: &Job, attempt: Attempt) -> Done {
        let verdicts = attempt.judgement.recipients.into_iter();
        Done {
            message_id: job.message_id,
            group: self.start.id,
            ticket: self.start.ticket,
            verdicts: verdicts
                .zip(attempt.replies)
                .map(|(verdict, reply)| RecipientVerdict { verdict, reply })
                .collect(),
            failure: attempt.judgement.server.zip(attempt.failure),
            remote: self.remote_name(&used.connection),
        }
    }

    fn remote_name(&self, connection: &Connection) -> String {
        let peer = connection.peer();
        let address = peer.ip().to_canonical();
        let host = &self.start.group.login.opening.host;
        format!("{host}[{address}]:{}", peer.port())
    }
}

/// What came of one attempt.
struct Attempt {
    judgement: Judgement,
    /// For each recipient.
    replies: Vec<Option<String>>,
    /// Why the server is to be left alone, if it is.
    failure: Option<String>,
}

impl Attempt {
    fn of(sent: send::Verdict, kept: bool) -> Self {
        let interrupted =
            matches!(&sent.ended, Some(Ended::Failed(failure)) if is_interrupted(failure));
        let end = sent.ended.as_ref().map(|ended| match ended {
            Ended::Failed(failure) => End::Lost {
                unanswered: failure.verb,
            },
            Ended::Said { verb, reply } => End::Said { verb: *verb, reply },
        });
        let mut judgement = verdict::judge(&sent.outcomes, end, kept);
        let ended = sent.ended.as_ref().map(|ended| match ended {
            Ended::Failed(failure) => failure_line(failure),
            Ended::Said { reply, .. } => reply_line(reply),
        });
        if interrupted {
            // The worker stops: who was not tried by now was not tried.
            judgement.again = false;
            for (verdict, outcome) in judgement.recipients.iter_mut().zip(&sent.outcomes) {
                if matches!(outcome, Outcome::NotSent) {
                    *verdict = Verdict::NotTried;
                }
            }
        }
        let replies = sent
            .outcomes
            .iter()
            .map(|outcome| words(outcome, ended.as_deref()));
        let replies: Vec<_> = replies.collect();
        let refused = sent.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused { reply, .. } if ServerFailure::of_refused_mail(reply).is_some() => {
                Some(reply_line(reply))
            }
            _ => None,
        });
        Self {
            failure: judgement.server.and(refused.or(ended)),
            judgement,
            replies,
        }
    }

    /// MAIL can't be sent to this server.
    fn unsendable(job: &Job, failure: &Failure) -> Self {
        let verdict = match &failure.cause {
            Cause::Command(error) => verdict::of_unsendable(error),
            Cause::Net(_) | Cause::Session(_) => Verdict::Deferred,
        };
        let reply = match &failure.cause {
            Cause::Command(error) => unsendable_line(error),
            Cause::Net(_) | Cause::Session(_) => failure_line(failure),
        };
        Self::same(job, verdict, reply)
    }

    /// The message can't be sent to this server at all.
    fn refused(job: &Job, reason: String) -> Self {
        Self::same(job, Verdict::Failed, reason)
    }

    fn same(job: &Job, verdict: Verdict, reply: String) -> Self {
        let count = job.envelope.recipients.len();
        Self {
            judgement: Judgement {
                recipients: vec![verdict; count],
                server: None,
                again: false,
            },
            replies: vec![Some(reply); count],
            failure: None,
        }
    }
}

/// The envelope without the parameters that the server does not understand, or why the message can't be sent to it.
fn understood(envelope: &Envelope, size: u64, session: &Session) -> Result<Envelope, String> {
    if let Some(limit) = session
        .capabilities()
        .and_then(|offered| offered.size_limit())
        && size > limit
    {
        return Err(format!(
            "5.3.4 not sent: the message has {size} octets, and the server takes {limit}"
        ));
    }
    let offers = |extension: &str| session.offers(extension);
    // RFC 8689 §4.2.1: whoever asks for it does not want the message sent without.
    if envelope.parameters.contains("REQUIRETLS") && !offers("REQUIRETLS") {
        return Err("5.7.30 not sent: the server does not offer REQUIRETLS".to_owned());
    }
    let mut envelope = envelope.clone();
    envelope.parameters = envelope.parameters.understood(offers);
    for recipient in &mut envelope.recipients {
        recipient.parameters = recipient.parameters.understood(offers);
    }
    Ok(envelope)
}

/// What is kept of an outcome. `ended`: why the session ended.
fn words(outcome: &Outcome, ended: Option<&str>) -> Option<String> {
    match outcome {
        Outcome::Accepted(reply) | Outcome::Refused { reply, .. } => Some(reply_line(reply)),
        Outcome::Unsendable(error) => Some(unsendable_line(error)),
        Outcome::NotSent => ended.map(str::to_owned),
        Outcome::Unknown => Some(format!("{DOUBT}: {}", ended.unwrap_or_default())),
    }
}

fn unsendable_line(error: &CommandError) -> String {
    match error {
        // RFC 6531 §3.5
        CommandError::SmtpUtf8 { .. } => format!("5.6.7 not sent: {error}"),
        error => format!("not sent: {error}"),
    }
}

/// The limits of commands that a server has no option for are those of RFC 5321.
fn timeouts(timeout: Option<Duration>) -> Timeouts {
    match timeout {
        Some(_) => Timeouts::uniform(timeout),
        None => Timeouts::rfc5321(),
    }
}

fn is_interrupted(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::Net(NetError::Interrupted(_)))
}

fn is_interrupt(problem: &Problem) -> bool {
    matches!(problem, Problem::Failed(failure) if is_interrupted(failure))
}

/// Why there is no connection that is ready for MAIL.
fn failure_of(problem: &Problem) -> (ServerFailure, String) {
    match problem {
        Problem::Refused(report) | Problem::Undelivered { report, .. } => {
            (report.server_failure(), report.line())
        }
        Problem::Failed(failure) => (server_failure(failure), failure_line(failure)),
        Problem::Declined { reply, verb, .. } => {
            let failure = ServerFailure::of_refused_step(*verb, reply);
            (failure, format!("{verb}: {}", reply_line(reply)))
        }
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
        Pieces { body: self, at: 0 }
    }
}

struct Pieces<'a> {
    body: Body<'a>,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, Interrupted>;

    fn next(&mut self) -> Option<Self::Item> {
        let Body {
            job,
            remote,
            wait,
            missing,
        } = &self.body;
        self.at += 1;
        let piece = match &job.content {
            JobContent::Whole(octets) => (self.at == 1).then_some(Ok(Piece::Lent(octets))),
            JobContent::Pieces(numbers) => numbers.get(self.at - 1).map(|number| {
                wait.check()?;
                let piece = remote.piece(job.message_id, *number)?;
                missing.set(piece.is_none());
                piece.map(Piece::Fetched).ok_or(Interrupted)
            }),
        };
        if piece.is_none() {
            // The final dot follows.
            wait.dot_out.store(true, Ordering::SeqCst);
        }
        piece
    }
}
