//! SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677).
//!
//! Refuses a server that doesn't extend our nonce, asks for fewer or more iterations than
//! [`limits`] allow, names an extension it calls mandatory, or can't prove that it knows the
//! password.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Breach, CredentialError, Mechanism, Scheme, concat};
use crate::limits;
use crate::secret::Secret;
use crate::text::quoted;

/// No channel binding, no authorization identity (RFC 5802 §7).
const GS2_HEADER: &str = "n,,";
/// How many rounds of PBKDF2 go by between two calls of `pause`: a few milliseconds.
const ROUNDS_PER_PAUSE: u32 = 4096;

type Digest = Zeroizing<[u8; 32]>;

#[derive(Debug)]
pub(super) struct ScramSha256 {
    password: Secret,
    nonce: String,
    client_first_bare: String,
    state: State,
}

enum State {
    /// The client's first message isn't sent yet, or isn't answered yet.
    First,
    /// The proof is sent: this is the signature that the server must show.
    Proven(Digest),
    /// The server showed it.
    Verified,
    /// The server said why it refuses (RFC 5802 §7, `e=`), in its own words.
    Refused(String),
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "First",
            Self::Proven(_) => "Proven(********)",
            Self::Verified => "Verified",
            Self::Refused(_) => "Refused",
        })
    }
}

impl ScramSha256 {
    pub(super) fn new(
        username: &str,
        password: &str,
        nonce: &str,
    ) -> Result<Self, CredentialError> {
        if nonce.is_empty()
            || !nonce
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
        {
            return Err(CredentialError::Nonce);
        }
        let username = saslname(&prepared(username));
        Ok(Self {
            password: Secret::new(prepared(password).as_bytes()),
            nonce: nonce.to_owned(),
            client_first_bare: format!("n={username},r={nonce}"),
            state: State::First,
        })
    }

    /// Answers `r=NONCE,s=SALT,i=ITERATIONS` with the proof.
    fn prove(&mut self, message: &str, pause: &mut dyn FnMut()) -> Result<Secret, Breach> {
        let first = ServerFirst::parse(message, &self.nonce)?;
        let client_final = format!("c={},r={}", BASE64.encode(GS2_HEADER), first.nonce);
        let auth_message = [self.client_first_bare.as_str(), message, &client_final].join(",");

        let salted = pbkdf2(self.password.expose(), &first.salt, first.iterations, pause);
        let client_key = hmac_sha256(&*salted, b"Client Key");
        let stored_key: Digest = Zeroizing::new(Sha256::digest(*client_key).into());
        let signature = hmac_sha256(&*stored_key, auth_message.as_bytes());
        let mut proof = client_key;
        xor(&mut proof, &signature);
        let server_key = hmac_sha256(&*salted, b"Server Key");
        self.state = State::Proven(hmac_sha256(&*server_key, auth_message.as_bytes()));
        let proof = Zeroizing::new(BASE64.encode(*proof));
        Ok(concat(&[&client_final, ",p=", &proof]))
    }

    /// Answers `v=SIGNATURE` or `e=ERROR`, sent as a challenge of its own, with nothing (RFC 4954
    /// §4). After an error the server still owes its 535, and that is what the caller should
    /// see.
    fn verify(message: &str, expected: &Digest) -> Result<State, Breach> {
        let attribute = message.split(',').next().unwrap_or_default();
        if let Some(error) = attribute.strip_prefix("e=") {
            return Ok(State::Refused(error.to_owned()));
        }
        let signature = attribute
            .strip_prefix("v=")
            .and_then(|text| BASE64.decode(text).ok())
            .ok_or(Breach::Scram(
                "no server signature in the last SCRAM message",
            ))?;
        if bool::from(signature.ct_eq(expected.as_slice())) {
            Ok(State::Verified)
        } else {
            Err(Breach::Scram(
                "wrong server signature in SCRAM: the server doesn't know the password",
            ))
        }
    }
}

impl Mechanism for ScramSha256 {
    fn initial_response(&mut self) -> Option<Secret> {
        Some(concat(&[GS2_HEADER, &self.client_first_bare]))
    }

    fn respond(&mut self, challenge: &[u8], pause: &mut dyn FnMut()) -> Result<Secret, Breach> {
        let message = std::str::from_utf8(challenge)
            .map_err(|_| Breach::Scram("a SCRAM message that is not UTF-8"))?;
        match &self.state {
            State::First => self.prove(message, pause),
            State::Proven(expected) => {
                self.state = Self::verify(message, expected)?;
                Ok(Secret::new(""))
            }
            State::Verified | State::Refused(_) => {
                Err(Breach::UnexpectedChallenge(Scheme::ScramSha256))
            }
        }
    }

    fn finish(&mut self) -> Result<(), Breach> {
        match &self.state {
            State::Verified => Ok(()),
            State::First | State::Proven(_) => Err(Breach::Scram(
                "the server accepted without proving that it knows the password",
            )),
            State::Refused(error) => Err(Breach::AcceptedAfterRefusal(quoted(error))),
        }
    }
}

/// What the server's first message says, already checked.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn parse(message: &'a str, client_nonce: &str) -> Result<Self, Breach> {
        if message.starts_with("m=") {
            return Err(Breach::Scram("the server demands a SCRAM extension"));
        }
        // RFC 5802 §7: these three in this order; extensions may follow and are not ours to know.
        let mut attributes = message.split(',');
        let mut value = |name: &str| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(name))
                .ok_or(Breach::Scram("malformed first SCRAM message of the server"))
        };
        let nonce = value("r=")?;
        let salt = value("s=")?;
        let iterations = value("i=")?;

        let own = nonce.strip_prefix(client_nonce).unwrap_or_default();
        if own.is_empty() || !own.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Breach::Scram(
                "the server's SCRAM nonce does not extend ours",
            ));
        }
        let salt = BASE64
            .decode(salt)
            .ok()
            .filter(|salt| !salt.is_empty())
            .ok_or(Breach::Scram("malformed SCRAM salt"))?;
        let iterations = iterations
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| iterations.parse::<u32>().ok())
            .flatten()
            .filter(|count| {
                (limits::SCRAM_MIN_ITERATIONS..=limits::SCRAM_MAX_ITERATIONS).contains(count)
            })
            .ok_or_else(|| Breach::Iterations(quoted(iterations)))?;
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

/// `Hi()` of RFC 5802 §2.2: PBKDF2 with one block. Our own loop, because no library lets an
/// interrupt through.
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32, pause: &mut dyn FnMut()) -> Digest {
    let keyed = keyed(password);
    let mut mac = keyed.clone();
    mac.update(salt);
    mac.update(&1_u32.to_be_bytes());
    let mut round: Digest = Zeroizing::new(mac.finalize().into_bytes().into());
    let mut result = round.clone();
    for done in 1..iterations {
        if done % ROUNDS_PER_PAUSE == 0 {
            pause();
        }
        let mut mac = keyed.clone();
        mac.update(round.as_slice());
        *round = mac.finalize().into_bytes().into();
        xor(&mut result, &round);
    }
    result
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Digest {
    let mut mac = keyed(key);
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("an HMAC takes a key of any length");
    };
    mac
}

fn xor(target: &mut Digest, other: &Digest) {
    for (byte, other) in target.iter_mut().zip(other.iter()) {
        *byte ^= other;
    }
}

/// SASLprep (RFC 4013); a text that it forbids is used as it is, as PostgreSQL's own SCRAM does:
/// such a password may well have been set somewhere that never prepared it.
fn prepared(text: &str) -> Zeroizing<String> {
    Zeroizing::new(match stringprep::saslprep(text) {
        Ok(prepared) => prepared.into_owned(),
        Err(_) => text.to_owned(),
    })
}

/// A user name inside a GS2 header or a SCRAM message (RFC 5802 §5.1).
pub(super) fn saslname(username: &str) -> String {
    username.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Only read, not computed: a million rounds take seconds in a debug build.
    #[test]
    fn iterations_up_to_both_limits_and_unknown_extensions_are_accepted() {
        for count in [limits::SCRAM_MIN_ITERATIONS, limits::SCRAM_MAX_ITERATIONS] {
            let message = format!("r=oursx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={count},x=new");
            let first = ServerFirst::parse(&message, "ours").unwrap();
            assert_eq!((first.nonce, first.iterations), ("oursx", count));
        }
    }

    proptest! {
        #[test]
        fn no_first_message_makes_the_parser_panic(
            text in "(r=ours.{0,5},)?([rsimve]=.{0,12},?){0,5}"
        ) {
            let _ = ServerFirst::parse(&text, "ours");
        }
    }
}
