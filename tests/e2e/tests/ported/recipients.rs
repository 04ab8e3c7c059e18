//! Recipients: lists, copies, brackets, refusals.

use super::mime::field;
use super::*;

#[test]
fn recipient_lists_with_spaces_and_empty_items_reach_all_recipients() {
    let mut fixture = MailFixture::plain("recipient-lists");
    assert_eq!(fixture.run("recipient_lists"), ["3 recipients"]);
    for mailbox in ["alice", "bob", "carol"] {
        let message = fixture.delivered(mailbox);
        assert_eq!(message.body(), b"For all of you.\n");
        let header = message.header();
        assert_eq!(
            field(&header, "To").unwrap().trim(),
            "alice@example.test , ,"
        );
        assert_eq!(field(&header, "Cc").unwrap(), "bob@example.test");
        assert_eq!(field(&header, "Bcc"), None);
        // The server notes each copy's own recipient; nobody else may read of carol.
        assert_eq!(header.contains("carol"), mailbox == "carol", "{header}");
    }
}

#[test]
fn addresses_in_brackets_and_parameters_go_out_once() {
    let mut fixture = MailFixture::plain("brackets");
    assert!(fixture.run("brackets_and_parameters").is_empty());
    for (mailbox, sender) in [
        ("bob", "app@foo.test"),
        ("carol", "app@foo.test"),
        ("alice", ""),
    ] {
        let message = fixture.delivered(mailbox);
        assert_eq!(message.body(), "Né\n".as_bytes());
        assert_eq!(
            field(&message.header(), "Return-Path").unwrap(),
            format!("<{sender}>")
        );
    }
}

#[test]
fn with_errors_off_a_program_skips_refused_recipients() {
    let mut fixture = MailFixture::plain("codes-by-hand");
    assert_eq!(
        fixture.run("codes_by_hand"),
        [
            "221, skipped: nobody@example.test (550)",
            "nobody took it: nobody@example.test (550)"
        ]
    );
    for mailbox in ["alice", "bob"] {
        assert_eq!(
            fixture.delivered(mailbox).body(),
            b"For whoever is there.\n"
        );
        assert_eq!(fixture.server.count(mailbox, &fixture.mark), 1, "{mailbox}");
    }
    // The setting in the function's header holds from the first call of a session.
    fixture.reconnect();
    let outcome: String = fixture
        .session
        .value("SELECT send_to_all(ARRAY['nobody@example.test'], 'unsent')");
    assert_eq!(outcome, "nobody took it: nobody@example.test (550)");
}
