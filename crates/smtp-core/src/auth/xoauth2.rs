//! XOAUTH2 (Google's and Microsoft's OAuth 2.0 mechanism): the user name and a bearer token in the
//! initial response.
//!
//! A refusal comes as a challenge that explains it in JSON; an empty response to it makes the
//! server send its 535.

use super::{Breach, Mechanism, Scheme, concat};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Xoauth2 {
    message: Option<Secret>,
    refused: bool,
}

impl Xoauth2 {
    pub(super) fn new(username: &str, token: &str) -> Self {
        let parts = ["user=", username, "\x01auth=Bearer ", token, "\x01\x01"];
        Self {
            message: Some(concat(&parts)),
            refused: false,
        }
    }
}

impl Mechanism for Xoauth2 {
    fn initial_response(&mut self) -> Option<Secret> {
        self.message.take()
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        if std::mem::replace(&mut self.refused, true) {
            return Err(Breach::UnexpectedChallenge(Scheme::Xoauth2));
        }
        Ok(Secret::new(""))
    }
}
