//! What a conversation needs besides the network: who may do what, wallets, access tokens,
//! warnings.
//!
//! A backend asks PostgreSQL itself ([`Backend`]). A thread of a worker must not call PostgreSQL,
//! and has its questions asked by the thread that may.

use std::net::SocketAddr;
use std::sync::Arc;

use pem_wallet::Wallet;
use pgrx::pg_sys;
use smtp_client::connection::Io;
use smtp_client::tls::TlsCache;
use smtp_core::host::Host;

use super::opening::timestamp;
use super::registry::Descriptor;
use super::token::TokenSource;
use super::{token, token_cache, wallet_cache};
use crate::access::{self, Privilege};
use crate::errors::Report;
use crate::pg::notices;
use crate::servers::token::TokenKey;
use crate::servers::{Mapping, Server};

/// What a step of a conversation brings along.
pub struct Environment<'a> {
    pub io: &'a Io<'a>,
    pub authority: &'a dyn Authority,
}

impl<'a> Environment<'a> {
    /// That of a call in a backend.
    pub fn of_backend(io: &'a Io<'a>) -> Self {
        let authority = &Backend;
        Self { io, authority }
    }
}

/// A host that a name was resolved for, and who must be allowed to talk to it.
#[derive(Clone)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
    /// The role whose entries allow it.
    pub authority: pg_sys::Oid,
    /// The role that it is for, whom an entry may deny it.
    pub principal: pg_sys::Oid,
    pub privilege: Privilege,
}

impl Destination {
    /// Refuses it unless its host and port are allowed. No name is resolved before.
    pub fn require(&self) -> Result<(), Report> {
        let (host, port, privilege) = (&self.host, self.port, self.privilege);
        access::require(self.authority, host, port, privilege)?;
        match self.principal == self.authority {
            true => Ok(()),
            false => access::require_not_denied(self.principal, host, port, privilege),
        }
    }
}

/// Who answers the questions of a conversation.
pub trait Authority {
    /// The addresses of a name that no entry denies. If there are none, the destination is refused.
    fn permitted(
        &self,
        destination: Destination,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Report>;

    /// Whether a role may show the wallet's client certificate to a host.
    fn may_use_client_certificates(
        &self,
        role: pg_sys::Oid,
        host: &Host,
        port: u16,
    ) -> Result<bool, Report>;

    /// The wallet of those that name none.
    fn default_wallet(&self, path: Option<&str>) -> Result<Arc<Wallet>, Report>;

    /// The TLS sessions that can be resumed.
    fn tls_sessions(&self) -> Arc<TlsCache>;

    /// The access token that a mapping logs in with, or the request for one; `None` where it logs
    /// in without one.
    fn token(&self, server: &Server, mapping: &Mapping) -> Result<Option<TokenSource>, Report>;

    /// Keeps what was granted for the request of [`Authority::token`], or why nothing was.
    fn token_granted(
        &self,
        mapping: &Mapping,
        granted: Result<&oauth2_token::Token, &Report>,
    ) -> Result<(), Report>;

    /// Drops an access token that was refused.
    fn token_refused(&self, key: &TokenKey);

    /// Counts a socket among those that PostgreSQL leaves to extensions; `None` where another
    /// thread has counted it.
    fn descriptor(&self) -> Result<Option<Descriptor>, Report>;

    /// A WARNING.
    fn warn(&self, message: &str, detail: Option<&str>);

    /// A WARNING of a trust anchor that expires soon, in seconds since 1970.
    fn warn_of_anchor(&self, subject: &str, not_after: i64);
}

/// The thread that runs PostgreSQL's code.
pub struct Backend;

impl Authority for Backend {
    fn permitted(
        &self,
        destination: Destination,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Report> {
        let Destination {
            host,
            port,
            authority,
            principal,
            privilege,
        } = destination;
        let mut allowed = access::not_denied(authority, found, privilege);
        if principal != authority {
            allowed = access::not_denied(principal, allowed, privilege);
        }
        match allowed.is_empty() {
            true => Err(access::denied(authority, &host, port, privilege)),
            false => Ok(allowed),
        }
    }

    fn may_use_client_certificates(
        &self,
        role: pg_sys::Oid,
        host: &Host,
        port: u16,
    ) -> Result<bool, Report> {
        Ok(access::may_use_client_certificates(role, host, port))
    }

    fn default_wallet(&self, path: Option<&str>) -> Result<Arc<Wallet>, Report> {
        wallet_cache::default_wallet(path)
    }

    fn tls_sessions(&self) -> Arc<TlsCache> {
        wallet_cache::tls_sessions()
    }

    fn token(&self, server: &Server, mapping: &Mapping) -> Result<Option<TokenSource>, Report> {
        token::source(server, mapping)
    }

    fn token_granted(
        &self,
        mapping: &Mapping,
        granted: Result<&oauth2_token::Token, &Report>,
    ) -> Result<(), Report> {
        if let Ok(token) = granted {
            let given = mapping.options.refresh_token.as_ref();
            token_cache::store(mapping.token_key, token, given);
        }
        Ok(())
    }

    fn token_refused(&self, key: &TokenKey) {
        token_cache::forget(key);
    }

    fn descriptor(&self) -> Result<Option<Descriptor>, Report> {
        // PostgreSQL needs one more for each wait.
        let (socket, events) = (Descriptor::acquire(), Descriptor::acquire());
        match socket.is_some() && events.is_some() {
            true => Ok(socket),
            false => Err(Report::no_descriptor()),
        }
    }

    fn warn(&self, message: &str, detail: Option<&str>) {
        notices::warn(message, detail);
    }

    fn warn_of_anchor(&self, subject: &str, not_after: i64) {
        let date =
            timestamp(not_after).map_or_else(|| not_after.to_string(), |date| date.to_string());
        notices::warn(
            &format!("the trust anchor \"{subject}\" of this connection expires soon"),
            Some(&format!(
                "It expires at {date}; from then on connections that rest on it are refused."
            )),
        );
    }
}
