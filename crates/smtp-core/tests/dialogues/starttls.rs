//! STARTTLS: which reply starts a handshake, and which state survives it.

use super::script::{Setup, encrypted, plain};

const EHLO: &str = "S: 220 mx
     C: EHLO db.example.com
     S: 250-mx
     S: 250-AUTH CRAM-MD5 PLAIN
     S: 250-SMTPUTF8
     S: 250 STARTTLS";

/// Refused, and known to be in clear still.
#[test]
fn a_refusal_changes_nothing() {
    for code in [454, 500, 501, 502, 530, 554] {
        let conversation = plain(&format!(
            "{EHLO}
             C: STARTTLS
             S: {code} no
             = ready
             > auth PLAIN user secret-7
             ! no supported authentication scheme"
        ));
        assert!(!conversation.session.is_encrypted());
        assert!(
            conversation
                .session
                .capabilities()
                .unwrap()
                .offers("STARTTLS")
        );
    }
}

/// Whoever made it fail may have chosen the challenge, too: no password is used in clear, by any
/// scheme.
#[test]
fn a_refused_starttls_ends_the_use_of_passwords() {
    let refused = format!("{EHLO}\nC: STARTTLS\nS: 454 no\n");
    for scheme in ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2"] {
        plain(&format!(
            "{refused}> auth {scheme} user secret-7\n! no supported authentication scheme\nC: NOOP\nS: 250 ok"
        ));
    }
    for line in [
        "AUTH CRAM-MD5",
        "auth scram-sha-256 AAAA",
        "AUTH NTLM",
        "AUTH",
        "AUTH \"CRAM-MD5\"",
    ] {
        plain(&format!(
            "{refused}> raw {line}\n! no supported authentication scheme\nC: NOOP\nS: 250 ok"
        ));
    }
    // A certificate is no secret.
    plain(&format!(
        "{refused}> raw AUTH EXTERNAL =\nC: AUTH EXTERNAL =\nS: 235 ok"
    ));
    // Nor is anything withheld where that is allowed, or where a second attempt succeeds.
    Setup {
        cleartext_auth: true,
        ..Setup::default()
    }
    .run(&format!(
        "{refused}> auth PLAIN tim tanstaaf\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 235 ok"
    ));
    plain(&format!(
        "{refused}C: STARTTLS\nS: 220 go\n> tls\n> auth PLAIN tim tanstaaf\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 235 ok"
    ));
    // Without STARTTLS the answer to a challenge is not withheld.
    plain(&format!(
        "{EHLO}\n> raw AUTH CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 PDE4OTY+\n= challenge"
    ));
}

#[test]
fn whether_ehlo_was_sent_is_known_until_tls() {
    let said = |script: &str| plain(script).session.hello_sent();
    assert!(!said("S: 220 mx\nC: NOOP\nS: 250 ok"));
    assert!(said("S: 220 mx\nC: HELO db.example.com\nS: 250 ok"));
    assert!(said("S: 220 mx\nC: EHLO db.example.com\nS: 500 no"));
    assert!(said(
        "S: 220 mx\n> raw ehlo db.example.com\nC: ehlo db.example.com\nS: 250 ok"
    ));
    assert!(!said(&format!("{EHLO}\nC: STARTTLS\nS: 220 go\n> tls")));
}

/// Any positive reply but 220 ends the session; 421 does too, and is the reply.
#[test]
fn only_220_is_an_invitation() {
    for code in [211, 221, 235, 250, 334, 354] {
        plain(&format!(
            "{EHLO}
             C: STARTTLS
             S: {code} hm
             ! unexpected reply: {code} hm
             = closed"
        ));
    }
    plain(&format!("{EHLO}\nC: STARTTLS\nS: 421 no\n= closed"));
}

/// What follows the 220 is left for the connection to judge, and is never a reply.
#[test]
fn buffered_plaintext_is_no_reply() {
    let conversation = plain(&format!(
        "{EHLO}
         C: STARTTLS
         S: 220 go
         S: 250-x
         S: 250 AUTH LOGIN
         C: EHLO db.example.com
         ! unexpected reply: the server spoke when no command was waiting for it: 250-x / 250 AUTH LOGIN
         = closed"
    ));
    assert_eq!(conversation.last_text(), "go");
}

/// Without a second EHLO nothing is held against a scheme, and nothing is known.
#[test]
fn nothing_learnt_in_clear_is_used_under_tls() {
    let conversation = plain(&format!(
        "{EHLO}
         C: STARTTLS
         S: 220 go
         > tls
         = connected
         C: MAIL FROM:<jörg@example.com>
         ! the address of MAIL FROM has non-ASCII characters, and the server's last EHLO did not offer SMTPUTF8
         > auth LOGIN user secret-7
         C: AUTH LOGIN
         S: 503 5.5.1 EHLO first
         C: EHLO db.example.com
         S: 250-mx
         S: 250 SIZE 99
         > auth PLAIN user secret-7
         ! no supported authentication scheme"
    ));
    assert_eq!(
        conversation.session.capabilities().unwrap().keywords(),
        ["SIZE 99"]
    );
}

/// Who was authenticated in clear is nobody under TLS (RFC 3207 §4.2).
#[test]
fn the_identity_is_forgotten_too() {
    let conversation = plain(&format!(
        "{EHLO}
         > auth CRAM-MD5 tim tanstaaftanstaaf
         C: AUTH CRAM-MD5
         S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
         C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw
         S: 235 ok
         C: STARTTLS
         S: 220 go
         > tls"
    ));
    assert!(conversation.session.identity().is_none());
}

#[test]
fn starttls_has_no_place_under_tls_nor_in_data() {
    encrypted("S: 220 mx\nC: STARTTLS\n! the connection is encrypted already\n= connected");
    plain(&format!(
        "{EHLO}
         C: STARTTLS
         S: 220 go
         > tls
         C: STARTTLS
         ! the connection is encrypted already
         C: NOOP
         S: 250 ok"
    ));
    plain(
        "S: 220 mx
         C: DATA
         S: 354 go
         > typed STARTTLS
         ! a command inside message data
         = data",
    );
    plain("S: 220 mx\nC: STARTTLS\nS: 220 go\n> tls\n= connected");
}
