//! A token request, and its bytes: one HTTP/1.1 POST (RFC 6749 §4.4, §6; RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::account::ServiceAccount;
use crate::answer::AnswerParser;
use crate::assertion;
use crate::buffer::SecretBuffer;
use crate::endpoint::Endpoint;
use crate::form::{Form, Parameters, encoded};
use crate::key::ClientKey;

const JWT_BEARER: &[u8] = b"urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &[u8] = b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// All that a request for an access token depends on.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// By which right a token is asked for.
    pub grant: Grant,
    /// What the token is to be good for: names separated by blanks.
    pub scope: Option<String>,
    /// Further form fields.
    pub parameters: Parameters,
}

/// By which right a token is asked for.
#[derive(Debug, Clone)]
pub enum Grant {
    /// The client's own (RFC 6749 §4.4).
    ClientCredentials(Client),
    /// An assertion that a service account signs (RFC 7523 §2.1).
    JwtBearer {
        /// Who signs it.
        account: ServiceAccount,
        /// The mailbox that the account acts for; `None`: the account itself.
        subject: Option<String>,
    },
    /// A refresh token got earlier (RFC 6749 §6).
    RefreshToken {
        /// The client that it was issued to.
        client: Client,
        /// The refresh token.
        token: Secret,
    },
}

/// The program that asks, as the token endpoint knows it.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// How it proves that it is this client.
    pub authentication: Authentication,
}

/// How a client proves its identity.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// Not at all: a public client with a refresh token (RFC 6749 §3.2.1).
    None,
    /// `client_secret` in the form.
    Post(Secret),
    /// The same by HTTP Basic (RFC 6749 §2.3.1).
    Basic(Secret),
    /// An assertion that it signs (RFC 7523 §2.2).
    PrivateKeyJwt(ClientKey),
}

/// An assertion could not be signed: the system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the assertion could not be signed")]
pub struct SigningFailed;

/// The request as it is sent.
pub struct HttpRequest {
    bytes: Secret,
    secrets: Vec<Secret>,
}

impl HttpRequest {
    /// One HTTP/1.1 request, complete.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// The reader of its answer, which blots out the request's secrets where an answer repeats
    /// them.
    pub fn answer(&self) -> AnswerParser {
        AnswerParser::new(self.secrets.clone())
    }
}

impl TokenRequest {
    /// The bytes of the request at the time `now`, in seconds since 1970. Assertions are signed
    /// anew, dated 30 seconds back.
    ///
    /// # Errors
    /// [`SigningFailed`].
    pub fn encode(&self, now: u64) -> Result<HttpRequest, SigningFailed> {
        let mut form = Form::default();
        let mut secrets = Secrets::default();
        let mut authorization = None;
        match &self.grant {
            Grant::ClientCredentials(client) => {
                form.field("grant_type", b"client_credentials");
                authorization = self.authenticate(client, now, &mut form, &mut secrets)?;
            }
            Grant::JwtBearer { account, subject } => {
                form.field("grant_type", JWT_BEARER);
                let audience = self.endpoint.as_str();
                let scope = self.scope.as_deref();
                let assertion =
                    assertion::of_account(account, subject.as_deref(), scope, audience, now)?;
                form.field("assertion", assertion.expose());
                secrets.add(&assertion);
            }
            Grant::RefreshToken { client, token } => {
                form.field("grant_type", b"refresh_token");
                authorization = self.authenticate(client, now, &mut form, &mut secrets)?;
                form.field("refresh_token", token.expose());
                secrets.add(token);
            }
        }
        // The scope of an assertion is one of its claims.
        if let (Some(scope), false) = (&self.scope, matches!(self.grant, Grant::JwtBearer { .. })) {
            form.field("scope", scope.as_bytes());
        }
        for (name, value) in self.parameters.iter() {
            form.field(name, value.as_bytes());
            if ["password", "secret", "token"]
                .iter()
                .any(|word| name.contains(word))
            {
                secrets.add(&Secret::new(value));
            }
        }
        Ok(HttpRequest {
            bytes: self.http(authorization.as_ref(), form.as_slice()),
            secrets: secrets.0,
        })
    }

    /// Adds what proves the client's identity to the form, or returns the credentials of HTTP
    /// Basic.
    fn authenticate(
        &self,
        client: &Client,
        now: u64,
        form: &mut Form,
        secrets: &mut Secrets,
    ) -> Result<Option<Secret>, SigningFailed> {
        match &client.authentication {
            Authentication::None => form.field("client_id", client.id.as_bytes()),
            Authentication::Post(secret) => {
                form.field("client_id", client.id.as_bytes());
                form.field("client_secret", secret.expose());
                secrets.add(secret);
            }
            Authentication::Basic(secret) => {
                let mut pair = SecretBuffer::default();
                pair.push(&encoded(client.id.as_bytes()));
                pair.push(b":");
                pair.push(&encoded(secret.expose()));
                let credentials = Secret::new(STANDARD.encode(pair.as_slice()));
                secrets.add(secret);
                secrets.add(&credentials);
                return Ok(Some(credentials));
            }
            Authentication::PrivateKeyJwt(key) => {
                let audience = self.endpoint.as_str();
                let assertion = assertion::of_client(&client.id, key, audience, now)?;
                form.field("client_id", client.id.as_bytes());
                form.field("client_assertion_type", CLIENT_ASSERTION);
                form.field("client_assertion", assertion.expose());
                secrets.add(&assertion);
            }
        }
        Ok(None)
    }

    fn http(&self, authorization: Option<&Secret>, body: &[u8]) -> Secret {
        let head = format!(
            "POST {} HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: {USER_AGENT}\r\n\
             Accept: application/json\r\n\
             Accept-Encoding: identity\r\n\
             Connection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n",
            self.endpoint.target(),
            self.endpoint.authority(),
            body.len()
        );
        let mut request = SecretBuffer::default();
        request.push(head.as_bytes());
        if let Some(credentials) = authorization {
            request.push(b"Authorization: Basic ");
            request.push(credentials.expose());
            request.push(b"\r\n");
        }
        request.push(b"\r\n");
        request.push(body);
        request.into_secret()
    }
}

/// What an answer must not show.
#[derive(Default)]
struct Secrets(Vec<Secret>);

impl Secrets {
    /// Shorter texts are no secret that blotting out would keep, and would blot out half of an
    /// answer.
    const SHORTEST: usize = 4;

    /// Adds a secret as it is, and as it stands in the form.
    fn add(&mut self, secret: &Secret) {
        if secret.len() < Self::SHORTEST {
            return;
        }
        self.0.push(secret.clone());
        let in_form: Zeroizing<Vec<u8>> = encoded(secret.expose());
        if *in_form != secret.expose() {
            self.0.push(Secret::new(in_form.as_slice()));
        }
    }
}
