//! A conversation that is recorded: each call is answered at once, and each message becomes part of
//! the queue in the transaction that is current at its end. MAIL, RCPT and data are state of the
//! session until then.

pub mod content;
mod spool;

use mail_compose::HeaderScan;
use pgrx::pg_sys;
use smtp_client::connection::{Cause, Failure, Io, Statistics};
use smtp_client::error::NetError;
use smtp_client::send::Verdict;
use smtp_core::auth::{ALL_SCHEMES, Credentials, SchemeList, TOKEN_SCHEMES};
use smtp_core::command::{Command, Verb};
use smtp_core::envelope::Envelope;
use smtp_core::phase::Phase;
use smtp_core::recorder::{Offer, Recorder};
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;
use smtp_core::session::{CommandError, OrderError, PIECE, Session};
use smtp_core::text::Domain;
use smtp_core::transaction::{Step, Transaction};

use self::content::{Content, missing_fields};
use self::spool::Spool;
use super::Problem;
use crate::errors::{OfArgument, Report};
use crate::pg::notices::warn;
use crate::pg::transaction;
use crate::servers::options::Security;
use crate::servers::{Mapping, Server, no_mapping, token};

/// What is queued, but for its content.
pub struct Letter<'a> {
    pub server: pg_sys::Oid,
    pub server_name: &'a str,
    /// The role that it is sent for.
    pub owner: pg_sys::Oid,
    pub envelope: &'a Envelope,
    pub at_most_once: bool,
    /// Not before this moment; `None` is at once.
    pub send_at: Option<pg_sys::TimestampTz>,
}

/// Writes a message into the queue; returns its number.
pub type Queue = fn(&Letter<'_>, &mut dyn Content) -> Result<i64, Report>;

/// A recorded conversation.
pub struct Draft {
    recorder: Recorder,
    server: pg_sys::Oid,
    server_name: String,
    security: Security,
    max_size: Option<u64>,
    /// The role that opened it.
    owner: pg_sys::Oid,
    queue: Queue,
    message: Message,
    /// Whether it was said that a user name is not that of the mapping.
    warned: bool,
    /// The message that was queued last.
    queued: Option<i64>,
    pub statistics: Statistics,
}

/// The message that is being written.
#[derive(Default)]
struct Message {
    spool: Spool,
    scan: HeaderScan,
    /// Octets, also those that are not kept because the message is too large.
    octets: u64,
}

impl Draft {
    /// A conversation with a server, and its greeting. `encrypted`: under TLS from the beginning,
    /// which a server without TLS declines. `owner`: the role that the messages are sent for.
    pub fn open(
        server: &Server,
        encrypted: bool,
        owner: pg_sys::Oid,
        queue: Queue,
        io: &Io<'_>,
    ) -> Result<(Self, Reply), Problem> {
        require_writable()?;
        let security = server.options.security;
        let offer = Offer {
            name: server.address.host.to_string(),
            starttls: security != Security::None,
            max_size: server.options.max_message_size,
        };
        let mut draft = Self {
            recorder: Recorder::new(offer, encrypted),
            server: server.oid,
            server_name: server.name.clone(),
            security,
            max_size: server.options.max_message_size,
            owner,
            queue,
            message: Message::default(),
            warned: false,
            queued: None,
            statistics: Statistics::default(),
        };
        let note = format!("recording for mail server \"{}\"", server.name);
        let reply = draft.step(io, |draft| {
            draft.recorder.session_mut().transcript.note(|| note);
            Ok::<_, Problem>(draft.recorder.greet())
        })?;
        match draft.is_over() {
            true => Err(Problem::declined(reply, draft.session())),
            false => Ok((draft, reply)),
        }
    }

    /// The steps of a login to the server: EHLO, STARTTLS and EHLO again, AUTH by the mapping.
    pub fn log_in(
        &mut self,
        server: &Server,
        mapping: Option<&Mapping>,
        io: &Io<'_>,
    ) -> Result<(), Problem> {
        self.hello(Command::Ehlo, io)?;
        if self.security == Security::StartTls {
            self.command(&Command::StartTls, io)?;
            self.hello(Command::Ehlo, io)?;
        }
        if let Some(mapping) = mapping
            && self.security != Security::None
        {
            self.log_in_by(server, mapping, None, io)?;
        }
        Ok(())
    }

    /// EHLO or HELO by a name that nobody will see.
    pub fn hello(&mut self, command: fn(Domain) -> Command, io: &Io<'_>) -> Result<Reply, Problem> {
        let domain = Domain::parse("localhost").of_argument("domain")?;
        self.command(&command(domain), io)
    }

    /// Whether a command may be said now.
    pub fn admit(&self, command: &Command) -> Result<(), Problem> {
        let admitted = self.session().admit(command);
        admitted.map_err(|error| not_said(command.verb(), error).into())
    }

    pub fn command(&mut self, command: &Command, io: &Io<'_>) -> Result<Reply, Problem> {
        let verb = command.verb();
        let failed = |error| Problem::from(not_said(verb, error));
        self.admit(command)?;
        let begins_login = verb == Verb::RawAuth && !self.session().phase().is_challenge();
        let mapping = match begins_login {
            true => Some(self.mapping()?),
            false => None,
        };
        if verb == Verb::Data {
            require_writable()?;
        }
        let reply = self.step(io, |draft| draft.recorder.command(command).map_err(failed))?;
        if let Some(username) = self.recorder.take_username() {
            let mapping = match mapping {
                Some(mapping) => mapping,
                None => self.mapping()?,
            };
            self.compare(&mapping, &username);
        }
        if reply.code().value() == 354 {
            self.message = Message::default();
        }
        Ok(reply)
    }

    /// AUTH. The credentials are checked and forgotten: mail is delivered with those of the
    /// mapping.
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
        io: &Io<'_>,
    ) -> Result<Reply, Problem> {
        let username = credentials.username.clone();
        self.step(io, |draft| {
            let failed = |error| Problem::from(not_said(Verb::Auth, error));
            let admitted = draft.recorder.admit_login(schemes, &credentials);
            admitted.map_err(failed)?;
            let mapping = draft.mapping()?;
            let reply = draft.recorder.authenticate(schemes, credentials);
            let reply = reply.map_err(failed)?;
            draft.compare(&mapping, &username);
            Ok(reply)
        })
    }

    /// AUTH by a server's mapping, which must be this conversation's own; `None` where the mapping
    /// holds nothing to log in with.
    pub fn set_credential(
        &mut self,
        server: &Server,
        mapping: &Mapping,
        schemes: Option<&SchemeList>,
        io: &Io<'_>,
    ) -> Result<Option<Reply>, Problem> {
        if server.oid != self.server {
            let detail = format!(
                "The conversation is recorded for mail server \"{}\".",
                self.server_name
            );
            return Err(server.refuse_connection(detail).into());
        }
        if !self.session().is_encrypted() {
            return Err(Report::credential_in_clear().into());
        }
        self.log_in_by(server, mapping, schemes, io)
    }

    fn log_in_by(
        &mut self,
        server: &Server,
        mapping: &Mapping,
        schemes: Option<&SchemeList>,
        io: &Io<'_>,
    ) -> Result<Option<Reply>, Problem> {
        let schemes = match schemes.or(server.options.schemes.as_ref()) {
            Some(schemes) => schemes.clone(),
            None => {
                let usual = match token::endpoint(server, mapping)? {
                    Some(_) => TOKEN_SCHEMES,
                    None if mapping.options.password.is_some() => ALL_SCHEMES,
                    None => return Ok(None),
                };
                SchemeList::parse(usual).map_err(Report::from)?
            }
        };
        // Nobody is asked, so no secret is needed.
        let credentials = Credentials {
            username: mapping.options.user.clone().unwrap_or_default(),
            password: Secret::new("********"),
            host: server.address.host.to_string(),
            port: server.address.port,
            nonce: "recorded".to_owned(),
        };
        let reply = self.step(io, |draft| {
            let reply = draft.recorder.authenticate(&schemes, credentials);
            reply.map_err(|error| Problem::from(not_said(Verb::Auth, error)))
        })?;
        Ok(Some(reply))
    }

    /// A piece of the message. True where its 8-bit characters deserve the message's one warning.
    pub fn write(&mut self, data: &[u8], io: &Io<'_>) -> Result<bool, Problem> {
        let mut warn = false;
        let failed = |error| not_said(Verb::Data, error);
        self.session()
            .require_data(Verb::Data)
            .map_err(|error| failed(error.into()))?;
        for piece in data.chunks(PIECE) {
            warn |= self.recorder.write(piece).map_err(failed)?;
            self.keep()?;
            io.wait.check().map_err(|interrupted| Failure {
                cause: NetError::from(interrupted).into(),
                ..not_said(Verb::Data, OrderError::Closed.into())
            })?;
        }
        Ok(warn)
    }

    /// The end of the message, which is part of the queue then.
    pub fn end_data(&mut self, io: &Io<'_>) -> Result<Reply, Problem> {
        let failed = |error| Problem::from(not_said(Verb::FinalDot, error));
        let admitted = self.session().require_data(Verb::FinalDot);
        admitted.map_err(|error| failed(error.into()))?;
        require_writable()?;
        self.step(io, |draft| {
            let mut envelope = draft.recorder.end_data().map_err(failed)?;
            draft.keep()?;
            let message = std::mem::take(&mut draft.message);
            match draft.enqueue(message, &mut envelope) {
                Ok(Some(id)) => {
                    draft.statistics.messages_sent += 1;
                    draft.queued = Some(id);
                    Ok(draft.recorder.queued(id))
                }
                Ok(None) => Ok(draft.recorder.refuse_size()),
                Err(report) => {
                    draft.recorder.refuse();
                    Err(report.into())
                }
            }
        })
    }

    /// One whole message, as [`smtp_client::connection::Connection::send`] sends it. It is one in
    /// the queue, however many recipients it has.
    pub fn send<B>(&mut self, envelope: &Envelope, body: B, io: &Io<'_>) -> Result<Verdict, Problem>
    where
        B: Clone + IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut envelope = envelope.clone();
        if envelope.needs_smtputf8() && self.session().offers("SMTPUTF8") {
            envelope = envelope.with_smtputf8();
        }
        let mail = Command::Mail(envelope.sender.clone(), envelope.parameters.clone());
        self.admit(&mail)?;
        if matches!(self.session().phase(), Phase::Mail | Phase::Recipient) {
            self.command(&Command::Rset, io)?;
        }
        let mut transaction = Transaction::new(&envelope, false, usize::MAX);
        let mut eight_bit = false;
        loop {
            let reply = match transaction.step() {
                Step::Command(command) => match self.command(&command, io) {
                    Ok(reply) => reply,
                    Err(Problem::Failed(Failure {
                        cause: Cause::Command(error),
                        verb,
                        ..
                    })) => match transaction.unsendable(error) {
                        Some(error) => return Err(not_said(verb, error).into()),
                        None => continue,
                    },
                    Err(problem) => return Err(problem),
                },
                Step::Body => {
                    for piece in body.clone() {
                        eight_bit |= self.write(piece.as_ref(), io)?;
                    }
                    transaction.body_sent();
                    self.end_data(io)?
                }
                Step::EmptyBody => self.end_data(io)?,
                Step::Await | Step::Done => break,
            };
            transaction.reply(reply);
        }
        Ok(Verdict {
            outcomes: transaction.into_outcomes(),
            eight_bit,
            ended: None,
        })
    }

    pub fn is_over(&self) -> bool {
        self.session().phase() == Phase::Closed
    }

    pub fn session(&self) -> &Session {
        self.recorder.session()
    }

    pub fn allow_cleartext_auth(&mut self, allow: bool) {
        self.recorder.session_mut().allow_cleartext_auth(allow);
    }

    /// Ends the conversation. A message that is not complete never was.
    pub fn hang_up(&mut self) {
        self.recorder.session_mut().close();
    }

    /// The number of the message that was queued last.
    pub fn queued(&self) -> Option<i64> {
        self.queued
    }

    /// Runs a step that ends in a reply; shows and counts it.
    fn step<E>(
        &mut self,
        io: &Io<'_>,
        run: impl FnOnce(&mut Self) -> Result<Reply, E>,
    ) -> Result<Reply, E> {
        let session = self.recorder.session_mut();
        session.transcript.enable(io.trace.is_some());
        let result = run(self);
        let lines = self.recorder.session_mut().transcript.take();
        if let Some(trace) = io.trace {
            lines.iter().for_each(|line| trace(line));
        }
        self.statistics.bytes_sent = self.recorder.octets_sent();
        self.statistics.bytes_received = self.recorder.octets_received();
        if let Ok(reply) = &result {
            self.statistics.last_reply = Some(reply.clone());
        }
        result
    }

    /// Keeps what the recorder has of the message.
    fn keep(&mut self) -> Result<(), Problem> {
        let octets = self.recorder.message();
        self.message.octets += octets.len() as u64;
        self.message.scan.feed(octets);
        let kept = match self.max_size {
            Some(most) if self.message.octets > most => Ok(()),
            _ => self.message.spool.append(octets),
        };
        self.recorder.message_kept();
        kept.map_err(|report| {
            // What follows would be a part of the message.
            self.recorder.session_mut().close();
            report.into()
        })
    }

    /// `None` where the server takes no message of this size.
    fn enqueue(&self, message: Message, envelope: &mut Envelope) -> Result<Option<i64>, Report> {
        let fields = missing_fields(&message.scan, &envelope.sender)?;
        let size = message.octets + fields.len() as u64;
        if self.max_size.is_some_and(|most| size > most) {
            return Ok(None);
        }
        // What was declared is short of the fields that are added.
        envelope.parameters.set_number("SIZE", size);
        let letter = Letter {
            server: self.server,
            server_name: &self.server_name,
            owner: self.owner,
            envelope,
            at_most_once: false,
            send_at: None,
        };
        let mut written = Written {
            subject: message.scan.subject(),
            spool: message.spool,
            fields,
            size,
        };
        (self.queue)(&letter, &mut written).map(Some)
    }

    /// What delivery logs in by.
    fn mapping(&self) -> Result<Mapping, Report> {
        let server = Server::of(self.server)?;
        let mapping = server.map_or(Ok(None), |server| server.mapping(self.owner))?;
        mapping.ok_or_else(|| no_mapping(&self.server_name))
    }

    /// One warning for each conversation where delivery logs in as somebody else.
    fn compare(&mut self, mapping: &Mapping, username: &str) {
        let own = mapping.options.user.as_deref().unwrap_or_default();
        if own == username || self.warned {
            return;
        }
        self.warned = true;
        warn(
            "the user name is not that of the mail server's user mapping",
            Some(
                "Recorded mail is delivered with the login of the mapping; what is given to auth is not used.",
            ),
        );
    }
}

/// What was written in the conversation.
struct Written {
    spool: Spool,
    fields: String,
    subject: Option<String>,
    size: u64,
}

impl Content for Written {
    fn size(&self) -> u64 {
        self.size
    }

    fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    fn each_piece(&mut self, lend: &mut dyn FnMut(&[u8])) -> Result<(), Report> {
        lend(self.fields.as_bytes());
        self.spool.each_piece(lend)
    }
}

/// A command that the session refuses, as a live conversation reports it.
fn not_said(verb: Verb, error: CommandError) -> Failure {
    Failure {
        verb,
        cause: error.into(),
        timeout: None,
        message_sent: false,
    }
}

/// Nothing can be queued in a transaction that only reads, so the conversation is refused as soon
/// as that is known.
fn require_writable() -> Result<(), Report> {
    match transaction::is_read_only() {
        true => Err(Report::read_only_transaction()),
        false => Ok(()),
    }
}
