//! The data phase: which commands it allows, and the message on the wire.

use smtp_core::command::{Command, Verb};
use smtp_core::session::{CommandError, OrderError, Session};

use super::script::plain;

const OPENED: &str = "S: 220 mx\nC: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<a@example.com>\nS: 250 ok\nC: DATA\nS: 354 go\n= data\n";

/// Between `open_data` and `close_data` every command would be text of the message.
#[test]
fn nothing_but_the_message_is_said_in_data() {
    for line in [
        "HELO db.example.com",
        "EHLO db.example.com",
        "STARTTLS",
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<a@example.com>",
        "DATA",
        "RSET",
        "NOOP",
        "VRFY a",
        "HELP",
        "QUIT",
    ] {
        plain(&format!(
            "{OPENED}> typed {line}\n! a command inside message data\n= data\nC: .\nS: 250 ok\n= ready"
        ));
    }
    plain(&format!(
        "{OPENED}> raw XFOO\n! a command inside message data\n= data"
    ));
}

#[test]
fn a_message_is_only_written_in_data() {
    let refused = |error: CommandError, verb: Verb| {
        assert!(matches!(error, CommandError::Order(OrderError::NotInData(of)) if of == verb));
    };
    for script in [
        "",
        "S: 220 mx",
        "S: 220 mx\nC: MAIL FROM:<>\nS: 250 ok",
        "S: 220 mx\nC: QUIT\nS: 221 bye",
    ] {
        let mut session = plain(script).session;
        refused(session.write(b"x").unwrap_err(), Verb::Data);
        refused(session.end_data().unwrap_err(), Verb::FinalDot);
        assert_eq!(session.output(), b"");
    }
}

/// The verdict ends the data phase, whatever it is; the next message begins afresh.
#[test]
fn the_reply_to_the_dot_ends_the_data_phase() {
    for verdict in ["250 ok", "451 later", "554 5.7.1 spam"] {
        plain(&format!(
            "{OPENED}C: ..\nC: .\nS: {verdict}\n= ready\nC: DATA\nS: 354 go\nC: ..x\nC: .\nS: 250 ok"
        ));
    }
    plain(&format!("{OPENED}C: .\nS: 421 bye\n= closed"));
    plain(&format!(
        "{OPENED}C: .\nS: 354 go on\n! unexpected reply: 354 go on\n= closed"
    ));
}

/// An empty message, and one without its last line ending.
#[test]
fn exactly_one_line_ending_stands_before_the_dot() {
    for (body, wire) in [
        ("", ".\r\n"),
        ("a", "a\r\n.\r\n"),
        ("a\n", "a\r\n.\r\n"),
        ("a\r", "a\r\n.\r\n"),
        (".", "..\r\n.\r\n"),
    ] {
        let mut session = opened("");
        session.write(body.as_bytes()).unwrap();
        session.end_data().unwrap();
        assert_eq!(session.output(), wire.as_bytes());
    }
}

/// One warning a message, and only where 8BITMIME was not offered.
#[test]
fn eight_bit_data_is_warned_of_once_a_message() {
    let mut session = opened("");
    assert!(!session.write(b"plain").unwrap());
    assert!(session.write("ü".as_bytes()).unwrap());
    assert!(!session.write("ü".as_bytes()).unwrap());
    session.end_data().unwrap();
    session.output_sent();
    session.feed(b"250 ok\r\n", &mut || {}).unwrap();
    session.issue(&Command::Data).unwrap();
    session.output_sent();
    session.feed(b"354 go\r\n", &mut || {}).unwrap();
    assert!(
        session.write("ü".as_bytes()).unwrap(),
        "a new message, a new warning"
    );

    let mut session = opened("C: EHLO db.example.com\nS: 250-mx\nS: 250 8BITMIME\n");
    assert!(!session.write("ü".as_bytes()).unwrap());
}

/// The transcript counts the octets that the caller gave.
#[test]
fn a_message_is_a_count_in_the_transcript() {
    let mut session = opened("");
    session.transcript.enable(true);
    session.transcript.take();
    session.write(b".secret\n").unwrap();
    session.write(b"text").unwrap();
    session.end_data().unwrap();
    assert_eq!(
        session.transcript.take(),
        ["C: [12 octets of message data]", "C: ."]
    );
}

fn opened(before: &str) -> Session {
    plain(&format!("S: 220 mx\n{before}C: DATA\nS: 354 go")).session
}
