//! Access tokens: from the cache, or from the token endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use oauth2_token::{Endpoint, HttpRequest, Token, TokenRequest};
use pem_wallet::{Locator, ServerIdentity, Wallet};
use smtp_client::error::NetError;
use smtp_client::https::{PostError, Received, post};
use smtp_client::resolve;
use smtp_client::tls::TlsOptions;
use smtp_client::wait::Deadline;
use smtp_core::host::Host;
use smtp_core::secret::Secret;

use super::authority::{Destination, Environment};
use super::opening::Opening;
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

/// Where an access token comes from.
pub enum TokenSource {
    Cached(Secret),
    Endpoint(Box<Fetch>),
}

/// A request that is ready to be sent.
pub struct Fetch {
    request: TokenRequest,
    http: HttpRequest,
    wallet: Arc<Wallet>,
    destination: Destination,
}

/// The token that a mapping logs in with; `None` where it logs in without one. The access control
/// list is asked each time.
pub fn access_token(
    opening: &Opening,
    server: &Server,
    mapping: &Mapping,
    environment: &Environment<'_>,
) -> Result<Option<AccessToken>, Report> {
    let authority = environment.authority;
    let fetch = match authority.token(server, mapping)? {
        None => return Ok(None),
        Some(TokenSource::Cached(secret)) => {
            return Ok(Some(AccessToken {
                secret,
                cached: true,
            }));
        }
        Some(TokenSource::Endpoint(fetch)) => fetch,
    };
    let token = fetch.run(opening, environment);
    authority.token_granted(mapping, token.as_ref())?;
    Ok(Some(AccessToken {
        secret: token?.access_token,
        cached: false,
    }))
}

/// The token in the cache, or a request for one.
pub fn source(server: &Server, mapping: &Mapping) -> Result<Option<TokenSource>, Report> {
    let Some(endpoint) = token::endpoint(server, mapping)? else {
        return Ok(None);
    };
    let destination = Destination {
        host: endpoint.host().clone(),
        port: endpoint.port(),
        authority: server.owner,
        principal: mapping.role,
        privilege: Privilege::FetchTokens,
    };
    destination.require()?;
    if let Some(secret) = token_cache::token(&mapping.token_key) {
        return Ok(Some(TokenSource::Cached(secret)));
    }
    let given = mapping.options.refresh_token.as_ref();
    let rotated = given.and_then(|given| token_cache::refresh_token(&mapping.token_key, given));
    let request = token::request(server, mapping, endpoint, rotated)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let http = request.encode(now.as_secs()).map_err(Report::from)?;
    Ok(Some(TokenSource::Endpoint(Box::new(Fetch {
        http,
        wallet: wallet(server)?,
        request,
        destination,
    }))))
}

fn wallet(server: &Server) -> Result<Arc<Wallet>, Report> {
    let default;
    let location = match &server.options.token_wallet {
        Some(location) => location,
        None => {
            default = Locator::parse(DEFAULT_WALLET)?;
            &default
        }
    };
    wallet_cache::open(location, access::wallet_roots(server.owner))
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

impl Fetch {
    fn run(&self, opening: &Opening, environment: &Environment<'_>) -> Result<Token, Report> {
        self.post(opening, environment)
            .map_err(|error| match error {
                Failed::Refused(report) => report,
                Failed::NoToken(error) => Report::no_token(NoToken {
                    endpoint: &self.request.endpoint,
                    grant: &self.request.grant,
                    timeout: opening.timeout,
                    error,
                }),
            })
    }

    /// One request, with a time limit of its own.
    fn post(&self, opening: &Opening, environment: &Environment<'_>) -> Result<Token, Failed> {
        let (io, endpoint) = (environment.io, &self.request.endpoint);
        let deadline = Deadline::after(opening.timeout);
        let options = self.tls_options(opening, endpoint)?;
        let _descriptor = environment.authority.descriptor()?;
        let addresses = self.addresses(endpoint, deadline, environment)?;
        if let Some(trace) = io.trace {
            trace(&format!("asking {} for an access token", endpoint.host()));
        }
        let mut parser = self.http.answer();
        let mut receive = |received: Received<'_>| match received {
            Received::Octets(octets) => parser.feed(octets),
            Received::End { clean } => parser.end(clean).map(|()| true),
        };
        let sessions = environment.authority.tls_sessions();
        let posted = post(
            &addresses,
            (&options, &sessions),
            self.http.bytes(),
            &mut receive,
            io.wait,
            deadline,
        );
        posted.map_err(Failed::NoToken)?;
        parser
            .into_token()
            .map_err(|error| Failed::NoToken(PostError::Answer(error)))
    }

    fn tls_options(&self, opening: &Opening, endpoint: &Endpoint) -> Result<TlsOptions, Report> {
        Ok(TlsOptions {
            wallet: Arc::clone(&self.wallet),
            min_version: opening.policy.min_tls_version,
            client_identity: None,
            identity: ServerIdentity::of_host(endpoint.host()).map_err(NetError::from)?,
            host: endpoint.host().clone(),
        })
    }

    /// One resolution, without the addresses that an entry denies the owner or the caller.
    fn addresses(
        &self,
        endpoint: &Endpoint,
        deadline: Deadline,
        environment: &Environment<'_>,
    ) -> Result<Vec<SocketAddr>, Failed> {
        let (host, port) = (endpoint.host(), endpoint.port());
        let name = match host {
            Host::Address(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name.as_str(),
        };
        let found = resolve::resolve(name, port, environment.io.wait, deadline)?;
        let destination = self.destination.clone();
        Ok(environment.authority.permitted(destination, found)?)
    }
}
