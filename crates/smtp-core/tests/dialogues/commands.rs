//! Commands on the wire, and commands that the session refuses.

use smtp_core::command::Command;
use smtp_core::limits;
use smtp_core::text::{Mailbox, Parameters, RawCommand, ReversePath};

use super::script::{Setup, plain};

const SMTPUTF8: &str = "S: 220 mx\nC: EHLO db.example.com\nS: 250-mx\nS: 250 SMTPUTF8\n";

/// RFC 6531 §3.4: SMTPUTF8 goes with MAIL where the address needs it, once.
#[test]
fn smtputf8_is_added_to_mail() {
    for (sender, parameters, line) in [
        (
            "jörg@example.com",
            "",
            "MAIL FROM:<jörg@example.com> SMTPUTF8",
        ),
        (
            "jörg@bücher.example",
            "SIZE=9",
            "MAIL FROM:<jörg@xn--bcher-kva.example> SIZE=9 SMTPUTF8",
        ),
        (
            "jörg@example.com",
            "smtputf8 SIZE=9",
            "MAIL FROM:<jörg@example.com> smtputf8 SIZE=9",
        ),
        (
            "joe@bücher.example",
            "",
            "MAIL FROM:<joe@xn--bcher-kva.example>",
        ),
    ] {
        let mut conversation = plain(SMTPUTF8);
        let sender = ReversePath::parse(sender).unwrap();
        let parameters = Parameters::parse(parameters).unwrap();
        conversation
            .session
            .issue(&Command::Mail(sender, parameters))
            .unwrap();
        assert_eq!(
            conversation.session.output(),
            format!("{line}\r\n").as_bytes()
        );
    }
    plain(&format!(
        "{SMTPUTF8}C: RCPT TO:<jörg@example.com>\nS: 250 ok\nC: VRFY jörg\nS: 252 ok"
    ));
}

/// Without the server's offer nothing is sent.
#[test]
fn a_non_ascii_address_needs_the_servers_offer() {
    let refused = "has non-ASCII characters, and the server's last EHLO did not offer SMTPUTF8";
    for (line, verb) in [
        ("MAIL FROM:<jörg@example.com>", "MAIL FROM"),
        ("RCPT TO:<jörg@example.com>", "RCPT TO"),
        ("VRFY jörg", "VRFY"),
    ] {
        plain(&format!(
            "S: 220 mx
             C: EHLO db.example.com
             S: 250-mx
             S: 250 8BITMIME
             C: {line}
             ! the address of {verb} {refused}
             C: NOOP
             S: 250 ok"
        ));
    }
}

/// RFC 6531 §3.4: MAIL says for the whole envelope that an address needs it.
#[test]
fn a_non_ascii_recipient_needs_smtputf8_on_mail() {
    let refused =
        "! the address of RCPT TO has non-ASCII characters, and MAIL had no parameter SMTPUTF8";
    let raw = |line: &str| format!("> raw {line}\nC: {line}");
    for (mail, accepted) in [
        ("C: MAIL FROM:<a@example.com>".to_owned(), false),
        ("C: MAIL FROM:<>".to_owned(), false),
        ("C: MAIL FROM:<> BODY=8BITMIME SMTPUTF8".to_owned(), true),
        ("C: MAIL FROM:<a@example.com> smtputf8".to_owned(), true),
        (
            "> typed MAIL FROM:<jörg@example.com>\nC: MAIL FROM:<jörg@example.com> SMTPUTF8"
                .to_owned(),
            true,
        ),
        (raw("mail from:<a@example.com> SmtpUtf8"), true),
        (raw("MAIL FROM:<SMTPUTF8@example.com> SIZE=9"), false),
        (raw("MAIL FROM:a@example.com SMTPUTF8"), true),
    ] {
        let rcpt = match accepted {
            true => "C: RCPT TO:<jörg@example.com>\nS: 250 ok".to_owned(),
            false => format!("C: RCPT TO:<jörg@example.com>\n{refused}"),
        };
        plain(&format!(
            "{SMTPUTF8}{mail}\nS: 250 ok\n= mail\n{rcpt}\nC: NOOP\nS: 250 ok"
        ));
    }
    // A MAIL that was refused says nothing of the one before it.
    plain(&format!(
        "{SMTPUTF8}
         C: MAIL FROM:<a@example.com> SMTPUTF8
         S: 250 ok
         C: MAIL FROM:<a@example.com>
         S: 503 nested
         C: RCPT TO:<jörg@example.com>
         S: 250 ok
         = recipient
         C: RCPT TO:<jürgen@example.com>
         S: 250 ok
         C: RSET
         S: 250 ok
         C: MAIL FROM:<a@example.com>
         S: 250 ok
         C: RCPT TO:<b@example.com>
         S: 250 ok
         C: RCPT TO:<jörg@example.com>
         {refused}
         = recipient"
    ));
}

/// What would leave the session in a state it does not know of has its own routine.
#[test]
fn raw_lines_that_change_the_session_are_refused() {
    for line in [
        "STARTTLS",
        "DATA",
        "data",
        "BDAT 5 LAST",
        "QUIT",
        "quit now",
        " DATA",
        "Data  x",
    ] {
        let verb = line.trim().split(' ').next().unwrap().to_uppercase();
        plain(&format!(
            "S: 220 mx\n> raw {line}\n! {verb} can't be a raw command\nC: NOOP\nS: 250 ok"
        ));
    }
    assert!(RawCommand::parse("NOOP\r\nRSET", None).is_err());
    assert!(RawCommand::parse("NOOP", Some("\n")).is_err());
}

/// A raw line that is a verb of ours counts as it; whatever else the server accepts is its own
/// business.
#[test]
fn raw_lines_move_the_session_like_commands() {
    let conversation = plain(
        "S: 220 mx
         > raw ehlo db.example.com
         C: ehlo db.example.com
         S: 250-mx
         S: 250 SIZE
         = ready
         > raw mail from:<a@example.com> SIZE=9
         C: mail from:<a@example.com> SIZE=9
         S: 250 ok
         = mail
         > raw RCPT TO:<b@example.com>
         C: RCPT TO:<b@example.com>
         S: 250 ok
         = recipient
         > raw RSET
         C: RSET
         S: 250 ok
         = ready
         > raw XCLIENT ADDR=192.0.2.1
         C: XCLIENT ADDR=192.0.2.1
         S: 220 mx
         = ready",
    );
    assert_eq!(
        conversation.session.capabilities().unwrap().keywords(),
        ["SIZE"]
    );
}

/// A server that takes a raw line for DATA would make the next commands part of a message.
#[test]
fn a_raw_line_never_opens_message_data() {
    plain(
        "S: 220 mx\n> raw XDATA\nC: XDATA\nS: 354 go on\n! unexpected reply: 354 go on\n= closed",
    );
    Setup { encrypted: true, ..Setup::default() }
        .run("S: 220 mx\n> raw AUTH LOGIN\nC: AUTH LOGIN\nS: 354 go on\n! unexpected reply: 354 go on\n= closed");
}

/// 998 octets are sent whole, 999 are not sent.
#[test]
fn a_command_line_of_998_octets_is_the_longest() {
    let mut conversation = plain("S: 220 mx");
    for (octets, fits) in [
        (limits::COMMAND_LINE, true),
        (limits::COMMAND_LINE + 1, false),
    ] {
        let local_part = "a".repeat(octets - "RCPT TO:<>".len());
        let recipient = Mailbox::parse(&local_part).unwrap();
        let result = conversation
            .session
            .issue(&Command::Rcpt(recipient, Parameters::default()));
        assert_eq!(result.is_ok(), fits);
        assert_eq!(
            conversation.session.output().len(),
            if fits { octets + 2 } else { 0 }
        );
        conversation.session.output_sent();
        assert_eq!(RawCommand::parse(&"X".repeat(octets), None).is_ok(), fits);
    }
}

/// SMTPUTF8, which the caller did not write, counts too.
#[test]
fn the_limit_holds_for_what_is_added() {
    let mut conversation = plain(SMTPUTF8);
    let local_part = format!(
        "ö{}",
        "a".repeat(limits::COMMAND_LINE - "MAIL FROM:<ö>".len())
    );
    let sender = ReversePath::parse(&local_part).unwrap();
    let result = conversation
        .session
        .issue(&Command::Mail(sender, Parameters::default()));
    assert!(result.is_err() && conversation.session.output().is_empty());
}
