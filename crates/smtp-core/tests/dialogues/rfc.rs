//! The examples of the RFCs, unchanged except for source routes and what depends on a password.

use super::script::{Setup, encrypted, plain};

/// RFC 5321 D.1
#[test]
fn rfc5321_a_typical_transaction() {
    plain(
        "S: 220 foo.com Simple Mail Transfer Service Ready
         C: EHLO bar.com
         S: 250-foo.com greets bar.com
         S: 250-8BITMIME
         S: 250-SIZE
         S: 250-DSN
         S: 250 HELP
         = ready
         C: MAIL FROM:<Smith@bar.com>
         S: 250 OK
         = mail
         C: RCPT TO:<Jones@foo.com>
         S: 250 OK
         C: RCPT TO:<Green@foo.com>
         S: 550 No such user here
         C: RCPT TO:<Brown@foo.com>
         S: 250 OK
         = recipient
         C: DATA
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         = data
         C: Blah blah blah...
         C: ....etc. etc. etc.
         C: .
         S: 250 OK
         = ready
         C: QUIT
         S: 221 foo.com Service closing transmission channel
         = closed",
    );
}

/// RFC 5321 D.2
#[test]
fn rfc5321_an_aborted_transaction() {
    plain(
        "S: 220 foo.com Simple Mail Transfer Service Ready
         C: EHLO bar.com
         S: 250-foo.com greets bar.com
         S: 250-8BITMIME
         S: 250-SIZE
         S: 250-DSN
         S: 250 HELP
         C: MAIL FROM:<Smith@bar.com>
         S: 250 OK
         C: RCPT TO:<Jones@foo.com>
         S: 250 OK
         C: RCPT TO:<Green@foo.com>
         S: 550 No such user here
         = recipient
         C: RSET
         S: 250 OK
         = ready
         C: QUIT
         S: 221 foo.com Service closing transmission channel
         = closed",
    );
}

/// RFC 5321 D.3: what still uses a source route says it by a raw command, and is understood all the
/// same.
#[test]
fn rfc5321_a_relayed_transaction() {
    plain(
        "S: 220 xyz.com Simple Mail Transfer Service Ready
         C: EHLO foo.com
         S: 250 xyz.com is on the air
         > raw MAIL FROM:<@foo.com:JQP@bar.com>
         C: MAIL FROM:<@foo.com:JQP@bar.com>
         S: 250 OK
         = mail
         C: RCPT TO:<Jones@XYZ.COM>
         S: 250 OK
         = recipient
         C: DATA
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: Received: from bar.com by foo.com ; Thu, 21 May 1998 05:33:29 -0700
         C: Date: Thu, 21 May 1998 05:33:22 -0700
         C: From: John Q. Public <JQP@bar.com>
         C: Subject: The Next Meeting of the Board
         C: To: Jones@xyz.com
         C: 
         C: Bill:
         C: The next meeting of the board of directors will be on Tuesday.
         C: John.
         C: .
         S: 250 OK
         C: QUIT
         S: 221 foo.com Service closing transmission channel",
    );
}

/// RFC 5321 D.4
#[test]
fn rfc5321_verifying_and_sending() {
    let conversation = plain(
        "S: 220 foo.com Simple Mail Transfer Service Ready
         C: EHLO bar.com
         S: 250-foo.com greets bar.com
         S: 250-8BITMIME
         S: 250-SIZE
         S: 250-DSN
         S: 250-VRFY
         S: 250 HELP
         C: VRFY Crispin
         S: 250 Mark Crispin <Admin.MRC@foo.com>
         C: MAIL FROM:<EAK@bar.com>
         S: 250 OK
         C: RCPT TO:<Admin.MRC@foo.com>
         S: 250 OK
         C: DATA
         S: 354 Start mail input; end with <CRLF>.<CRLF>
         C: Blah blah blah...
         C: ....etc. etc. etc.
         C: .
         S: 250 OK
         C: QUIT
         S: 221 foo.com Service closing transmission channel",
    );
    let said = &conversation.transcript;
    assert!(said.contains(&"C: VRFY Crispin".to_owned()), "{said:?}");
    assert!(
        said.contains(&"C: [38 octets of message data]".to_owned()),
        "{said:?}"
    );
    assert!(!said.iter().any(|line| line.contains("Blah")), "{said:?}");
}

/// RFC 3207 §5: what the first EHLO offered is forgotten.
#[test]
fn rfc3207_the_second_ehlo_replaces_the_first() {
    let conversation = plain(
        "S: 220 mail.imc.org SMTP service ready
         C: EHLO mail.example.com
         S: 250-mail.imc.org offers a warm hug of welcome
         S: 250-8BITMIME
         S: 250-STARTTLS
         S: 250 DSN
         C: STARTTLS
         S: 220 Go ahead
         > tls
         = connected
         C: EHLO mail.example.com
         S: 250-mail.imc.org touches your hand gently for a moment
         S: 250-8BITMIME
         S: 250 DSN
         = ready",
    );
    assert!(conversation.session.is_encrypted());
    assert_eq!(
        conversation.session.capabilities().unwrap().keywords(),
        ["8BITMIME", "DSN"]
    );
}

/// RFC 4954 §4.4, first example: PLAIN appears only under TLS. The caller's own line, because it
/// names an authorization identity.
#[test]
fn rfc4954_plain_with_an_initial_response() {
    let conversation = plain(
        "S: 220-smtp.example.com ESMTP Server
         S: 220 ready
         C: EHLO client.example.com
         S: 250-smtp.example.com Hello client.example.com
         S: 250-AUTH GSSAPI DIGEST-MD5
         S: 250-ENHANCEDSTATUSCODES
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 Ready to start TLS
         > tls
         C: EHLO client.example.com
         S: 250-smtp.example.com Hello client.example.com
         S: 250 AUTH GSSAPI DIGEST-MD5 PLAIN
         > raw AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
         C: AUTH PLAIN dGVzdAB0ZXN0ADEyMzQ=
         S: 235 2.7.0 Authentication successful
         = ready",
    );
    assert!(
        conversation
            .transcript
            .contains(&"C: AUTH PLAIN ********".to_owned())
    );
}

/// RFC 4954 §4.4, second example: an empty challenge, with its space and without.
#[test]
fn rfc4954_plain_without_an_initial_response() {
    for challenge in ["334 ", "334"] {
        let conversation = encrypted(&format!(
            "S: 220 smtp.example.com
             C: EHLO client.example.com
             S: 250-smtp.example.com Hello client.example.com
             S: 250 AUTH GSSAPI DIGEST-MD5 PLAIN
             > raw AUTH PLAIN
             C: AUTH PLAIN
             S: {challenge}
             = challenge
             C: dGVzdAB0ZXN0ADEyMzQ=
             S: 235 2.7.0 Authentication successful
             = ready"
        ));
        assert!(conversation.transcript.contains(&"C: ********".to_owned()));
    }
}

/// RFC 2195 §2, whose password RFC 4954 §4.4's third example keeps to itself; no TLS is needed.
#[test]
fn rfc2195_cram_md5() {
    let conversation = plain(
        "S: 220 smtp.example.com ESMTP
         C: EHLO client.example.com
         S: 250-smtp.example.com
         S: 250 AUTH DIGEST-MD5 CRAM-MD5
         > auth CRAM-MD5 tim tanstaaftanstaaf
         C: AUTH CRAM-MD5
         S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
         C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw
         S: 235 2.7.0 Authentication successful
         = ready",
    );
    assert_eq!(conversation.session.identity().unwrap().username, "tim");
}

/// RFC 4954 §4: a lone `*` of the caller gives the exchange up; nothing about it is secret.
#[test]
fn rfc4954_an_exchange_is_cancelled() {
    plain(
        "S: 220 smtp.example.com ESMTP
         C: EHLO client.example.com
         S: 250-smtp.example.com
         S: 250 AUTH CRAM-MD5
         > raw AUTH CRAM-MD5
         C: AUTH CRAM-MD5
         S: 334 PDQxOTI5NDIzNDEuMTI4Mjg0NzJAc291cmNlZm91ci5hbmRyZXcuY211LmVkdT4=
         = challenge
         C: *
         S: 501 5.0.0 Authentication aborted
         = ready
         C: NOOP
         S: 250 OK",
    );
}

/// RFC 7677 §3, carried by RFC 4954's lines: an initial response, two challenges, the second
/// answered by nothing.
#[test]
fn rfc7677_scram_sha_256() {
    let challenge = "334 cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTY=";
    let conversation = plain(&format!(
        "S: 220 smtp.example.com ESMTP
         C: EHLO client.example.com
         S: 250-smtp.example.com
         S: 250 AUTH SCRAM-SHA-256
         > auth SCRAM-SHA-256 user pencil
         C: AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=
         S: {challenge}
         C: Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqKWhObEYkazAscD1kSHpiWmFwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZFZRPQ==
         S: 334 dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==
         C: 
         S: 235 2.7.0 Authentication successful
         = ready"
    ));
    assert_eq!(
        conversation.session.identity().unwrap().scheme.name(),
        "SCRAM-SHA-256"
    );
}

/// RFC 4954 §4: schemes that show the password are allowed in clear where the administrator says
/// so.
#[test]
fn plain_in_clear_needs_the_setting() {
    let greeting = "S: 220 smtp.example.com ESMTP
         C: EHLO client.example.com
         S: 250-smtp.example.com
         S: 250 AUTH PLAIN
         > auth PLAIN test 1234pass";
    plain(&format!("{greeting}\n! no supported authentication scheme"));
    Setup {
        cleartext_auth: true,
        ..Setup::default()
    }
    .run(&format!(
        "{greeting}
         C: AUTH PLAIN AHRlc3QAMTIzNHBhc3M=
         S: 235 2.7.0 Authentication successful"
    ));
}
