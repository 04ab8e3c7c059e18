//! Handshakes that do not complete, and connections that are cut afterwards.

use super::*;

/// If a server disconnects during the handshake, the client does not retry in plain text.
#[test]
fn a_server_that_leaves_the_handshake_is_not_tried_again() {
    let mut bed = TestBed::new();
    let go = || offering().on("STARTTLS", "220 go");
    let hello = || go().read_until([0x16, 0x03]);
    // A ServerHello that stops in its middle.
    let half = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03half";
    for (what, script) in [
        ("FIN after 220", go().cut()),
        ("RST after 220", go().reset()),
        ("FIN after ClientHello", hello().cut()),
        ("RST after ClientHello", hello().reset()),
        ("FIN in ServerHello", hello().send(half).cut()),
        (
            "RST in ServerHello",
            hello().send(half).sleep(Duration::from_millis(50)).reset(),
        ),
    ] {
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let outcome = smtp.starttls(case.session).expect_err(what);
            // A reset may take the 220 with it: then it is the reply to STARTTLS that was lost.
            let lost = what == "RST after 220" && outcome.sqlstate == "U9278";
            assert!(lost || outcome.sqlstate == "U8860", "{what}: {outcome}");
            assert_over(case.session, &smtp);
        });
        assert_eq!(record.accepted(), 1, "{what}");
        assert!(
            record
                .only()
                .text()
                .starts_with(&format!("{EHLO}\r\nSTARTTLS\r\n"))
        );
        assert!(!record.only().heard(b"QUIT"), "{what}");
    }
}

/// The deadline is absolute: an occasional byte does not extend it.
#[test]
fn a_stalled_or_dripping_handshake_ends_at_the_deadline() {
    let mut bed = TestBed::new();
    let hello = || offering().on("STARTTLS", "220 go").read_until([0x16, 0x03]);
    // A record of 16 kB that never comes to its end.
    let record = [
        &b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"[..],
        // Longer than a limit may be.
        &[7; 1000],
    ]
    .concat();
    for script in [
        hello().hold(),
        hello().drip(record, Duration::from_millis(100)),
    ] {
        bed.play_to_the_limit(&script, &[], try_greet, |case, smtp, limit| {
            let failure = times_out(limit, || smtp.starttls(case.session).unwrap_err());
            assert!(failure.detail.contains("handshake"), "{failure}");
            assert_over(case.session, &smtp);
        });
    }
    let implicit = Script::new().read_until([0x16, 0x03]).hold();
    bed.play(implicit, |case| {
        times_out(1, || {
            let open = case.open().implicit_tls().timeout(1);
            open.open(case.session).unwrap_err()
        });
    });
}

#[test]
fn a_stalled_handshake_can_be_cancelled() {
    let mut bed = TestBed::new();
    let script = offering()
        .on("STARTTLS", "220 go")
        .read_until([0x16, 0x03])
        .drip(
            [&[0x16, 3, 3, 0x40, 0, 2][..], &[0; 16_000]].concat(),
            Duration::from_millis(40),
        );
    let mut observer = bed.database.superuser();
    bed.play(script, |case| {
        let smtp = try_greet(case, NEVER).unwrap();
        let failure = case.cancel(&mut observer, |session| smtp.starttls(session));
        failure.expect("57014");
        assert_over(case.session, &smtp);
    });
}

/// The reply of a plain server to a TLS client is not quoted.
#[test]
fn implicit_tls_to_a_plain_server_says_so_without_its_banner() {
    let mut bed = TestBed::new();
    let banner = "220 mail.example.test ESMTP, call +1-555-0100 at once\r\n";
    for script in [
        Script::new().send(banner).drain(),
        Script::new()
            .read_until([0x16, 0x03])
            .send("500 5.5.2 what +1-555-0100\r\n")
            .drain(),
    ] {
        let record = bed.play(script, |case| {
            let open = case.open().implicit_tls();
            let failure = open.open(case.session).unwrap_err().expect("U8860");
            assert!(failure.detail.contains("does not speak TLS"), "{failure}");
            assert!(failure.hint.contains("call starttls"), "{failure}");
            assert!(!failure.to_string().contains("555-0100"), "{failure}");
            assert_eq!(case.sessions(), 0);
        });
        assert_eq!(record.accepted(), 1);
    }
}

#[test]
fn plain_smtp_to_a_tls_port_is_bounded() {
    let mut bed = TestBed::new();
    let waits = Script::new().handshake(bed.identity().server());
    let way_out = "secure_connection_before_smtp => true";
    let open = |case: &mut Case<'_>, limit: i32| {
        let open = case.open().timeout(limit);
        let failure = times_out(limit, || open.open(case.session).unwrap_err());
        // A busy machine may not be connected before the limit is over.
        let told = failure.hint.contains(way_out);
        told.then_some(()).ok_or(failure)
    };
    let record = bed.play_to_the_limit(&waits, &[], open, |_, (), _| ());
    assert!(record.only().plain.is_empty());
    // One that loses patience sends an alert, which is no greeting.
    let alert = Script::new().send(b"\x15\x03\x03\x00\x02\x02\x50").cut();
    bed.play(alert, |case| {
        let failure = case.open().open(case.session).unwrap_err().expect("U9278");
        assert!(failure.message.contains("421"), "{failure}");
    });
}

#[test]
fn versions_before_1_2_are_refused() {
    let mut bed = TestBed::new();
    let openssl = openssl("mail");
    bed.wallet.add("old.pem", &openssl.read("ca.pem"));
    for version in ["-tls1_1", "-tls1"] {
        let options = format!("{version} -cipher ALL@SECLEVEL=0");
        let server = openssl.serve("mail", &options, "220 old\r\n");
        let wallet = bed.wallet.locator();
        bed.check_invariants(&[], |session| {
            let failure = open_tls(session, server.port(), &wallet).unwrap_err();
            let failure = failure.expect("U9019");
            assert!(failure.message.contains("protocol version"), "{failure}");
        });
    }
}

/// `utl_smtp.min_tls_version` changes the minimum.
#[test]
fn version_1_2_is_refused_where_1_3_is_asked_for() {
    let mut bed = TestBed::new();
    bed.database.set("utl_smtp.min_tls_version", "TLSv1.3");
    bed.session = bed.database.connect(&bed.role);
    let identity = bed.identity();
    let old = identity.server_with(&[&rustls::version::TLS12], ring::DEFAULT_CIPHER_SUITES);
    bed.play(offering().starttls(old), |case| {
        let smtp = case.greet();
        let failure = starttls_fails(case, &smtp, "U9019");
        assert!(
            failure.hint.contains("utl_smtp.min_tls_version"),
            "{failure}"
        );
        assert_over(case.session, &smtp);
    });
    bed.play(offering().starttls(identity.server()), |case| {
        let smtp = case.greet();
        smtp.starttls(case.session).unwrap();
    });
}

/// TLS 1.2 alone, TLS 1.3 alone, and a HelloRetryRequest.
#[test]
fn both_versions_and_a_second_hello_connect() {
    let mut bed = TestBed::new();
    let identity = bed.identity();
    let suites = ring::DEFAULT_CIPHER_SUITES;
    let tls12 = identity.server_with(&[&rustls::version::TLS12], suites);
    let tls13 = identity.server_with(&[&rustls::version::TLS13], suites);
    let other_group = identity.server_with_group(kx_group::SECP384R1);
    for (config, version, retried) in [
        (tls12, "TLSv1.2", false),
        (tls13, "TLSv1.3", false),
        (other_group, "TLSv1.3", true),
    ] {
        let script = offering()
            .starttls(config)
            .on("EHLO", "250 peer")
            .transaction();
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            smtp.starttls(case.session).unwrap();
            let shown = "SELECT tls_version FROM utl_smtp.connections()";
            assert_eq!(case.session.value::<String>(shown), version);
            case.ehlo(&smtp);
            smtp.mail(case.session, "a@example.test").unwrap();
            smtp.rcpt(case.session, "b@example.test").unwrap();
            smtp.data(case.session, "encrypted\r\n").unwrap();
            smtp.quit(case.session).unwrap();
        });
        assert_eq!(record.only().tls_session().retried, retried);
        assert!(!record.only().plain.ends_with(b"encrypted\r\n"));
        assert_eq!(record.only().message(), b"encrypted\r\n");
    }
}

/// An incomplete reply does not count; a complete one does.
#[test]
fn truncation_is_noticed_and_complete_replies_stand() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    let ehlo = || offering().starttls(tls.clone()).expect_start("EHLO");
    type Close = fn(Script) -> Script;
    let closes: [(&str, Close); 2] = [("close_notify", Script::close_notify), ("cut", Script::cut)];
    for (how, close) in closes {
        for part in ["", "2", "250-a\r\n", "250-a\r\n250 b", "250 b\r"] {
            bed.play(close(ehlo().send(part)), |case| {
                let smtp = case.greet();
                smtp.starttls(case.session).unwrap();
                let cut = smtp.ehlo(case.session, CLIENT);
                let failure = cut.expect_err(how).expect("U9278");
                assert!(failure.message.contains("421"), "{how} {part:?}: {failure}");
                assert_over(case.session, &smtp);
            });
        }
        bed.play(close(ehlo().send("250-a\r\n250 b\r\n")), |case| {
            let smtp = case.greet();
            smtp.starttls(case.session).unwrap();
            let lines = smtp.ehlo(case.session, CLIENT).unwrap();
            assert_eq!(lines[1].text, "b", "{how}");
            assert_over(case.session, &smtp);
        });
    }
}

#[test]
fn quit_without_an_answer_succeeds_and_frees_the_descriptor() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    let quit = || offering().starttls(tls.clone()).expect("QUIT");
    for script in [
        quit().cut(),
        quit().close_notify(),
        quit().reset(),
        quit().send("221 by").cut(),
    ] {
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            smtp.starttls(case.session).unwrap();
            let code = smtp.quit(case.session).unwrap().code;
            assert_eq!(code, 421);
            assert_eq!(case.sessions(), 0);
            assert_over(case.session, &smtp);
        });
        assert_eq!(record.only().tls, b"QUIT\r\n");
    }
}

/// Renegotiation is declined, and the server's reaction is not taken for another command's reply.
#[test]
fn renegotiation_is_declined() {
    let mut bed = TestBed::new();
    let openssl = openssl("mail");
    bed.wallet.add("other.pem", &openssl.read("ca.pem"));
    let mut server = openssl.serve("mail", "-tls1_2 -nbio", "220 peer\r\n");
    let wallet = bed.wallet.locator();
    bed.check_invariants(&[], |session| {
        let smtp = open_tls(session, server.port(), &wallet).unwrap();
        server.say("r\n");
        server.wait_for("SSL_do_handshake");
        let failure = smtp.noop(session).unwrap_err();
        assert!(
            ["U9278", "U8860"].contains(&failure.sqlstate.as_str()),
            "{failure}"
        );
        assert_over(session, &smtp);
    });
}

/// A stream of empty encrypted records, or of an endless reply, is cut off like any other.
#[test]
fn a_flood_inside_tls_ends_at_the_caps() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    for flood in ["250-x\r\n".repeat(500_000), "x".repeat(4_000_000)] {
        let script = offering()
            .starttls(tls.clone())
            .expect_start("EHLO")
            .send(flood);
        bed.play(script, |case| {
            let smtp = case.greet();
            smtp.starttls(case.session).unwrap();
            let failure = smtp.ehlo(case.session, CLIENT).unwrap_err().expect("U9278");
            assert!(failure.detail.contains("alformed reply"), "{failure}");
            assert_over(case.session, &smtp);
        });
    }
}
