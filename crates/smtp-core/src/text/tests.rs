use proptest::prelude::*;

use super::*;

fn reason<T: std::fmt::Debug>(result: Result<T, TextError>) -> String {
    result.unwrap_err().to_string()
}

fn mailbox(text: &str) -> Result<Mailbox, TextError> {
    Mailbox::parse(text)
}

#[test]
fn control_characters_are_named_with_their_place() {
    for (text, expected) in [
        ("ab\nc", "a line feed at character 3"),
        ("\rabc", "a carriage return at character 1"),
        ("é\0", "a NUL at character 2"),
        ("a\tb", "a tab at character 2"),
        ("a\u{7f}", "a control character (U+007F) at character 2"),
        ("a\u{85}", "a control character (U+0085) at character 2"),
    ] {
        let error = printable(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(printable("any «text» at all"), Ok(()));
}

#[test]
fn an_error_does_not_repeat_the_text() {
    let error = printable("hunter2\r").unwrap_err();
    assert_eq!(error.to_string(), "a carriage return at character 8");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn domains_are_names_or_address_literals() {
    for (text, expected) in [
        ("example.com", "example.com"),
        ("Mail.Example.COM.", "Mail.Example.COM"),
        ("localhost", "localhost"),
        ("my_host.example", "my_host.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ＢÜCHER。example", "xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
    ] {
        assert_eq!(Domain::parse(text).unwrap().as_str(), expected);
    }
}

#[test]
fn anything_else_is_no_domain() {
    for text in [
        "",
        ".",
        "a b",
        " a",
        "a ",
        "x\r\nMAIL FROM:<a>",
        "a..b",
        "a.b..",
        "-a.b",
        "a-.b",
        "a@b",
        "a:25",
        "a/b",
        "[192.0.2.1",
        "[192.0.2]",
        "[2001:db8::1]",
        "[IPv6:192.0.2.1]",
        "[IPv6:::1%lo]",
        "[ß6:é]",
        "[]",
        "xn--\u{e9}.example",
        "xn--zzzzzzz99999.example",
        "a\u{a0}b",
        "a,b",
        "<a>",
    ] {
        assert!(Domain::parse(text).is_err(), "{text:?}");
    }
    assert!(Domain::parse(&"a".repeat(64)).is_err());
    assert!(Domain::parse(&"a.".repeat(127)).is_ok());
    assert!(Domain::parse(&"a.".repeat(128)).is_err());
    assert!(Domain::parse(&"ü".repeat(100_000)).is_err());
}

#[test]
fn a_mailbox_comes_with_or_without_brackets() {
    for (text, expected) in [
        ("user@example.com", "user@example.com"),
        ("<User@Example.COM>", "User@Example.COM"),
        ("postmaster", "postmaster"),
        ("<postmaster>", "postmaster"),
        (r#""a\"b c"@d"#, r#""a\"b c"@d"#),
        (r#"<"a>b"@d>"#, r#""a>b"@d"#),
        (r#""a>b"@d"#, r#""a>b"@d"#),
        (r#""a,b"@d"#, r#""a,b"@d"#),
        (r#""@"@d"#, r#""@"@d"#),
        (r#""""#, r#""""#),
        ("a.b+c-d_e=f@d", "a.b+c-d_e=f@d"),
        ("a..b.@d", "a..b.@d"),
        ("a%b!c@d", "a%b!c@d"),
        ("user@[192.0.2.1]", "user@[192.0.2.1]"),
        ("<user@[IPv6:2001:db8::1]>", "user@[IPv6:2001:db8::1]"),
        ("user@bücher.example", "user@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("user@example.com.", "user@example.com"),
    ] {
        assert_eq!(mailbox(text).unwrap().as_str(), expected, "{text}");
    }
}

#[test]
fn only_the_local_part_asks_for_smtputf8() {
    assert!(mailbox("jürgen@example.com").unwrap().needs_smtputf8());
    assert!(mailbox("\"jürgen\"").unwrap().needs_smtputf8());
    assert!(!mailbox("user@bücher.example").unwrap().needs_smtputf8());
    assert!(!ReversePath::Null.needs_smtputf8());
    assert!(ReversePath::parse("<é>").unwrap().needs_smtputf8());
}

#[test]
fn whatever_is_not_one_address_is_refused_with_a_reason() {
    for (text, expected) in [
        (
            "a@b>\r\nRCPT TO:<evil@x",
            "a carriage return at character 5",
        ),
        ("\"a\rb\"@d", "a carriage return at character 3"),
        (
            "a@b> NOTIFY=NEVER",
            "text after the \">\": parameters have an argument of their own",
        ),
        (
            "<a@b> NOTIFY=NEVER",
            "text after the \">\": parameters have an argument of their own",
        ),
        (
            "a@b>x",
            "text after the \">\": parameters have an argument of their own",
        ),
        ("a@b>", "a \">\" without its \"<\""),
        ("<a@b", "no \">\" after the address"),
        ("<", "no \">\" after the address"),
        (
            "<<a@b>>",
            "a \"<\" inside the address: give the address alone",
        ),
        ("a b@c", "a space at character 2"),
        (" a@b", "a space at character 1"),
        ("a@b ", "a space at character 4"),
        ("< a@b>", "a space at character 2"),
        ("<a@b >", "a space at character 5"),
        ("a@b NOTIFY=NEVER", "a space at character 4"),
        ("a\u{3000}b@c", "white space (U+3000) at character 2"),
        (
            "Name <a@b>",
            "a name before the \"<\": give the address alone",
        ),
        (
            "\"Name\" <a@b>",
            "a name before the \"<\": give the address alone",
        ),
        ("a@b,c@d", "a list of addresses, where one is needed"),
        ("a@b; c@d", "a list of addresses, where one is needed"),
        (
            "<a@b>,<c@d>",
            "text after the \">\": parameters have an argument of their own",
        ),
        ("@relay:a@b", "a source route: give the address alone"),
        ("<@one,@two:a@b>", "a source route: give the address alone"),
        ("@b", "no local part before the \"@\""),
        ("\"a@b", "a quotation mark without its partner"),
        ("\"a\\\"@b", "a quotation mark without its partner"),
        ("a\"b@c", "a quotation mark at character 2"),
        ("\"a\"b@c", "\"b\" at character 4"),
        ("a(b)@c", "\"(\" at character 2"),
        ("a\\b@c", "\"\\\" at character 2"),
        ("a:b@c", "\":\" at character 2"),
        ("a@", "a name is needed"),
        ("a@b@c", "\"@\" in a domain name"),
        ("a@b:25", "\":\" in a domain name"),
        ("a@[192.0.2.1]x", "\"x\" at character 14"),
        (
            "a@[192.0.2.1",
            "an address literal is [192.0.2.1] or [IPv6:2001:db8::1]",
        ),
        ("a@b..c", "an empty label between dots"),
        ("", "an address is needed"),
        ("<>", "an address is needed"),
    ] {
        assert_eq!(reason(mailbox(text)), expected, "{text:?}");
    }
}

#[test]
fn only_an_empty_path_is_the_null_sender() {
    for text in ["", "<>"] {
        assert_eq!(ReversePath::parse(text), Ok(ReversePath::Null));
    }
    for text in [" ", "< >", "<", ">", "<>x", "<><>"] {
        assert!(ReversePath::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(ReversePath::parse("<a@b>").unwrap().as_str(), "a@b");
}

#[test]
fn a_number_among_the_parameters_can_be_corrected() {
    for (text, expected) in [
        ("", ""),
        ("BODY=8BITMIME", "BODY=8BITMIME"),
        ("RET=HDRS size=1 SIZEX=2", "RET=HDRS size=30 SIZEX=2"),
        ("SIZE", "SIZE=30"),
    ] {
        let mut parameters = Parameters::parse(text).unwrap();
        parameters.set_number("SIZE", 30);
        assert_eq!(parameters.as_str(), expected);
    }
}

#[test]
fn parameters_are_printable_ascii() {
    for bad in [
        "BODY=8BITMIME\r\nDATA",
        "SIZE=1 AUTH=<>\nX",
        "X=\u{e9}",
        "A\tB",
        "A\0",
    ] {
        assert!(Parameters::parse(bad).is_err(), "{bad:?}");
    }
    let none = Parameters::parse("  ").unwrap();
    assert!(none.is_empty());
    let some = Parameters::parse(" SIZE=10  body=8BITMIME SMTPUTF8 ").unwrap();
    assert_eq!(some.as_str(), "SIZE=10  body=8BITMIME SMTPUTF8");
    assert_eq!(some.value("BODY"), Some("8BITMIME"));
    assert_eq!(some.value("SMTPUTF8"), None);
    assert!(some.contains("smtputf8") && some.contains("size") && !some.contains("10"));
}

#[test]
fn a_raw_command_shows_its_verb_however_it_is_written() {
    for (cmd, arg, verb, rest, line) in [
        ("NOOP", None, "NOOP", "", "NOOP"),
        ("  data", None, "DATA", "", "data"),
        (
            "auth plain AAAA",
            None,
            "AUTH",
            "plain AAAA",
            "auth plain AAAA",
        ),
        (
            "auth",
            Some("plain AAAA"),
            "AUTH",
            "plain AAAA",
            "auth plain AAAA",
        ),
        ("AUTH  PLAIN", Some("x"), "AUTH", "PLAIN x", "AUTH  PLAIN x"),
        ("XCMD", Some(""), "XCMD", "", "XCMD"),
        ("XCMD", Some("é"), "XCMD", "é", "XCMD é"),
    ] {
        let command = RawCommand::parse(cmd, arg).unwrap();
        assert_eq!(
            (command.verb().as_str(), command.rest(), command.line()),
            (verb, rest, line)
        );
    }
}

#[test]
fn a_raw_command_is_one_line() {
    let of_command = |error: &RawCommandError| matches!(error, RawCommandError::Command(_));
    for (cmd, arg, is_of_command) in [
        ("NOOP\r\nRSET", None, true),
        ("NOOP", Some("x\nRSET"), false),
        ("NOOP\0", None, true),
        ("\tDATA", None, true),
        ("", None, true),
        ("   ", None, true),
        ("", Some("DATA"), true),
    ] {
        let error = RawCommand::parse(cmd, arg).unwrap_err();
        assert_eq!(of_command(&error), is_of_command, "{cmd:?}");
    }
}

#[test]
fn a_raw_command_is_never_longer_than_its_line_may_be() {
    let of_length = |verb: &str, length: usize| "x".repeat(length - verb.len() - 1);
    for length in [512, 998] {
        let arg = of_length("XCMD", length);
        assert_eq!(
            RawCommand::parse("XCMD", Some(&arg)).unwrap().line().len(),
            length
        );
    }
    for length in [999, 100_000] {
        assert!(RawCommand::parse("XCMD", Some(&of_length("XCMD", length))).is_err());
    }
    assert!(RawCommand::parse("auth", Some(&of_length("AUTH", 12_286))).is_ok());
    assert!(RawCommand::parse("auth", Some(&of_length("AUTH", 12_287))).is_err());
    assert!(RawCommand::parse_response(&"x".repeat(12_286), None).is_ok());
    assert!(RawCommand::parse_response(&"x".repeat(12_287), None).is_err());
}

/// A raw command may be a line of an authentication.
#[test]
fn debug_of_a_raw_command_shows_nothing() {
    let command = RawCommand::parse("AUTH", Some("PLAIN AGFiYwBodW50ZXIy")).unwrap();
    assert_eq!(format!("{command:?}"), "RawCommand(********)");
    assert!(
        RawCommand::parse_response("", None)
            .unwrap()
            .line()
            .is_empty()
    );
}

#[test]
fn a_quoted_text_is_escaped_and_cut() {
    assert_eq!(quoted("a\"\r\nb"), "\"a\\\"\\r\\nb\"");
    assert_eq!(
        quoted(&"x".repeat(101)),
        format!("\"{}...\"", "x".repeat(100))
    );
}

/// What a parser is tried on: random text, and random text of the characters that mean something.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-c<>@\"\\\\.,;: \r\n\0\\[\\]é1]{0,12}",
        "<?[a-z]{1,3}@[a-z.]{1,5}>?.{0,3}",
    ]
}

proptest! {
    /// Nothing that is accepted can end the line or leave its brackets.
    #[test]
    fn whatever_is_accepted_stays_inside_its_line(text in texts()) {
        if let Ok(domain) = Domain::parse(&text) {
            prop_assert!(domain.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(&Domain::parse(domain.as_str()).unwrap(), &domain);
        }
        if let Ok(path) = ReversePath::parse(&text) {
            prop_assert!(printable(path.as_str()).is_ok());
            prop_assert_eq!(path.needs_smtputf8(), !path.as_str().is_ascii());
            let bracketed = format!("<{path}>");
            prop_assert_eq!(&ReversePath::parse(&bracketed).unwrap(), &path);
            if !path.as_str().starts_with('"') {
                prop_assert!(!path.as_str().contains(['<', '>', ' ', ',']));
            }
        }
        if let Ok(parameters) = Parameters::parse(&text) {
            prop_assert!(parameters.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
        if let Ok(command) = RawCommand::parse(&text, Some(&text)) {
            prop_assert!(printable(command.line()).is_ok());
            prop_assert!(!command.verb().is_empty());
        }
    }
}

#[test]
fn parameters_of_extensions_that_are_not_offered_are_left_out() {
    let given = Parameters::parse("SIZE=10 body=8BITMIME RET=HDRS X-OWN").unwrap();
    let understood = |offered: &[&str]| {
        let offers = |extension: &str| {
            offered
                .iter()
                .any(|offered| offered.eq_ignore_ascii_case(extension))
        };
        given.understood(offers).as_str().to_owned()
    };
    assert_eq!(understood(&[]), "");
    assert_eq!(understood(&["DSN", "8BITMIME"]), "body=8BITMIME RET=HDRS");
    assert_eq!(understood(&["size", "x-own"]), "SIZE=10 X-OWN");
}
