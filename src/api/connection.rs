//! Opening and closing: `open_connection`, `quit`, `close_connection`, `close_all_connections`, `connections`.

use std::time::Duration;

use pem_wallet::{Locator, ServerIdentity};
use pgrx::datum::{Inet, TimestampWithTimeZone};
use pgrx::prelude::*;
use smtp_client::connection::{Connection, Farewell, Io};
use smtp_core::host::Host;
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;

use super::arguments::{non_empty, optional, required};
use super::rows::{ConnectionRow, OpenRow, ReplyRow};
use super::{Failures, admit, caller, checked, returned_or_raised, take, with_io, with_session};
use crate::access::{self, Privilege};
use crate::conversation::opening::{Opening, Policy, timestamp};
use crate::conversation::registry::{self, Descriptor, Handle, Session};
use crate::conversation::{Problem, wallet_cache};
use crate::errors::{OfArgument, Report, sqlstate};
use crate::pg::datum::{Bytes, Text};
use crate::pg::result_set::ResultSet;
use crate::pg::{memory, roles};
use crate::settings;

/// `utl_smtp.open_connection`
#[pg_extern(sql = false)]
fn open_connection(
    host: Option<Bytes<'_>>,
    port: Option<i32>,
    tx_timeout: Option<i32>,
    wallet_path: Option<Bytes<'_>>,
    wallet_password: Option<Bytes<'_>>,
    secure_connection_before_smtp: Option<bool>,
    secure_host: Option<Bytes<'_>>,
) -> ConnectionRow {
    let arguments = Arguments {
        host,
        port,
        tx_timeout,
        wallet_path,
        wallet_password,
        secure_connection_before_smtp,
        secure_host,
    };
    open(arguments).unwrap_or_else(|report| report.raise()).0
}

/// `utl_smtp.open_connection_reply`: Oracle's form that returns the reply for the caller to judge.
#[pg_extern(sql = false)]
fn open_connection_reply(
    host: Option<Bytes<'_>>,
    port: Option<i32>,
    tx_timeout: Option<i32>,
    wallet_path: Option<Bytes<'_>>,
    wallet_password: Option<Bytes<'_>>,
    secure_connection_before_smtp: Option<bool>,
    secure_host: Option<Bytes<'_>>,
) -> OpenRow {
    let arguments = Arguments {
        host,
        port,
        tx_timeout,
        wallet_path,
        wallet_password,
        secure_connection_before_smtp,
        secure_host,
    };
    match open(arguments) {
        Ok((connection, reply)) => OpenRow {
            connection: Some(connection),
            reply,
        },
        Err(report) => OpenRow {
            connection: None,
            reply: report.into_reply().unwrap_or_else(|report| report.raise()),
        },
    }
}

/// `utl_smtp.quit`: RFC 5321 §4.1.1.10. The session is over whatever the server says.
#[pg_extern(sql = false)]
fn quit(c: Option<Handle>) -> ReplyRow {
    let returned = Failures::AsSet.returned();
    let result = with_session(c, |session, io| match session.connection.quit(io)? {
        Farewell::Reply(reply) => checked(reply, session, returned),
        // A 421 that is no error, whatever the setting.
        Farewell::Lost(failure) => Ok(Report::from(failure).into_farewell()),
    });
    ReplyRow(returned_or_raised(result, returned))
}

/// `utl_smtp.close_connection`: without QUIT, and in the data phase without the final dot.
#[pg_extern(sql = false)]
fn close_connection(c: Option<Handle>) {
    match take(c) {
        Ok(Some(mut session)) => session.connection.hang_up(),
        Ok(None) => {}
        Err(report) => report.raise(),
    }
}

/// `utl_smtp.close_all_connections`: those that the current role may use.
#[pg_extern(sql = false)]
fn close_all_connections() -> i32 {
    let mut closed = 0;
    for handle in mine(|session| session.handle) {
        if let Some(mut session) = registry::take(handle) {
            session.connection.hang_up();
            closed += 1;
        }
    }
    closed
}

/// What is returned for each connection.
type Row = (
    name!(handle, i64),
    name!(host, Text),
    name!(address, Inet),
    name!(port, i32),
    name!(phase, Text),
    name!(tls_version, Option<Text>),
    name!(cipher, Option<Text>),
    name!(peer_subject, Option<Text>),
    name!(peer_not_after, Option<TimestampWithTimeZone>),
    name!(authenticated_as, Option<Text>),
    name!(auth_scheme, Option<Text>),
    name!(capabilities, Option<Vec<Text>>),
    name!(messages_sent, i64),
    name!(bytes_sent, i64),
    name!(bytes_received, i64),
    name!(opened_at, Option<TimestampWithTimeZone>),
    name!(last_reply, Option<Text>),
    name!(c, ConnectionRow),
    name!(server, Option<Text>),
    name!(delivery, Text),
);

/// `utl_smtp.connections`: those that the current role may use.
#[pg_extern(sql = false)]
fn connections() -> ResultSet<Row> {
    admit().unwrap_or_else(|report| report.raise());
    ResultSet(mine(|session| {
        memory::check();
        let conversation = session.connection.session();
        let statistics = &session.connection.statistics;
        let tls = session.connection.tls();
        let text = |text: &str| Text(text.to_owned());
        let identity = conversation.identity();
        let capabilities = conversation.capabilities();
        (
            session.handle.0,
            Text(session.opening.host.to_string()),
            Inet(session.connection.peer().ip().to_canonical().to_string()),
            i32::from(session.opening.port),
            Text(conversation.phase().to_string()),
            tls.map(|tls| text(&tls.version)),
            tls.map(|tls| text(&tls.cipher)),
            tls.map(|tls| text(&tls.peer_subject)),
            tls.and_then(|tls| timestamp(tls.peer_not_after)),
            identity.map(|identity| text(&identity.username)),
            identity.map(|identity| text(identity.scheme.name())),
            capabilities.map(|offered| offered.keywords().iter().map(|line| text(line)).collect()),
            count(statistics.messages_sent),
            count(statistics.bytes_sent),
            count(statistics.bytes_received),
            TimestampWithTimeZone::try_from(session.opened_at).ok(),
            statistics
                .last_reply
                .as_ref()
                .map(|reply| Text(reply.to_string())),
            ConnectionRow::of(session),
            session.opening.server.as_deref().map(text),
            text("immediate"),
        )
    }))
}

struct Arguments<'a> {
    host: Option<Bytes<'a>>,
    port: Option<i32>,
    tx_timeout: Option<i32>,
    wallet_path: Option<Bytes<'a>>,
    wallet_password: Option<Bytes<'a>>,
    secure_connection_before_smtp: Option<bool>,
    secure_host: Option<Bytes<'a>>,
}

/// Arguments first, then permission, then the wallet, then the network.
fn open(arguments: Arguments<'_>) -> Result<(ConnectionRow, Reply), Report> {
    let principal = caller()?;
    admit()?;
    establish(opening(arguments, principal)?, |_, _, _| Ok(()))
}

/// Connects, takes the `steps` that make the connection ready, and registers the session.
pub(super) fn establish(
    opening: Opening,
    steps: impl FnOnce(&mut Connection, &Opening, &Io<'_>) -> Result<(), Problem>,
) -> Result<(ConnectionRow, Reply), Report> {
    let (connection, reply, descriptor) = connect(&opening, steps)?;
    let session = Box::new(Session {
        handle: registry::new_handle()?,
        connection,
        opening,
        // SAFETY: reads the clock.
        opened_at: unsafe { pg_sys::GetCurrentTimestamp() },
        descriptor,
    });
    let row = ConnectionRow::of(&session);
    registry::put(session);
    Ok((row, reply))
}

/// A connection that no session has, with its greeting.
pub(super) fn connect(
    opening: &Opening,
    steps: impl FnOnce(&mut Connection, &Opening, &Io<'_>) -> Result<(), Problem>,
) -> Result<(Connection, Reply, Descriptor), Report> {
    let descriptor = descriptor()?;
    let opened = with_io(|io| {
        let (mut connection, reply) = opening.connect(io)?;
        steps(&mut connection, opening, io)?;
        Ok((connection, reply))
    });
    let (connection, reply) =
        opened.map_err(|problem: Problem| problem.into_report(&opening.host, opening.port))?;
    Ok((connection, reply, descriptor))
}

fn opening(arguments: Arguments<'_>, principal: pg_sys::Oid) -> Result<Opening, Report> {
    let given_host = required("host", arguments.host)?;
    let host = Host::parse(&given_host).of_argument("host")?;
    let port = port(arguments.port)?;
    let timeout = timeout(arguments.tx_timeout)?.or_else(settings::default_timeout);
    let identity = non_empty("secure_host", arguments.secure_host)?
        .map(|name| ServerIdentity::parse(&name).of_argument("secure_host"))
        .transpose()?;
    let location = non_empty("wallet_path", arguments.wallet_path)?
        .map(|path| Locator::parse(&path))
        .transpose();
    let wallet_password = optional("wallet_password", arguments.wallet_password)?
        .map(|password| Secret::new(password.as_bytes()));
    let location = location?;
    access::require(principal, &host, port, Privilege::Converse)?;
    let wallet = location
        .map(|location| wallet_cache::open(&location, access::wallet_roots(principal)))
        .transpose()?;
    Ok(Opening {
        host,
        given_host: given_host.into_owned(),
        port,
        timeout,
        identity,
        wallet,
        wallet_password,
        implicit_tls: arguments.secure_connection_before_smtp.unwrap_or(false),
        policy: Policy::from_settings(),
        principal,
        authority: principal,
        server: None,
    })
}

/// What `see` makes of each session that the current role may use.
fn mine<T>(see: impl Fn(&Session) -> T) -> Vec<T> {
    let role = caller().unwrap_or_else(|report| report.raise());
    // The roles are looked up first: a catalog look-up can raise, and must not do so while the registry is borrowed.
    let mut owners = registry::list(|session| session.opening.principal);
    owners.retain(|owner| roles::has_privileges_of(role, *owner));
    let see = |session: &Session| {
        owners
            .contains(&session.opening.principal)
            .then(|| see(session))
    };
    registry::list(see).into_iter().flatten().collect()
}

fn descriptor() -> Result<Descriptor, Report> {
    let most = settings::max_connections();
    if registry::count() >= most {
        return Err(Report::new(sqlstate::TOO_MANY_CONNECTIONS, "ORA-30678: too many open connections")
            .detail(format!("This session has {} open, utl_smtp.max_connections is {most}.", registry::count()))
            .hint("Close what is not needed with quit or close_connection; utl_smtp.connections() lists what is open."));
    }
    // One is the socket's. The other is looked at only: PostgreSQL needs and counts one for each wait.
    let (socket, events) = (Descriptor::acquire(), Descriptor::acquire());
    socket
        .filter(|_| events.is_some())
        .ok_or_else(Report::no_descriptor)
}

fn port(port: Option<i32>) -> Result<u16, Report> {
    let port = port.ok_or_else(|| Report::null_argument("port"))?;
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| {
            Report::argument(
                "port",
                &format!("{port} is not a port, allowed are 1 to 65535"),
            )
        })
}

pub(super) fn timeout(seconds: Option<i32>) -> Result<Option<Duration>, Report> {
    seconds
        .map(|seconds| u64::try_from(seconds).map(Duration::from_secs))
        .transpose()
        .map_err(|_| Report::argument("tx_timeout", "a negative time limit"))
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
