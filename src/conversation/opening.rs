//! What a connection is opened with: parsed once, and kept for STARTTLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pem_wallet::{ServerIdentity, Wallet};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use smtp_client::connection::{Connection, Failure, Target};
use smtp_client::error::NetError;
use smtp_client::resolve;
use smtp_client::timeouts::Timeouts;
use smtp_client::tls::{self, MinVersion, TlsOptions};
use smtp_client::wait::Deadline;
use smtp_core::command::Verb;
use smtp_core::host::Host;
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;

use super::authority::{Authority, Destination, Environment};
use super::{Problem, wallet_cache};
use crate::access::{self, Privilege};
use crate::errors::Report;
use crate::servers::options::Security;
use crate::servers::{Mapping, Server};
use crate::settings;

/// Where to connect to, with which trust, for whom.
pub struct Opening {
    pub host: Host,
    /// The host as the caller wrote it.
    pub given_host: String,
    pub port: u16,
    /// The time limit of each command; `None` is none.
    pub timeout: Option<Duration>,
    /// The name that the server's certificate must have, if it is not the host.
    pub identity: Option<ServerIdentity>,
    /// The wallet that was named, opened by the right of the principal; `None` is the policy's.
    pub wallet: Option<Arc<Wallet>>,
    pub wallet_password: Option<Secret>,
    /// TLS before the first byte of SMTP.
    pub implicit_tls: bool,
    pub policy: Policy,
    /// The role that opens the connection. Later calls need its privileges.
    pub principal: pg_sys::Oid,
    /// The role whose access control entries and wallets count: the principal, or the owner of the
    /// server.
    pub authority: pg_sys::Oid,
    /// The name of the server that was connected to as such, or that mail is recorded for.
    pub server: Option<String>,
}

/// The settings that a connection is opened under.
pub struct Policy {
    pub min_tls_version: MinVersion,
    /// The wallet of calls that name none.
    pub wallet_path: Option<String>,
}

impl Policy {
    pub fn from_settings() -> Self {
        Self {
            min_tls_version: settings::min_tls_version(),
            wallet_path: settings::wallet_path(),
        }
    }
}

impl Opening {
    /// What a foreign server says, for a role that may use it. `timeout`: instead of the server's.
    pub fn of_server(
        server: &Server,
        mapping: Option<&Mapping>,
        principal: pg_sys::Oid,
        timeout: Option<Duration>,
    ) -> Result<Self, Report> {
        let (address, options) = (&server.address, &server.options);
        server.require_access(principal)?;
        let wallet = match &options.wallet {
            Some(location) => {
                let roots = access::wallet_roots(server.owner);
                Some(wallet_cache::open(location, roots)?)
            }
            None => None,
        };
        let timeout = timeout.or(options.timeout);
        Ok(Self {
            host: address.host.clone(),
            given_host: address.given_host.clone(),
            port: address.port,
            timeout: timeout.or_else(settings::default_timeout),
            identity: options.identity.clone(),
            wallet,
            wallet_password: mapping.and_then(|mapping| mapping.options.wallet_password.clone()),
            implicit_tls: options.security == Security::Tls,
            policy: Policy::from_settings(),
            principal,
            authority: server.owner,
            server: Some(server.name.clone()),
        })
    }

    /// The same for a conversation that is recorded. It needs no wallet and meets no policy.
    pub fn recorded(server: &Server, principal: pg_sys::Oid, timeout: Option<Duration>) -> Self {
        let (address, options) = (&server.address, &server.options);
        let timeout = timeout.or(options.timeout);
        Self {
            host: address.host.clone(),
            given_host: address.given_host.clone(),
            port: address.port,
            timeout: timeout.or_else(settings::default_timeout),
            identity: None,
            wallet: None,
            wallet_password: None,
            implicit_tls: options.security == Security::Tls,
            policy: Policy::from_settings(),
            principal,
            authority: server.owner,
            server: Some(server.name.clone()),
        }
    }

    /// Connects and reads the greeting. Only 220 makes a connection.
    pub fn connect(&self, environment: &Environment<'_>) -> Result<(Connection, Reply), Problem> {
        let (timeout, deadline) = (self.timeout, Deadline::after(self.timeout));
        let options = match self.implicit_tls {
            true => {
                let options = self.tls_options(None, environment, deadline);
                let timed_out = |error| Failure::connecting(error, timeout);
                Some(options.map_err(|unready| unready.problem(timed_out))?)
            }
            false => None,
        };
        let addresses = self.addresses(deadline, environment)?;
        let sessions = environment.authority.tls_sessions();
        let target = Target {
            addresses: &addresses,
            timeouts: Timeouts::uniform(timeout),
            deadline,
            implicit_tls: options.as_ref().map(|options| (options, &*sessions)),
        };
        let (connection, reply) = Connection::open(target, environment.io)?;
        warn_of_tls(&connection, environment.authority);
        if connection.is_over() {
            return Err(Problem::declined(reply, connection.session()));
        }
        Ok((connection, reply))
    }

    /// STARTTLS and the handshake. `identity`: the name that the certificate must have, if it is
    /// not the opening's.
    pub fn start_tls(
        &self,
        connection: &mut Connection,
        identity: Option<ServerIdentity>,
        environment: &Environment<'_>,
    ) -> Result<Reply, Problem> {
        let deadline = connection.deadline();
        let options = self
            .tls_options(identity, environment, deadline)
            .map_err(|unready| {
                unready.problem(|error| connection.timed_out(Verb::StartTls, error))
            })?;
        let sessions = environment.authority.tls_sessions();
        let reply = connection.start_tls(&options, &sessions, deadline, environment.io)?;
        warn_of_tls(connection, environment.authority);
        Ok(reply)
    }

    /// One resolution; these addresses and no others are connected to.
    fn addresses(
        &self,
        deadline: Deadline,
        environment: &Environment<'_>,
    ) -> Result<Vec<SocketAddr>, Problem> {
        let name = match &self.host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(name) => name.as_str(),
        };
        let found = resolve::resolve(name, self.port, environment.io.wait, deadline)
            .map_err(|error| Failure::connecting(error, self.timeout))?;
        let destination = Destination {
            host: self.host.clone(),
            port: self.port,
            authority: self.authority,
            principal: self.principal,
            privilege: Privilege::Converse,
        };
        Ok(environment.authority.permitted(destination, found)?)
    }

    fn tls_options(
        &self,
        identity: Option<ServerIdentity>,
        environment: &Environment<'_>,
        deadline: Deadline,
    ) -> Result<TlsOptions, Unready> {
        let (wait, authority) = (environment.io.wait, environment.authority);
        let wallet = match &self.wallet {
            Some(wallet) => Arc::clone(wallet),
            None => authority.default_wallet(self.policy.wallet_path.as_deref())?,
        };
        wallet
            .warnings()
            .iter()
            .for_each(|warning| authority.warn(&warning.to_string(), None));
        let may_identify = wallet.has_client_identity()
            && authority.may_use_client_certificates(self.authority, &self.host, self.port)?;
        let client_identity = match may_identify {
            true => tls::client_identity(&wallet, self.wallet_password.as_ref(), wait, deadline)?,
            false => None,
        };
        let identity = match identity.or_else(|| self.identity.clone()) {
            Some(identity) => identity,
            None => ServerIdentity::of_host(&self.host).map_err(NetError::from)?,
        };
        Ok(TlsOptions {
            wallet,
            min_version: self.policy.min_tls_version,
            client_identity,
            identity,
            host: self.host.clone(),
        })
    }
}

/// Why there are no options for TLS.
enum Unready {
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
    /// The same for a call, given what a timeout means there.
    fn problem(self, timed_out: impl FnOnce(NetError) -> Failure) -> Problem {
        match self {
            Self::Refused(report) => report.into(),
            Self::TimedOut(error) => timed_out(error).into(),
        }
    }
}

/// Warns when the trust anchor of a connection expires within 30 days.
fn warn_of_tls(connection: &Connection, authority: &dyn Authority) {
    let Some((subject, not_after)) = connection.tls().and_then(|tls| tls.anchor_expiring.clone())
    else {
        return;
    };
    authority.warn_of_anchor(&subject, not_after);
}

/// Seconds since 1970 as PostgreSQL counts: microseconds since 2000.
pub fn timestamp(unix_seconds: i64) -> Option<TimestampWithTimeZone> {
    const EPOCH: i64 = 946_684_800;
    let microseconds = unix_seconds.checked_sub(EPOCH)?.checked_mul(1_000_000)?;
    TimestampWithTimeZone::try_from(microseconds).ok()
}
