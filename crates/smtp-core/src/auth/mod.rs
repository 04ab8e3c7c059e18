//! SASL mechanisms for SMTP AUTH (RFC 4954), one file each, and the list of them that a caller
//! names.
//!
//! A mechanism sees decoded challenges and answers with decoded responses: base64, the 334 loop,
//! its cap and the cancelling `*` belong to [`crate::session`]. It never sees the wire and never
//! learns whether TLS is up: that decides in [`SchemeList::choose`], before a mechanism exists.
//!
//! What a caller gives is checked in [`mechanism`], and refused without ever being repeated. User
//! names and passwords go out as the UTF-8 they came in; only SCRAM prepares them with SASLprep,
//! because RFC 5802 §5.1 hashes them.

mod cram_md5;
mod external;
mod login;
mod oauthbearer;
mod plain;
mod scheme;
mod scram;
mod xoauth2;

use std::fmt;

use crate::limits;
use crate::secret::Secret;

pub use scheme::{
    ALL_SCHEMES, NON_CLEARTEXT_PASSWORD_SCHEMES, NoSupportedScheme, Scheme, SchemeError,
    SchemeList, SchemePolicy, TOKEN_SCHEMES,
};

/// One mechanism in the middle of an exchange.
pub trait Mechanism: fmt::Debug {
    /// The response sent with AUTH itself, for mechanisms in which the client speaks first. Asked
    /// for once; it may be empty (`AUTH EXTERNAL =`), and may go out as the answer to an empty
    /// first challenge when it is too long.
    fn initial_response(&mut self) -> Option<Secret>;

    /// The answer to one challenge. `pause` is called every few thousand rounds of a long
    /// computation, so that the caller can let an interrupt through.
    fn respond(&mut self, challenge: &[u8], pause: &mut dyn FnMut()) -> Result<Secret, Breach>;

    /// Called on the server's 235: whether the exchange is complete from this side too (RFC 5802
    /// §5: a client must have verified the server's signature).
    fn finish(&mut self) -> Result<(), Breach> {
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

/// Why an exchange can't begin. The value is not repeated, nor is the place in it: both say
/// something about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A character that would break a line or a field.
    #[error("a control character")]
    ControlCharacter(Field),
    /// Not text.
    #[error("not valid UTF-8")]
    NotUtf8(Field),
    /// It makes a line of more than [`limits::AUTH_LINE`] octets.
    #[error("makes a line of more than {} octets", limits::AUTH_LINE)]
    TooLong(Field),
    /// The nonce is empty, or not printable ASCII without a comma.
    #[error("not printable ASCII without a comma")]
    Nonce,
}

/// Which of the [`Credentials`] an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The user name.
    Username,
    /// The password or the token.
    Password,
}

/// How a server broke the rules of a mechanism: the exchange must be cancelled and the session
/// ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A challenge where the mechanism has none.
    #[error("unexpected challenge in {0}")]
    UnexpectedChallenge(Scheme),
    /// A challenge of nothing: its digest could be replayed for ever.
    #[error("empty challenge in {0}")]
    EmptyChallenge(Scheme),
    /// A challenge that can't be decoded.
    #[error("the challenge is not base64")]
    NotBase64,
    /// More challenges than [`limits::AUTH_CHALLENGES`].
    #[error("the server sent more than {} challenges", limits::AUTH_CHALLENGES)]
    TooManyChallenges,
    /// A challenge whose answer is longer than [`limits::AUTH_LINE`].
    #[error("the response is too long")]
    ResponseTooLong,
    /// A message of SCRAM that breaks RFC 5802; the text says which rule.
    #[error("{0}")]
    Scram(&'static str),
    /// A number of SCRAM iterations that is not accepted, as the server wrote it.
    #[error(
        "the server asks for {0} SCRAM iterations, allowed are {min} to {max}",
        min = limits::SCRAM_MIN_ITERATIONS,
        max = limits::SCRAM_MAX_ITERATIONS
    )]
    Iterations(String),
    /// Success after the server refused with this SCRAM error.
    #[error("the server accepted after it refused with {0}")]
    AcceptedAfterRefusal(String),
}

impl Breach {
    /// What the server wrote, if that is part of it.
    pub(crate) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Iterations(text) | Self::AcceptedAfterRefusal(text) => Some(text),
            _ => None,
        }
    }
}

/// Begins an exchange.
pub fn mechanism(
    scheme: Scheme,
    credentials: Credentials,
) -> Result<Box<dyn Mechanism + Send>, CredentialError> {
    let token = matches!(scheme, Scheme::Xoauth2 | Scheme::Oauthbearer);
    let forbidden = if token {
        char::is_control
    } else {
        breaks_a_line
    };
    let username = credentials.username.as_str();
    let password = std::str::from_utf8(credentials.password.expose())
        .map_err(|_| CredentialError::NotUtf8(Field::Password))?;
    check(Field::Username, username, forbidden)?;
    check(Field::Password, password, forbidden)?;
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

fn check(field: Field, text: &str, forbidden: fn(char) -> bool) -> Result<(), CredentialError> {
    match text.contains(forbidden) {
        true => Err(CredentialError::ControlCharacter(field)),
        false => Ok(()),
    }
}

/// A secret put together in one allocation, so that growing it leaves no copies behind.
fn concat(parts: &[&str]) -> Secret {
    Secret::new(parts.concat())
}

#[cfg(test)]
mod tests;
