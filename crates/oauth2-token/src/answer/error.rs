//! Why there is no token.

use std::fmt;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Status 400 or 401: the request, the client or its grant is not accepted. The same request
    /// fails again.
    #[error("the token endpoint refused the request: {0}")]
    Refused(Refusal),
    /// Any other status but 200: 429, 5xx, a redirect.
    #[error("the token endpoint gave no token: {0}")]
    Unavailable(Refusal),
    /// The answer makes no sense.
    #[error("the token endpoint's answer can't be used: {0}")]
    Malformed(#[from] Malformed),
}

/// What an endpoint says instead of granting a token (RFC 6749 §5.2). Its texts are printable, cut
/// short, and hold none of the request's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `error`, such as `invalid_client`.
    pub error: Option<String>,
    /// `error_description`.
    pub description: Option<String>,
    /// The cause, where it is one that has a known remedy.
    pub reason: Reason,
}

/// Causes with a known remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Microsoft's AADSTS7000222: the client's secret has expired.
    SecretExpired,
    /// `invalid_grant`: the refresh token or the assertion is not accepted, or no longer.
    InvalidGrant,
    /// Any other.
    Other,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The connection ended before the first octet.
    #[error("the connection was closed without an answer")]
    Empty,
    /// The connection ended in the midst of it.
    #[error("it is cut short")]
    Truncated,
    /// More than [`crate::LIMIT`] octets, or more than 64 fields in its head.
    #[error("it is larger than {} octets", crate::LIMIT)]
    TooLarge,
    /// It does not begin as HTTP does.
    #[error("it is not HTTP")]
    NotHttp,
    /// Its status line or one of its fields.
    #[error("its head is not valid HTTP")]
    Head,
    /// Content-Length is no number, or is contradicted.
    #[error("its length is not clear")]
    Length,
    /// Transfer-Encoding other than chunked, or Content-Encoding.
    #[error("it has an encoding that was not asked for")]
    Coding,
    /// The size or the end of a chunk.
    #[error("its chunks are not valid")]
    Chunk,
    /// Not a JSON object, or a field twice.
    #[error("it is not a JSON object")]
    Json,
    /// `access_token` is missing, or is no token.
    #[error("it has no valid access_token")]
    AccessToken,
    /// `token_type` is another one than Bearer.
    #[error("its token_type is not Bearer")]
    TokenType,
    /// `expires_in` is negative, or no number.
    #[error("its expires_in is not a number of seconds")]
    Lifetime,
    /// `refresh_token` is no token.
    #[error("its refresh_token is not valid")]
    RefreshToken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(error) = &self.error {
            write!(f, ", {error}")?;
        }
        if let Some(description) = &self.description {
            write!(f, ": {description}")?;
        }
        Ok(())
    }
}
