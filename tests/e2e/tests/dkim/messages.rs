//! Messages of all shapes, and what becomes of a signature when they change.

use super::*;

const FROM: &str = "From: Joe <joe@example.test>\r\n";

#[test]
fn messages_of_every_shape_are_valid_for_both_judges() {
    let long_line = "long line ".repeat(2_000);
    let many = "To: b@example.com\r\n".repeat(40);
    let mut domain = Domain::new();
    for message in [
        format!("{FROM}Subject: s\r\nDate: Sat, 29 Nov 2025 00:00:00 +0000\r\n\r\nHi.\r\n"),
        // The body: none, empty, blank lines, white space, no line end.
        format!("{FROM}Subject: s\r\n"),
        format!("{FROM}\r\n"),
        format!("{FROM}\r\n\r\n\r\n"),
        format!("{FROM}\r\n \t\r\n\r\n"),
        format!("{FROM}\r\nHi.\r\n\r\n \r\n\r\n"),
        format!("{FROM}\r\n\r\n\r\nHi. \t there\t\r\n  x\r\n"),
        format!("{FROM}\r\nno line end"),
        format!("{FROM}\r\n.\r\n..\r\n.x\r\n"),
        // 8-bit text and long lines.
        format!(
            "{FROM}Subject: Gr\u{fc}\u{df}e \u{6f22}\u{5b57}\r\n\r\n\u{fc}\u{df} \u{6f22}\u{5b57}\r\n"
        ),
        format!("{FROM}Subject: {long_line}\r\n\r\nx\r\n"),
        format!("{FROM}\r\n{long_line}\r\n{long_line}\r\n"),
        // Fields: folded, with tabs, empty, in odd case, several with one name, all that are
        // signed.
        format!("{FROM}Subject: a\r\n\tb  c\r\n   d \t \r\nTo:\r\n b@example.com\r\n\r\nx\r\n"),
        "FROM: joe@example.test\r\nsubject:s\r\nReply-To:\r\nCc: \r\n\r\nx\r\n".to_owned(),
        format!("{FROM}{many}Subject: 1\r\nX-Other: x\r\nSubject: 2\r\n\r\nx\r\n"),
        format!(
            "Received: x\r\n{FROM}To: b@example.com\r\nCc: c@example.com\r\nBcc: d@example.com\r\n\
             Subject: s\r\nDate: d\r\nReply-To: e@example.com\r\nMessage-ID: <1@example.test>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\
             List-Unsubscribe: <https://example.test/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
             \r\nx\r\n"
        ),
    ] {
        let signed = domain.sign(message.as_bytes());
        assert!(signed.ends_with(message.as_bytes()));
        domain.assert_valid(&signed);
    }
}

#[test]
fn octets_that_are_no_text_are_valid_for_both_judges() {
    let mut domain = Domain::new();
    let octets: Vec<u8> = (1..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    let message = [FROM.as_bytes(), b"\r\n", &octets, b"\r\n"].concat();
    let signed = domain.sign(&message);
    domain.assert_valid(&signed);
}

#[test]
fn what_changes_a_message_breaks_its_signatures() {
    let mut domain = Domain::new();
    let message = format!("{FROM}Subject: s\r\nMessage-ID: <1@example.test>\r\n\r\nHi.\r\n");
    let signed = String::from_utf8(domain.sign(message.as_bytes())).unwrap();
    for (from, to) in [
        ("Hi.", "Ho."),
        ("Hi.\r\n", "Hi.\r\nMore.\r\n"),
        ("joe@", "eve@"),
        ("Subject: s", "Subject: t"),
        ("Message-ID: <1", "Message-ID: <2"),
        ("t=1", "t=2"),
        // Fields that were not there are signed as missing.
        (FROM, &format!("From: eve@example.com\r\n{FROM}")),
        (FROM, &format!("{FROM}Subject: added\r\n")),
        (FROM, &format!("{FROM}Reply-To: eve@example.com\r\n")),
        (FROM, &format!("{FROM}Content-Type: text/html\r\n")),
    ] {
        assert!(signed.contains(from), "{from}");
        domain.assert_invalid(signed.replace(from, to).as_bytes());
    }
    // What relays add and change stays possible.
    for (from, to) in [
        (FROM, format!("Received: x\r\nX-Spam: no\r\n{FROM}")),
        ("Subject: s", "SUBJECT:\r\n \ts ".to_owned()),
        ("Hi.\r\n", "Hi. \t\r\n\r\n\r\n".to_owned()),
    ] {
        domain.assert_valid(signed.replace(from, &to).as_bytes());
    }
}

#[test]
fn a_message_without_exactly_one_from_is_refused() {
    let mut domain = Domain::new();
    for (message, detail) in [
        ("", "no From field"),
        (
            "Subject: s\r\n\r\nFrom: joe@example.test\r\n",
            "no From field",
        ),
        (
            "From: joe@example.test\r\nFrom: eve@example.com\r\n\r\nx\r\n",
            "several From fields",
        ),
        (
            "From: joe@example.test\nX: y\rfrom : eve@example.com\r\n\r\nx\r\n",
            "several From fields",
        ),
    ] {
        let failure = sign(&mut domain.session, message.as_bytes(), "example.test");
        let failure = failure.unwrap_err().expect("22023");
        assert!(failure.message.contains("\"message\""), "{failure}");
        assert!(failure.detail.contains(detail), "{failure}");
    }
}

#[test]
fn a_domain_signs_for_itself_and_for_whom_it_is_told_to() {
    let mut domain = Domain::new();
    for from in [
        "From: joe@Mail.Example.test\r\n\r\n",
        "From: eve@example.com\r\n\r\n",
    ] {
        let signed = domain.sign(from.as_bytes());
        domain.assert_valid(&signed);
    }
    let signed = sign(&mut domain.session, FROM.as_bytes(), "EXAMPLE.test.").unwrap();
    domain.assert_valid(&signed);
    let failure = sign(&mut domain.session, FROM.as_bytes(), "mail.example.test");
    let failure = failure.unwrap_err().expect("42704");
    assert!(
        failure.hint.contains("set_dkim_key('mail.example.test'"),
        "{failure}"
    );
}

#[test]
fn a_large_message_is_signed_whole() {
    let mut domain = Domain::new();
    let line = "sixty characters of text that fill one line of this message\r\n";
    let mut message = format!("{FROM}\r\n{}", line.repeat(100_000)).into_bytes();
    let signed = domain.sign(&message);
    assert!(signed.ends_with(&message));
    let (records, fields) = (domain.records(), signed.len() - message.len());
    assert_eq!(dkimpy(&signed, &records), [true, true]);
    let last = message.len() - 3;
    message[last] ^= 1;
    let changed = [&signed[..fields], &message].concat();
    assert_eq!(dkimpy(&changed, &records), [false, false]);
}
