use super::*;
use crate::lines::Lines;

fn read(text: &str) -> Header {
    let mut reader = HeaderReader::default();
    Lines::default().split(text.as_bytes(), |token| {
        reader.take(token);
    });
    reader.into_header()
}

fn canonical(text: &str) -> String {
    String::from_utf8(read(text).canonical()).unwrap()
}

#[test]
fn fields_have_the_relaxed_form_of_rfc_6376() {
    // §3.4.5, with names of fields that are signed.
    assert_eq!(
        canonical("From: X\r\nTo : Y\t\r\n\tZ  \r\n"),
        "from:X\r\nto:Y Z\r\n"
    );
}

#[test]
fn white_space_is_one_space_within_a_value_and_none_around_it() {
    for (text, expected) in [
        ("Subject:x\r\n", "subject:x\r\n"),
        ("SUBJECT \t : \t x \t \r\n", "subject:x\r\n"),
        ("Subject:\r\n x\r\n \r\n\ty\r\n \r\n", "subject:x y\r\n"),
        ("Subject: :x :\r\n", "subject::x :\r\n"),
        ("Subject:\r\n", "subject:\r\n"),
        ("Subject: \r\n \t\r\n", "subject:\r\n"),
        ("Subject: a\u{a0}\u{b}b\r\n", "subject:a\u{a0}\u{b}b\r\n"),
        ("Subject: no line end", "subject:no line end\r\n"),
    ] {
        assert_eq!(canonical(text), expected, "{text:?}");
    }
}

#[test]
fn of_fields_with_one_name_the_last_comes_first() {
    assert_eq!(
        canonical("To: 1\r\nFrom: a\r\nTo: 2\r\nX: y\r\nTo: 3\r\n"),
        "from:a\r\nto:3\r\nto:2\r\nto:1\r\n"
    );
}

#[test]
fn a_folded_line_belongs_to_its_own_field() {
    assert_eq!(
        canonical("From: a\r\nX-Other: b\r\n c\r\nTo: d\r\n"),
        "from:a\r\nto:d\r\n"
    );
}
