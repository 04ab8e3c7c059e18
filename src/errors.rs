//! Everything that a user sees when something fails, and the only place that knows SQLSTATEs.
//!
//! An Oracle error has its number with the leading 2 written as `U` for SQLSTATE, and its ORA number at the front of the
//! message. pgrx only raises SQLSTATEs of a closed list, so ours travel on `error_context_stack`: [`Report::raise`]
//! pushes a static callback and panics with pgrx's report; when pgrx hands that to `errfinish`, the callback sets the
//! SQLSTATE and adds the one line of CONTEXT. PostgreSQL restores the stack when the error is caught. The panic must
//! not be caught in Rust on the way.

pub mod hints;

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::time::Duration;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};
use smtp_core::auth::{NoSupportedScheme, SchemeError};
use smtp_core::command::Verb;
use smtp_core::reply::{Class, Reply};
use smtp_core::session::{CommandError, SessionError};
use smtp_core::text::ArgumentError;
use smtp_net::connection::{Cause, Failure};
use smtp_net::error::NetError;

use crate::encoding;

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
    pub const OUT_OF_MEMORY: &[u8; 5] = b"53200";
    pub const INVALID_TRANSACTION_STATE: &[u8; 5] = b"25000";
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
        let message = format!("invalid value for argument \"{argument}\"");
        let mut report =
            Self::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(sentence(reason));
        report.hint = hints::for_value(argument, reason).map(str::to_owned);
        report
    }

    /// For text of the database that can't be sent, because only UTF-8 is.
    pub fn untranslatable(argument: &str) -> Self {
        Self {
            code: sqlstate::UNTRANSLATABLE_CHARACTER,
            ..Self::argument(argument, "a character that has no equivalent in UTF-8")
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
        report.reply = Some(reply.clone());
        report
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

    /// A handle that stands for no open connection.
    pub fn no_connection() -> Self {
        Self::not_available("there is no open connection").hint(
            "The connection was never opened (open_connection_reply gives NULL where it failed), was closed, ended by an error, or belongs to another session.",
        )
    }

    /// Raises the error. Nothing runs behind it but destructors.
    pub fn raise(self) -> ! {
        let context = self
            .context
            .map(encoding::for_message)
            .and_then(|text| CString::new(text).ok());
        PENDING.set(Some((encode(self.code), context)));
        let mut report = ErrorReport::new(
            PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
            encoding::for_message(self.message),
            "utl_smtp",
        );
        if let Some(detail) = self.detail {
            report = report.set_detail(encoding::for_message(detail));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(encoding::for_message(hint));
        }
        push_callback();
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    /// The sentence that a CommandError or a Failure has for a person.
    fn from_command(error: CommandError) -> Self {
        match error {
            CommandError::Argument(error) => error.into(),
            CommandError::Order { problem, hint } => Self::new(
                sqlstate::INVALID_OPERATION,
                "ORA-29277: invalid SMTP operation",
            )
            .detail(sentence(&problem))
            .hint(hint),
            CommandError::NoSupportedScheme(error) => error.into(),
        }
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
        let cause = smtp_net::error::io_text(source);
        Self::not_available(&format!("{cause}, while {}", doing(what, verb)))
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
        let mut report = match failure.cause {
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
        if message_sent {
            let detail = report.detail.unwrap_or_default();
            report.detail = Some(format!("{detail} The message may have been accepted."));
            let hint = "The final dot was sent, and what became of the message is not known: sending it again may deliver it twice.";
            report.hint = Some(hint.to_owned());
            report.reply = report
                .reply
                .map(|reply| reply.with_remark("the message may have been accepted"));
        }
        report
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
            NetError::Argument { name, detail } => return Self::argument(name, detail),
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
        report.hint = error.hint().map(|text| sentence(&text));
        report
    }
}

impl From<ArgumentError> for Report {
    fn from(error: ArgumentError) -> Self {
        Self::argument(error.argument, &error.reason)
    }
}

impl From<SchemeError> for Report {
    fn from(error: SchemeError) -> Self {
        match error {
            SchemeError::Argument(error) => error.into(),
            SchemeError::Unsupported(_) => {
                Self::new(sqlstate::UNSUPPORTED_SCHEME, format!("ORA-24249: {error}"))
                    .hint("Known schemes are SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and EXTERNAL.")
            }
        }
    }
}

impl From<NoSupportedScheme> for Report {
    fn from(error: NoSupportedScheme) -> Self {
        Self::new(sqlstate::NO_SUPPORTED_SCHEME, format!("ORA-24250: {error}"))
            .detail(sentence(&error.detail()))
            .hint(sentence(error.hint()))
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

/// `MAKE_SQLSTATE`: six bits a character.
pub const fn encode(code: &[u8; 5]) -> c_int {
    let mut value = 0;
    let mut index = 0;
    while index < code.len() {
        value |= (((code[index] - b'0') & 0x3f) as c_int) << (6 * index);
        index += 1;
    }
    value
}

thread_local! {
    /// What the callback is to add to the error that is being raised.
    static PENDING: RefCell<Option<(c_int, Option<CString>)>> = const { RefCell::new(None) };
}

/// Called when the library is loaded, see [`crate::memory::prepare`].
pub fn prepare() {
    PENDING.with(|_| ());
}

/// The stack holds a pointer to it for as long as the error is on its way, so it lives for ever.
struct Callback(std::cell::UnsafeCell<pg_sys::ErrorContextCallback>);

// SAFETY: a backend has one thread that runs PostgreSQL's code, and only that one touches it.
unsafe impl Sync for Callback {}

static CALLBACK: Callback = Callback(std::cell::UnsafeCell::new(pg_sys::ErrorContextCallback {
    previous: std::ptr::null_mut(),
    callback: None,
    arg: std::ptr::null_mut(),
}));

fn push_callback() {
    let callback = CALLBACK.0.get();
    // SAFETY: the static is valid for ever and not on the stack yet: every error that pushed it has left, and
    // PostgreSQL restored the stack when it did.
    unsafe {
        (*callback).previous = pg_sys::error_context_stack;
        (*callback).callback = Some(add_to_error);
        pg_sys::error_context_stack = callback;
    }
}

/// Called by `errfinish` for the error that [`Report::raise`] raised, and for no other: what it adds is taken once.
unsafe extern "C-unwind" fn add_to_error(_: *mut c_void) {
    unsafe extern "C-unwind" {
        fn errcode(sqlerrcode: c_int) -> c_int;
        fn errcontext_msg(format: *const c_char, ...) -> c_int;
    }
    let Some((code, context)) = PENDING.take() else {
        return;
    };
    // SAFETY: within errfinish both may be called; the format has one string, which is copied.
    unsafe {
        errcode(code);
        if let Some(context) = &context {
            errcontext_msg(c"%s".as_ptr(), context.as_ptr());
        }
    }
}
