//! LOGIN (draft-murchison-sasl-login): the user name to the first challenge, the password to the
//! second.
//!
//! The texts of the challenges differ from server to server (`Username:`, `User Name`, not always
//! in base64), so only their order counts.

use super::{Breach, Mechanism, Scheme};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Login {
    /// What is still to be said, last first.
    answers: Vec<Secret>,
}

impl Login {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self {
            answers: vec![Secret::new(password), Secret::new(username)],
        }
    }
}

impl Mechanism for Login {
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        self.answers
            .pop()
            .ok_or(Breach::UnexpectedChallenge(Scheme::Login))
    }
}
