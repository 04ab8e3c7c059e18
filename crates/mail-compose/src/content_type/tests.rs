//! Content types: what is read and what is refused.

use super::*;

fn parse(text: &str) -> Result<ContentType, Problem> {
    ContentType::parse(Field::TextType, text).map_err(|error| error.problem)
}

fn written(content_type: ContentType) -> String {
    let mut field = Vec::new();
    content_type.built().write_header(&mut field, 14);
    String::from_utf8(field).unwrap()
}

#[test]
fn types_and_parameters_are_read_as_rfc_2045_writes_them() {
    for (text, expected) in [
        ("text/plain", "text/plain\r\n"),
        (" Text/HTML ;", "text/html\r\n"),
        (
            "a/b;c=d;e=\"f;g\\\"h\" ; I=j ",
            "a/b; c=\"d\"; e=\"f;g\\\"h\"; i=\"j\"\r\n",
        ),
        ("image/svg+xml; x=\"\"", "image/svg+xml; x=\"\"\r\n"),
        ("a/b; name=\"ü\"", "a/b; name*=UTF-8''%C3%BC\r\n"),
    ] {
        assert_eq!(written(parse(text).unwrap()), expected);
    }
}

#[test]
fn what_is_no_content_type_is_refused() {
    for text in [
        "text",
        "text/",
        "/plain",
        "text/plain x",
        "te xt/plain",
        "text/plain; charset",
        "text/plain; =x",
        "text/plain; a=",
        "text/plain; a=b c",
        "text/plain; a=\"b",
        "text/plain; a=\"b\" c",
        "text/plain; a=(b)",
        "täxt/plain",
        "text/plain; a=ü",
        "text/plain; name*=UTF-8''x",
        "text/plain, text/html",
        "text/plain; ; a=b",
    ] {
        assert_eq!(parse(text), Err(Problem::ContentType), "{text}");
    }
    assert_eq!(parse(""), Err(Problem::Missing));
    assert_eq!(
        parse("multipart/mixed; boundary=x"),
        Err(Problem::Composite)
    );
    assert_eq!(parse("MESSAGE/rfc822"), Err(Problem::Composite));
    assert_eq!(parse("a/b; c=d; C=e"), Err(Problem::Repeated));
    assert!(matches!(
        parse(&format!("a/{}", "b".repeat(254))),
        Err(Problem::TooLong { .. })
    ));
    assert!(matches!(
        parse(&format!("a/b; {}=c", "d".repeat(51))),
        Err(Problem::TooLong { .. })
    ));
}

#[test]
fn control_characters_are_refused() {
    for text in [
        "text/plain\r\nBcc: e@x.com",
        "text/plain; a=\"b\n\"",
        "text/pl\0ain",
    ] {
        assert!(matches!(parse(text), Err(Problem::Text(_))), "{text:?}");
    }
}

#[test]
fn the_charset_is_the_one_that_the_text_has() {
    for (given, text, expected) in [
        ("text/plain", "a", "text/plain; charset=\"utf-8\"\r\n"),
        (
            "text/plain; charset=us-ascii",
            "a",
            "text/plain; charset=\"us-ascii\"\r\n",
        ),
        (
            "text/plain; charset=us-ascii",
            "ä",
            "text/plain; charset=\"utf-8\"\r\n",
        ),
        (
            "text/plain; charset=iso-8859-1",
            "ä",
            "text/plain; charset=\"utf-8\"\r\n",
        ),
        ("application/json", "ä", "application/json\r\n"),
    ] {
        assert_eq!(written(parse(given).unwrap().labelled(text)), expected);
    }
}
