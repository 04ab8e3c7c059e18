//! Opening and closing: `open_connection`, `quit`, `close_connection`, `close_all_connections`,
//! `connections`.

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
use crate::conversation::authority::Environment;
use crate::conversation::dialogue::Dialogue;
use crate::conversation::opening::{Opening, Policy, timestamp};
use crate::conversation::recorded::Draft;
use crate::conversation::registry::{self, Descriptor, Handle, Session};
use crate::conversation::{Problem, login, wallet_cache};
use crate::delivery::store::record as store;
use crate::errors::{OfArgument, Report, sqlstate};
use crate::pg::datum::{Bytes, Text};
use crate::pg::result_set::ResultSet;
use crate::pg::{memory, roles};
use crate::servers::{Server, choice};
use crate::settings::{self, Delivery};

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
    let result = with_session(c, |session, io| match session.dialogue.quit(io)? {
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
        Ok(Some(mut session)) => session.dialogue.hang_up(),
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
            session.dialogue.hang_up();
            closed += 1;
        }
    }
    closed
}

/// What is returned for each connection.
type Row = (
    name!(handle, i64),
    name!(host, Text),
    name!(address, Option<Inet>),
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
        let dialogue = &session.dialogue;
        let (conversation, statistics) = (dialogue.session(), dialogue.statistics());
        let tls = dialogue.tls();
        let text = |text: &str| Text(text.to_owned());
        let identity = conversation.identity();
        let capabilities = conversation.capabilities();
        (
            session.handle.0,
            Text(session.opening.host.to_string()),
            dialogue
                .connection()
                .map(|connection| Inet(connection.peer().ip().to_canonical().to_string())),
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
            text(dialogue.delivery()),
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
    let request = Request::parse(arguments)?;
    match settings::delivery() {
        Delivery::Immediate => {
            let opening = request.opening(principal)?;
            let (dialogue, reply) = hold(&opening, |_, _, _| Ok(()))?;
            Ok((register(opening, dialogue)?, reply))
        }
        Delivery::OnCommit => {
            let server = choice::for_delivery(&request.host, request.port, principal)?;
            server.require_access(principal)?;
            let opening = request.recorded(&server, principal);
            let (dialogue, reply) = record(&opening, &server, |_, _| Ok(()))?;
            Ok((register(opening, dialogue)?, reply))
        }
    }
}

/// Gives a conversation a session.
pub(super) fn register(opening: Opening, dialogue: Dialogue) -> Result<ConnectionRow, Report> {
    let session = Box::new(Session {
        handle: registry::new_handle()?,
        dialogue,
        opening,
        // SAFETY: reads the clock.
        opened_at: unsafe { pg_sys::GetCurrentTimestamp() },
    });
    let row = ConnectionRow::of(&session);
    registry::put(session);
    Ok(row)
}

/// A conversation with a mail server as its options and the role's mapping say, ready for MAIL.
/// `timeout`: instead of the server's.
pub(super) fn log_in(
    server: &Server,
    role: pg_sys::Oid,
    timeout: Option<Duration>,
) -> Result<(Opening, Dialogue), Report> {
    let mapping = server.mapping(role)?;
    let mapping = mapping.as_ref();
    let (opening, (dialogue, _)) = match settings::delivery() {
        Delivery::Immediate => {
            let opening = Opening::of_server(server, mapping, role, timeout)?;
            let held = hold(&opening, |connection, opening, environment| {
                login::log_in(connection, opening, server, mapping, environment)
            })?;
            (opening, held)
        }
        Delivery::OnCommit => {
            server.require_access(role)?;
            let opening = Opening::recorded(server, role, timeout);
            let recorded = record(&opening, server, |draft, io| {
                draft.log_in(server, mapping, io)
            })?;
            (opening, recorded)
        }
    };
    Ok((opening, dialogue))
}

/// Connects and takes the `steps` that make the connection ready. A conversation that no session
/// has, with its greeting.
pub(super) fn hold(
    opening: &Opening,
    steps: impl FnOnce(&mut Connection, &Opening, &Environment<'_>) -> Result<(), Problem>,
) -> Result<(Dialogue, Reply), Report> {
    require_room()?;
    let descriptor = descriptor()?;
    let opened = with_io(|io| {
        let environment = Environment::of_backend(io);
        let (mut connection, reply) = opening.connect(&environment)?;
        steps(&mut connection, opening, &environment)?;
        Ok((connection, reply))
    });
    let (connection, reply) =
        opened.map_err(|problem: Problem| problem.into_report(&opening.host, opening.port))?;
    Ok((Dialogue::live(connection, descriptor), reply))
}

/// The same for a conversation that is recorded for a mail server.
pub(super) fn record(
    opening: &Opening,
    server: &Server,
    steps: impl FnOnce(&mut Draft, &Io<'_>) -> Result<(), Problem>,
) -> Result<(Dialogue, Reply), Report> {
    require_room()?;
    let opened = with_io(|io| {
        let (encrypted, owner) = (opening.implicit_tls, opening.principal);
        let (mut draft, reply) = Draft::open(server, encrypted, owner, store::record, io)?;
        steps(&mut draft, io)?;
        Ok((draft, reply))
    });
    let (draft, reply) =
        opened.map_err(|problem: Problem| problem.into_report(&opening.host, opening.port))?;
    Ok((Dialogue::Recorded(Box::new(draft)), reply))
}

/// The arguments in their right form.
struct Request {
    host: Host,
    given_host: String,
    port: u16,
    timeout: Option<Duration>,
    identity: Option<ServerIdentity>,
    wallet: Option<Locator>,
    wallet_password: Option<Secret>,
    implicit_tls: bool,
}

impl Request {
    fn parse(arguments: Arguments<'_>) -> Result<Self, Report> {
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
        Ok(Self {
            host,
            given_host: given_host.into_owned(),
            port,
            timeout,
            identity,
            wallet: location?,
            wallet_password,
            implicit_tls: arguments.secure_connection_before_smtp.unwrap_or(false),
        })
    }

    fn opening(self, principal: pg_sys::Oid) -> Result<Opening, Report> {
        access::require(principal, &self.host, self.port, Privilege::Converse)?;
        let wallet = self
            .wallet
            .map(|location| wallet_cache::open(&location, access::wallet_roots(principal)))
            .transpose()?;
        Ok(Opening {
            host: self.host,
            given_host: self.given_host,
            port: self.port,
            timeout: self.timeout,
            identity: self.identity,
            wallet,
            wallet_password: self.wallet_password,
            implicit_tls: self.implicit_tls,
            policy: Policy::from_settings(),
            principal,
            authority: principal,
            server: None,
        })
    }

    /// Wallet and time limit are the server's business then.
    fn recorded(self, server: &Server, principal: pg_sys::Oid) -> Opening {
        Opening {
            host: self.host,
            given_host: self.given_host,
            port: self.port,
            timeout: self.timeout,
            implicit_tls: self.implicit_tls,
            ..Opening::recorded(server, principal, None)
        }
    }
}

/// What `see` makes of each session that the current role may use.
fn mine<T>(see: impl Fn(&Session) -> T) -> Vec<T> {
    let role = caller().unwrap_or_else(|report| report.raise());
    // The roles are looked up first: a catalog look-up can raise, and must not do so while the
    // registry is borrowed.
    let mut owners = registry::list(|session| session.opening.principal);
    owners.retain(|owner| roles::has_privileges_of(role, *owner));
    let see = |session: &Session| {
        owners
            .contains(&session.opening.principal)
            .then(|| see(session))
    };
    registry::list(see).into_iter().flatten().collect()
}

fn require_room() -> Result<(), Report> {
    let most = settings::max_connections();
    if registry::count() >= most {
        return Err(Report::new(sqlstate::TOO_MANY_CONNECTIONS, "ORA-30678: too many open connections")
            .detail(format!("This session has {} open, utl_smtp.max_connections is {most}.", registry::count()))
            .hint("Close what is not needed with quit or close_connection; utl_smtp.connections() lists what is open."));
    }
    Ok(())
}

fn descriptor() -> Result<Descriptor, Report> {
    // One is the socket's. The other is looked at only: PostgreSQL needs and counts one for each
    // wait.
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
