//! Message content: header and text in one call, character sets, subjects, careless line endings.

use super::mime::{decode_words, field};
use super::*;

#[test]
fn header_and_body_in_one_data_call_arrive_as_they_were_put_together() {
    let mut fixture = MailFixture::plain("one-data-call");
    assert!(fixture.run("one_data_call").is_empty());
    let message = fixture.delivered("bob");
    let header = message.header();
    let end = "From: \"Payroll\" <payroll@foo.test>\nTo: bob@example.test\n";
    assert!(header.contains(end), "{header}");
    assert_eq!(field(&header, "Subject").unwrap(), fixture.mark);
    let date = field(&header, "Date").unwrap();
    assert!(date.ends_with("+0000") && date.len() == 31, "{date}");
    assert_eq!(
        std::str::from_utf8(message.body()).unwrap(),
        "Zażółć gęślą jaźń.\n\n  two spaces, and one at the end \nlast line\n"
    );
}

/// Half a megabyte; the cuts between pieces are not visible.
#[test]
fn a_clob_in_pieces_arrives_in_one() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::plain_at(server, "clob");
        fixture.run("clob_body");
        let expected: String = (1..=5000)
            .map(|n| {
                let dot = if n % 3 == 0 { "." } else { "" };
                format!("{dot}{n} {}\n", "žluťoučký kůň ".repeat(n % 5))
            })
            .collect();
        let message = fixture.delivered("carol");
        assert!(message.body() == expected.as_bytes(), "it has changed");
    }
}

/// The octets of the legacy character set arrive, not those of UTF-8.
#[test]
fn raw_data_in_a_legacy_character_set_arrives_in_it() {
    let mut fixture = MailFixture::plain("legacy-charset");
    assert!(fixture.run("legacy_charset").is_empty());
    assert_eq!(
        fixture.delivered_of("carol", "1").body(),
        b"Gr\xfc\xdfe aus Z\xfcrich, \xc6r\xf8 und Besan\xe7on\n"
    );
    let message = fixture.delivered_of("carol", "2");
    assert_eq!(message.body(), b"\x93F\xfcnf\x94 \x80\n");
    assert_eq!(
        field(&message.header(), "Content-Type").unwrap(),
        "text/plain; charset=windows-1252"
    );
}

#[test]
fn subjects_in_encoded_words_are_read_as_they_were_written() {
    let mut fixture = MailFixture::plain("encoded-subject");
    assert!(fixture.run("encoded_subject").is_empty());
    let subject = |which: &str| {
        let header = fixture.delivered_of("bob", which).header();
        let subject = field(&header, "Subject").unwrap();
        (subject.split(' ').count(), decode_words(&subject))
    };
    let (words, text) = subject("b");
    assert!(words > 3);
    assert_eq!(
        text,
        "Ежемесячный отчёт о продажах за ноябрь: всё в порядке, 売上報告"
    );
    let (words, text) = subject("q");
    assert!(words > 1);
    assert_eq!(
        text,
        "Überfällige Rechnungen = 12 % mehr als im Vorjahr (größte: 1_000 €)?"
    );
}

#[test]
fn careless_messages_arrive_as_intended() {
    for server in [MailServer::shared(), MailServer::exim()] {
        let mut fixture = MailFixture::plain_at(server, "careless");
        assert!(fixture.run("careless_content").is_empty());
        let body = |case: &str| {
            let message = fixture.delivered_of("carol", case);
            let subject = field(&message.header(), "Subject");
            assert_eq!(subject.as_deref(), (case != "empty").then_some(case));
            String::from_utf8(message.body().to_vec()).unwrap()
        };
        assert_eq!(body("unparted"), "Hello there,\nthis is text.\n");
        assert_eq!(body("unix"), "one\ntwo\n\nfour\n");
        assert_eq!(body("mac"), "one\ntwo\n");
        assert_eq!(body("dots"), ".profile\n..\n.\n...and on\n.\n");
        let long = format!("<p>{}</p>\n", "0123456789".repeat(700));
        assert_eq!(body("long"), long);
        assert_eq!(body("silent"), "");
        assert_eq!(body("empty"), "");
    }
}
