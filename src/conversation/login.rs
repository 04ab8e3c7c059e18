//! From the greeting to a connection that is ready for MAIL: EHLO, STARTTLS and EHLO again, AUTH.

use std::net::IpAddr;

use pem_wallet::ServerIdentity;
use smtp_client::connection::Connection;
use smtp_client::error::NetError;
use smtp_client::resolve;
use smtp_client::wait::Deadline;
use smtp_core::auth::{ALL_SCHEMES, Credentials, SchemeList, TOKEN_SCHEMES};
use smtp_core::command::Command;
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;
use smtp_core::text::Domain;

use super::authority::Environment;
use super::opening::Opening;
use super::token::{self, AccessToken};
use super::{Problem, wallet_cache};
use crate::access;
use crate::errors::{OfArgument, Report, hints, sqlstate};
use crate::servers::options::Security;
use crate::servers::{Mapping, Server};

/// Makes a connection to a server ready. Nothing but EHLO is said before TLS where the server is to
/// have TLS.
pub fn log_in(
    connection: &mut Connection,
    opening: &Opening,
    server: &Server,
    mapping: Option<&Mapping>,
    environment: &Environment<'_>,
) -> Result<(), Problem> {
    let helo = || server.options.helo.clone();
    greet(connection, helo(), environment)?;
    if server.options.security == Security::StartTls {
        let offered = connection.session().capabilities();
        if !offered.is_some_and(|offered| offered.offers("STARTTLS")) {
            return Err(no_starttls().into());
        }
        accepted(
            opening.start_tls(connection, None, environment)?,
            connection,
        )?;
        greet(connection, helo(), environment)?;
    }
    if let Some(mapping) = mapping
        && server.options.security != Security::None
        && let Some(reply) = authenticate(connection, opening, server, mapping, None, environment)?
    {
        accepted(reply, connection)?;
    }
    Ok(())
}

/// EHLO, which the server must accept.
pub fn greet(
    connection: &mut Connection,
    domain: Option<Domain>,
    environment: &Environment<'_>,
) -> Result<(), Problem> {
    accepted(
        hello(connection, domain, Command::Ehlo, environment)?,
        connection,
    )
}

/// AUTH by what a mapping holds; `None` where it holds nothing to authenticate with. `schemes`:
/// instead of the server's.
pub fn authenticate(
    connection: &mut Connection,
    opening: &Opening,
    server: &Server,
    mapping: &Mapping,
    schemes: Option<&SchemeList>,
    environment: &Environment<'_>,
) -> Result<Option<Reply>, Problem> {
    let schemes = schemes.or(server.options.schemes.as_ref());
    let options = &mapping.options;
    if let Some(token) = token::access_token(opening, server, mapping, environment)? {
        let login = TokenLogin {
            opening,
            server,
            mapping,
            schemes,
        };
        return login.log_in(connection, token, environment).map(Some);
    }
    let schemes = match (schemes, &options.password) {
        (Some(schemes), _) => schemes.clone(),
        (None, Some(_)) => SchemeList::parse(ALL_SCHEMES).map_err(Report::from)?,
        (None, None) => return Ok(None),
    };
    let password = match &options.password {
        None if schemes.needs_password() => {
            return Err(Report::option_missing("password", hints::MAPPING_PASSWORD).into());
        }
        password => password.clone(),
    };
    let password = password.unwrap_or_else(|| Secret::new([]));
    let username = options.user.clone().unwrap_or_default();
    let credentials = credentials(opening, username, password)?;
    Ok(Some(connection.authenticate(
        &schemes,
        credentials,
        environment.io,
    )?))
}

/// AUTH by an access token.
struct TokenLogin<'a> {
    opening: &'a Opening,
    server: &'a Server,
    mapping: &'a Mapping,
    schemes: Option<&'a SchemeList>,
}

impl TokenLogin<'_> {
    /// A token from the cache that is refused may have been revoked: it is renewed once.
    fn log_in(
        &self,
        connection: &mut Connection,
        token: AccessToken,
        environment: &Environment<'_>,
    ) -> Result<Reply, Problem> {
        let (cached, authority) = (token.cached, environment.authority);
        let mut reply = self.attempt(connection, token, environment)?;
        if is_refused(&reply) && cached && !connection.is_over() {
            authority.token_refused(&self.mapping.token_key);
            let fresh = token::access_token(self.opening, self.server, self.mapping, environment)?;
            if let Some(fresh) = fresh {
                reply = self.attempt(connection, fresh, environment)?;
            }
        }
        if is_refused(&reply) {
            authority.token_refused(&self.mapping.token_key);
        }
        Ok(reply)
    }

    fn attempt(
        &self,
        connection: &mut Connection,
        token: AccessToken,
        environment: &Environment<'_>,
    ) -> Result<Reply, Problem> {
        let schemes = match self.schemes {
            Some(schemes) => schemes.of_tokens().ok_or_else(|| {
                let reason = "none of them takes an access token";
                Report::option("schemes", reason, Some(hints::SCHEMES_OF_TOKENS.to_owned()))
            })?,
            None => SchemeList::parse(TOKEN_SCHEMES).map_err(Report::from)?,
        };
        let user = self.mapping.options.user.clone();
        let user = user.ok_or_else(|| Report::option_missing("user", hints::TOKEN_USER))?;
        let credentials = credentials(self.opening, user, token.secret)?;
        Ok(connection.authenticate(&schemes, credentials, environment.io)?)
    }
}

/// 535: the credentials are invalid (RFC 4954 §6).
fn is_refused(reply: &Reply) -> bool {
    reply.code().value() == 535
}

/// Refuses a connection that may not be one to this server: credentials are sent to nobody else.
pub fn require_server(
    connection: &Connection,
    opening: &Opening,
    server: &Server,
) -> Result<(), Report> {
    let (address, options) = (&server.address, &server.options);
    if (&opening.host, opening.port) != (&address.host, address.port) {
        let detail = format!(
            "The connection is one to {}:{}, the server is at {}:{}.",
            opening.host, opening.port, address.host, address.port
        );
        return Err(server.refuse_connection(detail));
    }
    if connection.tls().is_none() {
        return Err(Report::credential_in_clear());
    }
    let wallet = match &options.wallet {
        Some(location) => wallet_cache::open(location, access::wallet_roots(server.owner))?,
        None => wallet_cache::default_wallet(opening.policy.wallet_path.as_deref())?,
    };
    let identity = match &options.identity {
        Some(identity) => identity.clone(),
        None => ServerIdentity::of_host(&address.host).map_err(NetError::from)?,
    };
    connection
        .verify_server(wallet, identity)
        .map_err(|rejection| {
            let detail =
                format!("Its certificate does not satisfy the server's options: {rejection}.");
            server.refuse_connection(detail)
        })
}

/// EHLO or HELO. Looking up the own name, where none is given, is part of the command's time.
pub fn hello(
    connection: &mut Connection,
    domain: Option<Domain>,
    command: fn(Domain) -> Command,
    environment: &Environment<'_>,
) -> Result<Reply, Problem> {
    let deadline = connection.deadline();
    let domain = match domain {
        Some(domain) => domain,
        None => client_name(connection, deadline, environment)?,
    };
    Ok(connection.command_by(deadline, &command(domain), environment.io)?)
}

/// This machine's name, else the address literal of this end of the connection (RFC 5321 §4.1.4).
fn client_name(
    connection: &Connection,
    deadline: Deadline,
    environment: &Environment<'_>,
) -> Result<Domain, Problem> {
    // A name server that does not answer costs half of the time, and the server gets the literal.
    let look_up = Deadline::after(deadline.remaining().map(|left| left / 2));
    if let Some(name) = resolve::canonical_name(environment.io.wait, look_up)
        && let Ok(domain) = Domain::parse(&name)
    {
        return Ok(domain);
    }
    let address = connection
        .local_address()
        .map(|address| address.ip().to_canonical());
    let literal = match address {
        Some(IpAddr::V4(address)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        None => "[127.0.0.1]".to_owned(),
    };
    Ok(Domain::parse(&literal).of_argument("domain")?)
}

pub fn credentials(
    opening: &Opening,
    username: String,
    password: Secret,
) -> Result<Credentials, Report> {
    Ok(Credentials {
        username,
        password,
        host: opening.host.to_string(),
        port: opening.port,
        nonce: nonce()?,
    })
}

/// Fresh randomness: a server that sees a nonce twice can replay an answer.
fn nonce() -> Result<String, Report> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn accepted(reply: Reply, connection: &Connection) -> Result<(), Problem> {
    match reply.is_failure() {
        true => Err(Problem::declined(reply, connection.session())),
        false => Ok(()),
    }
}

fn no_starttls() -> Report {
    Report::new(sqlstate::TLS, "ORA-28860: Fatal SSL error")
        .detail("The server does not offer STARTTLS, and nothing was sent in clear.")
        .hint("Where the server has TLS from the first octet, set its option security to 'tls', which makes the port 465.")
}
