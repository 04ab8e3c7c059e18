//! Any draft that is accepted: lines within their limit, no header field but those of the draft, no
//! text before a boundary that could be taken for one, and each recipient once in the envelope.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use mail_compose::{
    Address, AddressList, Attachment, BodyText, ComposeError, ContentId, ContentType, Disposition,
    Draft, Field, FileName, Header, InlineImage, Priority, Stamp, Subject,
};

fuzz_target!(|input: &[u8]| {
    // One argument a record.
    let mut records = input.split(|octet| *octet == 0x1e);
    let mut next = || records.next().unwrap_or_default();
    let mut text = || str::from_utf8(next()).unwrap_or_default();
    let arguments: [&str; 12] = std::array::from_fn(|_| text());
    let content = next();
    if let Ok(draft) = draft(&arguments, content) {
        check(&draft);
    }
});

fn draft<'a>(arguments: &[&'a str; 12], content: &'a [u8]) -> Result<Draft<'a>, ComposeError> {
    let [
        sender,
        to,
        cc,
        bcc,
        subject,
        name,
        value,
        text_type,
        text,
        html,
        file_name,
        content_id,
    ] = *arguments;
    let mut draft = Draft::new(Address::parse(Field::Sender, sender)?);
    draft.to = AddressList::parse(Field::To, to)?;
    draft.cc = AddressList::parse(Field::Cc, cc)?;
    draft.bcc = AddressList::parse(Field::Bcc, bcc)?;
    draft.subject = Some(Subject::parse(subject)?);
    draft.priority = Some(Priority::new(3)?);
    if !name.is_empty() {
        draft.headers.push(Header::parse(name, value)?);
    }
    let content_type = match text_type {
        "" => ContentType::plain(),
        _ => ContentType::parse(Field::TextType, text_type)?,
    };
    draft.text_type = content_type.clone();
    draft.text = Some(BodyText::parse(Field::Text, text)?);
    if !html.is_empty() {
        draft.html = Some(BodyText::parse(Field::Html, html)?);
    }
    if !file_name.is_empty() {
        draft.attachments.push(Attachment {
            content_type: content_type.clone(),
            content,
            file_name: Some(FileName::parse(file_name)?),
            disposition: Disposition::Attachment,
        });
    }
    if !content_id.is_empty() {
        draft.images.push(InlineImage {
            content_type,
            content,
            content_id: ContentId::parse(content_id)?,
            file_name: None,
        });
    }
    Ok(draft)
}

fn check(draft: &Draft<'_>) {
    let stamp = Stamp::new(1_764_000_000, [7; 16]).expect("it is a date");
    let Ok(message) = draft.compose(stamp) else {
        return;
    };
    let octets = message.octets().expect("it is short");
    assert_eq!(octets.len(), message.size());
    assert!(octets.ends_with(b"\r\n"));
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").expect("no LF stands alone");
        assert!(line.len() <= 998 && !line.contains(&b'\r') && !line.contains(&0));
    }
    if !message.needs_smtputf8() {
        assert!(octets.is_ascii());
    }
    let text = String::from_utf8_lossy(&octets);
    check_header(draft, &text);
    check_boundaries(&text);
    let mut known = HashSet::new();
    for recipient in &message.envelope().recipients {
        assert!(known.insert(recipient.mailbox.canonical()));
    }
}

fn check_header(draft: &Draft<'_>, text: &str) {
    let header = text.split("\r\n\r\n").next().unwrap_or_default();
    let found: Vec<&str> = header
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split_once(": ").expect("it is a field").0)
        .collect();
    let mut expected = vec!["Message-ID", "Date", "From"];
    expected.extend((!draft.to.is_empty()).then_some("To"));
    expected.extend((!draft.cc.is_empty()).then_some("Cc"));
    expected.extend(["Subject", "X-Priority", "Importance"]);
    expected.extend(draft.headers.iter().map(Header::name));
    expected.extend(["MIME-Version", "Content-Type"]);
    expected.extend(found.last().filter(|name| name.ends_with("Encoding")));
    assert_eq!(found, expected, "{header}");
}

/// Each multipart ends once, and as many parts begin as were put into it.
fn check_boundaries(text: &str) {
    for (at, _) in text.match_indices("boundary=\"=_") {
        let boundary = text[at + 10..].split('"').next().unwrap_or_default();
        if text.matches(&format!("boundary=\"{boundary}\"")).count() != 1 {
            continue;
        }
        let end = format!("\r\n--{boundary}--\r\n");
        assert_eq!(text.matches(&end).count(), 1, "{text}");
    }
}
