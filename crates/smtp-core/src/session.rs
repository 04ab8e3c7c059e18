//! A conversation without I/O: commands in, bytes for the server out; bytes of the server in,
//! replies out.
//!
//! A session knows which reply is due, what a reply means for the [`Phase`], what the server
//! offers, and how message data is framed. It keeps a queue of the commands whose replies are due.
//! Each reply is paired with the oldest of them; a reply that comes when none is due ends the
//! session.
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

mod admission;
mod error;
mod masking;
mod replies;

use std::collections::VecDeque;

use zeroize::Zeroizing;

use crate::auth::{Credentials, Scheme, SchemeList};
use crate::command::{Command, Verb};
use crate::data::DataEncoder;
use crate::ehlo::Capabilities;
use crate::exchange::{Exchange, Secrets};
use crate::limits;
use crate::parser::ReplyParser;
use crate::phase::{Event, Phase};
use crate::reply::Reply;
use crate::transcript::Transcript;

pub use error::{CommandError, OrderError, ReservedCommand, SessionError, SmtpUtf8Problem};

/// One conversation.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Whether nobody is on the other side, see [`Session::recording`].
    recording: bool,
    encrypted: bool,
    /// Whether schemes that show the password may be used without TLS.
    cleartext_auth: bool,
    /// Whether STARTTLS was wanted. While the session is not encrypted, no scheme with a password
    /// is used then.
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
    /// The secrets of the last AUTH exchange, until the next command.
    auth_secrets: Secrets,
    parser: ReplyParser,
    encoder: DataEncoder,
    message: Message,
    output: Zeroizing<Vec<u8>>,
    /// The transcript of the conversation.
    pub transcript: Transcript,
}

/// The authenticated user.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user name that was accepted.
    pub username: String,
    /// The scheme that was used.
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

/// The message that is being sent.
#[derive(Debug, Default)]
struct Message {
    octets: u64,
    warn_of_8bit: bool,
}

/// The result of feeding bytes of the server.
#[derive(Debug)]
pub enum Progress {
    /// The reply is not complete.
    More,
    /// The output has an answer to a challenge. The reply is still due.
    Answer,
    /// A reply is complete.
    Reply {
        /// The command that it answers: the oldest whose reply was due.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
}

impl Session {
    /// A session whose greeting is due. `encrypted`: under TLS from the beginning.
    pub fn new(encrypted: bool, cleartext_auth: bool) -> Self {
        Self {
            phase: Phase::Connecting,
            recording: false,
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

    /// A session of a [`crate::recorder::Recorder`]: its output has the messages as they are kept,
    /// and no secret.
    pub(crate) fn recording(encrypted: bool) -> Self {
        Self {
            recording: true,
            encoder: DataEncoder::plain(),
            ..Self::new(encrypted, false)
        }
    }

    /// Whether AUTH schemes that show the password may be used without TLS, from now on.
    pub fn allow_cleartext_auth(&mut self, allow: bool) {
        self.cleartext_auth = allow;
    }

    /// STARTTLS is wanted: from now on, no AUTH scheme with a password is used without TLS, unless
    /// clear text is allowed.
    pub fn want_tls(&mut self) {
        self.tls_wanted = true;
    }

    /// Whether EHLO or HELO was sent since the greeting or the handshake, whatever the reply.
    pub fn hello_sent(&self) -> bool {
        self.hello_sent
    }

    /// The state of the conversation.
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
        let offered = self.capabilities.as_ref();
        offered.is_some_and(Capabilities::is_pipelining)
    }

    /// Whether the server's last EHLO offered an extension, by its keyword.
    pub fn offers(&self, extension: &str) -> bool {
        let offered = self.capabilities.as_ref();
        offered.is_some_and(|offered| offered.offers(extension))
    }

    /// The command that was put into the output last.
    pub fn last_verb(&self) -> Verb {
        self.last
    }

    /// Bytes that the server has to get, in order.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Call it when all of [`Session::output`] has been sent.
    pub fn output_sent(&mut self) {
        self.output.clear();
    }

    /// Takes the output out, for a caller that must not send anything twice whatever happens on the
    /// way.
    pub fn take_output(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.output)
    }

    /// Gives back the room of an output that was taken out and sent.
    pub fn reuse(&mut self, mut sent: Zeroizing<Vec<u8>>) {
        if self.output.is_empty() {
            sent.clear();
            self.output = sent;
        }
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
        let line = command.pieces()?;
        self.transcribe(command, &line);
        for piece in line {
            self.output.extend_from_slice(piece.as_bytes());
        }
        self.output.extend_from_slice(b"\r\n");
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
            smtputf8: verb == Verb::Mail && has_smtputf8(command),
        });
        Ok(())
    }

    /// Opens an AUTH exchange by the first of `schemes` that the server offers. The exchange runs
    /// inside [`Session::feed`]. AUTH ends its group.
    ///
    /// # Errors
    /// Why AUTH can't be sent. The session is then as it was.
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
    ) -> Result<(), CommandError> {
        let (mut exchange, line) = self.open_exchange(schemes, credentials)?;
        self.transcript.client(|| masking::masked_auth(&line));
        match self.recording {
            true => exchange.settle(),
            false => self.say(&line),
        }
        self.exchange = Some(exchange);
        self.forget_secrets();
        self.expect(Due::last(Verb::Auth));
        Ok(())
    }

    /// The exchange that [`Session::authenticate`] begins, and its first line.
    pub(crate) fn open_exchange(
        &self,
        schemes: &SchemeList,
        credentials: Credentials,
    ) -> Result<(Exchange, Zeroizing<String>), CommandError> {
        self.require_turn()?;
        self.refuse_in_data()?;
        let offered = self.capabilities.as_ref().map(Capabilities::auth_schemes);
        let scheme = schemes.choose(offered, self.scheme_policy())?;
        Ok(Exchange::open(scheme, credentials)?)
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

    /// Ends the session because of bytes that came when no reply was due.
    pub fn unsolicited(&mut self, input: &[u8]) -> SessionError {
        let result = self.read(input);
        self.close();
        match result {
            Ok((_, reply)) => SessionError::Unsolicited(reply),
            Err(violation) => violation.into(),
        }
    }

    /// Takes a whole reply, of nobody, to the oldest command whose reply is due.
    pub(crate) fn hear(&mut self, reply: &Reply) {
        self.transcript.server(reply);
        if let Some(due) = self.due.pop_front()
            && self.accept_reply(due, reply).is_err()
        {
            self.close();
        }
    }

    /// TLS has started: forgets everything that was learned without it (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        self.encrypted = true;
        self.hello_sent = false;
        self.capabilities = None;
        self.identity = None;
        self.phase = self.phase.after(Event::TlsStarted);
    }

    /// Ends the session.
    pub fn close(&mut self) {
        self.due.clear();
        self.exchange = None;
        self.phase = self.phase.after(Event::Ended);
    }

    /// Puts a piece of the message into the output. True once per message, for the first 8-bit
    /// characters that the server did not offer to take by 8BITMIME (RFC 6152).
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

    /// A line that answers a challenge is not a command, even if it looks like one.
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
}

/// Whether a MAIL has the parameter SMTPUTF8.
fn has_smtputf8(mail: &Command) -> bool {
    let parameters = match mail {
        Command::Mail(from, _) if from.needs_smtputf8() => return true,
        Command::Mail(_, parameters) => parameters.as_str(),
        Command::Raw(raw) => raw.line().rsplit('>').next().unwrap_or_default(),
        _ => return false,
    };
    parameters
        .split_ascii_whitespace()
        .any(|word| word.eq_ignore_ascii_case("SMTPUTF8"))
}

/// The longest piece that should be given to [`Session::write`] at once, to keep the output small.
pub const PIECE: usize = limits::DATA_BUFFER;
