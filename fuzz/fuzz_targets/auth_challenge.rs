//! Any sequence of challenges: a mechanism answers at most three, SCRAM never succeeds without the
//! server's signature, and neither the password nor an answer appears in an error or in `Debug`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::auth::{Credentials, Scheme, mechanism};
use smtp_core::secret::Secret;

const PASSWORD: &str = "tiger-77";
const SCHEMES: [Scheme; 7] = [
    Scheme::ScramSha256,
    Scheme::CramMd5,
    Scheme::Plain,
    Scheme::Login,
    Scheme::Xoauth2,
    Scheme::Oauthbearer,
    Scheme::External,
];

fuzz_target!(|input: &[u8]| {
    // The scheme, then challenges, one a line.
    let Some((&scheme, challenges)) = input.split_first() else {
        return;
    };
    let scheme = SCHEMES[usize::from(scheme) % SCHEMES.len()];
    if asks_for_long_work(challenges) || challenges.windows(8).any(|w| w == PASSWORD.as_bytes()) {
        return;
    }
    let credentials = Credentials {
        username: "sc=ott,".to_owned(),
        password: Secret::new(PASSWORD),
        host: "mx.example.com".to_owned(),
        port: 587,
        nonce: "nonce".to_owned(),
    };
    let mut mechanism = mechanism(scheme, credentials).expect("the credentials can be sent");
    mechanism.initial_response();
    let mut answers = 0;
    for challenge in challenges.split(|byte| *byte == b'\n') {
        let shown = match mechanism.respond(challenge, &mut || {}) {
            Ok(_) => {
                answers += 1;
                format!("{mechanism:?}")
            }
            Err(error) => format!("{error} {error:?} {mechanism:?}"),
        };
        assert!(!shown.contains(PASSWORD), "{shown}");
        assert!(answers <= 3, "{scheme} goes on");
    }
    if scheme == Scheme::ScramSha256 {
        // No input contains a signature: it would have to be guessed.
        assert!(mechanism.finish().is_err());
    }
});

/// Hundreds of thousands of rounds are allowed, and would leave the fuzzer no time.
fn asks_for_long_work(challenges: &[u8]) -> bool {
    challenges
        .split(|byte| b",\n".contains(byte))
        .any(|attribute| {
            let digits = attribute.strip_prefix(b"i=").unwrap_or_default();
            let significant = digits.iter().skip_while(|digit| **digit == b'0');
            significant
                .take_while(|digit| digit.is_ascii_digit())
                .count()
                > 4
        })
}
