//! Servers that repeat secrets. The runner checks after every step of every script that none is
//! visible.

use super::script::{encrypted, plain};

const OFFER: &str =
    "S: 220 mx\nC: EHLO db.example.com\nS: 250-mx\nS: 250 AUTH PLAIN LOGIN XOAUTH2\n";
/// `tiger-77` as PLAIN's message and as LOGIN's line.
const PLAIN: &str = "AHNjb3R0AHRpZ2VyLTc3";
const LOGIN: &str = "dGlnZXItNzc=";

#[test]
fn a_reply_to_auth_that_repeats_the_password_is_masked() {
    let conversation = encrypted(&format!(
        "{OFFER}
         > auth PLAIN scott tiger-77
         C: AUTH PLAIN {PLAIN}
         S: 535-5.7.8 wrong: {PLAIN}
         S: 535-tiger-77 tiger-77
         S: 535 (tiger-77)"
    ));
    assert_eq!(
        conversation.replies.last().unwrap().lines(),
        ["5.7.8 wrong: ********", "******** ********", "(********)"]
    );
    let conversation = encrypted(&format!(
        "{OFFER}
         > auth LOGIN scott tiger-77
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: c2NvdHQ=
         S: 334 UGFzc3dvcmQ6
         C: {LOGIN}
         S: 535 {LOGIN} is tiger-77"
    ));
    assert_eq!(conversation.last_text(), "******** is ********");
}

/// What the caller says itself is held to the same.
#[test]
fn a_reply_to_raw_auth_that_repeats_an_answer_is_masked() {
    for (first, rest, answer) in [
        (format!("AUTH PLAIN {PLAIN}"), String::new(), PLAIN),
        (
            "AUTH LOGIN".to_owned(),
            format!("S: 334 VXNlcm5hbWU6\nC: c2NvdHQ=\nS: 334 UGFzc3dvcmQ6\nC: {LOGIN}\n"),
            LOGIN,
        ),
    ] {
        let conversation = encrypted(&format!(
            "{OFFER}> raw {first}\nC: {first}\n{rest}S: 535-tiger-77\nS: 535 {answer} scott"
        ));
        let reply = conversation.replies.last().unwrap().to_string();
        assert!(
            !reply.contains("tiger-77") && !reply.contains("scott"),
            "{reply}"
        );
        let said = conversation.transcript.join("\n");
        for secret in ["tiger-77", "scott", answer] {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
}

/// The lines of a caller that goes on after a refusal are still no commands to be shown.
#[test]
fn a_late_answer_of_the_caller_is_hidden() {
    let conversation = encrypted(&format!(
        "{OFFER}
         > raw AUTH LOGIN
         C: AUTH LOGIN
         S: 504 5.5.4 no
         > raw c2NvdHQ=
         C: c2NvdHQ=
         S: 500 unknown command: c2NvdHQ=
         > raw {LOGIN}
         C: {LOGIN}
         S: 500 unknown command: {LOGIN}
         C: NOOP
         S: 250 ok"
    ));
    let said = conversation.transcript.join("\n");
    assert!(
        !said.contains("c2NvdHQ") && !said.contains("dGlnZXI"),
        "{said}"
    );
    assert!(said.ends_with("C: NOOP\nS: 250 ok"), "{said}");
}

#[test]
fn an_error_that_quotes_the_server_does_not_quote_the_password() {
    let auth = format!("{OFFER}> auth PLAIN scott tiger-77\nC: AUTH PLAIN {PLAIN}\n");
    encrypted(&format!(
        "{auth}S: 5x5 tiger-77\n! malformed reply: \"5x5 ********\""
    ));
    encrypted(&format!(
        "{auth}S: {PLAIN}\n! malformed reply: \"********\""
    ));
    encrypted(&format!(
        "{auth}S: 354 tiger-77\n! unexpected reply: 354 ********"
    ));
    let raw = format!("{OFFER}> raw AUTH PLAIN {PLAIN}\nC: AUTH PLAIN {PLAIN}\n");
    encrypted(&format!(
        "{raw}S: 5x5 tiger-77\n! malformed reply: \"5x5 ********\""
    ));
}

#[test]
fn surplus_behind_the_reply_to_auth_is_masked() {
    let unasked = "unexpected reply: the server spoke when no command was waiting for it";
    for said in [
        format!("> auth PLAIN scott tiger-77\nC: AUTH PLAIN {PLAIN}\n"),
        format!("> raw AUTH PLAIN {PLAIN}\nC: AUTH PLAIN {PLAIN}\n"),
    ] {
        encrypted(&format!(
            "{OFFER}{said}S: 235 ok\nS: 250 tiger-77 {PLAIN}\nC: NOOP\n! {unasked}: 250 ******** ********"
        ));
        encrypted(&format!(
            "{OFFER}{said}S: 235 ok\nS: tiger-77 {PLAIN}\nC: NOOP\n! malformed reply: \"******** ********\""
        ));
    }
}

/// Without a word of the caller: SCRAM's messages are text of the server.
#[test]
fn a_scram_message_that_repeats_the_password_is_masked() {
    // i=pencil77
    plain(
        "S: 220 mx
         > auth SCRAM-SHA-256 user pencil77
         C: AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=
         S: 334 cj1yT3ByTkdmd0ViZVJXZ2JORWtxT3gscz1XMjJaYUowU05ZN3NvRXNVRWpiNmdRPT0saT1wZW5jaWw3Nw==
         ! authentication by SCRAM-SHA-256 failed: the server asks for \"********\" SCRAM iterations, allowed are 4096 to 1000000
         C: *
         = closed",
    );
}
