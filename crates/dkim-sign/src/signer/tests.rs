//! The signatures of RFC 8463 appendix A, whose other tags differ from ours, on this crate's
//! canonical forms.

use ring::signature::{
    ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::*;

const MESSAGE: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
    To: Suzie Q <suzie@shopping.example.net>\r\n\
    Subject: Is dinner ready?\r\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
    Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
    \r\n\
    Hi.\r\n\
    \r\n\
    We lost the game.  Are you hungry yet?\r\n\
    \r\n\
    Joe.\r\n";

const BODY_HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

const ED25519_PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const ED25519_FIELD: &str = " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
    subject : date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=";
const ED25519_SIGNATURE: &str = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\
    Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";

const RSA_PUBLIC: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6\
    Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/\
    e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G\
    +2kryOTIKT+l/K4w3QIDAQAB";
const RSA_FIELD: &str = " v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
    d=football.example.com; i=@football.example.com;\r\n \
    q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n \
    date : message-id : from : subject : date;\r\n \
    bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=";
const RSA_SIGNATURE: &str = "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\
    DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\
    dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn message() -> HashedMessage {
    HashedMessage::read([MESSAGE]).unwrap()
}

/// The message has the fields that RFC 8463 signs, in the order in which this crate signs them.
fn signed(field: &str) -> Vec<u8> {
    [message().header().canonical(), canonical(field)].concat()
}

fn key() -> PrivateKey {
    let der = [
        b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec(),
        decoded(SEED),
    ];
    let pem = STANDARD.encode(der.concat());
    PrivateKey::parse(&format!(
        "-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"
    ))
    .unwrap()
}

#[test]
fn the_body_hash_is_that_of_rfc_8463() {
    assert_eq!(STANDARD.encode(message().body_hash()), BODY_HASH);
}

#[test]
fn the_signatures_of_rfc_8463_are_valid_for_what_this_crate_signs() {
    let rsa = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    // RSAPublicKey lies behind the 22 octets that name the algorithm.
    let rsa = UnparsedPublicKey::new(
        rsa as &dyn VerificationAlgorithm,
        decoded(RSA_PUBLIC)[22..].to_vec(),
    );
    rsa.verify(&signed(RSA_FIELD), &decoded(RSA_SIGNATURE))
        .unwrap();
    let ed25519 = UnparsedPublicKey::new(&ED25519, decoded(ED25519_PUBLIC));
    let hash = ring::digest::digest(&ring::digest::SHA256, &signed(ED25519_FIELD));
    ed25519
        .verify(hash.as_ref(), &decoded(ED25519_SIGNATURE))
        .unwrap();
}

#[test]
fn the_key_of_rfc_8463_makes_its_signature_and_its_record() {
    let signature = key().sign(&signed(ED25519_FIELD)).unwrap();
    assert_eq!(STANDARD.encode(signature), ED25519_SIGNATURE);
    assert_eq!(
        key().dns_record(),
        format!("v=DKIM1; k=ed25519; p={ED25519_PUBLIC}")
    );
}
