use super::*;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[test]
fn a_name_has_one_spelling() {
    for (text, expected) in [
        ("mail.example.com", "mail.example.com"),
        ("MAIL.Example.COM", "mail.example.com"),
        ("mail.example.com.", "mail.example.com"),
        ("mail。example．com｡", "mail.example.com"),
        ("ｍail.example.com", "mail.example.com"),
        ("ma\u{200b}il.exam\u{ad}ple.com", "mail.example.com"),
        ("oﬃce.example", "office.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BU\u{308}CHER.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("_mail._tcp.example", "_mail._tcp.example"),
        ("localhost", "localhost"),
        ("1.example", "1.example"),
    ] {
        assert_eq!(host(text).to_string(), expected, "{text}");
        assert!(matches!(host(text), Host::Name(_)));
    }
}

#[test]
fn an_address_has_one_spelling() {
    for (text, expected) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::FFFF:c000:0201]", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ] {
        assert_eq!(host(text).to_string(), expected);
        assert!(matches!(host(text), Host::Address(_)));
    }
}

#[test]
fn whatever_a_resolver_might_take_for_something_else_is_refused() {
    for text in [
        "0.0.0.0",
        "::",
        "[::]",
        "::ffff:0.0.0.0",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        " 127.0.0.1",
        "127.0.0.1 ",
        "127.0.0.1%lo",
        "127.0.0.1\0x",
        "0x7f000001",
        "0X7F.1",
        "0x",
        "127.0.0.1.",
        "1.2.3.4.5",
        "256.0.0.1",
        "127.0.0.01",
        "１２７.0.0.1",
        "127。1",
        "mail.example.0x1f",
        "example.123",
        "fe80::1%eth0",
        "[::1",
        "::1]",
        "[::1]:25",
        "[127.0.0.1]",
        "[mail]",
        "mail:25",
        "mail.example.com:25",
        "user@mail",
        "mail/x",
        "/run/socket",
        "@abstract",
        "a b",
        "a..b",
        "a.b..",
        ".",
        "..",
        "",
        ".a",
        "-a.example",
        "a-.example",
        "a.-b",
        "*",
        "*.example.com",
        "a,b",
        "a;b",
        "a\nb",
        "xn--zzzzzzz99999.example",
        "xn--a.example",
        "a℀b",
        "a\u{3000}b",
        "a\u{a0}b",
        "bü cher.example",
        "a\u{202e}b",
        "\u{200b}",
        "a%20b",
        "a\\b",
        "a\"b",
        "http://mail",
    ] {
        assert!(Host::parse(text).is_err(), "{text:?}");
    }
    assert!(Host::parse(&"a".repeat(63)).is_ok());
    assert!(Host::parse(&"a".repeat(64)).is_err());
    assert!(Host::parse(&"ü".repeat(60)).is_err());
    assert!(Host::parse(&["a."; 126].concat()).is_ok());
    assert!(Host::parse(&["a."; 128].concat()).is_err());
    assert!(Host::parse(&"a.".repeat(1_000_000)).is_err());
}

#[test]
fn an_error_shows_the_host_harmlessly() {
    let error = Host::parse("127.1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"127.1\" is not a host: an IPv4 address is written as four decimal numbers"
    );
}
