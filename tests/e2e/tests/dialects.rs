//! The same conversation with servers that word and order things in their own ways.

use e2e::{Database, MailServer, Open};

#[test]
fn exim_takes_mail_after_starttls_and_each_of_its_schemes() {
    let exim = MailServer::exim();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &exim.wallet);
    let mut session = database.role_for(&exim.host, exim.submission);
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let mark = format!("exim-{scheme}-{}", std::process::id());
        let smtp = Open::to(&exim.host, exim.submission)
            .wallet(&exim.wallet)
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        // Exim answers MAIL with 550 here, where Postfix has 530.
        smtp.mail(&mut session, &exim.user)
            .unwrap_err()
            .expect("U9279");
        smtp.starttls(&mut session).unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        let reply = smtp
            .auth(&mut session, &exim.user, &exim.password, scheme)
            .unwrap();
        assert_eq!(reply.code, 235, "{scheme}");
        smtp.mail(&mut session, &exim.user).unwrap();
        smtp.rcpt(&mut session, "someone@elsewhere.test").unwrap();
        smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\n.dot\r\n"))
            .unwrap();
        smtp.quit(&mut session).unwrap();
        assert_eq!(exim.delivered("relayed", &mark).body(), b".dot\n");
    }
}

#[test]
fn exim_refuses_a_wrong_password_and_the_session_goes_on() {
    let exim = MailServer::exim();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &exim.wallet);
    let mut session = database.role_for(&exim.host, exim.implicit_tls);
    let smtp = Open::to(&exim.host, exim.implicit_tls)
        .wallet(&exim.wallet)
        .implicit_tls()
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let refused = smtp
            .auth(&mut session, &exim.user, "wrong-password", scheme)
            .unwrap_err();
        assert!(refused.expect("U9279").message.contains("535"), "{scheme}");
    }
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    smtp.quit(&mut session).unwrap();
}

#[test]
fn exim_and_opensmtpd_take_local_mail_in_clear() {
    for (name, server) in [
        ("exim", MailServer::exim()),
        ("opensmtpd", MailServer::opensmtpd()),
    ] {
        let database = Database::new();
        let mut session = database.role_for(&server.host, server.plain);
        let mark = format!("{name}-plain-{}", std::process::id());
        let smtp = Open::to(&server.host, server.plain)
            .open(&mut session)
            .unwrap();
        // No EHLO yet: both insist on it.
        let early = smtp
            .mail(&mut session, "sender@foo.test")
            .unwrap_err()
            .expect("U9279");
        assert!(early.message.contains("503"), "{name}: {early}");
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        smtp.mail(&mut session, "sender@foo.test").unwrap();
        let unknown = smtp.rcpt(&mut session, "nobody@example.test").unwrap_err();
        assert!(unknown.expect("U9279").message.contains("550"), "{name}");
        smtp.rcpt(&mut session, "bob@example.test").unwrap();
        smtp.open_data(&mut session).unwrap();
        for piece in ["Subject: ", &mark, "\n\nline\r", "\n.", "\r\n..\n", "end"] {
            smtp.write_data(&mut session, piece).unwrap();
        }
        smtp.close_data(&mut session).unwrap();
        smtp.quit(&mut session).unwrap();
        assert_eq!(
            server.delivered("bob", &mark).body(),
            b"line\n.\n..\nend\n",
            "{name}"
        );
    }
}
