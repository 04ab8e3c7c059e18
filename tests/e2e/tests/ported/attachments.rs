//! Attachments, in pieces of the sizes that Oracle's limits required.

use super::mime::{field, parts};
use super::*;

/// A table with a document of about 300 kB that contains every octet value.
fn store_document(fixture: &mut MailFixture) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let content: Vec<u8> = std::iter::repeat_with(next).take(300_011).collect();
    fixture
        .session
        .run("CREATE TABLE documents (name text, content bytea)");
    let insert = "INSERT INTO documents VALUES ('report.bin', $1)";
    fixture.session.execute(insert, &[&content]).unwrap();
    content
}

#[test]
fn an_attachment_by_lines_of_57_bytes_is_the_original() {
    let mut fixture = MailFixture::plain("by-lines");
    let content = store_document(&mut fixture);
    assert!(fixture.run("attachment_by_lines").is_empty());
    let parts = parts(&fixture.delivered("bob"));
    let [text, attachment] = parts.as_slice() else {
        panic!("{} parts", parts.len())
    };
    assert_eq!(text.body, "See the attachment.\n");
    let disposition = field(&attachment.header, "Content-Disposition").unwrap();
    assert_eq!(disposition, "attachment; filename=\"report.bin\"");
    let lines: Vec<&str> = attachment.body.trim_end().lines().collect();
    assert_eq!(lines.len(), content.len().div_ceil(57));
    assert!(lines[..lines.len() - 1].iter().all(|line| line.len() == 76));
    assert!(
        attachment.decoded() == content,
        "the attachment has changed"
    );
}

/// The line feeds of PostgreSQL's `encode` become CRLF; this server would refuse bare ones.
#[test]
fn attachments_by_pieces_of_24573_bytes_are_the_original() {
    let mut fixture = MailFixture::plain("by-pieces");
    let content = store_document(&mut fixture);
    assert!(fixture.run("attachment_by_pieces").is_empty());
    let parts = parts(&fixture.delivered("bob"));
    let [written, raw] = parts.as_slice() else {
        panic!("{} parts", parts.len())
    };
    for part in [written, raw] {
        assert!(part.body.lines().all(|line| line.len() <= 76));
        assert!(part.decoded() == content, "the attachment has changed");
    }
    assert_eq!(written.body, raw.body);
}
