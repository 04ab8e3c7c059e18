//! EXTERNAL (RFC 4422 appendix A): the client certificate speaks; only the identity to act as is sent, or nothing.

use super::{AuthError, Mechanism, Scheme, unexpected_challenge};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct External {
    identity: Option<Secret>,
}

impl External {
    pub(super) fn new(identity: &str) -> Self {
        Self {
            identity: Some(Secret::new(identity)),
        }
    }
}

impl Mechanism for External {
    fn initial_response(&mut self) -> Option<Secret> {
        self.identity.take()
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, AuthError> {
        Err(unexpected_challenge(Scheme::External))
    }
}
