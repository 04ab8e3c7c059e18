//! SASL mechanisms for SMTP AUTH (RFC 4954), one file each, and the list of them that a caller names.
//!
//! A mechanism sees decoded challenges and answers with decoded responses: base64, the 334 loop, its cap and the
//! cancelling `*` belong to [`crate::session`]. It never sees the wire and never learns whether TLS is up: that
//! decides in [`SchemeList::choose`], before a mechanism exists.
//!
//! What a caller gives is checked in [`mechanism`], and refused without ever being repeated. User names and passwords
//! go out as the UTF-8 they came in; only SCRAM prepares them with SASLprep, because RFC 5802 §5.1 hashes them.

mod cram_md5;
mod external;
mod login;
mod oauthbearer;
mod plain;
mod scheme;
mod scram;
mod xoauth2;

use std::fmt;

use crate::secret::Secret;
use crate::text::ArgumentError;

pub use scheme::{
    ALL_SCHEMES, NON_CLEARTEXT_PASSWORD_SCHEMES, NoSupportedScheme, Scheme, SchemeError,
    SchemeList, SchemePolicy,
};

/// One mechanism in the middle of an exchange.
pub trait Mechanism: fmt::Debug {
    /// The response sent with AUTH itself, for mechanisms in which the client speaks first. Asked for once; it may
    /// be empty (`AUTH EXTERNAL =`), and may go out as the answer to an empty first challenge when it is too long.
    fn initial_response(&mut self) -> Option<Secret>;

    /// The answer to one challenge. `pause` is called every few thousand rounds of a long computation, so that the
    /// caller can let an interrupt through.
    fn respond(&mut self, challenge: &[u8], pause: &mut dyn FnMut()) -> Result<Secret, AuthError>;

    /// Called on the server's 235: whether the exchange is complete from this side too (RFC 5802 §5: a client must
    /// have verified the server's signature).
    fn finish(&mut self) -> Result<(), AuthError> {
        Ok(())
    }
}

/// What a mechanism needs to know.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who to authenticate as; for EXTERNAL the identity to act as, or empty.
    pub username: String,
    /// The password, or the access token of XOAUTH2 and OAUTHBEARER.
    pub password: Secret,
    /// The server's name as the caller gave it; OAUTHBEARER sends it.
    pub host: String,
    /// The server's port; OAUTHBEARER sends it.
    pub port: u16,
    /// A fresh random text of printable ASCII without a comma; SCRAM sends it.
    pub nonce: String,
}

/// Why an exchange can't begin or go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The caller's value can't be sent.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The server broke the mechanism's rules: the exchange must be cancelled and the session ended.
    #[error("{0}")]
    Protocol(String),
}

/// Begins an exchange.
pub fn mechanism(
    scheme: Scheme,
    credentials: Credentials,
) -> Result<Box<dyn Mechanism + Send>, AuthError> {
    let token = matches!(scheme, Scheme::Xoauth2 | Scheme::Oauthbearer);
    let forbidden = if token {
        char::is_control
    } else {
        breaks_a_line
    };
    let username = credentials.username.as_str();
    let password = std::str::from_utf8(credentials.password.expose())
        .map_err(|_| ArgumentError::new("password", "not valid UTF-8"))?;
    check("username", username, forbidden)?;
    check("password", password, forbidden)?;
    Ok(match scheme {
        Scheme::ScramSha256 => Box::new(scram::ScramSha256::new(
            username,
            password,
            &credentials.nonce,
        )?),
        Scheme::CramMd5 => Box::new(cram_md5::CramMd5::new(username, password)),
        Scheme::Plain => Box::new(plain::Plain::new(username, password)),
        Scheme::Login => Box::new(login::Login::new(username, password)),
        Scheme::Xoauth2 => Box::new(xoauth2::Xoauth2::new(username, password)),
        Scheme::Oauthbearer => Box::new(oauthbearer::Oauthbearer::new(
            username,
            password,
            &credentials.host,
            credentials.port,
        )),
        Scheme::External => Box::new(external::External::new(username)),
    })
}

/// NUL separates the fields of PLAIN; CR and LF end the lines that a server may log or relay.
fn breaks_a_line(character: char) -> bool {
    matches!(character, '\0' | '\r' | '\n')
}

fn check(argument: &'static str, text: &str, forbidden: fn(char) -> bool) -> Result<(), AuthError> {
    match text.chars().position(forbidden) {
        // Neither the value nor the place: both say something about a secret.
        Some(_) => Err(ArgumentError::new(argument, "a control character").into()),
        None => Ok(()),
    }
}

/// A secret put together in one allocation, so that growing it leaves no copies behind.
fn concat(parts: &[&str]) -> Secret {
    Secret::new(parts.concat())
}

/// The error for a challenge that the mechanism doesn't have.
fn unexpected_challenge(scheme: Scheme) -> AuthError {
    AuthError::Protocol(format!("unexpected challenge in {scheme}"))
}

#[cfg(test)]
mod tests;
