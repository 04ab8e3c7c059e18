//! EXTERNAL (RFC 4422 appendix A): the client certificate speaks; only the identity to act as is
//! sent, or nothing.

use super::{Breach, Mechanism, Scheme};
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

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        Err(Breach::UnexpectedChallenge(Scheme::External))
    }
}
