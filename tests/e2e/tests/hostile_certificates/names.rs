//! The names in a certificate.

use super::*;

/// Which name is compared.
#[test]
fn a_server_is_called_by_its_alternative_names_only() {
    let mut bed = TestBed::new();
    let issue = |names: &[&str]| bed.authority.issue(names);
    let with_cn = |names: &[&str]| bed.authority.issue_with(names, common_name(NAME));
    let wildcard = || issue(&["*.example.test"]);
    let mut rows = vec![
        row("one of several names", issue(&["a.example.test", NAME])),
        row("CN only", with_cn(&[])).refused(&[
            "no subject alternative name",
            NAME,
            "not used",
            "The server needs a certificate that names it",
        ]),
        row("CN matches, SAN doesn't", with_cn(&["other.example.test"])).misnamed(),
        row("wildcard, one label", wildcard()),
        row("wildcard, two labels", wildcard())
            .secure_host("a.b.example.test")
            .misnamed(),
        row("wildcard, no label", wildcard())
            .secure_host("example.test")
            .misnamed(),
        row("wildcard inside a label", issue(&["m*.example.test"])).misnamed(),
        row("wildcard of everything", issue(&["*"])).misnamed(),
        row("wildcard of a top level", issue(&["*.test"])).misnamed(),
        row(
            "for the host, not secure_host",
            issue(&["127.0.0.1", "localhost"]),
        )
        .misnamed(),
        row("for secure_host, not the host", issue(&[NAME])),
        row("for secure_host alone", issue(&[NAME]))
            .host("127.0.0.1")
            .misnamed(),
        row("the host itself", issue(&["localhost"])).host("localhost"),
        row(
            "a name that begins so",
            issue(&["mail.example.test.evil.test"]),
        )
        .misnamed(),
        row("a name that ends so", issue(&["evilmail.example.test"])).misnamed(),
    ];
    let mut wrong = row(
        "wrong name",
        issue(&["other.example.test", "third.example.test"]),
    )
    .misnamed();
    wrong.refusal = Some((
        "U4263",
        vec![NAME, "other.example.test", "third.example.test"],
    ));
    rows.push(wrong);
    check(&mut bed, rows);
}

/// An address is compared with addresses only, in any spelling.
#[test]
fn an_address_is_compared_with_addresses_only() {
    let mut bed = TestBed::new();
    let text_as_name = |text: &'static str| {
        bed.authority.issue_with(&[], |params| {
            let name = Ia5String::try_from(text).unwrap();
            params.subject_alt_names = vec![SanType::DnsName(name)];
        })
    };
    let v4 = || bed.authority.issue(&["127.0.0.1"]);
    let v6 = || bed.authority.issue(&["2001:db8::1"]);
    let rows = vec![
        row("iPAddress", v4()).host("127.0.0.1"),
        row("another iPAddress", bed.authority.issue(&["127.0.0.2"]))
            .host("127.0.0.1")
            .misnamed(),
        row("address as dNSName", text_as_name("127.0.0.1"))
            .host("127.0.0.1")
            .misnamed(),
        row(
            "address as CN",
            bed.authority.issue_with(&[], common_name("127.0.0.1")),
        )
        .host("127.0.0.1")
        .refused(&["no subject alternative name"]),
        row("wildcard for an address", text_as_name("*.0.0.1"))
            .host("127.0.0.1")
            .misnamed(),
        row("IPv4 in IPv6", v4()).host("::ffff:127.0.0.1"),
        row("IPv6", v6()).secure_host("2001:db8::1"),
        row("IPv6 spelt out", v6()).secure_host("2001:0DB8:0:0:0:0:0:1"),
        row("IPv6 mixed", v6()).secure_host("2001:db8::0.0.0.1"),
        row("IPv6 in brackets", v6()).secure_host("[2001:db8::1]"),
        row("another IPv6", v6())
            .secure_host("2001:db8::2")
            .misnamed(),
        row("IPv6 as dNSName", text_as_name("2001:db8::1"))
            .secure_host("2001:db8::1")
            .misnamed(),
    ];
    check(&mut bed, rows);

    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: not connected by it");
        return;
    }
    let loopback = || bed.authority.issue(&["::1"]);
    let rows = vec![
        row("connected by IPv6", loopback()).host("::1"),
        row("by another spelling", loopback()).host("0:0:0:0:0:0:0:1"),
        row("by a mixed spelling", loopback()).host("::0.0.0.1"),
        row("by IPv6, for IPv4", bed.authority.issue(&["127.0.0.1"]))
            .host("::1")
            .misnamed(),
    ];
    check(&mut bed, rows);
}

/// Oracle's pattern requires one label under the suffix; it never skips the check.
#[test]
fn a_pattern_is_a_check_like_any_other() {
    let mut bed = TestBed::new();
    let pattern = |names: &[&str]| {
        let what = format!("{names:?} for a pattern");
        row(what, bed.authority.issue(names)).secure_host("*.example.test")
    };
    let rows = vec![
        pattern(&[NAME]),
        pattern(&["*.example.test"]),
        pattern(&["other.test", "x.example.test"]),
        pattern(&["example.test"]).misnamed(),
        pattern(&["a.b.example.test"]).misnamed(),
        pattern(&["*.b.example.test"]).misnamed(),
        pattern(&["mail.example.org"]).misnamed(),
        pattern(&["mail.evilexample.test"]).misnamed(),
        row(
            "a stranger, by pattern",
            Authority::new("Unknown CA").issue(&[NAME]),
        )
        .secure_host("*.example.test")
        .refused(&[]),
        row(
            "expired, by pattern",
            bed.authority.issue_with(&[NAME], expired),
        )
        .secure_host("*.example.test")
        .refused(&["expired"]),
    ];
    check(&mut bed, rows);
}

/// Different spellings of one name.
#[test]
fn spellings_of_one_name_are_one_name() {
    let mut bed = TestBed::new();
    let bücher = || bed.authority.issue(&["xn--bcher-kva.example"]);
    let rows = vec![
        row("upper case", bed.identity()).secure_host("MAIL.Example.TEST"),
        row("trailing dot", bed.identity()).secure_host("mail.example.test."),
        row(
            "upper case in the certificate",
            bed.authority.issue(&["MAIL.EXAMPLE.TEST"]),
        ),
        row("'' is NULL", bed.authority.issue(&["localhost"]))
            .host("localhost")
            .secure_host(""),
        row("'' is NULL and checked", bed.identity())
            .host("localhost")
            .secure_host("")
            .misnamed(),
        row("U-label", bücher()).secure_host("bücher.example"),
        row("U-label in upper case", bücher()).secure_host("BÜCHER.example"),
        row("full-width dot", bücher()).secure_host("bücher。example"),
    ];
    check(&mut bed, rows);
}

/// An invalid name is refused before a packet is sent.
#[test]
fn a_secure_host_that_is_no_name_is_refused_before_the_network() {
    let mut bed = TestBed::new();
    let record = bed.play(Script::greeting().on("NOOP", "250 in step"), |case| {
        let smtp = case.connect();
        for name in [
            "mail.example.test\r",
            "mail.example.test\r\nQUIT",
            "mail.example.test\n",
            " mail.example.test",
            "mail..example.test",
            "mail.example.test..",
            ".",
            "*",
            "*.",
            "*.test",
            "mail.*.test",
            "*.*.example.test",
            "m*.example.test",
            "127.1",
            "0x7f.0.0.1",
            "mail.example.test:25",
            "\u{200b}mail.example.test\u{202e}",
        ] {
            let failure = smtp.reply(case.session, "starttls", &[&name]).unwrap_err();
            assert_eq!(failure.sqlstate, "22023", "{name:?}: {failure}");
            assert!(failure.message.contains("secure_host"), "{failure}");
            let open = case.open().secure_host(name).implicit_tls();
            let failure = open.open(case.session).unwrap_err();
            assert_eq!(failure.sqlstate, "22023", "{name:?}: {failure}");
        }
        // NUL never gets as far as the extension: PostgreSQL's text has none.
        let nul = smtp
            .reply(case.session, "starttls", &[&"mail\0.test"])
            .unwrap_err();
        assert_eq!(nul.sqlstate, "22021", "{nul}");
        assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), ["NOOP"]);
}

/// An untrusted certificate may contain anything; error messages escape it.
#[test]
fn names_in_a_strangers_certificate_are_escaped_and_cut() {
    let mut bed = TestBed::new();
    let stranger = Authority::new("evil\r\nHINT: \u{1b}[2J");
    let rows =
        vec![row("control characters", stranger.issue(&[NAME])).refused(&["evil??HINT: ?[2J"])];
    check(&mut bed, rows);
    let names: Vec<String> = (0..500)
        .map(|number| format!("n{number}.example.test"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = row("500 names", bed.authority.issue(&names));
    let failure = attempt(&mut bed, &many).unwrap_err().expect("U4263");
    assert!(failure.detail.len() < 2000, "{failure}");
    assert_usable(&mut bed.session);
}

#[track_caller]
fn assert_usable(session: &mut Session) {
    assert_eq!(session.value::<i32>("SELECT 1"), 1);
}
