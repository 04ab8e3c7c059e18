//! Opening and closing: `open_connection`, `quit`, `close_connection`, `close_all_connections`, `connections`.

use std::net::SocketAddr;
use std::time::Duration;

use pgrx::datum::{Inet, TimestampWithTimeZone};
use pgrx::prelude::*;
use smtp_core::host::Host;
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;
use smtp_net::connection::{Connection, Failure, Farewell, Io, Target};
use smtp_net::error::NetError;
use smtp_net::resolve;
use smtp_net::timeouts::Timeouts;
use smtp_net::tls::{ServerIdentity, TlsOptions};
use smtp_net::wait::{Deadline, Wait};
use smtp_net::wallet::Locator;

use super::{
    Failures, Problem, checked, non_empty, optional, required, returned_or_raised, take, warn,
    with_io, with_session,
};
use crate::access;
use crate::datum::{Bytes, ConnectionRow, OpenRow, ReplyRow, Text};
use crate::errors::{Report, sqlstate};
use crate::memory;
use crate::registry::{self, Descriptor, Handle, Session, TlsChoice};
use crate::settings;
use crate::trust;

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

/// `utl_smtp.connections`: those that the current role may use.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn connections() -> TableIterator<
    'static,
    (
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
    ),
> {
    memory::admit().unwrap_or_else(|report| report.raise());
    TableIterator::new(mine(|session| {
        memory::check();
        let conversation = session.connection.session();
        let statistics = &session.connection.statistics;
        let tls = session.connection.tls();
        let text = |text: &str| Text(text.to_owned());
        let identity = conversation.identity();
        let capabilities = conversation.capabilities();
        (
            session.handle.0,
            Text(session.host.to_string()),
            Inet(session.connection.peer().ip().to_canonical().to_string()),
            i32::from(session.port),
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
        )
    }))
}

/// Why there are no options for TLS.
pub enum Unready {
    Refused(Report),
    TimedOut(NetError),
}

impl From<Report> for Unready {
    fn from(report: Report) -> Self {
        Self::Refused(report)
    }
}

impl From<NetError> for Unready {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Timeout { .. } => Self::TimedOut(error),
            other => Self::Refused(other.into()),
        }
    }
}

impl Unready {
    /// The same for a call, given what a time-out means there.
    pub fn problem(self, timed_out: impl FnOnce(NetError) -> Failure) -> Problem {
        match self {
            Self::Refused(report) => report.into(),
            Self::TimedOut(error) => timed_out(error).into(),
        }
    }
}

/// What the TLS of a connection is made with; the wallet is opened here.
pub fn tls_options(
    host: &Host,
    port: u16,
    secure_host: Option<&str>,
    choice: &TlsChoice,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<TlsOptions, Unready> {
    let source = match &choice.wallet {
        Some(source) => source.clone(),
        None => trust::default_wallet()?,
    };
    let wallet = trust::open_wallet(&source)?;
    wallet
        .warnings()
        .iter()
        .for_each(|warning| warn(warning, None));
    let may_identify =
        wallet.has_client_identity() && access::may_use_client_certificates(host, port);
    let client_identity = match may_identify {
        true => wallet.client_identity(choice.wallet_password.as_ref(), wait, deadline)?,
        false => None,
    };
    let identity = match secure_host {
        Some(secure_host) => ServerIdentity::parse(secure_host)?,
        None => ServerIdentity::of_host(host)?,
    };
    let min_version = settings::min_tls_version();
    Ok(TlsOptions {
        wallet,
        min_version,
        client_identity,
        identity,
        host: host.clone(),
    })
}

/// Warns where the certificate that this connection rests on will soon have to be replaced.
pub fn warn_of_tls(connection: &Connection) {
    let Some((subject, not_after)) = connection.tls().and_then(|tls| tls.anchor_expiring.clone())
    else {
        return;
    };
    let date = timestamp(not_after).map_or_else(|| not_after.to_string(), |date| date.to_string());
    warn(
        &format!("the trust anchor \"{subject}\" of this connection expires soon"),
        Some(&format!(
            "It expires at {date}; from then on connections that rest on it are refused."
        )),
    );
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
    let owner = access::caller()?;
    memory::admit()?;
    let given_host = required("host", arguments.host)?;
    let host = Host::parse(&given_host)?;
    let port = port(arguments.port)?;
    let timeout = timeout(arguments.tx_timeout)?;
    let secure_host = non_empty("secure_host", arguments.secure_host)?;
    if let Some(secure_host) = &secure_host {
        ServerIdentity::parse(secure_host)?;
    }
    let wallet_path = non_empty("wallet_path", arguments.wallet_path)?;
    let wallet_password = optional("wallet_password", arguments.wallet_password)?
        .map(|password| Secret::new(password.as_bytes()));
    let wallet_path = wallet_path.as_deref();
    if let Some(path) = wallet_path {
        Locator::parse(path)?;
    }
    access::require(&host, port)?;
    let wallet = wallet_path.map(trust::named_wallet).transpose()?;
    if let Some(source) = &wallet {
        trust::open_wallet(source)?;
    }
    let descriptor = descriptor()?;
    let secure_host = secure_host.map(|name| name.into_owned());
    let tls = TlsChoice {
        wallet,
        wallet_password,
        secure_host,
    };
    let implicit_tls = arguments.secure_connection_before_smtp.unwrap_or(false);
    let opened = with_io(|io| connect(&host, port, timeout, &tls, implicit_tls, io));
    let (connection, reply) = opened.map_err(|problem| problem.into_report(&host, port))?;
    let handle = new_handle()?;
    let session = Box::new(Session {
        handle,
        connection,
        given_host: given_host.into_owned(),
        host,
        port,
        timeout,
        owner,
        // SAFETY: reads the clock.
        opened_at: unsafe { pg_sys::GetCurrentTimestamp() },
        tls,
        descriptor,
    });
    let row = ConnectionRow::of(&session);
    registry::put(session);
    Ok((row, reply))
}

fn connect(
    host: &Host,
    port: u16,
    timeout: Option<Duration>,
    tls: &TlsChoice,
    implicit_tls: bool,
    io: &Io<'_>,
) -> Result<(Connection, Reply), Problem> {
    let deadline = Deadline::after(timeout);
    let options = match implicit_tls {
        true => {
            let secure_host = tls.secure_host.as_deref();
            let options = tls_options(host, port, secure_host, tls, io.wait, deadline);
            let timed_out = |error| Failure::connecting(error, timeout);
            Some(options.map_err(|unready| unready.problem(timed_out))?)
        }
        false => None,
    };
    let addresses = addresses(host, port, timeout, deadline, io)?;
    let opened = trust::with_tls_sessions(|sessions| {
        let implicit_tls = options.as_ref().map(|options| (options, sessions));
        let addresses = &addresses;
        Connection::open(
            Target {
                addresses,
                timeouts: Timeouts::uniform(timeout),
                deadline,
                implicit_tls,
            },
            io,
        )
    })?;
    let (connection, reply) = opened;
    warn_of_tls(&connection);
    if connection.is_over() {
        return Err(Problem::declined(reply, &connection));
    }
    Ok((connection, reply))
}

/// One resolution; these addresses and no others are connected to.
fn addresses(
    host: &Host,
    port: u16,
    timeout: Option<Duration>,
    deadline: Deadline,
    io: &Io<'_>,
) -> Result<Vec<SocketAddr>, Problem> {
    let name = match host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => name.as_str(),
    };
    let found = resolve::resolve(name, port, io.wait, deadline)
        .map_err(|error| Failure::connecting(error, timeout))?;
    let allowed = access::not_denied(found);
    if allowed.is_empty() {
        return Err(access::denied(host, port).into());
    }
    Ok(allowed)
}

/// What `see` makes of each session that the current role may use.
fn mine<T>(see: impl Fn(&Session) -> T) -> Vec<T> {
    let role = access::caller().unwrap_or_else(|report| report.raise());
    // The roles are looked up first: a catalog look-up can raise, and must not do so while the registry is borrowed.
    let mut owners = registry::list(|session| session.owner);
    owners.retain(|owner| access::role_has_privileges_of(role, *owner));
    let see = |session: &Session| owners.contains(&session.owner).then(|| see(session));
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
        .ok_or_else(no_descriptor)
}

fn no_descriptor() -> Report {
    Report::new(
        sqlstate::INSUFFICIENT_RESOURCES,
        "too many open files in this backend",
    )
    .hint("Close SMTP connections, or raise max_files_per_process.")
}

fn new_handle() -> Result<Handle, Report> {
    registry::new_handle()
        .map_err(|error| Report::new(sqlstate::INTERNAL_ERROR, format!("no randomness: {error}")))
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

fn timeout(seconds: Option<i32>) -> Result<Option<Duration>, Report> {
    let Some(seconds) = seconds else {
        return Ok(settings::default_timeout());
    };
    u64::try_from(seconds)
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .map_err(|_| Report::argument("tx_timeout", "a negative time limit"))
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Seconds since 1970 as PostgreSQL counts: microseconds since 2000.
pub fn timestamp(unix_seconds: i64) -> Option<TimestampWithTimeZone> {
    const EPOCH: i64 = 946_684_800;
    let microseconds = unix_seconds.checked_sub(EPOCH)?.checked_mul(1_000_000)?;
    TimestampWithTimeZone::try_from(microseconds).ok()
}
