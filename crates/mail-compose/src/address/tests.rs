//! Lists of addresses: names, separators, and what is refused.

use smtp_core::host::NameError;

use super::*;

fn read(text: &str) -> Vec<(String, String)> {
    let list = AddressList::parse(Field::To, text).unwrap();
    list.iter()
        .map(|address| {
            let name = address.name().unwrap_or("-").to_owned();
            (name, address.mailbox().to_string())
        })
        .collect()
}

fn refused(text: &str) -> Problem {
    let error = AddressList::parse(Field::Cc, text).unwrap_err();
    assert_eq!(error.field, Field::Cc);
    error.problem
}

fn address(number: usize, error: impl Into<TextError>) -> Problem {
    let error = error.into();
    Problem::Address { number, error }
}

fn unexpected(character: char, index: usize) -> TextError {
    TextError::Unexpected { character, index }
}

#[test]
fn a_list_is_split_at_commas_and_semicolons_outside_of_quotes_and_brackets() {
    let all = read(
        r#"a@x.com, "B, C; D" <b@x.com>; <c@x.com>,Émile Zola <d@bücher.example> ; "e, f"@x.com"#,
    );
    let expected = [
        ("-", "a@x.com"),
        ("B, C; D", "b@x.com"),
        ("-", "c@x.com"),
        ("Émile Zola", "d@xn--bcher-kva.example"),
        ("-", r#""e, f"@x.com"#),
    ];
    let expected = expected.map(|(name, mailbox)| (name.to_owned(), mailbox.to_owned()));
    assert_eq!(all, expected);
}

#[test]
fn display_names_lose_their_quotation_marks_and_nothing_else() {
    for (text, name) in [
        (r#""say \"hi\" \\ now" <a@x.com>"#, r#"say "hi" \ now"#),
        (r#"Dr. "B, C" Jr <a@x.com>"#, "Dr. B, C Jr"),
        (r"back\slash <a@x.com>", r"back\slash"),
        ("O'Neil (sales) a@b <a@x.com>", "O'Neil (sales) a@b"),
        ("\"<evil@x.com>\" <a@x.com>", "<evil@x.com>"),
        ("  漢字  <a@x.com>  ", "漢字"),
        ("\"\" <a@x.com>", "-"),
        ("<\"a>b, c\"@x.com>", "-"),
    ] {
        assert_eq!(read(text)[0].0, name, "{text}");
        assert_eq!(read(text).len(), 1, "{text}");
    }
}

#[test]
fn empty_elements_are_no_addresses() {
    assert_eq!(read(""), []);
    assert_eq!(read(" , ; "), []);
    assert_eq!(read(";a@x.com,, b@x.com;").len(), 2);
}

#[test]
fn an_address_cannot_become_two() {
    use MailboxError::*;
    assert_eq!(refused("bob@x.test>, <evil@x.test"), address(1, NotOpened));
    assert_eq!(refused("a@x.com, <b@x.com"), address(2, NotClosed));
    assert_eq!(refused("<a@x.com, b@x.com>"), address(1, List));
    assert_eq!(refused("<a@x.com> b@x.com"), address(1, TextBehind));
    assert_eq!(refused("<a@x.com> <b@x.com>"), address(1, TextBehind));
    assert_eq!(refused("a@x.com, <<b@x.com>"), address(2, Nested));
    assert_eq!(refused("\"B <a@x.com>"), address(1, Unquoted));
    assert_eq!(refused("B <>"), address(1, Missing));
    assert_eq!(refused("\"B, C\""), Problem::NoDomain { number: 1 });
}

#[test]
fn what_is_not_an_address_is_named_by_its_number() {
    assert_eq!(refused("a@x.com, scott"), Problem::NoDomain { number: 2 });
    assert_eq!(refused("\"a@b\""), Problem::NoDomain { number: 1 });
    assert_eq!(
        refused("a@x.com; b b@x.com"),
        address(2, unexpected(' ', 1))
    );
    assert_eq!(refused("a@x.com (comment)"), address(1, unexpected(' ', 7)));
    assert!(matches!(
        refused("a@x..com"),
        Problem::Address {
            number: 1,
            error: TextError::Name(NameError::EmptyLabel)
        }
    ));
    assert_eq!(
        refused("\"a\u{2028}b\"@x.com"),
        address(1, unexpected('\u{2028}', 2))
    );
    let long = format!("{}@x.com", "a".repeat(895));
    assert_eq!(
        refused(&long),
        address(
            1,
            TextError::TooLong {
                length: 901,
                longest: 900
            }
        )
    );
    assert_eq!(read(&long[1..]).len(), 1);
}

#[test]
fn control_characters_are_refused_wherever_they_stand() {
    for (text, index, character) in [
        ("a@x.com,\r\nb@x.com", 8, '\r'),
        ("B\r\nBcc: e@x.com <a@x.com>", 1, '\r'),
        ("\"B\nC\" <a@x.com>", 2, '\n'),
        ("<a\0@x.com>", 2, '\0'),
        ("a@x.com\t", 7, '\t'),
        ("\u{85}", 0, '\u{85}'),
    ] {
        assert_eq!(
            refused(text),
            Problem::Text(unexpected(character, index)),
            "{text:?}"
        );
    }
}

#[test]
fn a_sender_is_one_address() {
    let parse = |text| Address::parse(Field::Sender, text).map_err(|error| error.problem);
    assert_eq!(parse("S <s@x.com>;").unwrap().name(), Some("S"));
    assert_eq!(parse("").unwrap_err(), Problem::Missing);
    assert_eq!(parse("a@x.com, b@x.com").unwrap_err(), Problem::NotOne(2));
}
