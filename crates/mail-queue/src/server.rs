//! Failures of a mail server, as opposed to those of a message: its mail waits and uses no attempt.

use smtp_core::command::Verb;
use smtp_core::reply::{Code, Reply};

use crate::status::Status;

/// Why a server can't be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerFailure {
    /// Its name has no address, no address accepts a connection, or the connection was lost or
    /// silent before the session was ready for a message.
    Connect,
    /// It refused this client by its greeting or in reply to EHLO, 5xx included: a server that
    /// takes nobody's mail says nothing about this mail.
    Greeting,
    /// STARTTLS isn't offered or is refused, or the handshake failed for another reason than the
    /// certificate.
    Tls,
    /// Its certificate is rejected.
    Certificate,
    /// It refused the login, or wants one: 530, 535, 538, 5.7.30, 5.7.139, any refusal of AUTH. The
    /// refusal of a token by the token endpoint belongs here.
    Auth,
    /// The token endpoint can't be reached, or answers nonsense.
    Token,
    /// An access rule doesn't allow the connection.
    Access,
    /// The owner of the mail may not use the server.
    Usage,
    /// There are no credentials, or they can't be used.
    Mapping,
    /// The trust anchors or the client's identity can't be read.
    Wallet,
    /// The server is no longer defined.
    Missing,
    /// 421, at whatever point: it is going down, or it has enough of this client.
    Unavailable,
}

impl ServerFailure {
    /// Whether the back-off begins with its longest delay instead of 5 seconds: only a person can
    /// mend it, and some servers lock an account that tries too often.
    pub fn needs_operator(self) -> bool {
        match self {
            Self::Connect | Self::Greeting | Self::Tls | Self::Token | Self::Unavailable => false,
            Self::Certificate
            | Self::Auth
            | Self::Access
            | Self::Usage
            | Self::Mapping
            | Self::Wallet
            | Self::Missing => true,
        }
    }

    /// Whether mail may go to another server that is named as the fallback: the failure is one of
    /// the server or of the way to it, not one of what was configured for it.
    pub fn allows_fallback(self) -> bool {
        match self {
            Self::Connect | Self::Greeting | Self::Tls | Self::Certificate | Self::Unavailable => {
                true
            }
            Self::Auth
            | Self::Token
            | Self::Access
            | Self::Usage
            | Self::Mapping
            | Self::Wallet
            | Self::Missing => false,
        }
    }

    /// What the refusal of a step before MAIL means: the greeting ([`Verb::Connect`]), EHLO,
    /// STARTTLS or AUTH.
    pub fn of_refused_step(verb: Verb, reply: &Reply) -> Self {
        if reply.code() == Code::NOT_AVAILABLE {
            return Self::Unavailable;
        }
        match verb {
            Verb::StartTls => Self::Tls,
            Verb::Auth | Verb::RawAuth => Self::Auth,
            _ if wants_login(reply) => Self::Auth,
            _ => Self::Greeting,
        }
    }

    /// What a failure reply to MAIL, RCPT, DATA or the final dot says about the server, if it does.
    pub fn of_refused_mail(reply: &Reply) -> Option<Self> {
        match reply.code() {
            Code::NOT_AVAILABLE => Some(Self::Unavailable),
            _ if wants_login(reply) => Some(Self::Auth),
            _ => None,
        }
    }
}

/// Whether a reply says that the login is missing, refused, or not of the required kind (RFC 4954
/// §6; 5.7.30 and 5.7.139 are Microsoft's).
fn wants_login(reply: &Reply) -> bool {
    let status = Status::of(reply);
    matches!(reply.code().value(), 530 | 535 | 538)
        || status.is_some_and(|status| matches!(status.parts(), (5, 7, 30 | 139)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reply;

    #[test]
    fn a_refused_step_is_the_servers_failure() {
        use ServerFailure::{Auth, Greeting, Tls, Unavailable};
        for (verb, text, expected) in [
            (Verb::Connect, "554 5.7.1 no service for you", Greeting),
            (Verb::Connect, "450 4.3.2 later", Greeting),
            (Verb::Connect, "421 4.3.2 busy", Unavailable),
            (Verb::Ehlo, "550 5.7.1 bad name", Greeting),
            (Verb::Helo, "501 bad name", Greeting),
            (Verb::Ehlo, "530 5.7.0 log in", Auth),
            (Verb::Ehlo, "421 bye", Unavailable),
            (Verb::StartTls, "454 4.7.0 not now", Tls),
            (Verb::StartTls, "502 5.5.1 what", Tls),
            (Verb::StartTls, "421 bye", Unavailable),
            (Verb::Auth, "535 5.7.8 bad credentials", Auth),
            (Verb::Auth, "535 5.7.139 disabled", Auth),
            (
                Verb::Auth,
                "550 5.7.30 basic authentication is not supported",
                Auth,
            ),
            (Verb::Auth, "454 4.7.0 temporary failure", Auth),
            (Verb::Auth, "504 5.5.4 mechanism", Auth),
            (Verb::Auth, "421 4.7.0 too many logins", Unavailable),
        ] {
            let failure = ServerFailure::of_refused_step(verb, &reply(text));
            assert_eq!(failure, expected, "{verb} {text}");
        }
    }
}
