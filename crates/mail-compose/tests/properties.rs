//! Any input: what was given comes back through mail-parser, and nothing else.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use common::*;
use mail_compose::*;
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

/// Texts with what has a meaning in a header.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just("\r\nBcc: eve@example.com\r\n".to_owned()),
        Just("=?utf-8?Q?=0D=0ABcc:?=".to_owned()),
        Just(">, <eve@example.com".to_owned()),
        Just("\", eve@example.com, \"".to_owned()),
        Just("\\".to_owned()),
        Just("\0".to_owned()),
        Just("x".repeat(1_100)),
        Just("漢".repeat(90)),
        Just(" ".repeat(90)),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// No line over 998 octets, none that ends in anything but CR LF, no NUL.
fn check_lines(octets: &[u8]) {
    assert!(octets.ends_with(b"\r\n"));
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap();
        assert!(line.len() <= 998 && !line.contains(&b'\r') && !line.contains(&0));
    }
}

/// The names of the header fields, from the octets alone.
fn names(octets: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(octets);
    let header = text.split("\r\n\r\n").next().unwrap();
    header
        .split("\r\n")
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_holds_what_was_given_and_nothing_else(
        subject in hostile(), name in hostile(), extra in hostile(), file_name in hostile(),
    ) {
        let mut draft = draft();
        let to = format!("{} <a@example.com>; b@example.com", quoted(&name));
        let (Ok(to), Ok(parsed), Ok(header), Ok(file)) = (
            AddressList::parse(Field::To, &to),
            Subject::parse(subject.as_str()),
            Header::parse("X-Extra", extra.as_str()),
            FileName::parse(file_name.as_str()),
        ) else {
            let controls = [&subject, &name, &extra, &file_name]
                .iter()
                .any(|text| text.contains(char::is_control));
            prop_assert!(controls || file_name.is_empty());
            return Ok(());
        };
        draft.to = to;
        draft.subject = Some(parsed);
        draft.headers = vec![header];
        let mut attached = attachment("application/pdf", b"%PDF");
        attached.file_name = Some(file);
        draft.attachments = vec![attached];
        let octets = octets(&draft);
        check_lines(&octets);
        prop_assert_eq!(names(&octets), [
            "Message-ID", "Date", "From", "To", "Subject", "X-Extra", "MIME-Version",
            "Content-Type",
        ]);
        let message = MessageParser::default().parse(&octets).unwrap();
        prop_assert_eq!(message.subject().unwrap_or(""), &subject);
        let to: Vec<(&str, &str)> = message
            .to()
            .unwrap()
            .iter()
            .map(|address| (address.name().unwrap_or(""), address.address().unwrap()))
            .collect();
        prop_assert_eq!(to, [(name.trim(), "a@example.com"), ("", "b@example.com")]);
        prop_assert_eq!(message.attachment(0).unwrap().attachment_name(), Some(&*file_name));
    }

    #[test]
    fn any_list_of_addresses_is_refused_or_comes_back(text in hostile()) {
        let Ok(parsed) = AddressList::parse(Field::Cc, &text) else {
            return Ok(());
        };
        let mut draft = draft();
        draft.to = list("a@example.com");
        draft.cc = parsed.clone();
        let octets = octets(&draft);
        check_lines(&octets);
        let message = MessageParser::default().parse(&octets).unwrap();
        let found = message.cc().map_or(0, |list| list.iter().count());
        prop_assert_eq!(found, parsed.iter().count());
    }

    #[test]
    fn bodies_and_files_come_back(
        plain in "(\\PC|[\r\n\t=.-]){0,300}",
        html_text in "(\\PC|\r\n|[ -~]{80}){0,20}",
        content in proptest::collection::vec(any::<u8>(), 0..300),
        text_content in "[ -~\r\n\t]{0,200}",
        inline in any::<bool>(),
    ) {
        let mut draft = draft();
        draft.to = list("a@example.com");
        draft.text = Some(text(&plain));
        draft.html = Some(html(&html_text));
        draft.attachments = vec![
            attachment("application/octet-stream", &content),
            attachment("text/plain", text_content.as_bytes()),
        ];
        if inline {
            draft.attachments[1].disposition = Disposition::Inline;
        }
        let message = draft.compose(stamp()).unwrap();
        let octets = message.octets().unwrap();
        check_lines(&octets);
        let mut written = Vec::new();
        message.write_to(&mut written).unwrap();
        prop_assert_eq!(&written, &octets);
        let message = MessageParser::default().parse(&octets).unwrap();
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let body = |text: Option<std::borrow::Cow<'_, str>>| lines(&text.unwrap());
        prop_assert_eq!(body(message.body_text(0)), lines(&plain));
        prop_assert_eq!(body(message.body_html(0)), lines(&html_text));
        let parts: Vec<&[u8]> = message
            .parts
            .iter()
            .filter(|part| part.content_disposition().is_some())
            .map(|part| part.contents())
            .collect();
        prop_assert_eq!(parts, [content.as_slice(), text_content.as_bytes()]);
    }
}
