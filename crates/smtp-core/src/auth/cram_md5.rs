//! CRAM-MD5 (RFC 2195): the user name and the HMAC-MD5 of the challenge keyed with the password.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use super::{Breach, Mechanism, Scheme};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct CramMd5 {
    username: String,
    password: Option<Secret>,
}

impl CramMd5 {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: Some(Secret::new(password)),
        }
    }
}

impl Mechanism for CramMd5 {
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    fn respond(&mut self, challenge: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        let password = self
            .password
            .take()
            .ok_or(Breach::UnexpectedChallenge(Scheme::CramMd5))?;
        if challenge.is_empty() {
            // The digest of nothing could be replayed for ever.
            return Err(Breach::EmptyChallenge(Scheme::CramMd5));
        }
        let Ok(mut mac) = Hmac::<Md5>::new_from_slice(password.expose()) else {
            unreachable!("an HMAC takes a key of any length");
        };
        mac.update(challenge);
        let mut response = format!("{} ", self.username);
        for byte in mac.finalize().into_bytes() {
            // Writing to a String can't fail.
            let _ = write!(response, "{byte:02x}");
        }
        Ok(Secret::new(response))
    }
}
