//! Everything that a user sees when something fails, and the only place that knows SQLSTATEs.
//!
//! The SQLSTATE of an Oracle error is its number with `U` for the leading 2; its message begins
//! with the ORA number. The crates return kinds with data. Here each kind gets MESSAGE, DETAIL and
//! HINT: the `Display` text of a kind, as a sentence, is a DETAIL.

mod arguments;
mod auth;
mod commands;
mod delivery;
pub mod dkim;
pub mod hints;
mod mail;
mod options;
mod query;
pub mod queue;
mod recorded;
mod token;
mod transport;
mod wallet;

pub use arguments::OfArgument;
pub use delivery::{Delivery, not_sent};
pub use mail::OfMessage;
pub use token::NoToken;

use smtp_core::command::Verb;
use smtp_core::memory::OutOfMemory;
use smtp_core::reply::{Class, Reply};

use crate::pg::encoding::EncodingError;
use crate::pg::report::{Error, raise};
use hints::Flaw;

/// An error as PostgreSQL reports it.
#[derive(Clone, Debug)]
pub struct Report {
    code: &'static [u8; 5],
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    /// The reply that is returned instead where the caller checks replies.
    reply: Option<Box<Reply>>,
}

/// The SQLSTATEs, which `utl_smtp.invalid_operation()` and its like return too.
pub mod sqlstate {
    pub const INVALID_OPERATION: &[u8; 5] = b"U9277";
    pub const TRANSIENT_ERROR: &[u8; 5] = b"U9278";
    pub const PERMANENT_ERROR: &[u8; 5] = b"U9279";
    pub const BAD_ARGUMENT: &[u8; 5] = b"U9261";
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
    pub const SYNTAX_ERROR: &[u8; 5] = b"42601";
    pub const READ_ONLY: &[u8; 5] = b"25006";
    pub const PROGRAM_LIMIT_EXCEEDED: &[u8; 5] = b"54000";
    pub const UNTRANSLATABLE_CHARACTER: &[u8; 5] = b"22P05";
    pub const TOO_MANY_CONNECTIONS: &[u8; 5] = b"54000";
    pub const INSUFFICIENT_RESOURCES: &[u8; 5] = b"53000";
    pub use crate::pg::report::OUT_OF_MEMORY;
    pub const NOT_IN_PREREQUISITE_STATE: &[u8; 5] = b"55000";
    pub const INVALID_TRANSACTION_STATE: &[u8; 5] = b"25000";
    pub const READ_ONLY_TRANSACTION: &[u8; 5] = b"25006";
    pub const WRONG_OBJECT_TYPE: &[u8; 5] = b"42809";
    pub const INVALID_OPTION_NAME: &[u8; 5] = b"HV00D";
    pub const DATATYPE_MISMATCH: &[u8; 5] = b"42804";
    pub const UNDEFINED_FUNCTION: &[u8; 5] = b"42883";
    pub const UNDEFINED_OBJECT: &[u8; 5] = b"42704";
    pub const AMBIGUOUS: &[u8; 5] = b"42P09";
    pub const DISK_FULL: &[u8; 5] = b"53100";
    pub const CONFIGURATION_LIMIT: &[u8; 5] = b"53400";
    pub const IO_ERROR: &[u8; 5] = b"58030";
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

    pub fn maybe_hint(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
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
        report.reply = Some(Box::new(reply.clone()));
        report
    }

    /// A reply that is a failure, to this command. `hello_sent`: whether the server was greeted by
    /// EHLO or HELO before, which many want.
    pub fn declined(reply: &Reply, verb: Verb, hello_sent: bool) -> Self {
        let report = Self::reply(reply);
        match reply.code().value() == 503 && !hello_sent && verb != Verb::Connect {
            true => report.hint(hints::NO_EHLO),
            false => report,
        }
    }

    /// The network's failures, which are all the reply 421. `reason` is a phrase that can stand
    /// alone.
    pub fn not_available(reason: &str) -> Self {
        let message = "ORA-29278: SMTP transient error: 421 Service not available";
        let mut report = Self::new(sqlstate::TRANSIENT_ERROR, message).detail(sentence(reason));
        report.reply = Some(Box::new(Reply::not_available(reason)));
        report
    }

    /// Whether another server may do where this one did not: it could not be reached, or wants
    /// nothing now.
    pub fn is_unavailable(&self) -> bool {
        self.code == sqlstate::TRANSIENT_ERROR || self.code == sqlstate::PERMANENT_ERROR
    }

    /// Whether an object that is needed does not exist.
    pub fn is_undefined(&self) -> bool {
        self.code == sqlstate::UNDEFINED_OBJECT
    }

    /// The reply that stands for this error, or the error where none does: TLS, wallets,
    /// permissions and arguments.
    pub fn into_reply(self) -> Result<Reply, Self> {
        match self.reply {
            Some(reply) => Ok(*reply),
            None => Err(self),
        }
    }

    /// What `quit` returns for a connection that was lost, whatever the reason.
    pub fn into_farewell(self) -> Reply {
        match self.reply {
            Some(reply) => *reply,
            None => Reply::not_available(self.detail.as_deref().unwrap_or(&self.message)),
        }
    }

    /// The extension of the database is older than its queue.
    pub fn queue_missing() -> Self {
        let message = "the extension utl_smtp of this database has no queue";
        Self::new(sqlstate::UNDEFINED_TABLE, message).hint("ALTER EXTENSION utl_smtp UPDATE;")
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
}

impl From<OutOfMemory> for Report {
    fn from(error: OutOfMemory) -> Self {
        Self::new(sqlstate::OUT_OF_MEMORY, error.to_string())
    }
}

/// PostgreSQL's style for DETAIL and HINT: a capital letter and a full stop. The crates below write
/// fragments.
pub fn sentence(text: &str) -> String {
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

impl From<getrandom::Error> for Report {
    fn from(error: getrandom::Error) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, format!("no randomness: {error}"))
    }
}
