//! Any message, cut anywhere, is signed or refused: with the same field however it is cut, folded,
//! in ASCII, with one From, and without a domain that the message can't have named.
#![no_main]

use std::sync::LazyLock;

use dkim_sign::{Domain, HashedMessage, MessageError, MessageHasher, PrivateKey, Selector, Signer};
use libfuzzer_sys::fuzz_target;

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    // The key of RFC 8463 A.2.
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    let domain = Domain::parse("example.com").expect("it is a domain");
    let selector = Selector::parse("s").expect("it is a selector");
    let key = PrivateKey::parse(pem).expect("it is a key");
    Signer::new(domain, selector, key).expect("the name is short")
});

fuzz_target!(|input: &[u8]| {
    // The first octet says how the rest is cut.
    let Some((&piece, message)) = input.split_first() else {
        return;
    };
    let whole = signed(message, usize::MAX);
    assert_eq!(signed(message, 1), whole);
    assert_eq!(signed(message, usize::from(piece)), whole);
    let Ok(field) = whole else { return };
    assert!(field.is_ascii() && field.ends_with("\r\n"));
    for line in field.split_terminator("\r\n") {
        assert!(line.len() < 78 && !line.contains(['\r', '\n']), "{field}");
    }
    check_authors(message);
    // Lines whose white space differs have one relaxed form.
    let other = [message, b"\r\n \t\r\n\r\n"].concat();
    if !message.is_empty() && has_body(message) {
        assert_eq!(signed(&other, usize::MAX), Ok(field));
    }
});

fn signed(message: &[u8], piece: usize) -> Result<String, MessageError> {
    let message = HashedMessage::read(message.chunks(piece.max(1)))?;
    Ok(SIGNER.sign(&message, 1_764_000_000).expect("the key signs"))
}

fn has_body(message: &[u8]) -> bool {
    let mut hasher = MessageHasher::new();
    hasher.feed(message);
    hasher.authors().is_some()
}

/// A domain in ASCII stands in the message, but for white space and comments within it.
fn check_authors(message: &[u8]) {
    let hashed = HashedMessage::read([message]).expect("it was signed");
    let text = String::from_utf8_lossy(message).to_lowercase();
    for domain in hashed.authors().unwrap_or_default() {
        assert_eq!(Domain::parse(domain.as_str()).as_ref(), Ok(&domain));
        for label in domain.as_str().split('.') {
            let found = label.starts_with("xn--") || text.contains(label) || !text.is_ascii();
            assert!(found, "{label}");
        }
    }
}
