//! Drafts for the tests.

#![allow(dead_code)] // Each test program uses some.

use mail_compose::*;

pub fn draft<'a>() -> Draft<'a> {
    Draft::new(Address::parse(Field::Sender, "Scott <scott@example.com>").unwrap())
}

pub fn stamp() -> Stamp {
    Stamp::new(1_764_000_000, [7; 16]).unwrap()
}

pub fn list(text: &str) -> AddressList {
    AddressList::parse(Field::To, text).unwrap()
}

pub fn text(text: &str) -> BodyText<'_> {
    BodyText::parse(Field::Text, text).unwrap()
}

pub fn html(text: &str) -> BodyText<'_> {
    BodyText::parse(Field::Html, text).unwrap()
}

pub fn attachment<'a>(content_type: &str, content: &'a [u8]) -> Attachment<'a> {
    Attachment {
        content_type: ContentType::parse(Field::AttachmentType, content_type).unwrap(),
        content,
        file_name: None,
        disposition: Disposition::Attachment,
    }
}

pub fn image<'a>(id: &'a str, content: &'a [u8]) -> InlineImage<'a> {
    InlineImage {
        content_type: ContentType::parse(Field::AttachmentType, "image/png").unwrap(),
        content,
        content_id: ContentId::parse(id).unwrap(),
        file_name: None,
    }
}

pub fn octets(draft: &Draft<'_>) -> Vec<u8> {
    draft.compose(stamp()).unwrap().octets().unwrap()
}
