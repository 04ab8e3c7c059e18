//! Known answers: what is refused, the envelope, the structure, and the octets.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use common::*;
use mail_compose::*;

fn lines(octets: &[u8]) -> Vec<String> {
    let text = String::from_utf8(octets.to_vec()).unwrap();
    text.split("\r\n").map(str::to_owned).collect()
}

fn problem<T>(result: Result<T, ComposeError>) -> (Field, Problem) {
    let error = result.err().unwrap();
    (error.field, error.problem)
}

#[test]
fn a_message_of_one_part_is_known_octet_by_octet() {
    let mut draft = draft();
    draft.to = list("a@example.com, \"B, C\" <b@example.com>");
    draft.cc = list("Zoë <z@example.com>");
    draft.reply_to = list("r@example.com");
    draft.subject = Some(Subject::parse("Grüße").unwrap());
    draft.priority = Some(Priority::new(1).unwrap());
    draft.headers = vec![Header::parse("X-Mailer", "test").unwrap()];
    draft.text = Some(text("one\ntwo\r\nthree\rfour"));
    let expected = "\
Message-ID: <07070707070707070707070707070707@example.com>\r
Date: Mon, 24 Nov 2025 16:00:00 +0000\r
From: \"Scott\" <scott@example.com>\r
To: <a@example.com>, \"B, C\" <b@example.com>\r
Cc: =?utf-8?B?Wm/Dqw==?= <z@example.com>\r
Reply-To: <r@example.com>\r
Subject: =?utf-8?B?R3LDvMOfZQ==?=\r
X-Priority: 1\r
Importance: high\r
X-Mailer: test\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset=\"utf-8\"\r
Content-Transfer-Encoding: 7bit\r
\r
one\r
two\r
three\r
four\r
";
    assert_eq!(String::from_utf8(octets(&draft)).unwrap(), expected);
}

#[test]
fn bcc_is_in_the_envelope_only_and_each_recipient_once() {
    let mut draft = draft();
    draft.to = list("a@example.com, A <a@EXAMPLE.com>, A@example.com");
    draft.cc = list("a@example.com; c@example.com");
    draft.bcc = list("Hidden <hidden@example.com>, c@example.com");
    let message = draft.compose(stamp()).unwrap();
    let envelope = message.envelope();
    let recipients: Vec<&str> = envelope
        .recipients
        .iter()
        .map(|recipient| recipient.mailbox.as_str())
        .collect();
    let expected = [
        "a@example.com",
        "A@example.com",
        "c@example.com",
        "hidden@example.com",
    ];
    assert_eq!(recipients, expected);
    assert_eq!(envelope.sender.as_str(), "scott@example.com");
    let octets = String::from_utf8(message.octets().unwrap()).unwrap();
    assert!(!octets.to_lowercase().contains("bcc") && !octets.to_lowercase().contains("hidden"));
}

#[test]
fn a_message_to_nobody_is_refused() {
    let mut draft = draft();
    draft.to = list(" ; ");
    draft.reply_to = list("r@example.com");
    assert_eq!(
        problem(draft.compose(stamp())),
        (Field::Recipients, Problem::Missing)
    );
    draft.bcc = list("b@example.com");
    let octets = String::from_utf8(octets(&draft)).unwrap();
    assert!(!octets.contains("\r\nTo:") && !octets.contains("\r\nCc:"));
}

#[test]
fn a_line_end_is_refused_in_each_text_argument() {
    let evil = "x\r\nBcc: eve@example.com";
    let refused: [(Field, Result<(), ComposeError>); 10] = [
        (Field::Sender, Address::parse(Field::Sender, evil).map(drop)),
        (Field::To, AddressList::parse(Field::To, evil).map(drop)),
        (Field::Subject, Subject::parse(evil).map(drop)),
        (Field::HeaderName, Header::parse(evil, "x").map(drop)),
        (Field::HeaderValue, Header::parse("X-A", evil).map(drop)),
        (
            Field::HeaderValue,
            Header::parse("X-A", "a\r\n b").map(drop),
        ),
        (
            Field::TextType,
            ContentType::parse(Field::TextType, evil).map(drop),
        ),
        (Field::FileName, FileName::parse(evil).map(drop)),
        (Field::ContentId, ContentId::parse(evil).map(drop)),
        (Field::ContentId, ContentId::parse("a>\r\nBcc: e").map(drop)),
    ];
    for (field, result) in refused {
        let error = result.unwrap_err();
        assert_eq!(error.field, field);
        assert!(matches!(error.problem, Problem::Text(_)), "{error}");
        assert!(!error.to_string().contains("eve"), "{error}");
    }
    for character in ['\0', '\r', '\n', '\t', '\x1b', '\x7f', '\u{85}', '\u{9b}'] {
        let text = format!("a{character}b");
        assert_eq!(problem(Subject::parse(text.as_str())).0, Field::Subject);
        assert_eq!(problem(FileName::parse(text.as_str())).0, Field::FileName);
        assert_eq!(problem(ContentId::parse(&text)).0, Field::ContentId);
        assert_eq!(
            problem(Header::parse(text.as_str(), "")).0,
            Field::HeaderName
        );
        assert_eq!(
            problem(Header::parse("A", text.as_str())).0,
            Field::HeaderValue
        );
    }
    let error = BodyText::parse(Field::Html, "ä\0").unwrap_err();
    assert_eq!(error.to_string(), "HTML body: a NUL at character 2");
}

#[test]
fn header_fields_of_the_draft_cannot_be_given_again() {
    for name in [
        "From",
        "TO",
        "cc",
        "Bcc",
        "Reply-To",
        "subject",
        "DATE",
        "Message-Id",
        "mime-version",
        "Content-Type",
        "content-anything",
        "Resent-Bcc",
        "X-Priority",
        "Importance",
        "Return-Path",
        "Received",
        "DKIM-Signature",
    ] {
        let refused = problem(Header::parse(name, "x"));
        assert_eq!(refused, (Field::HeaderName, Problem::Reserved), "{name}");
    }
    for name in ["A B", "A:", "Ä", "Bcc :"] {
        assert!(
            matches!(problem(Header::parse(name, "x")).1, Problem::Text(_)),
            "{name}"
        );
    }
    assert_eq!(problem(Header::parse("", "x")).1, Problem::Missing);
    let long = "X".repeat(51);
    assert!(matches!(
        problem(Header::parse(long, "x")).1,
        Problem::TooLong { .. }
    ));

    let mut draft = draft();
    draft.to = list("a@example.com");
    let header = |name: &'static str| Header::parse(name, "x").unwrap();
    draft.headers = vec![header("X-A"), header("x-a"), header("Sender")];
    assert!(draft.compose(stamp()).is_ok());
    draft.headers.push(header("SENDER"));
    let refused = problem(draft.compose(stamp()));
    assert_eq!(refused, (Field::HeaderName, Problem::Repeated));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for number in [i32::MIN, -1, 0, 6, 257] {
        let refused = problem(Priority::new(number));
        let (lowest, highest) = (1, 5);
        assert_eq!(
            refused,
            (Field::Priority, Problem::Range { lowest, highest })
        );
    }
    for date in [-1, 253_402_300_800, i64::MAX, i64::MIN] {
        assert_eq!(problem(Stamp::new(date, [0; 16])).0, Field::Date);
    }
    let last = Stamp::new(253_402_300_799, [0; 16]).unwrap();
    let mut draft = draft();
    draft.to = list("a@example.com");
    let octets = draft.compose(last).unwrap().octets().unwrap();
    assert!(lines(&octets).contains(&"Date: Fri, 31 Dec 9999 23:59:59 +0000".to_owned()));
}

#[test]
fn content_ids_are_ascii_and_each_occurs_once() {
    for text in ["a b", "a\"", "a>b", "<a", "ä", "a(b)", "a\\b"] {
        assert!(
            matches!(problem(ContentId::parse(text)).1, Problem::Text(_)),
            "{text}"
        );
    }
    assert_eq!(problem(ContentId::parse("<>")).1, Problem::Missing);
    assert_eq!(
        ContentId::parse("<logo@x.com>").unwrap().as_str(),
        "logo@x.com"
    );
    let mut draft = draft();
    draft.to = list("a@example.com");
    draft.images = vec![image("logo", b"1"), image("<logo>", b"2")];
    assert_eq!(
        problem(draft.compose(stamp())),
        (Field::ContentId, Problem::Repeated)
    );
}

/// The content types in their order, indented by depth.
fn structure(draft: &Draft<'_>) -> Vec<String> {
    lines(&octets(draft))
        .iter()
        .filter_map(|line| line.strip_prefix("Content-Type: "))
        .map(|value| value.split(';').next().unwrap().to_owned())
        .collect()
}

#[test]
fn parts_are_nested_and_no_level_has_one_part() {
    let mut draft = draft();
    draft.to = list("a@example.com");
    assert_eq!(structure(&draft), ["text/plain"]);
    draft.html = Some(html("<p>x</p>"));
    assert_eq!(structure(&draft), ["text/html"]);
    draft.text = Some(text("x"));
    assert_eq!(
        structure(&draft),
        ["multipart/alternative", "text/plain", "text/html"]
    );
    draft.images = vec![image("logo", b"1")];
    let related = [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ];
    assert_eq!(structure(&draft), related);
    draft.attachments = vec![attachment("application/pdf", b"%PDF")];
    let mut mixed = vec!["multipart/mixed"];
    mixed.extend(related);
    mixed.push("application/pdf");
    assert_eq!(structure(&draft), mixed);
    draft.html = None;
    let expected = [
        "multipart/mixed",
        "text/plain",
        "image/png",
        "application/pdf",
    ];
    assert_eq!(structure(&draft), expected);
    draft.text = None;
    draft.images.clear();
    assert_eq!(structure(&draft), ["multipart/mixed", "application/pdf"]);
}

#[test]
fn three_hundred_recipients_are_folded() {
    let mut draft = draft();
    let all: Vec<String> = (0..300)
        .map(|number| format!("\"Name, {number}\" <recipient{number}@example.com>"))
        .collect();
    draft.to = list(&all.join("; "));
    let octets = octets(&draft);
    let lines = lines(&octets);
    assert!(lines.iter().all(|line| line.len() <= 78));
    assert!(lines.len() > 150);
}

#[test]
fn long_words_are_encoded_and_urls_of_extra_fields_are_not() {
    let word = "x".repeat(3_000);
    let url = format!("<https://example.com/{}>", "u".repeat(300));
    let mut draft = draft();
    draft.to = list(&format!("{word} <a@example.com>"));
    draft.subject = Some(Subject::parse(word.as_str()).unwrap());
    draft.headers = vec![
        Header::parse("X-Word", word.as_str()).unwrap(),
        Header::parse("List-Unsubscribe", url.as_str()).unwrap(),
        Header::parse("X-Spaces", format!("a{}b", " ".repeat(2_000))).unwrap(),
    ];
    draft.text = Some(text(&word));
    let mut file = attachment("text/plain", word.as_bytes());
    file.file_name = Some(FileName::parse(word.as_str()).unwrap());
    draft.attachments = vec![file];
    for line in lines(&octets(&draft)) {
        let is_url = line == format!("List-Unsubscribe: {url}");
        assert!(is_url || line.len() <= 78, "{} octets: {line}", line.len());
        for word in line.split(' ').filter(|word| word.starts_with("=?")) {
            assert!(word.len() <= 75 && word.ends_with("?="), "{word}");
        }
    }
}

/// Not every reader joins a value that is folded between its quotes.
#[test]
fn no_file_name_is_folded_between_quotes() {
    for name in ["a \"b\" \\ ", "report "] {
        for repeated in 1..30 {
            let name = name.repeat(repeated);
            let mut draft = draft();
            draft.to = list("a@example.com");
            let mut file = attachment("application/pdf", b"%PDF");
            file.file_name = Some(FileName::parse(name.as_str()).unwrap());
            draft.attachments = vec![file];
            for line in lines(&octets(&draft)) {
                let quotes = line.replace("\\\\", "").replace("\\\"", "");
                assert_eq!(quotes.matches('"').count() % 2, 0, "{line}");
            }
            let octets = octets(&draft);
            let message = mail_parser::MessageParser::default().parse(&octets);
            let message = message.unwrap();
            let found = mail_parser::MimeHeaders::attachment_name(message.attachment(0).unwrap());
            assert_eq!(found, Some(&*name));
        }
    }
}

#[test]
fn a_boundary_is_in_no_content() {
    let unique = "07".repeat(16);
    let mut draft = draft();
    draft.to = list("a@example.com");
    let first = format!("--=_m_0_{unique}--\r\n");
    let second = format!("--=_m_1_{unique}\r\n");
    draft.text = Some(text(&first));
    draft.attachments = vec![attachment("text/plain", second.as_bytes())];
    let octets = String::from_utf8(octets(&draft)).unwrap();
    assert!(
        octets.contains(&format!("boundary=\"=_m_2_{unique}\"")),
        "{octets}"
    );
    // As they are: a boundary could have been taken for one of them.
    assert!(octets.contains(&first) && octets.contains(&second));
}

#[test]
fn a_body_is_copied_only_for_its_line_ends() {
    let kept = "a\r\nb\r\n";
    assert_eq!(text(kept).as_str().as_ptr(), kept.as_ptr());
    assert_eq!(text("a\nb\r\r\n\n").as_str(), "a\r\nb\r\n\r\n\r\n");
}

#[test]
fn only_addresses_outside_ascii_need_smtputf8() {
    let needs = |to: &str, reply_to: &str, bcc: &str| {
        let mut draft = draft();
        (draft.to, draft.reply_to, draft.bcc) = (list(to), list(reply_to), list(bcc));
        draft.text = Some(text("ä"));
        draft.compose(stamp()).unwrap().needs_smtputf8()
    };
    assert!(!needs("Jörg <j@exämple.test>", "", ""));
    assert!(needs("jörg@example.com", "", ""));
    assert!(needs("a@example.com", "jörg@example.com", ""));
    assert!(needs("a@example.com", "", "jörg@example.com"));
}

#[test]
fn the_buffer_is_allocated_once_and_a_writer_gets_small_pieces() {
    /// Remembers the largest piece.
    #[derive(Default)]
    struct Pieces {
        octets: Vec<u8>,
        largest: usize,
    }
    impl std::io::Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.octets.extend_from_slice(bytes);
            self.largest = self.largest.max(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for kind in ["application/octet-stream", "text/csv; charset=iso-8859-1"] {
        let mut draft = draft();
        draft.to = list("a@example.com");
        draft.attachments = vec![attachment(kind, &content)];
        let message = draft.compose(stamp()).unwrap();
        let octets = message.octets().unwrap();
        assert_eq!(octets.capacity(), octets.len());
        assert_eq!(octets.len(), message.size());
        assert!(octets.len() < content.len() * 138 / 100);
        let mut pieces = Pieces::default();
        message.write_to(&mut pieces).unwrap();
        assert!(pieces.octets == octets);
        assert!(pieces.largest <= 64 * 1024, "{}", pieces.largest);
    }
}
