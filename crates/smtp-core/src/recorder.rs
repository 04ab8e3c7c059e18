//! A conversation with nobody: takes the commands of a client, answers each at once as a mail
//! server would, and keeps the message to be sent later.
//!
//! It drives the [`Session`] of a live conversation, so the order of calls, the capabilities, the
//! choice of AUTH schemes and the transcript are those of one. It does no I/O: whoever drives it
//! takes the octets of the message as they come, and says how the end of the message is answered.
//!
//! ```
//! use smtp_core::command::Command;
//! use smtp_core::recorder::{Offer, Recorder};
//! use smtp_core::text::{Domain, Mailbox, Parameters, ReversePath};
//!
//! let offer = Offer {
//!     name: "mail.example.com".to_owned(),
//!     starttls: true,
//!     max_size: None,
//! };
//! let mut recorder = Recorder::new(offer, false);
//! assert_eq!(recorder.greet().code().value(), 220);
//! let to = Mailbox::parse("ann@example.com")?;
//! for command in [
//!     Command::Ehlo(Domain::parse("client.example.com")?),
//!     Command::Mail(ReversePath::Null, Parameters::default()),
//!     Command::Rcpt(to, Parameters::default()),
//!     Command::Data,
//! ] {
//!     assert!(!recorder.command(&command)?.is_failure());
//! }
//! recorder.write(b"Subject: Hello\n\n.profile")?;
//! let envelope = recorder.end_data()?;
//! assert_eq!(recorder.message(), b"Subject: Hello\r\n\r\n.profile\r\n");
//! assert_eq!(envelope.recipients.len(), 1);
//! assert_eq!(recorder.queued(17).text(), "2.0.0 Ok: queued as 17");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! RFC 5321 §4.3.2 has the replies, RFC 3463 the enhanced codes.

mod line;
mod login;

use std::collections::HashSet;

use crate::auth::{Credentials, SchemeList};
use crate::command::{Command, Verb};
use crate::envelope::{Envelope, Recipient};
use crate::phase::Phase;
use crate::reply::{Code, Reply};
use crate::session::{CommandError, Session};
use crate::text::{Mailbox, Parameters, RawCommand, ReversePath};

use line::{address_and_parameters, strip_keyword};
use login::Login;

/// What EHLO offers always.
const EXTENSIONS: [&str; 4] = ["8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];
/// All that a client may choose from.
const AUTH: &str = "AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN XOAUTH2 OAUTHBEARER EXTERNAL";

/// The server that a recorder stands for.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its name in the greeting.
    pub name: String,
    /// Whether it has TLS: STARTTLS is offered while the conversation is not encrypted.
    pub starttls: bool,
    /// The octets of the largest message that it takes; `None` is no limit.
    pub max_size: Option<u64>,
}

/// One conversation.
#[derive(Debug)]
pub struct Recorder {
    session: Session,
    offer: Offer,
    /// Whether the client has ever said who it is.
    introduced: bool,
    /// The transaction that MAIL has begun.
    transaction: Option<Transaction>,
    login: Option<Login>,
    username: Option<String>,
    sent: u64,
    received: u64,
}

#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    /// The canonical spellings of its recipients.
    known: HashSet<String>,
}

impl Recorder {
    /// A conversation whose greeting is due. `encrypted`: under TLS from the beginning.
    pub fn new(offer: Offer, encrypted: bool) -> Self {
        Self {
            session: Session::recording(encrypted),
            offer,
            introduced: false,
            transaction: None,
            login: None,
            username: None,
            sent: 0,
            received: 0,
        }
    }

    /// The greeting. A server without TLS declines a conversation under TLS, which is over then.
    pub fn greet(&mut self) -> Reply {
        let greeting = match self.session.is_encrypted() && !self.offer.starttls {
            true => not_implemented(),
            false => reply(220, &format!("{} ESMTP", self.offer.name)),
        };
        self.hear(greeting)
    }

    /// The reply to a command.
    ///
    /// # Errors
    /// Why the command can't be said now, as [`Session::issue`] has it. Nothing has changed then.
    pub fn command(&mut self, command: &Command) -> Result<Reply, CommandError> {
        let challenged = self.session.phase().is_challenge();
        self.session.issue(command)?;
        self.sent += self.session.output().len() as u64;
        self.session.output_sent();
        let reply = match command {
            Command::Raw(raw) if challenged => self.continue_login(raw.line()),
            Command::Raw(raw) => self.raw(command.verb(), raw),
            command => self.answer(command),
        };
        let reply = self.hear(reply);
        if command.verb() == Verb::StartTls && reply.code() == Code::READY {
            self.session.tls_started();
            self.transaction = None;
        }
        Ok(reply)
    }

    /// Whether [`Recorder::authenticate`] would say AUTH.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_login(
        &self,
        schemes: &SchemeList,
        credentials: &Credentials,
    ) -> Result<(), CommandError> {
        let exchange = self.session.open_exchange(schemes, credentials.clone());
        exchange.map(drop)
    }

    /// The reply to AUTH by the first of `schemes` that is offered. The credentials are checked and
    /// forgotten.
    ///
    /// # Errors
    /// Why AUTH can't be said, as [`Session::authenticate`] has it.
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
    ) -> Result<Reply, CommandError> {
        self.session.authenticate(schemes, credentials)?;
        Ok(self.hear(login::accepted()))
    }

    /// Takes a piece of the message, which [`Recorder::message`] has then. True once per message as
    /// with [`Session::write`].
    ///
    /// # Errors
    /// Outside of message data.
    pub fn write(&mut self, piece: &[u8]) -> Result<bool, CommandError> {
        self.session.write(piece)
    }

    /// The octets of the message since [`Recorder::message_kept`], with CR LF at the ends of lines.
    pub fn message(&self) -> &[u8] {
        self.session.output()
    }

    /// Call it when all of [`Recorder::message`] is kept.
    pub fn message_kept(&mut self) {
        self.sent += self.session.output().len() as u64;
        self.session.output_sent();
    }

    /// Ends the message, whose last octets [`Recorder::message`] has then. The end is to be
    /// answered by [`Recorder::queued`] or [`Recorder::refuse`].
    ///
    /// # Errors
    /// Outside of message data.
    pub fn end_data(&mut self) -> Result<Envelope, CommandError> {
        self.session.end_data()?;
        let transaction = self.transaction.take();
        Ok(transaction.map_or_else(Envelope::empty, |transaction| transaction.envelope))
    }

    /// Answers the end of a message that is kept under this number.
    pub fn queued(&mut self, id: i64) -> Reply {
        self.end(reply(250, &format!("2.0.0 Ok: queued as {id}")))
    }

    /// Answers the end of a message that is larger than [`Offer::max_size`].
    pub fn refuse_size(&mut self) -> Reply {
        self.end(too_large())
    }

    /// Answers the end of a message that can't be kept.
    pub fn refuse(&mut self) -> Reply {
        self.end(reply(451, "4.3.0 Not queued"))
    }

    /// The user name that the client's own AUTH exchange gave last, once.
    pub fn take_username(&mut self) -> Option<String> {
        self.username.take()
    }

    /// Octets of commands and messages.
    pub fn octets_sent(&self) -> u64 {
        self.sent
    }

    /// Octets of replies.
    pub fn octets_received(&self) -> u64 {
        self.received
    }

    /// The client's side of the conversation.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The same, to change what it allows, to read its transcript or to end it.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    fn end(&mut self, reply: Reply) -> Reply {
        self.session.output_sent();
        self.hear(reply)
    }

    fn hear(&mut self, reply: Reply) -> Reply {
        // Three digits, a space or hyphen, CR LF.
        let lines = reply.lines().iter().map(|line| line.len() as u64 + 6);
        self.received += lines.sum::<u64>();
        self.session.hear(&reply);
        reply
    }

    fn answer(&mut self, command: &Command) -> Reply {
        match command {
            Command::Helo(_) => self.hello(false),
            Command::Ehlo(_) => self.hello(true),
            Command::StartTls if self.offer.starttls => reply(220, "2.0.0 Ready to start TLS"),
            Command::Mail(sender, parameters) => self.mail(sender.clone(), parameters.clone()),
            Command::Rcpt(mailbox, parameters) => self.rcpt(mailbox.clone(), parameters.clone()),
            Command::Data if self.session.phase() == Phase::Recipient => {
                reply(354, "End data with <CR><LF>.<CR><LF>")
            }
            Command::Data => out_of_order("Need RCPT command"),
            Command::Rset => self.reset(),
            Command::Noop => reply(250, "2.0.0 Ok"),
            Command::Vrfy(_) => vrfy(),
            Command::Help(_) => help(),
            Command::Quit => reply(221, "2.0.0 Bye"),
            Command::StartTls | Command::Raw(_) => not_implemented(),
        }
    }

    /// A line that the client wrote itself.
    fn raw(&mut self, verb: Verb, raw: &RawCommand) -> Reply {
        match verb {
            Verb::Helo | Verb::Ehlo if raw.rest().is_empty() => syntax("5.5.4 A name is needed"),
            Verb::Helo | Verb::Ehlo => self.hello(verb == Verb::Ehlo),
            Verb::Mail => match self.raw_path(raw, "FROM:", ReversePath::parse) {
                Some((sender, parameters)) => self.mail(sender, parameters),
                None => syntax("5.1.7 Bad sender address syntax"),
            },
            Verb::Rcpt => match self.raw_path(raw, "TO:", Mailbox::parse) {
                Some((mailbox, parameters)) => self.rcpt(mailbox, parameters),
                None => syntax("5.1.3 Bad recipient address syntax"),
            },
            Verb::Rset => self.reset(),
            Verb::RawAuth => self.begin_login(raw.rest()),
            _ => match raw.verb().as_str() {
                "NOOP" => reply(250, "2.0.0 Ok"),
                "VRFY" => vrfy(),
                "HELP" => help(),
                _ => not_implemented(),
            },
        }
    }

    fn raw_path<T, E>(
        &self,
        raw: &RawCommand,
        keyword: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<(T, Parameters)> {
        let rest = strip_keyword(raw.rest(), keyword)?;
        let (address, parameters) = address_and_parameters(rest)?;
        Some((parse(address).ok()?, Parameters::parse(parameters).ok()?))
    }

    /// HELO and EHLO end a transaction (RFC 5321 §4.1.4).
    fn hello(&mut self, extended: bool) -> Reply {
        self.introduced = true;
        self.transaction = None;
        let mut lines = vec![self.offer.name.clone()];
        if extended {
            lines.extend(EXTENSIONS.map(str::to_owned));
            lines.extend(self.offer.max_size.map(|octets| format!("SIZE {octets}")));
            if self.offer.starttls && !self.session.is_encrypted() {
                lines.push("STARTTLS".to_owned());
            }
            lines.push(AUTH.to_owned());
        }
        Reply::new(Code::OK, lines)
    }

    fn mail(&mut self, sender: ReversePath, parameters: Parameters) -> Reply {
        if !self.introduced {
            return out_of_order("Send HELO/EHLO first");
        }
        if self.transaction.is_some() {
            return out_of_order("Nested MAIL command");
        }
        let declared = parameters.value("SIZE").and_then(|size| size.parse().ok());
        if let (Some(declared), Some(most)) = (declared, self.offer.max_size)
            && most < declared
        {
            return too_large();
        }
        let mut envelope = Envelope {
            sender,
            parameters,
            recipients: Vec::new(),
        };
        if envelope.sender.needs_smtputf8() {
            envelope = envelope.with_smtputf8();
        }
        self.transaction = Some(Transaction {
            envelope,
            known: HashSet::new(),
        });
        reply(250, "2.1.0 Ok")
    }

    /// Who is named twice gets one copy.
    fn rcpt(&mut self, mailbox: Mailbox, parameters: Parameters) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return out_of_order("Need MAIL command");
        };
        if transaction.known.insert(mailbox.canonical()) {
            transaction.envelope.recipients.push(Recipient {
                mailbox,
                parameters,
            });
        }
        reply(250, "2.1.5 Ok")
    }

    fn reset(&mut self) -> Reply {
        self.transaction = None;
        reply(250, "2.0.0 Ok")
    }
}

fn reply(code: u16, text: &str) -> Reply {
    Reply::instead(Code::of(code), text)
}

fn out_of_order(text: &str) -> Reply {
    reply(503, &format!("5.5.1 Error: {text}"))
}

fn syntax(text: &str) -> Reply {
    reply(501, text)
}

fn not_implemented() -> Reply {
    reply(502, "5.5.1 Command not implemented")
}

fn too_large() -> Reply {
    Reply::instead(Code::TOO_LARGE, "5.3.4 Message size exceeds fixed limit")
}

fn vrfy() -> Reply {
    reply(252, "2.0.0 The recipient is checked when mail is sent")
}

fn help() -> Reply {
    reply(
        214,
        "2.0.0 The conversation is recorded, mail is sent later",
    )
}

#[cfg(test)]
mod tests;
