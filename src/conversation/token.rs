//! Access tokens: from the cache, or from the token endpoint.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use oauth2_token::{Endpoint, HttpRequest, Token};
use pem_wallet::{Locator, ServerIdentity};
use smtp_client::connection::Io;
use smtp_client::error::NetError;
use smtp_client::https::{PostError, Received, post};
use smtp_client::resolve;
use smtp_client::tls::TlsOptions;
use smtp_client::wait::Deadline;
use smtp_core::host::Host;
use smtp_core::secret::Secret;

use super::opening::Opening;
use super::registry::Descriptor;
use super::{token_cache, wallet_cache};
use crate::access::{self, Privilege};
use crate::errors::{NoToken, Report};
use crate::servers::{Mapping, Server, token};

/// Trust in token endpoints where no wallet is named: they are public web servers.
const DEFAULT_WALLET: &str = "system:";

/// A token to authenticate with.
pub struct AccessToken {
    pub secret: Secret,
    /// It was got earlier, so that the mail server may refuse it where it accepts another.
    pub cached: bool,
}

/// The token that a mapping logs in with; `None` where it logs in without one. The access control list is asked each time.
pub fn access_token(
    opening: &Opening,
    server: &Server,
    mapping: &Mapping,
    io: &Io<'_>,
) -> Result<Option<AccessToken>, Report> {
    let Some(endpoint) = token::endpoint(server, mapping)? else {
        return Ok(None);
    };
    let (host, port) = (endpoint.host(), endpoint.port());
    access::require(server.owner, host, port, Privilege::FetchTokens)?;
    access::require_not_denied(mapping.role, host, port, Privilege::FetchTokens)?;
    if let Some(secret) = token_cache::token(&mapping.token_key) {
        return Ok(Some(AccessToken {
            secret,
            cached: true,
        }));
    }
    let given = mapping.options.refresh_token.as_ref();
    let rotated = given.and_then(|given| token_cache::refresh_token(&mapping.token_key, given));
    let request = token::request(server, mapping, endpoint, rotated)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let http = request.encode(now.as_secs()).map_err(Report::from)?;
    let token =
        fetch(opening, (server, mapping), endpoint, &http, io).map_err(|error| match error {
            Failed::Refused(report) => report,
            Failed::NoToken(error) => Report::no_token(NoToken {
                endpoint,
                grant: &request.grant,
                timeout: opening.timeout,
                error,
            }),
        })?;
    let secret = token.access_token.clone();
    token_cache::store(mapping.token_key, token, given);
    Ok(Some(AccessToken {
        secret,
        cached: false,
    }))
}

/// Why there is no token.
enum Failed {
    /// No connection was tried.
    Refused(Report),
    NoToken(PostError<oauth2_token::AnswerError>),
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Self::Refused(report)
    }
}

impl From<NetError> for Failed {
    fn from(error: NetError) -> Self {
        Self::NoToken(error.into())
    }
}

/// One request, with a time limit of its own.
fn fetch(
    opening: &Opening,
    (server, mapping): (&Server, &Mapping),
    endpoint: &Endpoint,
    request: &HttpRequest,
    io: &Io<'_>,
) -> Result<Token, Failed> {
    let deadline = Deadline::after(opening.timeout);
    let options = tls_options(opening, server, endpoint)?;
    // PostgreSQL needs one more for each wait.
    let descriptors = (Descriptor::acquire(), Descriptor::acquire());
    let (Some(_socket), Some(_events)) = descriptors else {
        return Err(Report::no_descriptor().into());
    };
    let addresses = addresses((server, mapping), endpoint, deadline, io)?;
    if let Some(trace) = io.trace {
        trace(&format!("asking {} for an access token", endpoint.host()));
    }
    let mut parser = request.answer();
    let mut receive = |received: Received<'_>| match received {
        Received::Octets(octets) => parser.feed(octets),
        Received::End { clean } => parser.end(clean).map(|()| true),
    };
    let posted = wallet_cache::with_tls_sessions(|sessions| {
        let tls = (&options, sessions);
        post(
            &addresses,
            tls,
            request.bytes(),
            &mut receive,
            io.wait,
            deadline,
        )
    });
    posted.map_err(Failed::NoToken)?;
    parser
        .into_token()
        .map_err(|error| Failed::NoToken(PostError::Answer(error)))
}

fn tls_options(
    opening: &Opening,
    server: &Server,
    endpoint: &Endpoint,
) -> Result<TlsOptions, Report> {
    let default;
    let location = match &server.options.token_wallet {
        Some(location) => location,
        None => {
            default = Locator::parse(DEFAULT_WALLET)?;
            &default
        }
    };
    Ok(TlsOptions {
        wallet: wallet_cache::open(location, access::wallet_roots(server.owner))?,
        min_version: opening.policy.min_tls_version,
        client_identity: None,
        identity: ServerIdentity::of_host(endpoint.host()).map_err(NetError::from)?,
        host: endpoint.host().clone(),
    })
}

/// One resolution, without the addresses that an entry denies the owner or the caller.
fn addresses(
    (server, mapping): (&Server, &Mapping),
    endpoint: &Endpoint,
    deadline: Deadline,
    io: &Io<'_>,
) -> Result<Vec<SocketAddr>, Failed> {
    let (host, port) = (endpoint.host(), endpoint.port());
    let name = match host {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => name.as_str(),
    };
    let found = resolve::resolve(name, port, io.wait, deadline)?;
    let allowed = access::not_denied(server.owner, found, Privilege::FetchTokens);
    let allowed = access::not_denied(mapping.role, allowed, Privilege::FetchTokens);
    if allowed.is_empty() {
        return Err(access::denied(server.owner, host, port, Privilege::FetchTokens).into());
    }
    Ok(allowed)
}
