//! What is signed of a message, and how the field looks.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod common;

use common::{ed25519, sign, tags, verify};
use dkim_sign::{
    AuthorsError, Domain, HashedMessage, LIMIT, MessageError, MessageHasher, NameError, PrivateKey,
    Selector, Signer,
};

const FROM: &str = "From: a@example.com\r\n";

fn field(message: &str) -> String {
    sign(&ed25519(), [message]).unwrap()
}

fn body_hash(body: &str) -> String {
    tags(&field(&format!("{FROM}\r\n{body}")))["bh"].clone()
}

#[test]
fn every_signed_field_is_listed_and_seven_are_once_more() {
    let names = "From To Cc Subject Date Reply-To Content-Type Message-ID MIME-Version Content-Transfer-Encoding \
        List-Unsubscribe List-Unsubscribe-Post Bcc Return-Path Received Sender Comments X-Other DKIM-Signature";
    let header: String = names
        .split(' ')
        .map(|name| format!("{name}: a@example.com\r\n"))
        .collect();
    assert_eq!(
        tags(&field(&header))["h"],
        "from:from:to:to:cc:cc:subject:subject:date:date:reply-to:reply-to:content-type:content-type:message-id:\
        mime-version:content-transfer-encoding:list-unsubscribe:list-unsubscribe-post"
    );
    assert_eq!(
        tags(&field(FROM))["h"],
        "from:from:to:cc:subject:date:reply-to:content-type"
    );
    let twice = format!(
        "{FROM}To: b@example.com\r\nTo: c@example.com\r\nMessage-ID: <1>\r\nMessage-ID: <2>\r\n"
    );
    assert_eq!(
        tags(&field(&twice))["h"],
        "from:from:to:to:to:cc:subject:date:reply-to:content-type:message-id:message-id"
    );
}

#[test]
fn an_added_field_breaks_the_signature_where_it_would_be_shown() {
    let record = ed25519().key().dns_record();
    let message = format!("{FROM}Subject: s\r\nMessage-ID: <1>\r\n\r\nb\r\n");
    let field = field(&message);
    for name in [
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Reply-To",
        "Content-Type",
    ] {
        for changed in [
            format!("{field}{name}: x\r\n{message}"),
            format!(
                "{field}{}",
                message.replacen("\r\n\r\n", &format!("\r\n{name}: x\r\n\r\n"), 1)
            ),
        ] {
            assert_eq!(
                verify(changed.as_bytes(), &record),
                Err("header"),
                "{changed}"
            );
        }
    }
    for name in ["Received", "Bcc", "X-Spam", "List-Unsubscribe"] {
        let changed = format!("{field}{name}: x\r\n{message}");
        assert_eq!(verify(changed.as_bytes(), &record), Ok(()), "{changed}");
    }
}

#[test]
fn the_tags_are_those_of_rfc_6376_without_length_and_expiry() {
    let tags = tags(&field(&format!("{FROM}\r\nHi.\r\n")));
    let mut names: Vec<&str> = tags.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "bh", "c", "d", "h", "s", "t", "v"]);
    assert_eq!(tags["v"], "1");
    assert_eq!(tags["a"], "ed25519-sha256");
    assert_eq!(tags["d"], "example.com");
    assert_eq!(tags["s"], "brisbane");
    assert_eq!(tags["t"], "1764000000");
}

#[test]
fn lines_end_before_column_78() {
    let many = format!("{FROM}{}", "To: b@example.com\r\n".repeat(500));
    for message in [FROM, &many] {
        let field = field(message);
        assert!(field.is_ascii() && field.ends_with("\r\n"));
        for (number, line) in field
            .strip_suffix("\r\n")
            .unwrap()
            .split("\r\n")
            .enumerate()
        {
            assert!(line.len() < 78, "{field}");
            assert_eq!(line.starts_with(' '), number > 0, "{field}");
        }
    }
}

#[test]
fn names_as_long_as_dns_allows_are_signed() {
    let label = "d".repeat(63);
    let domain = Domain::parse(&format!("{label}.{label}.{}", "d".repeat(50))).unwrap();
    let selector = Selector::parse(&"s".repeat(63)).unwrap();
    let key = ed25519().key().clone();
    let signer = Signer::new(domain.clone(), selector, key.clone()).unwrap();
    let message = format!("{FROM}\r\nHi.\r\n");
    let field = sign(&signer, [&message]).unwrap();
    assert_eq!(tags(&field)["d"], domain.as_str());
    assert_eq!(
        verify(format!("{field}{message}").as_bytes(), &key.dns_record()),
        Ok(())
    );
    let selector = Selector::parse(&format!("{label}.s")).unwrap();
    let error = Signer::new(domain, selector, key).unwrap_err();
    assert_eq!(error, NameError::TooLong);
}

#[test]
fn a_body_without_text_has_the_hash_of_nothing() {
    // RFC 6376 §3.4.4.
    let nothing = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    for body in [
        "",
        "\r\n",
        "\r\n\r\n\r\n",
        " ",
        " \r\n\t\r\n \t",
        "\n\n",
        "\r",
    ] {
        assert_eq!(body_hash(body), nothing, "{body:?}");
    }
    // The header may end without an empty line, and without a line end.
    for message in [FROM, "From: a@example.com", "From: a@example.com\r\n "] {
        assert_eq!(tags(&field(message))["bh"], nothing, "{message:?}");
    }
}

#[test]
fn bodies_with_one_relaxed_form_have_one_hash() {
    // RFC 6376 §3.4.5.
    let expected = body_hash(" C\r\nD E\r\n");
    for body in [
        " C \r\nD \t E\r\n\r\n\r\n",
        "\tC\nD E",
        "  C\rD\tE\r\r",
        " C\t\t\r\nD E \r\n \r\n\t",
    ] {
        assert_eq!(body_hash(body), expected, "{body:?}");
    }
    for body in [
        "C\r\nD E\r\n",
        "\r\n C\r\nD E\r\n",
        " C\r\n\r\nD E\r\n",
        " C\r\nDE\r\n",
    ] {
        assert_ne!(body_hash(body), expected, "{body:?}");
    }
    // Dots are signed as they are, not as DATA sends them.
    assert_ne!(body_hash("."), body_hash(".."));
}

#[test]
fn a_line_that_is_no_field_begins_the_body() {
    let expected = tags(&field(&format!("{FROM}\r\nno field\r\nx: y\r\n")));
    let long = format!("{}: x\r\n", "n".repeat(999));
    for line in ["no field\r\n", "no field\r"] {
        let found = tags(&field(&format!("{FROM}{line}x: y\r\n")));
        assert_eq!(found["bh"], expected["bh"], "{line:?}");
    }
    for line in [
        ": x\r\n",
        "a b: x\r\n",
        "\u{e9}: x\r\n",
        "a\u{1}: x\r\n",
        &long,
    ] {
        let message = format!("{FROM}{line}To: b@example.com\r\n");
        let field = field(&message);
        let body = format!("{line}To: b@example.com\r\n");
        assert_eq!(tags(&field)["bh"], body_hash(&body), "{line:?}");
        assert!(!tags(&field)["h"].contains("to:to"), "{line:?}");
    }
    // So is the last one, without a line end.
    assert_eq!(
        tags(&field(&format!("{FROM}no field")))["bh"],
        body_hash("no field")
    );
}

#[test]
fn a_message_has_exactly_one_from() {
    for message in [
        "",
        "\r\n",
        "To: b@example.com\r\n\r\nFrom: a@example.com\r\n",
        " From: a@example.com\r\n",
    ] {
        let error = sign(&ed25519(), [message]).unwrap_err();
        assert_eq!(error, MessageError::NoFrom, "{message:?}");
    }
    for message in [
        "From: a@example.com\r\nFrom: a@example.com\r\n",
        "From: a@example.com\r\nTo: b\r\nFROM : b@evil.test\r\n\r\n",
        "From: a@example.com\nFrom: b@evil.test\n",
        "From: a@example.com\rFrom: b@evil.test\r",
    ] {
        let error = sign(&ed25519(), [message]).unwrap_err();
        assert_eq!(error, MessageError::SeveralFrom, "{message:?}");
    }
    field("From: a@example.com\r\n From: b@example.com\r\nX-From: c\r\n");
}

#[test]
fn a_header_that_is_too_large_is_refused() {
    let fits = format!("{FROM}Subject: {}\r\n", "x".repeat(LIMIT - 200));
    field(&fits);
    let long = format!("{FROM}Subject: {}\r\n", "x".repeat(LIMIT));
    let many = FROM.to_owned() + &"Cc:\r\n".repeat(LIMIT / 64);
    let late = format!("{}{FROM}", "To: b\r\n ".repeat(LIMIT / 3));
    for message in [long, many, late] {
        let error = sign(&ed25519(), [message]).unwrap_err();
        assert_eq!(error, MessageError::HeaderTooLarge);
    }
    // Fields that are not signed don't count.
    field(&format!("X-Long: {}\r\n{FROM}", "x".repeat(2 * LIMIT)));
}

#[test]
fn authors_are_the_domains_of_the_field_from() {
    let authors = |from: &str| {
        let message = HashedMessage::read([format!("From: {from}\r\n\r\n")]).unwrap();
        message.authors()
    };
    let domains = |names: &[&str]| {
        Ok(names
            .iter()
            .map(|name| Domain::parse(name).unwrap())
            .collect())
    };
    assert_eq!(
        authors("A\r\n (x@evil.test)\r\n <a@Example.COM>"),
        domains(&["example.com"])
    );
    assert_eq!(
        authors("a@one.test,\r\n b@two.test"),
        domains(&["one.test", "two.test"])
    );
    assert_eq!(
        authors("a@b\u{fc}cher.example"),
        domains(&["xn--bcher-kva.example"])
    );
    assert_eq!(authors("a@[192.0.2.1]"), Ok(Vec::new()));
    assert_eq!(
        authors("a@example.com b@evil.test"),
        Err(AuthorsError::Syntax)
    );
}

#[test]
fn authors_are_unknown_until_the_header_ends() {
    let mut hasher = MessageHasher::new();
    hasher.feed(b"From: a@one.test\r\n");
    assert_eq!(hasher.authors(), None);
    hasher.feed(b"\r");
    assert_eq!(
        hasher.authors(),
        Some(Ok(vec![Domain::parse("one.test").unwrap()]))
    );
    hasher.feed(b"\nFrom: b@two.test\r\n");
    assert_eq!(hasher.finish().unwrap().authors().unwrap().len(), 1);
}

#[test]
fn what_is_read_on_one_thread_is_signed_on_another() {
    let mut hasher = MessageHasher::new();
    hasher.feed(FROM.as_bytes());
    let signer = ed25519();
    let expected = field(FROM);
    let thread = std::thread::spawn(move || {
        let message = hasher.finish().unwrap();
        signer.sign(&message, common::TIME).unwrap()
    });
    assert_eq!(thread.join().unwrap(), expected);
}

#[test]
fn names_are_domain_names() {
    for (text, expected) in [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        ("_spf.example.com", "_spf.example.com"),
    ] {
        assert_eq!(Domain::parse(text).unwrap().as_str(), expected);
    }
    assert_eq!(Selector::parse("2026.S1").unwrap().as_str(), "2026.s1");
    let long = ["x"; 127].join(".") + ".x";
    for (text, error) in [
        ("", NameError::Empty),
        ("a..b", NameError::EmptyLabel),
        (".a", NameError::EmptyLabel),
        ("a-.b", NameError::Hyphen),
        ("a b", NameError::Character),
        ("a;d=evil.test", NameError::Character),
        ("a\r\nb", NameError::Character),
        ("[192.0.2.1]", NameError::Character),
        (&"x".repeat(64), NameError::LongLabel),
        (&long, NameError::TooLong),
        (&"\u{fc}".repeat(600), NameError::TooLong),
    ] {
        assert_eq!(Domain::parse(text).unwrap_err(), error, "{text:?}");
        assert_eq!(Selector::parse(text).unwrap_err(), error, "{text:?}");
    }
    assert_eq!(Selector::parse("a.").unwrap_err(), NameError::EmptyLabel);
}

#[test]
fn no_key_is_shown_by_debug() {
    let signer = ed25519();
    let shown = format!("{signer:?}");
    assert!(
        shown.contains("example.com") && shown.contains("PrivateKey(********)"),
        "{shown}"
    );
    let error = PrivateKey::parse("hunter22").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter22"));
}
