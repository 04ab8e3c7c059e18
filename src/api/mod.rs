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
use smtp_core::reply::Reply;
use smtp_net::connection::{Cause, Failure, Io};

use crate::access;
use crate::datum::Bytes;
use crate::errors::{Report, sqlstate};
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
    /// Raises them whatever the setting: the routine has no reply to return.
    Raised,
}

/// Why a step on a session did not lead to a reply.
enum Problem {
    /// Nothing was sent.
    Refused(Report),
    /// The transport or the protocol failed, or the session refused the command.
    Failed(Failure),
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

/// Runs one step on a session and raises what there is to raise.
fn converse(
    handle: Option<Handle>,
    failures: Failures,
    step: impl FnOnce(&mut Session, &Io<'_>) -> Result<Reply, Problem>,
) -> Reply {
    let returned = match failures {
        Failures::AsSet => !settings::raise_reply_errors(),
        Failures::Returned => true,
        Failures::Raised => false,
    };
    try_converse(handle, returned, step).unwrap_or_else(|report| report.raise())
}

fn try_converse(
    handle: Option<Handle>,
    returned: bool,
    step: impl FnOnce(&mut Session, &Io<'_>) -> Result<Reply, Problem>,
) -> Result<Reply, Report> {
    memory::admit()?;
    let Some(mut session) = take(handle)? else {
        return if returned {
            Ok(Reply::service_not_available())
        } else {
            Err(Report::no_connection())
        };
    };
    // Whatever unwinds in here ends the session: it is out of the registry.
    let result = with_io(|io| step(&mut session, io));
    let result = match result {
        Ok(reply) if reply.is_failure() && !returned => {
            let verb = session.connection.session().last_verb();
            Err((Report::reply(&reply), Some(verb)))
        }
        Ok(reply) => Ok(reply),
        Err(Problem::Failed(failure)) if returned && is_421(&failure) => {
            Ok(Reply::service_not_available())
        }
        Err(Problem::Failed(failure)) => {
            let verb = (!matches!(failure.cause, Cause::Command(_))).then_some(failure.verb);
            Err((failure.into(), verb))
        }
        Err(Problem::Refused(report)) => Err((report, None)),
    };
    let result = result
        .map_err(|(report, verb)| report.context(&session.host.to_string(), session.port, verb));
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

/// Whether this is what Oracle calls 421: the network failed, or the server broke off or broke the protocol. TLS,
/// wallets and arguments are not.
fn is_421(failure: &Failure) -> bool {
    match &failure.cause {
        Cause::Session(_) => true,
        Cause::Net(error) => error.is_transient(),
        Cause::Command(_) => false,
    }
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
