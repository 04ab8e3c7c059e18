//! Everything that a user sees when something fails, and the only place that knows SQLSTATEs.
//!
//! An Oracle error has its number with the leading 2 written as `U` for SQLSTATE, and its ORA number at the front of the
//! message. The crates below return kinds with data; here they become MESSAGE, DETAIL and HINT.

mod arguments;
mod delivery;
pub mod hints;
mod options;
mod token;

pub use arguments::OfArgument;
pub use delivery::{Delivery, not_sent};
pub use token::NoToken;

use std::time::Duration;

use smtp_client::connection::{Cause, Failure};
use smtp_client::error::NetError;
use smtp_core::auth::{CredentialError, Field, NoSupportedScheme, SchemeError, SchemePolicy};
use smtp_core::command::Verb;
use smtp_core::reply::{Class, Reply};
use smtp_core::session::{
    CommandError, OrderError, ReservedCommand, SessionError, SmtpUtf8Problem,
};

use crate::pg::encoding::EncodingError;
use crate::pg::report::{Error, raise};
use hints::Flaw;

/// An error as PostgreSQL reports it.
#[derive(Debug)]
pub struct Report {
    code: &'static [u8; 5],
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    /// The reply that is returned instead where the caller checks replies.
    reply: Option<Reply>,
}

/// The SQLSTATEs, which `utl_smtp.invalid_operation()` and its like return too.
pub mod sqlstate {
    pub const INVALID_OPERATION: &[u8; 5] = b"U9277";
    pub const TRANSIENT_ERROR: &[u8; 5] = b"U9278";
    pub const PERMANENT_ERROR: &[u8; 5] = b"U9279";
    pub const UNSUPPORTED_SCHEME: &[u8; 5] = b"U4249";
    pub const NO_SUPPORTED_SCHEME: &[u8; 5] = b"U4250";
    pub const CERTIFICATE: &[u8; 5] = b"U9024";
    pub const CERTIFICATE_NAME: &[u8; 5] = b"U4263";
    pub const TLS_VERSION: &[u8; 5] = b"U9019";
    pub const TLS: &[u8; 5] = b"U8860";
    pub const WALLET: &[u8; 5] = b"U8759";
    pub const WALLET_LOCATOR: &[u8; 5] = b"U9248";
    pub const INSUFFICIENT_PRIVILEGE: &[u8; 5] = b"42501";
    pub const INVALID_PARAMETER_VALUE: &[u8; 5] = b"22023";
    pub const UNTRANSLATABLE_CHARACTER: &[u8; 5] = b"22P05";
    pub const TOO_MANY_CONNECTIONS: &[u8; 5] = b"54000";
    pub const INSUFFICIENT_RESOURCES: &[u8; 5] = b"53000";
    pub use crate::pg::report::OUT_OF_MEMORY;
    pub const INVALID_TRANSACTION_STATE: &[u8; 5] = b"25000";
    pub const WRONG_OBJECT_TYPE: &[u8; 5] = b"42809";
    pub const INVALID_OPTION_NAME: &[u8; 5] = b"HV00D";
    pub const DATATYPE_MISMATCH: &[u8; 5] = b"42804";
    pub const UNDEFINED_FUNCTION: &[u8; 5] = b"42883";
    pub const UNDEFINED_OBJECT: &[u8; 5] = b"42704";
    pub const UNDEFINED_TABLE: &[u8; 5] = b"42P01";
    pub const INTERNAL_ERROR: &[u8; 5] = b"XX000";
}

impl Report {
    pub fn new(code: &'static [u8; 5], message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            reply: None,
        }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The line of CONTEXT: with whom, and about what.
    pub fn context(mut self, host: &str, port: u16, verb: Option<Verb>) -> Self {
        let mut context = format!("SMTP conversation with {host}:{port}");
        match verb {
            Some(Verb::Connect) => context.push_str(", while connecting"),
            Some(verb) => context.push_str(&format!(", in reply to {verb}")),
            None => {}
        }
        self.context = Some(context);
        self
    }

    /// `reason` is a phrase that can stand alone, such as "a line feed at character 3".
    pub fn argument(argument: &str, reason: &str) -> Self {
        Self::flawed(argument, reason, Flaw::Other)
    }

    /// The same for a flaw that has a HINT of its own.
    pub fn flawed(argument: &str, reason: &str, flaw: Flaw) -> Self {
        let message = format!("invalid value for argument \"{argument}\"");
        let mut report =
            Self::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(sentence(reason));
        report.hint = hints::for_value(argument, flaw).map(str::to_owned);
        report
    }

    /// For text of the database that can't be sent, because only UTF-8 is.
    pub fn encoding(argument: &str, error: EncodingError) -> Self {
        let report = Self::argument(argument, &error.to_string());
        match error {
            EncodingError::NotUtf8 => report,
            EncodingError::Untranslatable => Self {
                code: sqlstate::UNTRANSLATABLE_CHARACTER,
                ..report
            },
        }
    }

    pub fn null_argument(argument: &str) -> Self {
        let message = format!("argument \"{argument}\" must not be null");
        let mut report = Self::new(sqlstate::INVALID_PARAMETER_VALUE, message);
        report.hint = hints::for_null(argument).map(str::to_owned);
        report
    }

    /// A reply that is a failure.
    pub fn reply(reply: &Reply) -> Self {
        let (code, kind) = match reply.class() {
            Class::PermanentFailure => {
                (sqlstate::PERMANENT_ERROR, "ORA-29279: SMTP permanent error")
            }
            _ => (sqlstate::TRANSIENT_ERROR, "ORA-29278: SMTP transient error"),
        };
        let mut report = Self::new(code, format!("{kind}: {} {}", reply.code(), reply.text()));
        // The message shows a reply of one line as it is.
        if reply.lines().len() > 1 {
            report = report.detail(format!("The server replied: {reply}"));
        }
        report.hint = hints::for_reply(reply).map(str::to_owned);
        report.reply = Some(reply.clone());
        report
    }

    /// A reply that is a failure, to this command. `hello_sent`: whether the server was greeted by EHLO or HELO before,
    /// which many want.
    pub fn declined(reply: &Reply, verb: Verb, hello_sent: bool) -> Self {
        let report = Self::reply(reply);
        match reply.code().value() == 503 && !hello_sent && verb != Verb::Connect {
            true => report.hint(hints::NO_EHLO),
            false => report,
        }
    }

    /// The network's failures, which are all the reply 421. `reason` is a phrase that can stand alone.
    pub fn not_available(reason: &str) -> Self {
        let message = "ORA-29278: SMTP transient error: 421 Service not available";
        let mut report = Self::new(sqlstate::TRANSIENT_ERROR, message).detail(sentence(reason));
        report.reply = Some(Reply::not_available(reason));
        report
    }

    /// The reply that stands for this error, or the error where none does: TLS, wallets, permissions and arguments.
    pub fn into_reply(self) -> Result<Reply, Self> {
        match self.reply {
            Some(reply) => Ok(reply),
            None => Err(self),
        }
    }

    /// What `quit` returns for a connection that was lost, whatever the reason.
    pub fn into_farewell(self) -> Reply {
        self.reply.unwrap_or_else(|| {
            Reply::not_available(self.detail.as_deref().unwrap_or(&self.message))
        })
    }

    /// PostgreSQL gives this backend no more files.
    pub fn no_descriptor() -> Self {
        let message = "too many open files in this backend";
        Self::new(sqlstate::INSUFFICIENT_RESOURCES, message)
            .hint("Close SMTP connections, or raise max_files_per_process.")
    }

    /// A handle that stands for no open connection.
    pub fn no_connection() -> Self {
        Self::not_available("there is no open connection").hint(
            "The connection was never opened (open_connection_reply gives NULL where it failed), was closed, ended by an error, or belongs to another session.",
        )
    }

    /// Raises the error. Nothing runs behind it but destructors.
    pub fn raise(self) -> ! {
        raise(Error {
            code: self.code,
            message: self.message,
            detail: self.detail,
            hint: self.hint,
            context: self.context,
        })
    }

    fn from_command(error: CommandError) -> Self {
        match error {
            CommandError::Order(error) => Self::from_order(error),
            CommandError::TooLong(error) => {
                Self::argument(longest_argument(error.verb), &error.to_string())
            }
            CommandError::SmtpUtf8 { verb, problem } => {
                let argument = longest_argument(verb);
                let flaw = match problem {
                    SmtpUtf8Problem::NotOffered => Flaw::SmtpUtf8NotOffered,
                    SmtpUtf8Problem::NotOnMail => Flaw::SmtpUtf8NotOnMail,
                };
                let reason = format!("has non-ASCII characters, and {problem}");
                Self::flawed(argument, &reason, flaw)
            }
            CommandError::Credential(error) => error.into(),
            CommandError::NoSupportedScheme(error) => error.into(),
        }
    }

    fn from_order(error: OrderError) -> Self {
        let (problem, hint) = match error {
            OrderError::Closed => (error.to_string(), "Open another connection."),
            OrderError::ReplyDue(_) => (error.to_string(), "Read it before the next command."),
            OrderError::InData => (
                error.to_string(),
                "End the message with close_data, or give the connection up with close_connection.",
            ),
            OrderError::NotInData(verb) => {
                let routine = match verb {
                    Verb::FinalDot => "close_data",
                    _ => "write_data",
                };
                (
                    format!("{routine} outside of message data"),
                    "Call open_data first.",
                )
            }
            OrderError::Encrypted => (
                error.to_string(),
                "Leave starttls out: TLS can be started once.",
            ),
            OrderError::Reserved(command) => (
                format!("{command} can't be sent by command"),
                match command {
                    ReservedCommand::StartTls => {
                        "Use utl_smtp.starttls, which also does the handshake."
                    }
                    ReservedCommand::Data => {
                        "Use utl_smtp.data, or utl_smtp.open_data, write_data and close_data."
                    }
                    ReservedCommand::Bdat => {
                        "Use utl_smtp.data, or utl_smtp.open_data, write_data and close_data; BDAT is not supported."
                    }
                    ReservedCommand::Quit => "Use utl_smtp.quit.",
                },
            ),
        };
        let message = "ORA-29277: invalid SMTP operation";
        Self::new(sqlstate::INVALID_OPERATION, message)
            .detail(sentence(&problem))
            .hint(hint)
    }

    fn timed_out(what: &str, detail: Option<&str>, verb: Verb, timeout: Option<Duration>) -> Self {
        let limit = timeout.map_or_else(String::new, |limit| format!(" of {} s", limit.as_secs()));
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        let doing = doing(what, verb);
        Self::not_available(&format!(
            "the tx_timeout{limit} ended while {doing}{detail}"
        ))
        .hint(match (what, verb) {
            ("reading", Verb::Connect) => {
                "Where TLS comes first, as on port 465, open_connection needs secure_connection_before_smtp => true. Else give it a longer tx_timeout."
            }
            ("decrypting the client's private key", _) => {
                "Give open_connection a longer tx_timeout, or encrypt the key with fewer iterations: openssl pkcs8 -topk8 -v2 aes-256-cbc."
            }
            _ => "Give open_connection a longer tx_timeout, or find out why the server does not answer.",
        })
    }

    fn lost(what: &str, source: &std::io::Error, verb: Verb) -> Self {
        let cause = smtp_client::error::io_text(source);
        Self::not_available(&format!("{cause}, while {}", doing(what, verb)))
    }

    /// The same where the whole message was sent before.
    fn after_the_final_dot(mut self) -> Self {
        let detail = self.detail.unwrap_or_default();
        self.detail = Some(format!("{detail} The message may have been accepted."));
        let hint = "The final dot was sent, and what became of the message is not known: sending it again may deliver it twice.";
        self.hint = Some(hint.to_owned());
        let reply = self.reply.take();
        self.reply = reply.map(|reply| reply.with_remark("the message may have been accepted"));
        self
    }

    fn from_session(error: SessionError) -> Self {
        match &error {
            SessionError::Unsolicited(Some(reply))
                if reply.code() == smtp_core::reply::Code::NOT_AVAILABLE =>
            {
                Self::reply(reply)
            }
            _ => Self::not_available(&error.to_string()),
        }
    }
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let (verb, timeout, message_sent) = (failure.verb, failure.timeout, failure.message_sent);
        let report = match failure.cause {
            Cause::Command(error) => return Self::from_command(error),
            Cause::Session(error) => Self::from_session(error),
            Cause::Net(NetError::Timeout { what, detail }) => {
                Self::timed_out(what, detail.as_deref(), verb, timeout)
            }
            Cause::Net(NetError::Io { what, source }) => Self::lost(what, &source, verb),
            Cause::Net(error @ NetError::Tls { .. }) if verb == Verb::Connect => {
                Self::from(error).hint(
                    "Ports 25 and 587 begin in clear: leave secure_connection_before_smtp out there, and call starttls.",
                )
            }
            Cause::Net(error) => Self::from(error),
        };
        match message_sent {
            true => report.after_the_final_dot(),
            false => report,
        }
    }
}

impl From<NetError> for Report {
    fn from(error: NetError) -> Self {
        let (code, message) = match &error {
            NetError::Certificate { .. } => (
                sqlstate::CERTIFICATE,
                "ORA-29024: Certificate validation failure",
            ),
            NetError::CertificateName { .. } => (
                sqlstate::CERTIFICATE_NAME,
                "ORA-24263: Certificate of the remote server does not match the target address.",
            ),
            NetError::TlsVersion { .. } => (
                sqlstate::TLS_VERSION,
                "ORA-29019: The protocol version is incorrect.",
            ),
            NetError::Tls { .. } => (sqlstate::TLS, "ORA-28860: Fatal SSL error"),
            NetError::Wallet { .. } => (sqlstate::WALLET, "ORA-28759: failure to open file"),
            NetError::Locator { .. } => (
                sqlstate::WALLET_LOCATOR,
                "ORA-29248: an unrecognized WRL was used to open a wallet",
            ),
            NetError::OutOfMemory => (sqlstate::OUT_OF_MEMORY, "out of memory"),
            NetError::WalletForbidden => (
                sqlstate::INSUFFICIENT_PRIVILEGE,
                "permission denied for this wallet location",
            ),
            NetError::Identity(error) => return Self::argument("secure_host", &error.to_string()),
            NetError::LocatorCharacter(_) => {
                return Self::argument("wallet_path", &error.to_string());
            }
            NetError::Resolve { .. } | NetError::Connect { .. } => {
                let detail = error.detail().unwrap_or_default();
                return Self::not_available(&detail)
                    .hint("Check host and port, and that this machine can reach them.");
            }
            _ => {
                let detail = error.detail().unwrap_or_else(|| error.to_string());
                return Self::not_available(&detail);
            }
        };
        let mut report = Self::new(code, message);
        report.detail = error.detail().map(|text| sentence(&text));
        report.hint = hints::for_transport(&error)
            .map(str::to_owned)
            .or_else(|| error.hint().map(|text| sentence(&text)));
        report
    }
}

impl From<CredentialError> for Report {
    fn from(error: CredentialError) -> Self {
        let (field, flaw) = match error {
            CredentialError::ControlCharacter(field) => (field, Flaw::ControlCharacter),
            CredentialError::NotUtf8(field) | CredentialError::TooLong(field) => {
                (field, Flaw::Other)
            }
            CredentialError::Nonce => {
                return Self::new(sqlstate::INTERNAL_ERROR, error.to_string());
            }
        };
        let argument = match field {
            Field::Username => "username",
            Field::Password => "password",
        };
        Self::flawed(argument, &error.to_string(), flaw)
    }
}

impl From<SchemeError> for Report {
    fn from(error: SchemeError) -> Self {
        match error {
            SchemeError::Empty | SchemeError::Text(_) => {
                Self::argument("schemes", &error.to_string())
            }
            SchemeError::Unsupported(_) => {
                Self::new(sqlstate::UNSUPPORTED_SCHEME, format!("ORA-24249: {error}"))
                    .hint("Known schemes are SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and EXTERNAL.")
            }
        }
    }
}

impl From<NoSupportedScheme> for Report {
    fn from(error: NoSupportedScheme) -> Self {
        let wanted = &error.wanted;
        let (detail, hint) = match (&error.refused, error.policy) {
            (Some(refused), SchemePolicy::NoPassword) => (
                format!(
                    "starttls has failed on this connection, and {refused} would use the password without TLS"
                ),
                "Close the connection and find out why starttls failed: without TLS, an attacker in between could learn the password.",
            ),
            (Some(refused), _) => (
                format!("{refused} would show the secret on a connection that is not encrypted"),
                "Call starttls and ehlo first.",
            ),
            (None, _) => match &error.offered {
                Some(offered) => (
                    format!("the server offers {offered}, wanted was {wanted}"),
                    "Name one of the offered schemes in the argument \"schemes\".",
                ),
                None => (
                    format!("the server offers no authentication, wanted was {wanted}"),
                    "Many servers offer authentication only after starttls and a second ehlo.",
                ),
            },
        };
        Self::new(sqlstate::NO_SUPPORTED_SCHEME, format!("ORA-24250: {error}"))
            .detail(sentence(&detail))
            .hint(hint)
    }
}

/// The argument that makes the line of a command long, or that has its address.
fn longest_argument(verb: Verb) -> &'static str {
    match verb {
        Verb::Helo | Verb::Ehlo => "domain",
        Verb::Mail => "sender",
        Verb::Help => "command",
        _ => "recipient",
    }
}

/// What was going on, said with the command it was about.
fn doing(what: &str, verb: Verb) -> String {
    match (what, verb) {
        ("reading", Verb::Connect) => "waiting for the greeting".to_owned(),
        ("reading", _) => format!("waiting for the reply to {verb}"),
        ("writing", Verb::Data | Verb::FinalDot) => "sending message data".to_owned(),
        ("writing", _) => format!("sending {verb}"),
        _ => what.to_owned(),
    }
}

/// PostgreSQL's style for DETAIL and HINT: a capital letter and a full stop. The crates below write fragments.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(char::to_uppercase)
        .into_iter()
        .flatten();
    let mut sentence: String = first.chain(characters).collect();
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}
