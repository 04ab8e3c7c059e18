//! AUTH: the challenge loop and its limits, and exchanges that the caller drives line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::limits;
use smtp_core::secret::Secret;
use smtp_core::session::Session;
use smtp_core::text::RawCommand;

use super::script::{Conversation, encrypted, plain};

fn offering(schemes: &str) -> String {
    format!("S: 220 mx\nC: EHLO db.example.com\nS: 250-mx\nS: 250 AUTH {schemes}\n")
}

/// AUTH by three raw commands. A 334 is no error, and each line answers the one before it.
#[test]
fn auth_login_by_three_raw_commands() {
    let conversation = encrypted(&format!(
        "{}
         > raw AUTH LOGIN
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         = challenge
         C: c2NvdHQ=
         S: 334 UGFzc3dvcmQ6
         = challenge
         C: dGlnZXItNw==
         S: 235 2.7.0 Authentication successful
         = ready
         C: MAIL FROM:<scott@example.com>
         S: 250 ok
         = mail",
        offering("LOGIN")
    ));
    assert_eq!(
        conversation
            .transcript
            .iter()
            .filter(|line| line.starts_with("C: "))
            .collect::<Vec<_>>(),
        [
            "C: EHLO db.example.com",
            "C: AUTH LOGIN",
            "C: ********",
            "C: ********",
            "C: MAIL FROM:<scott@example.com>"
        ]
    );
}

/// In clear the raw form is held to the same rule, before a byte is sent.
#[test]
fn raw_auth_in_clear_is_refused() {
    for scheme in [
        "LOGIN",
        "login",
        "PLAIN AGZvbwBiYXIhIQ==",
        "XOAUTH2",
        "OAUTHBEARER",
        " PLAIN",
        "PLAIN,x AGZvbwBiYXIhIQ==",
        "\"LOGIN\"",
    ] {
        plain(&format!(
            "{}\n> raw AUTH {scheme}\n! no supported authentication scheme",
            offering("PLAIN LOGIN")
        ));
    }
    plain(&format!(
        "{}\n> raw AUTH CRAM-MD5\nC: AUTH CRAM-MD5\nS: 334 PDE4OTY+\n= challenge",
        offering("CRAM-MD5")
    ));
}

/// A user or password whose base64 is a verb is an answer like any other: it is sent, and it is
/// hidden.
#[test]
fn base64_that_looks_like_a_verb_is_an_answer() {
    for answer in [
        "DATA", "QUIT", "RSET", "HELO", "MAIL", "NOOP", "STARTTLS", "data",
    ] {
        let conversation = encrypted(&format!(
            "{}
             > raw AUTH LOGIN
             C: AUTH LOGIN
             S: 334 VXNlcm5hbWU6
             C: {answer}
             S: 334 UGFzc3dvcmQ6
             = challenge
             C: {answer}
             S: 535 5.7.8 no
             = ready",
            offering("LOGIN")
        ));
        assert!(
            !conversation
                .transcript
                .iter()
                .any(|line| line.contains(answer)),
            "{answer}"
        );
    }
}

/// It ends where it began: without an EHLO, or with a transaction open.
#[test]
fn an_exchange_by_hand_leaves_the_conversation_where_it_was() {
    let mail = "C: MAIL FROM:<a@example.com>\nS: 250 ok\n= mail\n";
    let rcpt = "C: RCPT TO:<a@example.com>\nS: 250 ok\n= recipient\n";
    for (before, phase) in [
        ("S: 220 mx\n".to_owned(), "connected"),
        (offering("LOGIN"), "ready"),
        (offering("LOGIN") + mail, "mail"),
        (offering("LOGIN") + mail + rcpt, "recipient"),
    ] {
        for end in ["235 2.7.0 ok", "535 5.7.8 no"] {
            encrypted(&format!(
                "{before}
                 = {phase}
                 > raw AUTH LOGIN
                 C: AUTH LOGIN
                 S: 334 VXNlcm5hbWU6
                 = challenge
                 C: c2NvdHQ=
                 S: 334 UGFzc3dvcmQ6
                 = challenge
                 C: dGlnZXItNw==
                 S: {end}
                 = {phase}"
            ));
        }
        encrypted(&format!(
            "{before}\n> raw AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 421 bye\n= closed"
        ));
    }
}

/// Whatever else ends a challenge: the conversation is what the reply makes of it.
#[test]
fn a_command_in_place_of_an_answer_still_counts() {
    let challenge = format!(
        "{}\n> raw AUTH LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\n= challenge\n",
        offering("LOGIN")
    );
    for (line, reply, phase) in [
        ("DATA", "354 go", "data"),
        ("DATA", "501 5.5.2 not base64", "ready"),
        ("MAIL FROM:<a@example.com>", "250 ok", "mail"),
        ("NOOP", "250 ok", "ready"),
        ("RSET", "250 ok", "ready"),
        ("QUIT", "221 bye", "closed"),
        ("NOOP", "421 bye", "closed"),
    ] {
        encrypted(&format!(
            "{challenge}> typed {line}\nC: {line}\nS: {reply}\n= {phase}"
        ));
    }
    let conversation = encrypted(&format!(
        "{challenge}> typed EHLO db.example.com\nC: EHLO db.example.com\nS: 250-mx\nS: 250 SIZE\n= ready"
    ));
    assert_eq!(
        conversation.session.capabilities().unwrap().keywords(),
        ["SIZE"]
    );
}

#[test]
fn no_mechanism_answers_without_end() {
    let mut session = Session::new(true, false);
    let mut pause = || {};
    session.feed(b"220 mx\r\n", &mut pause).unwrap();
    let schemes = SchemeList::parse("SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN").unwrap();
    session
        .authenticate(&schemes, credentials("tim", "tanstaaftanstaaf"))
        .unwrap();
    assert_eq!(
        session.output(),
        b"AUTH SCRAM-SHA-256 biwsbj10aW0scj1ub25jZQ==\r\n"
    );
    session.output_sent();
    let error = session.feed(b"334 \r\n", &mut pause).unwrap_err();
    assert_eq!(
        error.to_string(),
        "authentication by SCRAM-SHA-256 failed: malformed first SCRAM message of the server"
    );
    assert_eq!(session.output(), b"*\r\n");
    for (scheme, answers) in [
        ("PLAIN", 0),
        ("LOGIN", 2),
        ("CRAM-MD5", 1),
        ("XOAUTH2", 1),
        ("OAUTHBEARER", 1),
        ("EXTERNAL", 0),
    ] {
        let mut session = Session::new(true, false);
        session.feed(b"220 mx\r\n", &mut pause).unwrap();
        let schemes = SchemeList::parse(scheme).unwrap();
        session
            .authenticate(&schemes, credentials("tim", "tanstaaftanstaaf"))
            .unwrap();
        session.output_sent();
        for _ in 0..answers {
            session.feed(b"334 eA==\r\n", &mut pause).unwrap();
            assert!(session.output().ends_with(b"\r\n"));
            session.output_sent();
        }
        let error = session.feed(b"334 eA==\r\n", &mut pause).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("authentication by {scheme} failed: unexpected challenge in {scheme}")
        );
        assert_eq!(session.output(), b"*\r\n");
    }
}

/// Cancelled by `*`, which is still worth sending, and the session is over.
#[test]
fn a_challenge_that_is_not_base64_cancels() {
    for challenge in ["=", "a", "????", "PDE4OTY", "PDE4OTY=="] {
        plain(&format!(
            "{}
             > auth CRAM-MD5 tim tanstaaftanstaaf
             C: AUTH CRAM-MD5
             S: 334 {challenge}
             ! authentication by CRAM-MD5 failed: the challenge is not base64
             C: *
             = closed",
            offering("CRAM-MD5")
        ));
    }
    plain(&format!(
        "{}
         > auth CRAM-MD5 tim tanstaaftanstaaf
         C: AUTH CRAM-MD5
         S: 334
         ! authentication by CRAM-MD5 failed: empty challenge in CRAM-MD5
         C: *
         = closed",
        offering("CRAM-MD5")
    ));
}

/// The words of LOGIN's challenges mean nothing, their number does.
#[test]
fn login_answers_whatever_it_is_asked() {
    for [first, second] in [
        ["VXNlcm5hbWU6", "UGFzc3dvcmQ6"],
        ["", ""],
        ["VXNlciBOYW1lAA==", "UGFzc3dvcmQA"],
        ["Username:", "Password:"],
    ] {
        encrypted(&format!(
            "{}
             > auth LOGIN tim tanstaaf
             C: AUTH LOGIN
             S: 334 {first}
             C: dGlt
             S: 334 {second}
             C: dGFuc3RhYWY=
             S: 235 ok
             = ready",
            offering("LOGIN")
        ));
    }
}

/// At 512 octets the token goes with AUTH, one more and it waits for the challenge.
#[test]
fn a_long_initial_response_waits_for_its_challenge() {
    // "user=u^Aauth=Bearer TOKEN^A^A" is 22 octets and the token.
    let frame = "user=u\x01auth=Bearer \x01\x01".len();
    let room = (limits::INITIAL_RESPONSE_LINE - "AUTH XOAUTH2 \r\n".len()) / 4 * 3;
    for (length, immediate) in [(room - frame, true), (room - frame + 1, false)] {
        let token = "t".repeat(length);
        let response = STANDARD.encode(format!("user=u\x01auth=Bearer {token}\x01\x01"));
        let begin = format!("{}\n> auth XOAUTH2 u {token}\n", offering("XOAUTH2"));
        let exchange = match immediate {
            true => format!("C: AUTH XOAUTH2 {response}\n"),
            false => format!("C: AUTH XOAUTH2\nS: 334 \nC: {response}\n"),
        };
        encrypted(&format!("{begin}{exchange}S: 235 ok\n= ready"));
    }
}

/// Up to 12288 octets a line is sent, beyond it nothing is.
#[test]
fn a_line_of_12288_octets_is_the_longest() {
    let frame = "user=u\x01auth=Bearer \x01\x01".len();
    let longest = (limits::AUTH_LINE - 2) / 4 * 3 - frame;
    let token = "t".repeat(longest);
    let response = STANDARD.encode(format!("user=u\x01auth=Bearer {token}\x01\x01"));
    encrypted(&format!(
        "{}\n> auth XOAUTH2 u {token}\nC: AUTH XOAUTH2\nS: 334\nC: {response}\nS: 235 ok",
        offering("XOAUTH2")
    ));
    encrypted(&format!(
        "{}\n> auth XOAUTH2 u {token}t
         ! makes a line of more than 12288 octets
         C: NOOP\nS: 250 ok",
        offering("XOAUTH2")
    ));
    let raw = |length| RawCommand::parse("AUTH", Some(&"x".repeat(length - "AUTH \r\n".len())));
    assert!(raw(limits::AUTH_LINE).is_ok() && raw(limits::AUTH_LINE + 1).is_err());
}

/// RFC 4954 §4: an empty initial response is `=`.
#[test]
fn external_sends_a_lone_equals_sign() {
    encrypted(&format!(
        "{}\n> auth EXTERNAL  \nC: AUTH EXTERNAL =\nS: 235 ok\n= ready",
        offering("EXTERNAL")
    ));
}

/// The caller's order decides among what is offered; without EHLO the first is taken.
#[test]
fn the_first_scheme_that_is_offered_is_taken() {
    encrypted(&format!(
        "{}\n> auth SCRAM-SHA-256,LOGIN,PLAIN tim tanstaaf\nC: AUTH LOGIN\nS: 501 no",
        offering("PLAIN LOGIN")
    ));
    encrypted("S: 220 mx\n> auth LOGIN,PLAIN tim tanstaaf\nC: AUTH LOGIN\nS: 503 no\n= connected");
    encrypted(&format!(
        "{}\n> auth CRAM-MD5 tim tanstaaf\n! no supported authentication scheme",
        offering("PLAIN")
    ));
    encrypted(
        "S: 220 mx\nC: HELO db.example.com\nS: 250 mx\n> auth PLAIN,LOGIN tim tanstaaf\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 502 no",
    );
}

/// Every failure leaves a session that goes on, but 421.
#[test]
fn a_refused_login_leaves_a_session() {
    for code in [432, 454, 503, 530, 534, 535, 538] {
        let conversation = encrypted(&format!(
            "{}
             > auth PLAIN tim tanstaaf
             C: AUTH PLAIN AHRpbQB0YW5zdGFhZg==
             S: {code} no
             C: NOOP
             S: 250 ok
             = ready",
            offering("PLAIN")
        ));
        assert!(conversation.session.identity().is_none());
    }
    encrypted(&format!(
        "{}\n> auth PLAIN tim tanstaaf\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: 421 no\n= closed",
        offering("PLAIN")
    ));
}

/// RFC 5802 §5: a server that accepts without its signature is not the one that knows the password.
#[test]
fn success_without_the_servers_signature_is_a_breach() {
    plain(&format!(
        "{}
         > auth SCRAM-SHA-256 user pencil
         C: AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=
         S: 235 welcome
         ! authentication by SCRAM-SHA-256 failed: the server accepted without proving that it knows the password
         = closed",
        offering("SCRAM-SHA-256")
    ));
}

/// What follows a challenge in the same segment answers no question that was asked.
#[test]
fn a_reply_sent_with_its_challenge_is_not_taken() {
    encrypted(&format!(
        "{}
         > auth LOGIN tim tanstaaf
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         S: 235 welcome
         ! unexpected reply: the server spoke when no command was waiting for it
         C: dGlt
         = closed",
        offering("LOGIN")
    ));
}

/// A positive reply that is neither a challenge nor success.
#[test]
fn other_positive_replies_to_auth_end_the_session() {
    for (line, code) in [("354 go", 354), ("300 go", 300)] {
        encrypted(&format!(
            "{}\n> auth PLAIN tim tanstaaf\nC: AUTH PLAIN AHRpbQB0YW5zdGFhZg==\nS: {line}\n! unexpected reply: {code} go\n= closed",
            offering("PLAIN")
        ));
    }
}

/// In the data phase nothing of an exchange is sent.
#[test]
fn auth_has_no_place_in_data() {
    let conversation: Conversation = encrypted(
        "S: 220 mx
         C: DATA
         S: 354 go
         > auth PLAIN tim tanstaaf
         ! a command inside message data
         > raw AUTH PLAIN AHRpbQB0YW5zdGFhZg==
         ! a command inside message data
         = data",
    );
    assert!(
        !conversation
            .transcript
            .iter()
            .any(|line| line.contains("AUTH"))
    );
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: Secret::new(password),
        host: "mx".to_owned(),
        port: 25,
        nonce: "nonce".to_owned(),
    }
}
