//! Which reply is accepted for which command, and what closes a session.

use smtp_core::command::Verb;
use smtp_core::session::OrderError;

use super::script::plain;

/// What is said, the phase before it is the end of the conversation so far.
const REPLIES: &[(&str, &str)] = &[
    ("EHLO", "S: 220 mx\nC: EHLO db.example.com\n"),
    ("HELO", "S: 220 mx\nC: HELO db.example.com\n"),
    ("MAIL", "S: 220 mx\nC: MAIL FROM:<a@example.com>\n"),
    ("RCPT", "S: 220 mx\nC: RCPT TO:<a@example.com>\n"),
    ("DATA", "S: 220 mx\nC: DATA\n"),
    ("dot", "S: 220 mx\nC: DATA\nS: 354 go\nC: .\n"),
    ("RSET", "S: 220 mx\nC: RSET\n"),
    ("NOOP", "S: 220 mx\nC: NOOP\n"),
    ("VRFY", "S: 220 mx\nC: VRFY a\n"),
    ("HELP", "S: 220 mx\nC: HELP\n"),
    ("STARTTLS", "S: 220 mx\nC: STARTTLS\n"),
    ("QUIT", "S: 220 mx\nC: QUIT\n"),
    ("greeting", ""),
];

#[test]
fn only_220_is_a_greeting() {
    for code in [211, 221, 250, 334, 354] {
        plain(&format!(
            "S: {code} mx\n! unexpected reply: {code} mx\n= closed"
        ));
    }
    for code in [421, 450, 500, 501, 530, 554] {
        let conversation = plain(&format!("S: {code} no\n= closed"));
        assert_eq!(conversation.replies.len(), 1);
    }
    plain("S: 220-one\nS: 220 two\n= connected");
}

/// RFC 5321 §4.3.2 knows no other positive reply.
#[test]
fn only_250_accepts_ehlo_and_helo() {
    for verb in ["EHLO", "HELO"] {
        for code in [220, 221, 251, 252, 299] {
            plain(&format!(
                "S: 220 mx
                 C: {verb} db.example.com
                 S: {code}-mx
                 S: {code} SIZE
                 ! unexpected reply: {code}-mx / {code} SIZE
                 = closed"
            ));
        }
        plain(&format!(
            "S: 220 mx\n> raw {verb} db.example.com\nC: {verb} db.example.com\nS: 220 hm\n! unexpected reply: 220 hm\n= closed"
        ));
    }
}

/// A refused EHLO takes nothing back, HELO offers nothing.
#[test]
fn the_last_accepted_greeting_tells_the_capabilities() {
    let said = "S: 220 mx\nC: EHLO db.example.com\nS: 250-mx\nS: 250 SIZE\n";
    let conversation = plain(&format!("{said}C: EHLO db.example.com\nS: 500 no\n= ready"));
    assert!(
        conversation.session.capabilities().unwrap().offers("SIZE"),
        "a refused EHLO takes nothing back"
    );
    let conversation = plain(&format!("{said}C: HELO db.example.com\nS: 250 mx\n= ready"));
    assert!(
        conversation.session.capabilities().is_none(),
        "HELO offers nothing"
    );
}

/// An intermediate reply where none is due ends the session, whatever was said.
#[test]
fn an_intermediate_reply_must_be_the_one_that_is_due() {
    for (name, said) in REPLIES {
        for code in [300, 334, 354, 399] {
            if matches!((*name, code), ("DATA", 354) | ("QUIT", _)) {
                continue;
            }
            plain(&format!(
                "{said}S: {code} hm\n! unexpected reply: {code} hm\n= closed"
            ));
        }
    }
}

/// Only 354 opens a message; after any other reply the caller can't write.
#[test]
fn message_data_needs_354() {
    for code in [220, 221, 250] {
        plain(&format!(
            "S: 220 mx\nC: DATA\nS: {code} ok\n! unexpected reply: {code} ok\n= closed"
        ));
    }
    for code in [451, 503, 554] {
        let conversation = plain(&format!("S: 220 mx\nC: DATA\nS: {code} no\n= connected"));
        let error = conversation.session.require_data(Verb::Data).unwrap_err();
        assert_eq!(error, OrderError::NotInData(Verb::Data));
    }
}

/// 421 is a reply to everything, and the last.
#[test]
fn a_421_anywhere_is_the_end() {
    for (name, said) in REPLIES {
        let conversation = plain(&format!(
            "{said}S: 421-4.3.2 shutting\nS: 421 down\n= closed"
        ));
        assert_eq!(conversation.last_text(), "down", "{name}");
    }
    plain("S: 220 mx\n> raw XFOO\nC: XFOO\nS: 421 bye\n= closed");
}

/// The first digit decides; after a failure the session goes on.
#[test]
fn unknown_codes_are_judged_by_their_first_digit() {
    for (name, said) in REPLIES {
        if matches!(*name, "greeting" | "QUIT") {
            continue;
        }
        for code in [455, 499, 500, 559] {
            plain(&format!("{said}S: {code} hm\nC: NOOP\nS: 250 ok"));
        }
        if !matches!(*name, "DATA" | "STARTTLS" | "EHLO" | "HELO") {
            plain(&format!("{said}S: 299 hm\nC: NOOP\nS: 258 ok"));
        }
    }
}

/// What comes while nothing is due is not paired with the next command, which is not sent.
#[test]
fn an_unsolicited_reply_answers_nothing() {
    plain(
        "S: 220 mx
         C: NOOP
         S: 250 ok
         S: 250 again
         C: MAIL FROM:<a@example.com>
         ! unexpected reply: the server spoke when no command was waiting for it: 250 again
         = closed",
    );
    plain(
        "S: 220 mx
         S: 421 shutting down
         C: NOOP
         ! unexpected reply: the server spoke when no command was waiting for it: 421 shutting down
         = closed",
    );
}

/// Neither the beginning of a reply nor what is none.
#[test]
fn surplus_that_is_no_reply_ends_the_session_too() {
    plain(
        "S: 220 mx\ns: 25\nC: NOOP\n! unexpected reply: the server spoke when no command was waiting for it\n= closed",
    );
    plain("S: 220 mx\nS: hello\nC: NOOP\n! malformed reply: \"hello\"\n= closed");
    plain(
        "S: 220 mx\nS: 250-a\nS: 251 b\nC: NOOP\n! malformed reply: a line with code 251 in a reply that began with 250\n= closed",
    );
}

/// Wherever it comes.
#[test]
fn what_is_not_a_reply_ends_the_session() {
    for line in ["2a0 x", "25 x", "2500 x", "abc", "", "199 x", "600 x", "-1"] {
        for (_, said) in REPLIES {
            plain(&format!(
                "{said}S: {line}\n! malformed reply: \"{line}\"\n= closed"
            ));
        }
    }
}

/// Replies without text, of many lines, and with a bare line feed.
#[test]
fn odd_replies_are_replies() {
    let conversation = plain(
        "S: 220\nC: NOOP\nS: 250\nC: NOOP\nS: 250-\nS: 250\nC: NOOP\ns: 250-a\\n250 b\\n\nC: NOOP\nS: 250 \u{1f4e7}\u{1b}[31m",
    );
    assert_eq!(conversation.last_text(), "\u{1f4e7}?[31m");
    assert_eq!(conversation.replies[2].lines(), ["", ""]);
    assert_eq!(conversation.replies[3].lines(), ["a", "b"]);
}

/// Nothing in a reply reaches a person as a control character.
#[test]
fn the_transcript_has_one_line_for_each_line() {
    let conversation = plain("S: 220-a\u{7}b\rc\nS: 220 d\u{1b}]0;x\u{85}");
    assert_eq!(conversation.transcript, ["S: 220-a?b?c", "S: 220 d?]0;x?"]);
}

/// One command is unanswered at most, and none is sent when the session is over.
#[test]
fn nothing_is_sent_while_a_reply_is_due_or_after_the_end() {
    for (name, said) in REPLIES {
        let verb = match *name {
            "MAIL" => "MAIL FROM",
            "RCPT" => "RCPT TO",
            "dot" => "end of data",
            "greeting" => "connection",
            name => name,
        };
        plain(&format!(
            "{said}> typed NOOP
             ! the reply to {verb} has not been read
             > raw XFOO
             ! the reply to {verb} has not been read
             > auth CRAM-MD5 tim tanstaaftanstaaf
             ! the reply to {verb} has not been read
             S: 421 bye
             = closed
             > typed NOOP
             ! the connection is closed
             > auth CRAM-MD5 tim tanstaaftanstaaf
             ! the connection is closed"
        ));
    }
    let mut message = plain("S: 220 mx\nC: DATA\nS: 354 go\nC: .");
    assert!(message.session.write(b"more").is_err() && message.session.end_data().is_err());
    assert_eq!(message.session.output(), b"");
}
