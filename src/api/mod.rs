//! The SQL functions, one file for each group of them; their declarations are in `sql/install/`.
//!
//! What they share is here: how a session is taken out and put back, and which failures are raised and which are
//! returned.

mod auth;
mod connection;
mod conversation;
mod data;
mod hosts;
mod removed;
mod wallet;

use pgrx::PgLogLevel;
use smtp_core::command::Verb;
use smtp_core::host::Host;
use smtp_core::reply::Reply;
use smtp_net::connection::{Cause, Connection, Failure, Io};

use crate::access;
use crate::datum::Bytes;
use crate::errors::{Report, hints, sqlstate};
use crate::latch::Latch;
use crate::memory;
use crate::notices;
use crate::registry::{self, Handle, Session};
use crate::settings::{self, Trace};

/// What a routine does with 4xx, 5xx and a lost connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    /// Raises them, unless `utl_smtp.raise_reply_errors` is off.
    AsSet,
    /// Returns them.
    Returned,
}

impl Failures {
    fn returned(self) -> bool {
        match self {
            Self::AsSet => !settings::raise_reply_errors(),
            Self::Returned => true,
        }
    }
}

/// Why a step on a session failed.
enum Problem {
    /// Nothing was sent.
    Refused(Report),
    /// The transport or the protocol failed, or the session refused the command.
    Failed(Failure),
    /// The server's reply is a failure.
    Declined {
        reply: Reply,
        verb: Verb,
        /// Whether the server may want to be greeted first.
        hello_sent: bool,
    },
}

impl Problem {
    fn declined(reply: Reply, connection: &Connection) -> Self {
        let session = connection.session();
        Self::Declined {
            reply,
            verb: session.last_verb(),
            hello_sent: session.hello_sent(),
        }
    }

    /// The error, with the line of CONTEXT for a conversation with this host and port.
    fn into_report(self, host: &Host, port: u16) -> Report {
        let (report, verb) = match self {
            Self::Refused(report) => (report, None),
            Self::Failed(failure) => {
                let verb = (!matches!(failure.cause, Cause::Command(_))).then_some(failure.verb);
                (failure.into(), verb)
            }
            Self::Declined {
                reply,
                verb,
                hello_sent,
            } => {
                let mut report = Report::reply(&reply);
                if reply.code().value() == 503 && !hello_sent && verb != Verb::Connect {
                    report = report.hint(hints::NO_EHLO);
                }
                (report, Some(verb))
            }
        };
        report.context(&host.to_string(), port, verb)
    }
}

impl From<Report> for Problem {
    fn from(report: Report) -> Self {
        Self::Refused(report)
    }
}

impl From<smtp_core::text::ArgumentError> for Problem {
    fn from(error: smtp_core::text::ArgumentError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs one step on a session and returns its reply, or raises the error.
fn converse(
    handle: Option<Handle>,
    failures: Failures,
    step: impl FnOnce(&mut Session, &Io<'_>) -> Result<Reply, Problem>,
) -> Reply {
    let returned = failures.returned();
    let result = with_session(handle, |session, io| {
        let reply = step(session, io)?;
        checked(reply, session, returned)
    });
    returned_or_raised(result, returned)
}

/// A reply that is a failure is an error, unless failures are returned.
fn checked(reply: Reply, session: &Session, returned: bool) -> Result<Reply, Problem> {
    if reply.is_failure() && !returned {
        return Err(Problem::declined(reply, &session.connection));
    }
    Ok(reply)
}

fn returned_or_raised(result: Result<Reply, Report>, returned: bool) -> Reply {
    let result = match result {
        Err(report) if returned => report.into_reply(),
        result => result,
    };
    result.unwrap_or_else(|report| report.raise())
}

/// Runs one step on the session of a handle. The session is put back unless it is over.
fn with_session<T>(
    handle: Option<Handle>,
    step: impl FnOnce(&mut Session, &Io<'_>) -> Result<T, Problem>,
) -> Result<T, Report> {
    memory::admit()?;
    let mut session = take(handle)?.ok_or_else(Report::no_connection)?;
    // Whatever unwinds in here ends the session: it is out of the registry.
    let result = with_io(|io| step(&mut session, io));
    let result = result.map_err(|problem| problem.into_report(&session.host, session.port));
    if !session.connection.is_over() {
        registry::put(session);
    }
    result
}

/// Takes the session of a handle out of the registry; `None` where there is none.
fn take(handle: Option<Handle>) -> Result<Option<Box<Session>>, Report> {
    let role = access::caller()?;
    let Some(session) = handle.and_then(registry::take) else {
        return Ok(None);
    };
    if access::role_has_privileges_of(role, session.owner) {
        return Ok(Some(session));
    }
    registry::put(session);
    let message = "permission denied for SMTP connection";
    Err(Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
        .detail("The connection was opened by another role.")
        .hint("A connection is for the role that opened it and for roles with its privileges."))
}

/// Lends the backend's way to wait, and a reader for the transcript if one is wanted.
fn with_io<T>(run: impl FnOnce(&Io<'_>) -> T) -> T {
    let wait = &Latch;
    let level = match settings::trace() {
        Trace::Off => {
            return run(&Io { wait, trace: None });
        }
        Trace::Notice => PgLogLevel::NOTICE,
        Trace::Log => PgLogLevel::LOG,
    };
    let trace = |line: &str| notices::send(level, line, None);
    run(&Io {
        wait,
        trace: Some(&trace),
    })
}

fn warn(message: &str, detail: Option<&str>) {
    notices::send(PgLogLevel::WARNING, message, detail);
}

/// A text argument; NULL is `None`.
fn optional<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<std::borrow::Cow<'a, str>>, Report> {
    value.map(|bytes| bytes.to_str(argument)).transpose()
}

/// A text argument that must have a value.
fn required<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<std::borrow::Cow<'a, str>, Report> {
    optional(argument, value)?.ok_or_else(|| Report::null_argument(argument))
}

/// A text argument for which '' is NULL, as it is in Oracle.
fn non_empty<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<std::borrow::Cow<'a, str>>, Report> {
    Ok(optional(argument, value)?.filter(|text| !text.is_empty()))
}
