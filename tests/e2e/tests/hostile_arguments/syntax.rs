//! Arguments with more than one address, command or line are refused.

use super::*;

#[test]
fn an_address_is_one_address_and_parameters_have_their_own_argument() {
    let mut bed = bed();
    let lines = lines_of(&mut bed, |case, smtp| {
        for payload in [
            "a@b> NOTIFY=NEVER",
            "<a@b> NOTIFY=NEVER",
            "a@b NOTIFY=NEVER",
            "a@b>x",
            "<a@b>x",
            "<<a@b>>",
            "<a@b>>",
            "<a@b",
            "a@b>",
            "a b@c",
            " a@b",
            "a@b ",
            "\"a@b",
            "\"a\\\"@b",
            "a\"@b",
            "a\"b\"@c",
            "\"a\"b@c",
            "a@b,c@d",
            "<a@b>,<c@d>",
            "a@b;c@d",
            "Alice <a@b>",
            "@relay.test:a@b",
            "@b",
            "a@",
            "a@b@c",
            "a@b<c",
            "a@-b",
            "a@b..c",
            "a@[127.1]",
            "a@[127.0.0.1",
            "a@[127.0.0.1]> X=Y",
            "a@[IPv6:::1] SIZE=1",
        ] {
            for function in ["mail", "rcpt"] {
                let failure = smtp
                    .reply(case.session, function, &[&payload])
                    .expect_err(&format!("{function}: {payload:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{function} {payload:?}: {failure}"
                );
            }
        }
        smtp.rcpt(case.session, "").unwrap_err().expect("22023");
        smtp.rcpt(case.session, "<>").unwrap_err().expect("22023");
        for address in ["a@b.test", "<a@b.test>"] {
            smtp.mail(case.session, address).unwrap();
            let parameters: &[Argument<'_>] = &[&address, &"NOTIFY=NEVER"];
            smtp.reply(case.session, "rcpt", parameters).unwrap();
        }
        for null_sender in ["", "<>"] {
            smtp.mail(case.session, null_sender).unwrap();
        }
    });
    let pair = ["MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test> NOTIFY=NEVER"];
    assert_eq!(lines, [&pair[..], &pair, &["MAIL FROM:<>"; 2]].concat());
}

#[test]
fn a_quoted_local_part_is_sent_as_it_is() {
    let mut bed = bed();
    let quoted = [
        r#""a\"b c"@d.test"#,
        r#""a>b"@d.test"#,
        r#""a@b"@d.test"#,
        r#""a\\"@d.test"#,
    ];
    let lines = lines_of(&mut bed, |case, smtp| {
        for address in quoted {
            smtp.rcpt(case.session, address).unwrap();
            smtp.rcpt(case.session, &format!("<{address}>")).unwrap();
        }
        for broken in ["\"a\rb\"@d.test", "\"a\\\rb\"@d.test", "\"a\nb\"@d.test"] {
            smtp.rcpt(case.session, broken).unwrap_err().expect("22023");
        }
    });
    let expected: Vec<String> = quoted
        .iter()
        .flat_map(|address| {
            [
                format!("RCPT TO:<{address}>"),
                format!("RCPT TO:<{address}>"),
            ]
        })
        .collect();
    assert_eq!(lines, expected);
}

/// RFC 6531 §3.4: SMTPUTF8 on MAIL covers all addresses of the envelope.
#[test]
fn a_non_ascii_recipient_needs_smtputf8_on_mail() {
    let mut bed = bed();
    let lines = lines_of(&mut bed, |case, smtp| {
        smtp.mail(case.session, "a@example.test").unwrap();
        let failure = smtp.rcpt(case.session, "jörg@example.test").unwrap_err();
        let hint = "mail(c, sender, 'SMTPUTF8')";
        assert!(failure.hint.contains(hint), "{failure}");
        failure.expect("22023");
        smtp.rset(case.session).unwrap();
        smtp.reply(case.session, "mail", &[&"a@example.test", &"SMTPUTF8"])
            .unwrap();
        smtp.rcpt(case.session, "jörg@example.test").unwrap();
        smtp.rset(case.session).unwrap();
        smtp.command(case.session, "MAIL", Some("FROM:<> SMTPUTF8"))
            .unwrap();
        smtp.rcpt(case.session, "jörg@example.test").unwrap();
    });
    let expected = [
        "MAIL FROM:<a@example.test>",
        "RSET",
        "MAIL FROM:<a@example.test> SMTPUTF8",
        "RCPT TO:<jörg@example.test>",
        "RSET",
        "MAIL FROM:<> SMTPUTF8",
        "RCPT TO:<jörg@example.test>",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn command_leaves_what_changes_the_session_to_its_routine() {
    let mut bed = bed();
    let lines = lines_of(&mut bed, |case, smtp| {
        for (command, argument, routine) in [
            ("DATA", None, "utl_smtp.open_data"),
            ("data", None, "utl_smtp.open_data"),
            ("  Data", Some("x"), "utl_smtp.open_data"),
            ("DATA ", None, "utl_smtp.open_data"),
            ("STARTTLS", None, "utl_smtp.starttls"),
            ("sTaRtTlS ", Some(" "), "utl_smtp.starttls"),
            ("BDAT", Some("5 LAST"), "utl_smtp.data"),
            ("BDAT 5 LAST", None, "utl_smtp.data"),
            ("QUIT", None, "utl_smtp.quit"),
            (" quit", None, "utl_smtp.quit"),
        ] {
            let failure = smtp.command(case.session, command, argument).unwrap_err();
            assert!(failure.hint.contains(routine), "{command:?}: {failure}");
            failure.expect("U9277");
            let failure = smtp
                .replies(case.session, "command_replies", &[&command, &argument])
                .unwrap_err();
            assert!(failure.hint.contains(routine), "{command:?}: {failure}");
            failure.expect("U9277");
        }
        for empty in ["", " "] {
            smtp.command(case.session, empty, Some("DATA"))
                .unwrap_err()
                .expect("22023");
        }
        smtp.command(case.session, "NOOP", Some("DATA")).unwrap();
        let phase: String = case
            .session
            .value("SELECT phase FROM utl_smtp.connections()");
        assert_eq!(phase, "ready");
    });
    assert_eq!(lines, ["NOOP DATA"]);
}

/// The line is sent completely or not at all.
#[test]
fn a_command_line_is_at_most_998_octets_and_never_cut() {
    let mut bed = bed();
    // Each makes a line of this many octets.
    let makers: [(&str, usize, Call); 6] = [
        ("NOOP ", 0, |s, c, x| discard(c.command(s, "NOOP", Some(x)))),
        ("", 0, |s, c, x| discard(c.command(s, x, None))),
        ("VRFY ", 0, |s, c, x| discard(c.reply(s, "vrfy", &[&x]))),
        ("HELP ", 0, |s, c, x| discard(c.replies(s, "help", &[&x]))),
        ("RCPT TO:<", 1, |s, c, x| discard(c.rcpt(s, x))),
        ("MAIL FROM:<> ", 0, |s, c, x| {
            discard(c.reply(s, "mail", &[&"<>", &x]))
        }),
    ];
    let mut expected = Vec::new();
    let lines = lines_of(&mut bed, |case, smtp| {
        for (before, after, call) in makers {
            for octets in [512, 998, 999, 100_000] {
                let filler = "x".repeat(octets - before.len() - after);
                let outcome = call(case.session, smtp, &filler);
                if octets <= 998 {
                    outcome.unwrap_or_else(|failure| panic!("{before}{octets}: {failure}"));
                    expected.push(format!("{before}{filler}{}", &">"[..after]));
                } else {
                    let failure = outcome.expect_err(&format!("{before}{octets} passed"));
                    assert!(!failure.to_string().contains("xxx"), "{failure}");
                    failure.expect("22023");
                }
            }
        }
        // AUTH has a limit of its own, of 12288 octets with the CRLF.
        let long = "=".repeat(12_286 - "AUTH X-TOKEN ".len());
        let auth = format!("X-TOKEN {long}");
        smtp.command(case.session, "AUTH", Some(&auth))
            .unwrap_err()
            .expect("U9279");
        expected.push(format!("AUTH {auth}"));
        let longer = format!("{auth}=");
        smtp.command(case.session, "AUTH", Some(&longer))
            .unwrap_err()
            .expect("22023");
    });
    assert_eq!(lines, expected);
}

/// HINT says what is expected, DETAIL what is wrong with the value.
#[test]
fn a_refused_argument_is_told_what_it_should_be() {
    let mut bed = bed();
    let none = &None::<&str> as Argument<'_>;
    let long = "x".repeat(1000);
    let cases: &[(&str, &[Argument<'_>], &str)] = &[
        ("helo", &[&"a b"], "NULL looks the name up"),
        ("mail", &[&"Bob <b@c.test>"], "without a display name"),
        ("mail", &[none], "null sender"),
        ("mail", &[&"b@c.test", &"SIZE=ö"], "keywords in ASCII"),
        ("rcpt", &[&"a@b.test,c@d.test"], "a call of its own"),
        ("rcpt", &[none], ""),
        (
            "command",
            &[&"AUTH", &"PLAIN Zm9v\n"],
            "encode(..., 'base64')",
        ),
        ("command", &[&long], ""),
        ("auth", &[&"user", &"secret\n", &"PLAIN"], "rtrim"),
        ("auth", &[&"user", none, &"PLAIN"], "EXTERNAL"),
        ("auth", &[none, &"secret", &"EXTERNAL"], "certificate"),
        ("auth", &[&"user", &"secret", none], "Leave it out"),
        ("auth", &[&"user", &"secret", &" "], "all_schemes()"),
        ("data", &[none], "coalesce or concat"),
        ("starttls", &[&"*"], "*.example.com"),
    ];
    let lines = lines_of(&mut bed, |case, smtp| {
        for (function, arguments, hint) in cases {
            let outcome = smtp.reply(case.session, function, arguments);
            let failure = outcome.unwrap_err().expect("22023");
            assert_eq!(failure.hint.is_empty(), hint.is_empty(), "{failure}");
            assert!(failure.hint.contains(hint), "{failure}");
        }
        let nul = smtp.write_raw_data(case.session, b"a\0b").unwrap_err();
        assert!(nul.expect("22023").hint.contains("base64"));
    });
    assert!(lines.is_empty(), "{lines:?}");
}
