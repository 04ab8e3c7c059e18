//! Assertions: JSON Web Tokens (RFC 7519) that the client signs (RFC 7515, RFC 7518 §3.3 and §3.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use serde::Serialize;
use smtp_core::secret::Secret;

use crate::account::ServiceAccount;
use crate::buffer::SecretBuffer;
use crate::key::{ClientKey, SigningKey};
use crate::request::SigningFailed;

/// Seconds by which an assertion is dated back: the clocks of two machines differ.
const SKEW: u64 = 30;
/// Seconds for which an assertion of a client is valid. Microsoft asks for five to ten minutes.
const CLIENT_LIFE: u64 = 600;
/// Seconds for which an assertion of a service account is valid: the longest that Google accepts.
const ACCOUNT_LIFE: u64 = 3600;

#[derive(Clone, Copy)]
enum Algorithm {
    Ps256,
    Rs256,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    thumbprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct ClientClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: u64,
    iat: u64,
    exp: u64,
}

#[derive(Serialize)]
struct AccountClaims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

/// What a client proves its identity with (RFC 7523 §2.2).
pub(crate) fn of_client(
    client_id: &str,
    key: &ClientKey,
    audience: &str,
    now: u64,
) -> Result<Secret, SigningFailed> {
    let mut jti = [0; 16];
    SystemRandom::new()
        .fill(&mut jti)
        .map_err(|_| SigningFailed)?;
    let issued = now.saturating_sub(SKEW);
    let claims = ClientClaims {
        aud: audience,
        iss: client_id,
        sub: client_id,
        jti: URL_SAFE_NO_PAD.encode(jti),
        nbf: issued,
        iat: issued,
        exp: issued.saturating_add(CLIENT_LIFE),
    };
    let header = Header {
        alg: "PS256",
        typ: "JWT",
        thumbprint: key.thumbprint.as_deref(),
        kid: None,
    };
    sign(&header, &claims, &key.key, Algorithm::Ps256)
}

/// What a service account asks for a token with (RFC 7523 §2.1, Google's "OAuth 2.0 for Server to
/// Server Applications").
pub(crate) fn of_account(
    account: &ServiceAccount,
    subject: Option<&str>,
    scope: Option<&str>,
    audience: &str,
    now: u64,
) -> Result<Secret, SigningFailed> {
    let issued = now.saturating_sub(SKEW);
    let claims = AccountClaims {
        iss: &account.issuer,
        sub: subject,
        scope,
        aud: audience,
        iat: issued,
        exp: issued.saturating_add(ACCOUNT_LIFE),
    };
    let header = Header {
        alg: "RS256",
        typ: "JWT",
        thumbprint: None,
        kid: account.key_id.as_deref(),
    };
    sign(&header, &claims, &account.key, Algorithm::Rs256)
}

fn sign(
    header: &impl Serialize,
    claims: &impl Serialize,
    key: &SigningKey,
    algorithm: Algorithm,
) -> Result<Secret, SigningFailed> {
    let mut token = SecretBuffer::default();
    token.push(part(header)?.as_bytes());
    token.push(b".");
    token.push(part(claims)?.as_bytes());
    let mut signature = vec![0; key.pair().public().modulus_len()];
    let encoding = match algorithm {
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Rs256 => &RSA_PKCS1_SHA256 as &dyn ring::signature::RsaEncoding,
    };
    key.pair()
        .sign(
            encoding,
            &SystemRandom::new(),
            token.as_slice(),
            &mut signature,
        )
        .map_err(|_| SigningFailed)?;
    token.push(b".");
    token.push(URL_SAFE_NO_PAD.encode(signature).as_bytes());
    Ok(token.into_secret())
}

fn part(content: &impl Serialize) -> Result<String, SigningFailed> {
    let json = serde_json::to_vec(content).map_err(|_| SigningFailed)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}
