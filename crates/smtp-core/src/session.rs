//! The conversation without its I/O: commands in, bytes for the server out; bytes of the server in, replies out.
//!
//! A session owns the order of things: which reply is due, what a reply means for the [`Phase`],
//! what the server offers, and how message data is framed. It keeps a queue of the commands whose
//! replies are due. Each reply is paired with the oldest of them; a reply that comes when none is
//! due ends the session.
//!
//! A command is refused once the session is over, and while replies are due, except where the
//! server offers PIPELINING and RFC 2920 §3.1 allows the command to follow the one before it. A
//! caller that reads each reply before the next command never has more than one command in flight:
//!
//! ```
//! use smtp_core::command::{Command, Verb};
//! use smtp_core::session::{Progress, Session};
//! use smtp_core::text::{Domain, Mailbox, Parameters, ReversePath};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut session = Session::new(false, false);
//! session.feed(b"220 mx.example.com\r\n", &mut || {})?;
//! session.issue(&Command::Ehlo(Domain::parse("client.example.com")?))?;
//! session.feed(b"250-mx.example.com\r\n250 PIPELINING\r\n", &mut || {})?;
//! session.output_sent();
//!
//! // A group of three commands: DATA ends it.
//! let to = Mailbox::parse("ann@example.com")?;
//! session.issue(&Command::Mail(ReversePath::Null, Parameters::default()))?;
//! session.issue(&Command::Rcpt(to, Parameters::default()))?;
//! session.issue(&Command::Data)?;
//! assert!(session.issue(&Command::Noop).is_err());
//! assert_eq!(session.output(), b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n");
//! session.output_sent();
//!
//! let mut replies: &[u8] = b"250 ok\r\n550 no such user\r\n554 no recipients\r\n";
//! let mut verbs = Vec::new();
//! while session.due().is_some() {
//!     let (used, progress) = session.feed(replies, &mut || {})?;
//!     replies = &replies[used..];
//!     if let Progress::Reply { verb, .. } = progress {
//!         verbs.push(verb);
//!     }
//! }
//! assert_eq!(verbs, [Verb::Mail, Verb::Rcpt, Verb::Data]);
//! # Ok(())
//! # }
//! ```
//!
//! Implements the client's side of RFC 5321 §3 and §4, RFC 2920, RFC 3207 (all knowledge from
//! before TLS is forgotten), RFC 4954 (through [`crate::auth`]) and RFC 6531 §3.4 (SMTPUTF8 on
//! MAIL).

use std::collections::VecDeque;
use std::fmt;

use zeroize::Zeroizing;

use crate::auth::{
    Breach, CredentialError, Credentials, NoSupportedScheme, Scheme, SchemeList, SchemePolicy,
};
use crate::command::{Command, LineTooLong, Verb};
use crate::data::DataEncoder;
use crate::ehlo::Capabilities;
use crate::exchange::{Exchange, Secrets};
use crate::limits;
use crate::parser::{ReplyParser, Violation};
use crate::phase::{Event, Phase};
use crate::reply::{Class, Code, MASK, Reply};
use crate::text::RawCommand;
use crate::transcript::Transcript;

/// One conversation.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    encrypted: bool,
    /// Whether schemes that show the password may be used without TLS.
    cleartext_auth: bool,
    /// Whether STARTTLS was wanted. While the session is not encrypted, no scheme with a password is used then.
    tls_wanted: bool,
    /// Whether EHLO or HELO was sent since the greeting or the handshake.
    hello_sent: bool,
    /// Whether the last MAIL that was accepted had the parameter SMTPUTF8.
    envelope_smtputf8: bool,
    capabilities: Option<Capabilities>,
    identity: Option<Identity>,
    /// The commands whose replies are due, oldest first.
    due: VecDeque<Due>,
    /// The last command that was put into the output.
    last: Verb,
    exchange: Option<Exchange>,
    /// Whether the caller has begun an AUTH exchange of its own, and no command since.
    caller_driven_auth: bool,
    /// What was said in the last AUTH exchange, until the next command.
    auth_secrets: Secrets,
    parser: ReplyParser,
    encoder: DataEncoder,
    message: Message,
    output: Zeroizing<Vec<u8>>,
    /// The conversation for a person, see [`Transcript`].
    pub transcript: Transcript,
}

/// Who this client has proved to be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user name that was accepted.
    pub username: String,
    /// By which scheme.
    pub scheme: Scheme,
}

/// A command whose reply is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    verb: Verb,
    /// Whether another command may be sent before this one's reply (RFC 2920 §3.1).
    may_be_followed: bool,
    /// Whether it is a MAIL with the parameter SMTPUTF8.
    smtputf8: bool,
}

impl Due {
    /// A command that ends its group.
    fn last(verb: Verb) -> Self {
        Self {
            verb,
            may_be_followed: false,
            smtputf8: false,
        }
    }
}

/// What is known of the message that is being sent.
#[derive(Debug, Default)]
struct Message {
    octets: u64,
    warn_of_8bit: bool,
}

/// What bytes of the server have led to.
#[derive(Debug)]
pub enum Progress {
    /// The reply is not complete.
    More,
    /// An answer to a challenge stands in the output; the reply is still due.
    Answer,
    /// A reply is complete.
    Reply {
        /// The command that it answers: the oldest whose reply was due.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
}

/// Why a command was not sent. The session is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command has no place in this phase.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// Its line is longer than a server has to read.
    #[error(transparent)]
    TooLong(#[from] LineTooLong),
    /// An address of MAIL, RCPT or VRFY has non-ASCII characters that can't be sent (RFC 6531 §3.4).
    #[error("the address of {verb} has non-ASCII characters, and {problem}")]
    SmtpUtf8 {
        /// The command.
        verb: Verb,
        /// Why not.
        problem: SmtpUtf8Problem,
    },
    /// A user name or password can't be sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// No scheme of the caller's list can be used.
    #[error(transparent)]
    NoSupportedScheme(#[from] NoSupportedScheme),
}

/// Why a command has no place in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The session is over.
    #[error("the connection is closed")]
    Closed,
    /// The reply to this command is due, and no other command may follow before it was read.
    #[error("the reply to {0} has not been read")]
    ReplyDue(Verb),
    /// The server reads message data: a command would become part of the message.
    #[error("a command inside message data")]
    InData,
    /// Message data, or its end ([`Verb::FinalDot`]), outside of message data.
    #[error("{0} outside of message data")]
    NotInData(Verb),
    /// TLS can be started once.
    #[error("the connection is encrypted already")]
    Encrypted,
    /// A raw line would leave the session in a state that it does not know of. There is a method for it.
    #[error("{0} can't be a raw command")]
    Reserved(ReservedCommand),
}

/// A command that [`Session`] takes in its own form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedCommand {
    /// STARTTLS, which a handshake follows.
    StartTls,
    /// DATA, which message data follows.
    Data,
    /// BDAT, which is not supported.
    Bdat,
    /// QUIT, which ends the session.
    Quit,
}

impl fmt::Display for ReservedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartTls => "STARTTLS",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Quit => "QUIT",
        })
    }
}

/// Why an address with non-ASCII characters can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUtf8Problem {
    /// The server did not offer SMTPUTF8.
    #[error("the server's last EHLO did not offer SMTPUTF8")]
    NotOffered,
    /// MAIL had no such parameter.
    #[error("MAIL had no parameter SMTPUTF8")]
    NotOnMail,
}

/// Why the session is over. What the server says from here on has no meaning any more.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The reply syntax was broken.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A well-formed reply that can't follow this command.
    #[error("unexpected reply: {0}")]
    Unexpected(Reply),
    /// A reply, or the beginning of one, when no command was waiting for it.
    #[error("unexpected reply: the server spoke when no command was waiting for it{}", said(.0))]
    Unsolicited(Option<Reply>),
    /// The server broke the authentication mechanism.
    #[error("authentication by {scheme} failed: {breach}")]
    Authentication {
        /// The mechanism.
        scheme: Scheme,
        /// What the server did.
        breach: Breach,
    },
}

fn said(reply: &Option<Reply>) -> String {
    reply
        .as_ref()
        .map_or_else(String::new, |reply| format!(": {reply}"))
}

impl Session {
    /// A session whose greeting is due. `encrypted`: TLS was there first.
    pub fn new(encrypted: bool, cleartext_auth: bool) -> Self {
        Self {
            phase: Phase::Connecting,
            encrypted,
            cleartext_auth,
            tls_wanted: false,
            hello_sent: false,
            envelope_smtputf8: false,
            capabilities: None,
            identity: None,
            due: VecDeque::from([Due::last(Verb::Connect)]),
            last: Verb::Connect,
            exchange: None,
            caller_driven_auth: false,
            auth_secrets: Secrets::default(),
            parser: ReplyParser::default(),
            encoder: DataEncoder::default(),
            message: Message::default(),
            output: Zeroizing::default(),
            transcript: Transcript::default(),
        }
    }

    /// Whether AUTH schemes that show the password may be used without TLS, from now on.
    pub fn allow_cleartext_auth(&mut self, allow: bool) {
        self.cleartext_auth = allow;
    }

    /// STARTTLS is wanted: from now on no AUTH scheme that uses a password is used without TLS, unless clear text is
    /// allowed.
    pub fn want_tls(&mut self) {
        self.tls_wanted = true;
    }

    /// Whether EHLO or HELO was sent since the greeting or the handshake, whatever the reply.
    pub fn hello_sent(&self) -> bool {
        self.hello_sent
    }

    /// Where the conversation stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether TLS is up.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// What the last EHLO offered; `None` before any, after HELO and after STARTTLS.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_ref()
    }

    /// Who is authenticated.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The oldest command whose reply is due; `None` if no reply is.
    pub fn due(&self) -> Option<Verb> {
        self.due.front().map(|due| due.verb)
    }

    /// Whether commands may be sent in groups: the server's last EHLO offered PIPELINING (RFC
    /// 2920).
    pub fn is_pipelining(&self) -> bool {
        self.offers("PIPELINING")
    }

    /// The command that was put into the output last.
    pub fn last_verb(&self) -> Verb {
        self.last
    }

    /// Bytes that the server has to get, in order.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// To be called when all of [`Session::output`] has been sent.
    pub fn output_sent(&mut self) {
        self.output.clear();
    }

    /// Puts a command into the output; its reply is then due.
    ///
    /// While replies are due, a command may join the group if the server offers PIPELINING and the
    /// group's last command is MAIL, RCPT or RSET in its own form. Any other command ends its group
    /// (RFC 2920 §3.1, RFC 3207 §4, RFC 4954 §4), and so does a raw line, whose meaning the session
    /// does not know.
    ///
    /// # Errors
    /// Why the command can't be sent. The session is then as it was.
    pub fn issue(&mut self, command: &Command) -> Result<(), CommandError> {
        self.admit(command)?;
        let line = Zeroizing::new(command.line()?);
        self.transcribe(command, &line);
        self.say(&line);
        let verb = self.verb(command);
        match verb {
            Verb::Helo | Verb::Ehlo => self.hello_sent = true,
            Verb::StartTls => self.want_tls(),
            _ => {}
        }
        let grouped = matches!(
            command,
            Command::Mail(..) | Command::Rcpt(..) | Command::Rset
        );
        self.expect(Due {
            verb,
            may_be_followed: grouped && !self.phase.is_challenge(),
            smtputf8: verb == Verb::Mail && has_smtputf8(&line),
        });
        Ok(())
    }

    /// Opens an AUTH exchange by the first of `schemes` that the server offers. The exchange runs inside
    /// [`Session::feed`]. AUTH ends its group.
    ///
    /// # Errors
    /// Why AUTH can't be sent. The session is then as it was.
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
    ) -> Result<(), CommandError> {
        self.require_turn()?;
        self.refuse_in_data()?;
        let offered = self.capabilities.as_ref().map(Capabilities::auth_schemes);
        let scheme = schemes.choose(offered, self.scheme_policy())?;
        let (exchange, line) = Exchange::open(scheme, credentials)?;
        self.transcript.client(|| masked_auth(&line));
        self.say(&line);
        self.exchange = Some(exchange);
        self.forget_secrets();
        self.expect(Due::last(Verb::Auth));
        Ok(())
    }

    /// Takes bytes of the server up to the end of a reply. Returns how many were used: where
    /// further replies are due, the rest is to be fed again. `pause` is called now and then during
    /// a long computation.
    ///
    /// # Errors
    /// The session is over: the reply syntax was broken, the reply can't follow its command, or no
    /// reply was due. The output may hold a last line (a cancelled AUTH) that is worth an attempt.
    pub fn feed(
        &mut self,
        input: &[u8],
        pause: &mut dyn FnMut(),
    ) -> Result<(usize, Progress), SessionError> {
        let result = self.parse(input, pause);
        if result.is_err() {
            self.close();
        }
        result
    }

    /// Ends the session over bytes that came when nothing was due.
    pub fn unsolicited(&mut self, input: &[u8]) -> SessionError {
        let result = self.read(input);
        self.close();
        match result {
            Ok((_, reply)) => SessionError::Unsolicited(reply),
            Err(violation) => violation.into(),
        }
    }

    /// TLS is up: forgets all that was learnt without it (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.encrypted = true;
        self.hello_sent = false;
        self.capabilities = None;
        self.identity = None;
        self.phase = self.phase.after(Event::TlsStarted);
    }

    /// The connection is gone.
    pub fn close(&mut self) {
        self.due.clear();
        self.exchange = None;
        self.phase = self.phase.after(Event::Ended);
    }

    /// Puts a piece of the message into the output. True where its 8-bit characters deserve the one warning of this
    /// message: the server did not offer 8BITMIME (RFC 6152).
    pub fn write(&mut self, piece: &[u8]) -> Result<bool, CommandError> {
        self.require_data(Verb::Data)?;
        self.message.octets += piece.len() as u64;
        self.encoder.encode(piece, &mut self.output);
        let warn = self.message.warn_of_8bit && !piece.is_ascii();
        self.message.warn_of_8bit &= !warn;
        Ok(warn)
    }

    /// Puts the end of the message into the output; its reply is then due.
    ///
    /// # Errors
    /// [`OrderError`] outside of message data, or when the end was put out already.
    pub fn end_data(&mut self) -> Result<(), CommandError> {
        self.require_data(Verb::FinalDot)?;
        self.encoder.finish(&mut self.output);
        let octets = self.message.octets;
        self.transcript
            .client(|| format!("[{octets} octets of message data]"));
        self.transcript.client(|| ".".to_owned());
        self.expect(Due::last(Verb::FinalDot));
        Ok(())
    }

    /// Refuses what only makes sense while the server reads message data.
    ///
    /// # Errors
    /// [`OrderError::NotInData`] with the verb given: [`Verb::Data`] or [`Verb::FinalDot`].
    pub fn require_data(&self, verb: Verb) -> Result<(), OrderError> {
        match self.phase {
            Phase::Data => self.require_idle(),
            _ => Err(OrderError::NotInData(verb)),
        }
    }

    /// Refuses everything while a reply is due, and for ever once the session is over.
    fn require_idle(&self) -> Result<(), OrderError> {
        match (self.phase, self.due()) {
            (Phase::Closed, _) => Err(OrderError::Closed),
            (_, Some(verb)) => Err(OrderError::ReplyDue(verb)),
            (_, None) => Ok(()),
        }
    }

    /// Refuses a command that can't join the group whose replies are due, and all once the session
    /// is over.
    fn require_turn(&self) -> Result<(), OrderError> {
        match self.due.back() {
            Some(last) if last.may_be_followed && self.is_pipelining() => Ok(()),
            Some(last) => Err(OrderError::ReplyDue(last.verb)),
            None => self.require_idle(),
        }
    }

    fn refuse_in_data(&self) -> Result<(), OrderError> {
        match self.phase {
            Phase::Data => Err(OrderError::InData),
            _ => Ok(()),
        }
    }

    /// Whether a command may be sent now.
    ///
    /// # Errors
    /// Why not. [`Session::issue`] would return the same, or that the line is too long.
    pub fn admit(&self, command: &Command) -> Result<(), CommandError> {
        self.require_turn()?;
        self.refuse_in_data()?;
        match command {
            Command::StartTls if self.encrypted => Err(OrderError::Encrypted.into()),
            Command::Mail(from, _) if from.needs_smtputf8() => self.require_smtputf8(Verb::Mail),
            Command::Rcpt(to, _) if to.needs_smtputf8() => {
                self.require_smtputf8(Verb::Rcpt)?;
                self.require_smtputf8_of_mail()
            }
            Command::Vrfy(recipient) if !recipient.is_ascii() => self.require_smtputf8(Verb::Vrfy),
            Command::Raw(raw) if !self.phase.is_challenge() => self.admit_raw(raw),
            _ => Ok(()),
        }
    }

    /// Refuses lines that would leave the session in a state it does not know of.
    fn admit_raw(&self, raw: &RawCommand) -> Result<(), CommandError> {
        let reserved = match raw.verb().as_str() {
            "STARTTLS" => ReservedCommand::StartTls,
            "DATA" => ReservedCommand::Data,
            "BDAT" => ReservedCommand::Bdat,
            "QUIT" => ReservedCommand::Quit,
            "AUTH" => return Ok(self.admit_raw_auth(raw)?),
            _ => return Ok(()),
        };
        Err(OrderError::Reserved(reserved).into())
    }

    fn admit_raw_auth(&self, raw: &RawCommand) -> Result<(), NoSupportedScheme> {
        // A name that goes on in ways no name does is that scheme for some servers.
        let ends = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let rest = raw.rest().trim_start_matches(ends);
        let scheme = rest.split(ends).next().unwrap_or_default();
        let policy = self.scheme_policy();
        match SchemeList::parse(scheme) {
            Ok(schemes) => schemes.choose(None, policy).map(drop),
            // What it makes of a password is not known.
            Err(_) if policy == SchemePolicy::NoPassword => {
                Err(NoSupportedScheme::unknown_in_clear(scheme))
            }
            Err(_) => Ok(()),
        }
    }

    fn scheme_policy(&self) -> SchemePolicy {
        if self.encrypted || self.cleartext_auth {
            SchemePolicy::Any
        } else if self.tls_wanted {
            SchemePolicy::NoPassword
        } else {
            SchemePolicy::NoCleartextSecret
        }
    }

    /// RFC 6531 §3.4: where any address of the envelope needs SMTPUTF8, MAIL has that parameter. Without a MAIL the
    /// server refuses the recipient itself.
    fn require_smtputf8_of_mail(&self) -> Result<(), CommandError> {
        let in_flight = |due: &&Due| matches!(due.verb, Verb::Mail | Verb::Rset);
        let sendable = match self.due.iter().rev().find(in_flight) {
            Some(due) => due.verb == Verb::Rset || due.smtputf8,
            None => self.envelope_smtputf8 || !matches!(self.phase, Phase::Mail | Phase::Recipient),
        };
        if sendable {
            return Ok(());
        }
        Err(CommandError::SmtpUtf8 {
            verb: Verb::Rcpt,
            problem: SmtpUtf8Problem::NotOnMail,
        })
    }

    fn require_smtputf8(&self, verb: Verb) -> Result<(), CommandError> {
        if self.offers("SMTPUTF8") {
            return Ok(());
        }
        Err(CommandError::SmtpUtf8 {
            verb,
            problem: SmtpUtf8Problem::NotOffered,
        })
    }

    /// Whether the server's last EHLO offered an extension, by its keyword.
    pub fn offers(&self, extension: &str) -> bool {
        let offered = self.capabilities.as_ref();
        offered.is_some_and(|offered| offered.offers(extension))
    }

    /// A line that answers a challenge is no command, whatever it looks like.
    fn verb(&self, command: &Command) -> Verb {
        match command {
            Command::Raw(_) if self.phase.is_challenge() => Verb::RawAuth,
            command => command.verb(),
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn expect(&mut self, due: Due) {
        self.due.push_back(due);
        self.last = due.verb;
    }

    /// Notes a line in the transcript. What the caller says in an AUTH exchange of its own is secret from AUTH to the
    /// next line that can be nothing but a command.
    fn transcribe(&mut self, command: &Command, line: &str) {
        let Command::Raw(raw) = command else {
            self.forget_secrets();
            return self.transcript.client(|| line.to_owned());
        };
        if !self.phase.is_challenge() && command.verb() == Verb::RawAuth {
            self.forget_secrets();
            self.caller_driven_auth = true;
            let words = raw.rest().split_ascii_whitespace();
            words
                .skip(1)
                .for_each(|word| self.auth_secrets.add_line(word));
            self.transcript.client(|| masked_auth(line));
        } else if self.phase.is_challenge()
            || self.caller_driven_auth && command.verb() == Verb::Raw && !is_known(&raw.verb())
        {
            self.auth_secrets.add_line(line);
            self.transcript.client(|| MASK.to_owned());
        } else {
            self.forget_secrets();
            self.transcript.client(|| line.to_owned());
        }
    }

    fn forget_secrets(&mut self) {
        self.caller_driven_auth = false;
        self.auth_secrets = Secrets::default();
    }

    /// Blots out of a text of the server what was said in secret.
    fn mask(&self, text: &mut String) {
        self.auth_secrets.mask(text);
        if let Some(exchange) = &self.exchange {
            exchange.secrets().mask(text);
        }
    }

    /// What the parser makes of the input, with nothing secret in it.
    fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), Violation> {
        let mut result = self.parser.feed(input);
        match &mut result {
            Ok((_, Some(reply))) => {
                reply
                    .lines_mut()
                    .iter_mut()
                    .for_each(|line| self.mask(line));
                self.transcript.server(reply);
            }
            Err(Violation::NotAReply(line)) => self.mask(line),
            _ => {}
        }
        result
    }

    fn parse(
        &mut self,
        input: &[u8],
        pause: &mut dyn FnMut(),
    ) -> Result<(usize, Progress), SessionError> {
        let Some(&due) = self.due.front() else {
            return Err(self.unsolicited(input));
        };
        let (used, reply) = self.read(input)?;
        let Some(reply) = reply else {
            return Ok((used, Progress::More));
        };
        let verb = due.verb;
        if reply.code() == Code::NOT_AVAILABLE {
            self.close();
            return Ok((used, Progress::Reply { verb, reply }));
        }
        if verb == Verb::Auth && reply.code() == Code::CHALLENGE {
            self.answer(&reply, pause)?;
            return Ok((used, Progress::Answer));
        }
        self.due.pop_front();
        self.accept_reply(due, &reply)?;
        Ok((used, Progress::Reply { verb, reply }))
    }

    fn answer(&mut self, challenge: &Reply, pause: &mut dyn FnMut()) -> Result<(), SessionError> {
        let Some(exchange) = &mut self.exchange else {
            return Err(SessionError::Unexpected(challenge.clone()));
        };
        let scheme = exchange.scheme();
        match exchange.answer(challenge, pause) {
            Ok(line) => {
                self.transcript.client(|| MASK.to_owned());
                self.say(&line);
                Ok(())
            }
            Err(error) => {
                self.transcript.client(|| "*".to_owned());
                self.say("*");
                Err(self.broken(scheme, error))
            }
        }
    }

    /// What a complete reply means, or that it can't follow this command.
    fn accept_reply(&mut self, due: Due, reply: &Reply) -> Result<(), SessionError> {
        let verb = due.verb;
        let expected = match (verb, reply.class()) {
            (_, Class::TransientFailure | Class::PermanentFailure) => true,
            (Verb::Connect | Verb::StartTls, _) => reply.code() == Code::READY,
            // RFC 5321 §4.3.2: 250 is the only reply by which a server accepts them.
            (Verb::Helo | Verb::Ehlo, _) => reply.code() == Code::OK,
            (Verb::Data, _) => reply.code() == Code::START_MAIL_INPUT,
            (Verb::Quit, _) => true,
            // A server that reads a message where no routine has opened one would take commands for its text.
            (Verb::Raw | Verb::RawAuth, _) => reply.code() != Code::START_MAIL_INPUT,
            (_, class) => class == Class::Completion,
        };
        if !expected {
            return Err(SessionError::Unexpected(reply.clone()));
        }
        if verb == Verb::Auth {
            self.end_exchange(reply)?;
        }
        if self.phase.is_challenge() && reply.code() != Code::CHALLENGE {
            self.phase = self.phase.after(Event::ChallengeEnded);
        }
        if let Some(event) = self.event(verb, reply) {
            if event == Event::HelloAccepted {
                self.capabilities = (verb == Verb::Ehlo).then(|| Capabilities::parse(reply));
            }
            if event == Event::MailAccepted {
                self.envelope_smtputf8 = due.smtputf8;
            }
            if event == Event::DataStarted {
                self.message = Message {
                    octets: 0,
                    warn_of_8bit: !self.offers("8BITMIME"),
                };
            }
            self.phase = self.phase.after(event);
        }
        Ok(())
    }

    fn end_exchange(&mut self, reply: &Reply) -> Result<(), SessionError> {
        let Some(mut exchange) = self.exchange.take() else {
            return Ok(());
        };
        let scheme = exchange.scheme();
        let result = if reply.is_failure() {
            Ok(None)
        } else {
            exchange.finish().map(Some)
        };
        self.auth_secrets = exchange.into_secrets();
        if let Some(username) = result.map_err(|error| self.broken(scheme, error))? {
            self.identity = Some(Identity { username, scheme });
        }
        Ok(())
    }

    fn broken(&self, scheme: Scheme, mut breach: Breach) -> SessionError {
        if let Some(text) = breach.text_mut() {
            self.mask(text);
        }
        SessionError::Authentication { scheme, breach }
    }

    fn event(&self, verb: Verb, reply: &Reply) -> Option<Event> {
        match verb {
            Verb::Quit => Some(Event::Ended),
            Verb::Connect if reply.is_failure() => Some(Event::Ended),
            Verb::FinalDot => Some(Event::DataEnded),
            Verb::RawAuth | Verb::Raw if reply.code() == Code::CHALLENGE => Some(Event::Challenged),
            _ if reply.is_failure() => None,
            Verb::Connect => Some(Event::Greeted),
            Verb::Helo | Verb::Ehlo => Some(Event::HelloAccepted),
            Verb::Mail => Some(Event::MailAccepted),
            Verb::Rcpt => Some(Event::RecipientAccepted),
            Verb::Data => Some(Event::DataStarted),
            Verb::Rset => Some(Event::Reset),
            _ => None,
        }
    }
}

/// Whether the line of a MAIL has the parameter SMTPUTF8.
fn has_smtputf8(line: &str) -> bool {
    let parameters = line.rsplit('>').next().unwrap_or_default();
    parameters
        .split_ascii_whitespace()
        .any(|word| word.eq_ignore_ascii_case("SMTPUTF8"))
}

/// The AUTH line with whatever follows the mechanism hidden.
fn masked_auth(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let shown: Vec<&str> = words.by_ref().take(2).collect();
    let mask = if words.next().is_some() {
        [" ", MASK]
    } else {
        ["", ""]
    };
    [shown.join(" "), mask.concat()].concat()
}

/// Verbs that no line of base64 is taken for.
fn is_known(verb: &str) -> bool {
    const KNOWN: &[&str] = &[
        "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "ETRN",
        "XCLIENT", "XFORWARD", "TURN", "ATRN",
    ];
    KNOWN.contains(&verb)
}

/// The longest piece of a message that [`Session::write`] should be given at once, so that the output stays small.
pub const PIECE: usize = limits::DATA_BUFFER;
