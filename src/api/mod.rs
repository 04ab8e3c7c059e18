//! The SQL functions, one file for each group of them; their declarations are in `sql/install/`.
//!
//! What they share is here: how a session is taken out and put back, and which failures are raised
//! and which are returned.

mod arguments;
mod auth;
mod connection;
mod conversation;
mod data;
mod dkim;
mod hosts;
mod mail;
mod message;
mod queue;
mod removed;
mod rows;
mod servers;
mod submit;
mod suppression;
mod wallet;
mod workers;

use pgrx::{PgLogLevel, pg_sys};
use smtp_client::connection::Io;
use smtp_core::reply::Reply;

use crate::conversation::registry::{self, Handle, Session};
use crate::conversation::{Problem, wallet_cache};
use crate::errors::{Report, sqlstate};
use crate::pg::latch::Latch;
use crate::pg::{memory, notices, roles};
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
        return Err(Problem::declined(reply, session.dialogue.session()));
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
    admit()?;
    let mut session = take(handle)?.ok_or_else(Report::no_connection)?;
    // Whatever unwinds in here ends the session: it is out of the registry.
    let result = with_io(|io| step(&mut session, io));
    let result =
        result.map_err(|problem| problem.into_report(&session.opening.host, session.opening.port));
    if !session.dialogue.is_over() {
        registry::put(session);
    }
    result
}

/// Refuses a call that begins while memory is short, once what is only cached is given up.
fn admit() -> Result<(), Report> {
    if !memory::may_begin() {
        wallet_cache::forget();
        if !memory::may_begin() {
            return Err(Report::new(sqlstate::OUT_OF_MEMORY, "out of memory"));
        }
    }
    Ok(())
}

/// The current role. Refused where sending mail would be somebody else's doing: under the
/// restrictions that PostgreSQL sets while it runs untrusted code with another's rights, and in
/// parallel workers, whose sessions would vanish.
fn caller() -> Result<pg_sys::Oid, Report> {
    let (role, context) = roles::current_with_context();
    if context & pg_sys::SECURITY_RESTRICTED_OPERATION != 0 {
        let message = "cannot use utl_smtp within security-restricted operation";
        return Err(Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
    }
    // SAFETY: reads the backend's state.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        let message = "cannot use utl_smtp in a parallel worker";
        return Err(Report::new(sqlstate::INVALID_TRANSACTION_STATE, message)
            .hint("Leave functions that call utl_smtp PARALLEL UNSAFE, as they are by default."));
    }
    Ok(role)
}

/// Takes the session of a handle out of the registry; `None` where there is none.
fn take(handle: Option<Handle>) -> Result<Option<Box<Session>>, Report> {
    let role = caller()?;
    let Some(session) = handle.and_then(registry::take) else {
        return Ok(None);
    };
    if roles::has_privileges_of(role, session.opening.principal) {
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
