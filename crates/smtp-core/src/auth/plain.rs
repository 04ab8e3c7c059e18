//! PLAIN (RFC 4616): the user name and the password, separated by NULs, in the initial response.

use super::{Breach, Mechanism, Scheme, concat};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Plain {
    message: Option<Secret>,
}

impl Plain {
    pub(super) fn new(username: &str, password: &str) -> Self {
        // No authorization identity: the server derives it from the user name (RFC 4616 §2).
        Self {
            message: Some(concat(&["\0", username, "\0", password])),
        }
    }
}

impl Mechanism for Plain {
    fn initial_response(&mut self) -> Option<Secret> {
        self.message.take()
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        Err(Breach::UnexpectedChallenge(Scheme::Plain))
    }
}
