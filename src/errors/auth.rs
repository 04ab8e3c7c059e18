//! Credentials and AUTH schemes that can't be used.

use smtp_core::auth::{CredentialError, Field, NoSupportedScheme, SchemeError, SchemePolicy};

use super::hints::Flaw;
use super::{Report, sentence, sqlstate};

impl Report {
    /// Credentials of a server are not sent without TLS, whatever the scheme.
    pub fn credential_in_clear() -> Self {
        Self::new(
            sqlstate::NO_SUPPORTED_SCHEME,
            "ORA-24250: no supported authentication scheme",
        )
        .detail(
            "The connection is not encrypted, and a server's credentials are sent under TLS only.",
        )
        .hint("Call starttls, and ehlo once more, before set_credential.")
    }
}

impl From<CredentialError> for Report {
    fn from(error: CredentialError) -> Self {
        let (field, flaw) = match error {
            CredentialError::ControlCharacter(field) => (field, Flaw::ControlCharacter),
            CredentialError::NotUtf8(field) | CredentialError::TooLong(field) => {
                (field, Flaw::Other)
            }
            CredentialError::Nonce => {
                return Self::new(sqlstate::INTERNAL_ERROR, error.to_string());
            }
        };
        let argument = match field {
            Field::Username => "username",
            Field::Password => "password",
        };
        Self::flawed(argument, &error.to_string(), flaw)
    }
}

impl From<SchemeError> for Report {
    fn from(error: SchemeError) -> Self {
        match error {
            SchemeError::Empty | SchemeError::Text(_) => {
                Self::argument("schemes", &error.to_string())
            }
            SchemeError::Unsupported(_) => {
                Self::new(sqlstate::UNSUPPORTED_SCHEME, format!("ORA-24249: {error}"))
                    .hint("Known schemes are SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and EXTERNAL.")
            }
        }
    }
}

impl From<NoSupportedScheme> for Report {
    fn from(error: NoSupportedScheme) -> Self {
        let wanted = &error.wanted;
        let (detail, hint) = match (&error.refused, error.policy) {
            (Some(refused), SchemePolicy::NoPassword) => (
                format!(
                    "starttls has failed on this connection, and {refused} would use the password without TLS"
                ),
                "Close the connection and find out why starttls failed: without TLS, an attacker in between could learn the password.",
            ),
            (Some(refused), _) => (
                format!("{refused} would show the secret on a connection that is not encrypted"),
                "Call starttls and ehlo first.",
            ),
            (None, _) => match &error.offered {
                Some(offered) => (
                    format!("the server offers {offered}, wanted was {wanted}"),
                    "Name one of the offered schemes in the argument \"schemes\".",
                ),
                None => (
                    format!("the server offers no authentication, wanted was {wanted}"),
                    "Many servers offer authentication only after starttls and a second ehlo.",
                ),
            },
        };
        Self::new(sqlstate::NO_SUPPORTED_SCHEME, format!("ORA-24250: {error}"))
            .detail(sentence(&detail))
            .hint(hint)
    }
}
