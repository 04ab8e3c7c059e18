//! Connections that outlive a call: package variables, several connections at once, commands in
//! between.

use super::mime::field;
use super::*;

#[test]
fn a_connection_in_a_package_variable_survives_transactions() {
    let mut fixture = MailFixture::plain("package");
    assert!(fixture.run("mail_package").is_empty());
    let message = fixture.delivered("bob");
    assert_eq!(
        field(&message.header(), "X-Mailer").unwrap(),
        "mail_package"
    );
    assert_eq!(message.body(), b"First line,\nsecond line.\n");
}

#[test]
fn two_conversations_in_turns_keep_apart() {
    let mut fixture = MailFixture::plain("two-connections");
    assert!(fixture.run("two_connections").is_empty());
    for (mailbox, number) in [("alice", 1), ("bob", 2)] {
        let message = fixture.delivered(mailbox);
        let lines: String = (1..=100)
            .map(|n| format!("line {n} of {number}\n"))
            .collect();
        assert_eq!(std::str::from_utf8(message.body()).unwrap(), lines);
        let header = message.header();
        assert!(
            header.contains(&format!("from db{number}.example.com")),
            "{header}"
        );
        assert_eq!(
            field(&header, "Return-Path").unwrap(),
            format!("<app{number}@foo.test>")
        );
    }
}

/// VRFY and HELP return the server's reply, be it 252 or 500; RSET discards the first message.
#[test]
fn commands_inside_a_transaction_do_not_disturb_it() {
    let mut fixture = MailFixture::plain("commands-between");
    assert_eq!(
        fixture.run("commands_between"),
        [
            "VRFY 252",
            "VRFY nobody 550",
            "HELP 500",
            "NOOP 250",
            "NOOP 250",
            "RSET 250"
        ]
    );
    let message = fixture.delivered("bob");
    assert_eq!(
        field(&message.header(), "Return-Path").unwrap(),
        "<right@foo.test>"
    );
    assert_eq!(message.body(), b"Anew.\n");
    assert_eq!(fixture.server.count("carol", &fixture.mark), 0);
}
