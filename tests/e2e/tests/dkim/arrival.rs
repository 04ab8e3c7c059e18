//! Signed messages that a conversation hands to Postfix, as they lie in the mailbox.

use e2e::mail::MailServer;
use e2e::{Open, Smtp};

use super::*;

/// Sends a signed message in pieces and returns what arrives.
#[track_caller]
fn arrived(domain: &mut Domain, message: &str, mark: &str) -> Vec<u8> {
    let signed = domain.sign(message.as_bytes());
    let (mail, session) = (MailServer::shared(), &mut domain.session);
    let smtp = begin(session);
    smtp.open_data(session).unwrap();
    for piece in signed.chunks(1_000) {
        smtp.write_raw_data(session, piece).unwrap();
    }
    smtp.close_data(session).unwrap();
    smtp.quit(session).unwrap();
    mail.delivered("bob", mark).raw
}

/// A conversation up to DATA.
fn begin(session: &mut Session) -> Smtp {
    let mail = MailServer::shared();
    let smtp = Open::to(&mail.host, mail.plain).open(session).unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp.mail(session, "joe@example.test").unwrap();
    smtp.rcpt(session, "bob@example.test").unwrap();
    smtp
}

fn header(mark: &str) -> String {
    format!(
        "From: Joe <joe@example.test>\r\nTo: bob@example.test\r\nDate: Sat, 29 Nov 2025 00:00:00 +0000\r\n\
         Message-ID: <{mark}@example.test>\r\n"
    )
}

#[test]
fn what_arrives_at_postfix_is_valid_for_both_judges() {
    let mut domain = Domain::new();
    let name = domain.database.name().to_owned();
    for (number, rest) in [
        "Subject: s\r\n\r\nHi.\r\n",
        "Subject: folded\r\n\tand  more \r\nX-Other: x\r\n\r\n\tHi. \t\r\n.\r\n..x\r\n\r\n \r\n\r\n",
        "\r\n",
        "Subject: no body\r\n",
        "Subject: no line end\r\n\r\nHi.",
        "Subject: gr\u{fc}\u{df}e\r\n\r\n8-bit \u{6f22}\u{5b57}\r\n",
        // The conversation sends each line end as CRLF.
        "Subject: line ends\n\nLF\nCR\rboth\n\rend",
        // Postfix puts an empty line before what is no field.
        "Subject: s\r\nno field\r\nCc: c@example.test\r\n\r\nbody\r\n",
        "Subject: s\nsecond line of a subject: \u{fc}\r\n\r\nbody\r\n",
    ]
    .iter()
    .enumerate()
    {
        let mark = format!("dkim-{name}-{number}");
        let message = arrived(&mut domain, &(header(&mark) + rest), &mark);
        domain.assert_valid(&message);
        let text = String::from_utf8_lossy(&message);
        domain.assert_invalid(text.replace("From: Joe", "From: Eve").as_bytes());
    }
}

#[test]
fn send_message_takes_a_signed_message() {
    let mut domain = Domain::new();
    let mark = format!("dkim-{}", domain.database.name());
    let message = header(&mark) + "Subject: s\r\n\r\n.dotted\r\n";
    let signed = domain.sign(message.as_bytes());
    let (mail, session) = (MailServer::shared(), &mut domain.session);
    let smtp = Open::to(&mail.host, mail.plain).open(session).unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    let rows = smtp
        .send_raw_message(
            session,
            "joe@example.test",
            &["bob@example.test"],
            &signed,
            "",
        )
        .unwrap();
    assert_eq!(rows[0].1.code, 250);
    smtp.quit(session).unwrap();
    domain.assert_valid(&mail.delivered("bob", &mark).raw);
}
