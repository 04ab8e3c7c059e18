//! One AUTH exchange on the wire (RFC 4954 §4): base64, the initial response, the loop of 334
//! challenges with its cap, the cancelling `*`. The mechanism inside sees none of this.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::auth::{Breach, CredentialError, Credentials, Field, Mechanism, Scheme, mechanism};
use crate::limits;
use crate::reply::{MASK, Reply};
use crate::secret::Secret;

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    scheme: Scheme,
    username: String,
    mechanism: Box<dyn Mechanism + Send>,
    /// An initial response that was too long for the AUTH line and waits for the first challenge.
    deferred: Option<Secret>,
    challenges: usize,
    /// Secrets that were sent, which the server's replies must not show to anybody else.
    secrets: Secrets,
}

/// Texts that are masked in replies.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Secret>);

impl Exchange {
    /// The exchange and the AUTH line that opens it, without CRLF.
    pub fn open(
        scheme: Scheme,
        credentials: Credentials,
    ) -> Result<(Self, Zeroizing<String>), CredentialError> {
        check_length(Field::Username, credentials.username.as_bytes())?;
        check_length(Field::Password, credentials.password.expose())?;
        let mut secrets = Secrets::default();
        secrets.add(credentials.password.expose());
        secrets.add(encode(&credentials.password).as_bytes());
        let username = credentials.username.clone();
        let mut mechanism = mechanism(scheme, credentials)?;
        let mut line = Zeroizing::new(format!("AUTH {}", scheme.name()));
        let mut deferred = None;
        if let Some(response) = mechanism.initial_response() {
            let encoded = encode(&response);
            check_line(Field::Password, &encoded)?;
            secrets.add(encoded.as_bytes());
            if line.len() + 1 + encoded.len().max(1) + 2 > limits::INITIAL_RESPONSE_LINE {
                deferred = Some(response);
            } else {
                line.push(' ');
                line.push_str(if encoded.is_empty() { "=" } else { &encoded });
            }
        }
        Ok((
            Self {
                scheme,
                username,
                mechanism,
                deferred,
                challenges: 0,
                secrets,
            },
            line,
        ))
    }

    /// The line that answers a challenge, without CRLF. On an error the exchange is to be
    /// cancelled.
    pub fn answer(
        &mut self,
        challenge: &Reply,
        pause: &mut dyn FnMut(),
    ) -> Result<Zeroizing<String>, Breach> {
        self.challenges += 1;
        if self.challenges > limits::AUTH_CHALLENGES {
            return Err(Breach::TooManyChallenges);
        }
        let response = match self.deferred.take() {
            Some(response) => response,
            None => {
                let challenge = self.decode(challenge.text())?;
                self.mechanism.respond(&challenge, pause)?
            }
        };
        let line = encode(&response);
        if line.len() + 2 > limits::AUTH_LINE {
            return Err(Breach::ResponseTooLong);
        }
        self.secrets.add(line.as_bytes());
        Ok(line)
    }

    /// The challenge that a reply carries. For LOGIN only its order counts, and some servers don't
    /// encode its prompts.
    fn decode(&self, text: &str) -> Result<Vec<u8>, Breach> {
        match STANDARD.decode(text.trim()) {
            Ok(challenge) => Ok(challenge),
            Err(_) if self.scheme == Scheme::Login => Ok(Vec::new()),
            Err(_) => Err(Breach::NotBase64),
        }
    }

    /// Called on success: the user, if this side agrees that the exchange is complete.
    pub fn finish(&mut self) -> Result<String, Breach> {
        self.mechanism.finish()?;
        Ok(std::mem::take(&mut self.username))
    }

    /// Forgets all secrets: nobody will ask for them, and the next reply is the verdict.
    pub fn settle(&mut self) {
        self.mechanism = Box::new(Settled);
        self.deferred = None;
        self.secrets = Secrets::default();
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub fn into_secrets(self) -> Secrets {
        self.secrets
    }
}

/// The mechanism of an exchange with nobody.
#[derive(Debug)]
struct Settled;

impl Mechanism for Settled {
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
        Ok(Secret::new([]))
    }
}

impl Secrets {
    /// Shorter texts are not masked: they occur in replies by chance.
    const SHORTEST: usize = 4;

    pub fn add(&mut self, secret: &[u8]) {
        if secret.len() >= Self::SHORTEST {
            self.0.push(Secret::new(secret));
        }
    }

    /// Adds a line of the caller's own AUTH exchange and what it decodes to: `user`, `password`, or
    /// PLAIN's NUL-separated three.
    pub fn add_line(&mut self, line: &str) {
        self.add(line.as_bytes());
        if let Ok(decoded) = STANDARD.decode(line) {
            let decoded = Zeroizing::new(decoded);
            decoded
                .split(|byte| matches!(byte, 0 | 1))
                .for_each(|part| self.add(part));
        }
    }

    /// Masks them in a text of the server, which may repeat what it received.
    pub fn mask(&self, text: &mut String) {
        for secret in self
            .0
            .iter()
            .filter_map(|secret| str::from_utf8(secret.expose()).ok())
        {
            if text.contains(secret) {
                *text = text.replace(secret, MASK);
            }
        }
    }
}

fn encode(response: &Secret) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(response.expose()))
}

/// Checked before anything is sent.
fn check_length(field: Field, value: &[u8]) -> Result<(), CredentialError> {
    match value.len().div_ceil(3) * 4 + 2 > limits::AUTH_LINE {
        true => Err(CredentialError::TooLong(field)),
        false => Ok(()),
    }
}

fn check_line(field: Field, encoded: &str) -> Result<(), CredentialError> {
    match encoded.len() + 2 > limits::AUTH_LINE {
        true => Err(CredentialError::TooLong(field)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::ReplyParser;

    /// A mechanism that answers every challenge.
    #[derive(Debug)]
    struct Endless;

    impl Mechanism for Endless {
        fn initial_response(&mut self) -> Option<Secret> {
            None
        }

        fn respond(&mut self, _: &[u8], _: &mut dyn FnMut()) -> Result<Secret, Breach> {
            Ok(Secret::new("x"))
        }
    }

    #[test]
    fn the_eleventh_challenge_is_not_answered() {
        let mut exchange = Exchange {
            scheme: Scheme::Plain,
            username: String::new(),
            mechanism: Box::new(Endless),
            deferred: None,
            challenges: 0,
            secrets: Secrets::default(),
        };
        let (_, challenge) = ReplyParser::default().feed(b"334 eA==\r\n").unwrap();
        let challenge = challenge.unwrap();
        for _ in 0..limits::AUTH_CHALLENGES {
            assert_eq!(*exchange.answer(&challenge, &mut || {}).unwrap(), "eA==");
        }
        let error = exchange.answer(&challenge, &mut || {}).unwrap_err();
        assert_eq!(error.to_string(), "the server sent more than 10 challenges");
    }
}
