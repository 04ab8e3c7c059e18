//! What is asked for at a token endpoint, made of the options of a server and a mapping.

use oauth2_token::{Authentication, Client, Endpoint, Grant, TokenRequest};
use pgrx::pg_sys;
use smtp_core::secret::Secret;

use super::options::{ClientAuth, GrantType};
use super::{Mapping, Server};
use crate::errors::{Report, hints};

/// What a token is kept under: a server and a mapping as they are. Whoever alters one of them has
/// another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenKey {
    pub server: pg_sys::Oid,
    pub mapping: pg_sys::Oid,
    /// SHA-256 of the options of both, without the refresh token.
    pub digest: [u8; 32],
}

/// Where tokens come from; `None` where the mapping logs in without one.
pub fn endpoint<'a>(
    server: &'a Server,
    mapping: &'a Mapping,
) -> Result<Option<&'a Endpoint>, Report> {
    let options = &mapping.options;
    let of_account = options
        .service_account
        .as_ref()
        .filter(|_| options.grant_type == GrantType::JwtBearer);
    match (&server.options.token_endpoint, of_account) {
        (Some(endpoint), _) => Ok(Some(endpoint)),
        (None, Some(account)) => match &account.endpoint {
            Some(endpoint) => Ok(Some(endpoint)),
            None => Err(Report::option_missing(
                "token_endpoint",
                hints::TOKEN_ENDPOINT,
            )),
        },
        (None, None) => Ok(None),
    }
}

/// The request for a token. `refresh_token`: instead of the option's, where it was exchanged for
/// another.
pub fn request(
    server: &Server,
    mapping: &Mapping,
    endpoint: &Endpoint,
    refresh_token: Option<Secret>,
) -> Result<TokenRequest, Report> {
    let options = &mapping.options;
    let grant = match options.grant_type {
        GrantType::ClientCredentials => {
            let client = client(server, mapping)?;
            if matches!(client.authentication, Authentication::None) {
                return Err(Report::option_missing(
                    "client_secret",
                    hints::CLIENT_SECRET,
                ));
            }
            Grant::ClientCredentials(client)
        }
        GrantType::RefreshToken => Grant::RefreshToken {
            client: client(server, mapping)?,
            token: refresh_token
                .or_else(|| options.refresh_token.clone())
                .ok_or_else(|| Report::option_missing("refresh_token", hints::REFRESH_TOKEN))?,
        },
        GrantType::JwtBearer => Grant::JwtBearer {
            account: options
                .service_account
                .clone()
                .ok_or_else(|| Report::option_missing("service_account", hints::SERVICE_ACCOUNT))?,
            subject: options.subject.clone().or_else(|| options.user.clone()),
        },
    };
    Ok(TokenRequest {
        endpoint: endpoint.clone(),
        grant,
        scope: options.scope.clone(),
        parameters: options.parameters.clone(),
    })
}

fn client(server: &Server, mapping: &Mapping) -> Result<Client, Report> {
    let options = &mapping.options;
    let id = options.client_id.clone();
    let authentication = match (&options.client_key, &options.client_secret) {
        (Some(key), _) => Authentication::PrivateKeyJwt(key.clone()),
        (None, Some(secret)) => match server.options.client_auth.unwrap_or_default() {
            ClientAuth::Post => Authentication::Post(secret.clone()),
            ClientAuth::Basic => Authentication::Basic(secret.clone()),
        },
        (None, None) => Authentication::None,
    };
    Ok(Client {
        id: id.ok_or_else(|| Report::option_missing("client_id", hints::CLIENT_ID))?,
        authentication,
    })
}
