use super::*;

#[track_caller]
fn domains(value: &str) -> Vec<String> {
    let found = parse(value.as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_domain_of_one_address_is_found() {
    for value in [
        "a@example.com",
        "<a@example.com>",
        "A <a@example.com>",
        "A. B. C. <a@EXAMPLE.com>",
        "\"x@evil.test\" <a@example.com>",
        "\"x \\\" <x@evil.test>\" <a@example.com>",
        "\"x@evil.test\"@example.com",
        "<\"<x@evil.test>\"@example.com>",
        "(x@evil.test) a@example.com (y@evil.test)",
        "a(c1)@(c2)example(c3).(c4)com(c5)",
        "(a (nested \\) comment) <x@evil.test>) a@example.com",
        "a . b @ example . com",
        "a..b@example.com",
        ".a.@example.com",
        "\"a\".b@example.com",
        "=?utf-8?Q?x=40evil.test?= <a@example.com>",
        "M\u{fc}ller <m\u{fc}ller@example.com>",
        ", a@example.com,",
    ] {
        assert_eq!(domains(value), ["example.com"], "{value}");
    }
}

#[test]
fn international_domains_become_a_labels() {
    assert_eq!(domains("a@B\u{dc}CHER.example"), ["xn--bcher-kva.example"]);
    assert_eq!(
        domains("a@xn--BCHER-kva.example"),
        ["xn--bcher-kva.example"]
    );
}

#[test]
fn each_domain_of_several_authors_is_found_once() {
    assert_eq!(
        domains("a@one.test, \"B, C\" <b@two.test>, c@ONE.test"),
        ["one.test", "two.test"]
    );
    assert_eq!(
        domains("board: a@one.test, B <b@two.test>;, c@three.test"),
        ["one.test", "two.test", "three.test"]
    );
}

#[test]
fn a_from_without_domains_has_none() {
    for value in [
        "a@[192.0.2.1]",
        "A <a@[IPv6:2001:db8::1]>",
        "nobody:;",
        "nobody: ,, ;,",
    ] {
        assert!(domains(value).is_empty(), "{value}");
    }
}

#[test]
fn what_is_no_list_of_addresses_is_refused() {
    for value in [
        "",
        ",",
        "root",
        "A",
        "a@",
        "@example.com",
        "<>",
        "<a@example.com",
        "a@example.com>",
        "a@example.com b@example.com",
        "<a@example.com> <b@evil.test>",
        "a@example.com <b@evil.test>",
        "<a@example.com> x",
        "a b@example.com",
        "\"a\"b@example.com",
        "a@example.com;",
        "a@example.com; b@example.com",
        "group: a@example.com",
        "group: inner: a@example.com;;",
        ": a@example.com;",
        "<@relay.test:a@example.com>",
        "a@b@example.com",
        "\"a@example.com",
        "(a@example.com",
        "a@example.com (",
        "a@example.com)",
        "a@example.com\\",
        "a\\@example.com",
        "a@\"example.com\"",
        "a@[192.0.2.1",
        "a@example.com\u{0}",
        "M\u{fc}ller, H <a@example.com>",
    ] {
        assert_eq!(
            parse(value.as_bytes()),
            Err(AuthorsError::Syntax),
            "{value}"
        );
    }
}

#[test]
fn a_domain_that_is_none_is_refused() {
    for (value, error) in [
        ("a@-example.com", NameError::Hyphen),
        ("a@example$.com", NameError::Character),
        ("a@xn--a.com", NameError::Unconvertible),
    ] {
        let found = parse(value.as_bytes());
        assert_eq!(found, Err(AuthorsError::Domain(error)), "{value}");
    }
    assert_eq!(parse(b"a@\xff.com"), Err(AuthorsError::Syntax));
}
