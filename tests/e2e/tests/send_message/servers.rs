//! Real servers.

use super::*;
use e2e::Database;

/// Postfix offers PIPELINING: one call, two mailboxes, and one recipient that it doesn't know.
#[test]
fn postfix_delivers_to_those_it_knows() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = database.role_for(&mail.host, mail.plain);
    let mark = format!("send-message-{}", std::process::id());
    let smtp = Open::to(&mail.host, mail.plain).open(&mut session).unwrap();
    let offer = smtp.ehlo(&mut session, CLIENT).unwrap();
    assert!(
        offer.iter().any(|line| line.text == "PIPELINING"),
        "{offer:?}"
    );
    for round in ["first", "second"] {
        let mark = format!("{mark}-{round}");
        let message = format!("From: app@example.test\r\nSubject: {mark}\r\n\r\n.dotted\r\n");
        let recipients = [
            "bob@example.test",
            "nobody@example.test",
            "alice@example.test",
        ];
        let rows = smtp.send_message(&mut session, "app@example.test", &recipients, &message);
        let rows = rows.unwrap();
        let codes: Vec<i32> = rows.iter().map(|(_, reply)| reply.code).collect();
        assert_eq!(codes, [250, 550, 250], "{rows:?}");
        assert!(rows[0].1.text.contains("queued as"), "{rows:?}");
        assert!(rows[1].1.text.contains("<nobody@example.test>"), "{rows:?}");
        for mailbox in ["bob", "alice"] {
            assert_eq!(mail.delivered(mailbox, &mark).body(), b".dotted\n");
        }
    }
    let failure = smtp.send_message(&mut session, "", &["nobody@example.test"], "x");
    failure.unwrap_err().expect("U9279");
    smtp.quit(&mut session).unwrap();
}

/// More than a thousand recipients at once: Postfix says 452 to those beyond its limit, if it is
/// asked. The submission port relays to anybody.
#[test]
fn postfix_gets_a_message_for_many_in_several_transactions() {
    let mail = MailServer::shared();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &mail.wallet);
    let mut session = database.role_for(&mail.host, mail.submission);
    let smtp = Open::to(&mail.host, mail.submission)
        .wallet(&format!("file:{}", mail.wallet))
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, CLIENT).unwrap();
    smtp.starttls(&mut session).unwrap();
    smtp.ehlo(&mut session, CLIENT).unwrap();
    smtp.auth(&mut session, &mail.user, &mail.password, "PLAIN")
        .unwrap();
    let recipients: Vec<String> = (0..250).map(|n| format!("r{n}@elsewhere.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mark = format!("send-message-many-{}", std::process::id());
    let message = format!("Subject: {mark}\r\n\r\nmany\r\n");
    let rows = smtp
        .send_message(&mut session, &mail.user, &recipients, &message)
        .unwrap();
    assert!(rows.iter().all(|(_, reply)| reply.code == 250), "{rows:?}");
    let sent: i64 = session.value("SELECT messages_sent FROM utl_smtp.connections()");
    assert_eq!(sent, 3);
    smtp.quit(&mut session).unwrap();
    mail.delivered("relayed", &mark);
}
