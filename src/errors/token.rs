//! Errors of token endpoints.

use std::time::Duration;

use oauth2_token::{AnswerError, Endpoint, Grant, Reason, Refusal, SigningFailed};
use pem_wallet::Rejection;
use smtp_client::error::{NetError, Step};
use smtp_client::https::PostError;

use super::{Report, hints, sentence, sqlstate};

/// A request for an access token that has failed.
pub struct NoToken<'a> {
    pub endpoint: &'a Endpoint,
    pub grant: &'a Grant,
    /// The time limit it had.
    pub timeout: Option<Duration>,
    pub error: PostError<AnswerError>,
}

impl Report {
    pub fn no_token(failed: NoToken<'_>) -> Self {
        let host = failed.endpoint.host();
        let unavailable = || {
            let message = format!(
                "ORA-29278: SMTP transient error: no access token from the token endpoint {host}"
            );
            Self::new(sqlstate::TRANSIENT_ERROR, message)
        };
        match failed.error {
            PostError::Net(NetError::OutOfMemory(error)) => error.into(),
            PostError::Net(NetError::Timeout(step)) => {
                let limit = failed.timeout.unwrap_or_default().as_secs();
                let doing = match step {
                    Step::Reading => "waiting for the answer of the token endpoint".to_owned(),
                    Step::Writing => "sending the request for a token".to_owned(),
                    other => other.to_string(),
                };
                unavailable()
                    .detail(format!("The tx_timeout of {limit} s ended while {doing}."))
                    .hint(hints::ENDPOINT_UNREACHABLE)
            }
            PostError::Net(error) => {
                let hint = match error {
                    NetError::Certificate(Rejection::Name { .. }) => hints::ENDPOINT_UNREACHABLE,
                    NetError::Certificate(_) => hints::ENDPOINT_CERTIFICATE,
                    _ => hints::ENDPOINT_UNREACHABLE,
                };
                unavailable()
                    .detail(sentence(&error.to_string()))
                    .hint(hint)
            }
            PostError::Answer(AnswerError::Malformed(malformed)) => unavailable()
                .detail(sentence(&format!(
                    "the token endpoint's answer can't be used: {malformed}"
                )))
                .hint(hints::ENDPOINT_NONSENSE),
            PostError::Answer(AnswerError::Unavailable(refusal)) => unavailable()
                .detail(said(&refusal))
                .hint(hints::for_status(refusal.status)),
            PostError::Answer(AnswerError::Refused(refusal)) => {
                let message = format!(
                    "ORA-29279: SMTP permanent error: the token endpoint {host} refused the request"
                );
                let report = Self::new(sqlstate::PERMANENT_ERROR, message).detail(said(&refusal));
                report.hint(match (refusal.reason, failed.grant) {
                    (Reason::SecretExpired, _) => hints::SECRET_EXPIRED,
                    (Reason::InvalidGrant, Grant::JwtBearer { .. }) => hints::INVALID_ASSERTION,
                    (Reason::InvalidGrant, _) => hints::INVALID_GRANT,
                    (Reason::Other, _) => hints::TOKEN_REFUSED,
                })
            }
        }
    }
}

/// The words of the endpoint: `error`, `error_description`, and the status.
fn said(refusal: &Refusal) -> String {
    let words = match (&refusal.error, &refusal.description) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(words), None) | (None, Some(words)) => words.clone(),
        (None, None) => "no reason".to_owned(),
    };
    format!(
        "The token endpoint answered status {}: {words}",
        refusal.status
    )
}

impl From<SigningFailed> for Report {
    fn from(error: SigningFailed) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, error.to_string())
    }
}
