//! OAUTHBEARER (RFC 7628): the user name, the server's host and port, and a bearer token in the
//! initial response.
//!
//! A refusal comes as a challenge that explains it in JSON (§3.2.2); a lone control-A makes the
//! server send its 535 (§3.2.3).

use super::scram::saslname;
use super::{Breach, Mechanism, Scheme, concat};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Oauthbearer {
    message: Option<Secret>,
    refused: bool,
}

impl Oauthbearer {
    pub(super) fn new(username: &str, token: &str, host: &str, port: u16) -> Self {
        // RFC 5801 §4: an authorization identity is one character or more, or left out with its
        // "a=".
        let identity = match username {
            "" => String::new(),
            username => ["a=", &saslname(username)].concat(),
        };
        let parts = [
            "n,",
            &identity,
            ",\x01host=",
            host,
            "\x01port=",
            &port.to_string(),
            "\x01auth=Bearer ",
            token,
            "\x01\x01",
        ];
        Self {
            message: Some(concat(&parts)),
            refused: false,
        }
    }
}

impl Mechanism for Oauthbearer {
    fn initial_response(&mut self) -> Option<Secret> {
        self.message.take()
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        if std::mem::replace(&mut self.refused, true) {
            return Err(Breach::UnexpectedChallenge(Scheme::Oauthbearer));
        }
        Ok(Secret::new("\x01"))
    }
}
