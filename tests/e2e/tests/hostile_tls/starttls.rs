//! The server's response to STARTTLS, and the session state afterwards.

use super::*;

/// The server decides, and nothing is sent that the caller did not request.
#[test]
fn a_server_without_starttls_refuses_and_the_session_stays_plain() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on(
            "EHLO",
            "250-peer\r\n250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256",
        )
        .on("STARTTLS", "502 5.5.1 what is that")
        .on("NOOP", "250 in step");
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let failure = starttls_fails(case, &smtp, "U9279");
        assert!(failure.message.contains("502 5.5.1"), "{failure}");
        assert_plain_and_careful(case, &smtp);
    });
    assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"]);
}

/// A refusal is an ordinary error; the connection stays plain and is listed as such.
#[test]
fn a_refused_starttls_leaves_a_plain_session_that_requires_tls_for_passwords() {
    let mut bed = TestBed::new();
    for (reply, sqlstate) in [
        ("502 5.5.1 not now", "U9279"),
        ("454 4.7.0 TLS not available", "U9278"),
        ("500 5.5.2 syntax", "U9279"),
        ("501 5.5.4 no parameters", "U9279"),
        ("530 5.7.0 not to you", "U9279"),
    ] {
        let script = Script::greeting()
            .on(
                "EHLO",
                "250-peer\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256",
            )
            .on("STARTTLS", reply)
            .on("NOOP", "250 in step");
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let failure = starttls_fails(case, &smtp, sqlstate);
            assert!(failure.message.ends_with(reply), "{failure}");
            assert_plain_and_careful(case, &smtp);
        });
        assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"], "{reply}");
    }
}

/// A starttls that fails before its command is sent still counts as requested.
#[test]
fn a_starttls_that_fails_unsent_leaves_a_session_that_requires_tls_for_passwords() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on(
            "EHLO",
            "250-peer\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256",
        )
        .on("NOOP", "250 in step");
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let failure = smtp.reply(case.session, "starttls", &[&"*.test"]);
        failure.unwrap_err().expect("22023");
        assert_plain_and_careful(case, &smtp);
    });
    assert_eq!(record.only().lines(), [EHLO, "NOOP"]);
}

/// Only 220 starts a handshake; a positive reply that isn't 220 ends the session, as 421 does.
#[test]
fn only_220_starts_the_handshake() {
    let mut bed = TestBed::new();
    for reply in [
        "221 later",
        "250 ok",
        "354 send the message",
        "334 VXNlcm5hbWU6",
        "421 4.3.2 closing",
        "229 near",
    ] {
        let script = offering().on("STARTTLS", reply);
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let failure = starttls_fails(case, &smtp, "U9278");
            assert!(failure.message.contains("421"), "{failure}");
            if !reply.starts_with("421") {
                assert!(failure.detail.contains("nexpected reply"), "{failure}");
            }
            let write = smtp.write_data(case.session, "no data phase either\r\n");
            write.unwrap_err().expect("U9278");
            assert_over(case.session, &smtp);
        });
        assert_eq!(
            record.only().plain,
            format!("{EHLO}\r\nSTARTTLS\r\n").as_bytes()
        );
    }
}

/// RFC 3207 §4, RFC 5321 §4.2: the reply's text, number of lines and packets do not matter.
#[test]
fn any_220_starts_the_handshake() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    for pieces in [
        &["220\r\n"][..],
        &["220-one\r\n", "220 two\r\n"],
        &["2", "20 g", "o\r", "\n"],
        &["220 bare line feed\n"],
    ] {
        let script = offering()
            .expect("STARTTLS")
            .pieces(pieces)
            .handshake(tls.clone())
            .on("EHLO", "250 encrypted")
            .quit();
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            assert_eq!(smtp.starttls(case.session).unwrap().code, 220);
            assert!(case.is_encrypted());
            case.ehlo(&smtp);
            smtp.quit(case.session).unwrap();
        });
        assert_eq!(record.only().tls, format!("{EHLO}\r\nQUIT\r\n").as_bytes());
    }
}

/// A server that continues in plain text after its 220 does not get plain commands either.
#[test]
fn plaintext_instead_of_a_handshake_ends_the_session() {
    let mut bed = TestBed::new();
    let script = offering()
        .on("STARTTLS", "220 go")
        .read_until([0x16, 0x03])
        .send("250-still in clear\r\n250 AUTH PLAIN\r\n")
        .drain();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let failure = starttls_fails(case, &smtp, "U8860");
        assert!(!failure.to_string().contains("still in clear"), "{failure}");
        assert_over(case.session, &smtp);
    });
    assert_eq!(record.accepted(), 1);
    assert!(!record.only().heard(b"AUTH"));
}

/// STARTTLS injection: anything after the 220 in the same segment ends the session before the
/// handshake, whether it looks like replies, like TLS, or like neither.
#[test]
fn anything_behind_the_220_ends_the_session_before_the_handshake() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    for injected in [
        &b"250-x\r\n250 AUTH LOGIN\r\n"[..],
        b"250 ok\r\n",
        b"\r\n",
        b"2",
        b"\0",
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"220 go\r\n",
        &b"250-x\r\n".repeat(2000),
    ] {
        let packet = [b"220 go\r\n", injected].concat();
        let script = offering()
            .expect("STARTTLS")
            .send(packet)
            .handshake(tls.clone())
            .line()
            .send("250 EHLO was answered\r\n");
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let failure = starttls_fails(case, &smtp, "U8860");
            assert!(
                failure.detail.contains("before the TLS handshake"),
                "{failure}"
            );
            assert!(!failure.to_string().contains("AUTH"), "{failure}");
            assert_over(case.session, &smtp);
            assert_eq!(case.sessions(), 0);
        });
        assert_eq!(
            record.only().lines(),
            [EHLO, "STARTTLS"],
            "{}",
            injected.escape_ascii()
        );
        assert!(matches!(record.only().handshake, Some(Err(_))));
    }
}

/// The same in a later segment, before the ServerHello.
#[test]
fn plaintext_in_a_later_segment_breaks_the_handshake() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    for injected in ["250-x\r\n250 AUTH LOGIN\r\n", "\r\n"] {
        let script = offering()
            .on("STARTTLS", "220 go")
            .sleep(Duration::from_millis(50))
            .send(injected)
            .handshake(tls.clone())
            .line()
            .send("250 EHLO was answered\r\n");
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            starttls_fails(case, &smtp, "U8860");
            assert_over(case.session, &smtp);
        });
        assert!(record.only().tls.is_empty());
    }
}

#[test]
fn an_ehlo_that_is_never_answered_under_tls_times_out() {
    let mut bed = TestBed::new();
    let script = offering().starttls(bed.identity().server()).line().hold();
    let encrypted = |case: &mut Case<'_>, limit: i32| {
        let smtp = try_greet(case, limit)?;
        smtp.starttls(case.session)?;
        Ok(smtp)
    };
    bed.play_to_the_limit(&script, &[], encrypted, |case, smtp, limit| {
        let failure = times_out(limit, || smtp.ehlo(case.session, CLIENT).unwrap_err());
        assert!(failure.context.contains("in reply to EHLO"), "{failure}");
        assert_over(case.session, &smtp);
    });
}

/// No capability from before TLS is kept: neither SIZE nor SMTPUTF8 nor AUTH.
#[test]
fn starttls_forgets_all_capabilities() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on("EHLO", OFFERS_ALL)
        .starttls(bed.identity().server())
        .on("EHLO", "250 peer")
        .quit();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let offered = "SELECT coalesce(array_to_string(capabilities, ','), 'nothing') FROM utl_smtp.connections()";
        assert!(case.session.value::<String>(offered).contains("SMTPUTF8"));
        smtp.starttls(case.session).unwrap();
        assert_eq!(case.session.value::<String>(offered), "nothing");
        let utf8 = |case: &mut Case<'_>| smtp.mail(case.session, "用户@example.test").unwrap_err();
        utf8(case).expect("22023");
        case.ehlo(&smtp);
        utf8(case).expect("22023");
        let auth = smtp.auth(case.session, "alice", "secret", "PLAIN");
        auth.unwrap_err().expect("U4250");
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().tls, format!("{EHLO}\r\nQUIT\r\n").as_bytes());
}

/// Oracle code calls auth right after starttls. Then the caller's order of schemes applies, not the
/// plain-text offer.
#[test]
fn auth_without_a_second_ehlo_ignores_what_was_offered_in_clear() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on("EHLO", OFFERS_ALL)
        .starttls(bed.identity().server())
        .on("AUTH SCRAM-SHA-256", "504 5.5.4 unknown")
        .on("AUTH PLAIN", "235 2.7.0 welcome")
        .quit();
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.starttls(case.session).unwrap();
        let first = smtp.auth(case.session, "alice", "secret", "SCRAM-SHA-256 PLAIN");
        first.unwrap_err().expect("U9279");
        smtp.auth(case.session, "alice", "secret", "PLAIN").unwrap();
        smtp.quit(case.session).unwrap();
    });
}

#[test]
fn starttls_under_tls_is_refused_without_a_byte() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    let implicit = Script::new()
        .handshake(tls.clone())
        .then(Script::greeting())
        .on("NOOP", "250 in step");
    let record = bed.play(implicit, |case| {
        let smtp = case.open().implicit_tls().open(case.session).unwrap();
        let failure = starttls_fails(case, &smtp, "U9277");
        assert!(failure.message.starts_with("ORA-29277"), "{failure}");
        assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), ["NOOP"]);

    let twice = offering().starttls(tls).on("NOOP", "250 in step");
    let record = bed.play(twice, |case| {
        let smtp = case.greet();
        smtp.starttls(case.session).unwrap();
        starttls_fails(case, &smtp, "U9277");
        assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
    });
    assert_eq!(record.only().lines(), [EHLO, "STARTTLS", "NOOP"]);
}

#[test]
fn starttls_inside_a_message_is_refused_without_a_byte() {
    let mut bed = TestBed::new();
    let script = offering().transaction();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        smtp.mail(case.session, "a@example.test").unwrap();
        smtp.rcpt(case.session, "b@example.test").unwrap();
        smtp.open_data(case.session).unwrap();
        smtp.write_data(case.session, "before\r\n").unwrap();
        starttls_fails(case, &smtp, "U9277");
        smtp.write_data(case.session, "after\r\n").unwrap();
        smtp.close_data(case.session).unwrap();
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().message(), b"before\r\nafter\r\n");
}

/// Without EHLO, or after HELO, STARTTLS is sent and the server decides.
#[test]
fn starttls_without_ehlo_is_sent() {
    let mut bed = TestBed::new();
    let tls = bed.identity().server();
    let accepts = Script::greeting()
        .starttls(tls.clone())
        .on("EHLO", "250 peer")
        .quit();
    let after_helo = Script::greeting()
        .on("HELO", "250 peer")
        .starttls(tls)
        .on("EHLO", "250 peer")
        .quit();
    let refuses = Script::greeting()
        .on("STARTTLS", "503 5.5.1 EHLO first")
        .quit();
    bed.play_each(vec![accepts, after_helo, refuses], &[], |case| {
        for helo in [false, true] {
            let smtp = case.connect();
            if helo {
                smtp.helo(case.session, CLIENT).unwrap();
            }
            smtp.starttls(case.session).unwrap();
            case.ehlo(&smtp);
            smtp.quit(case.session).unwrap();
        }
        let smtp = case.connect();
        let failure = starttls_fails(case, &smtp, "U9279");
        assert!(failure.message.contains("503"), "{failure}");
        smtp.quit(case.session).unwrap();
    });
}

/// Unauthenticated text is not quoted in the error of a failed handshake.
#[test]
fn text_from_before_tls_is_not_presented_as_fact() {
    let mut bed = TestBed::new();
    let stranger = Authority::new("Another CA").issue(&[NAME]);
    let lure = "transfer to attacker@evil.test \x1b[31mnow\x07";
    let script = Script::new()
        .send(format!("220 {lure}\r\n"))
        .on("EHLO", &format!("250-{lure}\r\n250 STARTTLS"))
        .on("STARTTLS", &format!("220 {lure}"));
    for tls in [Some(stranger.server()), None] {
        let script = match tls {
            Some(tls) => script.clone().handshake(tls),
            None => script.clone().read_until([0x16, 0x03]).send(lure).drain(),
        };
        bed.play(script, |case| {
            let smtp = case.greet();
            let failure = smtp.starttls(case.session).unwrap_err();
            let text = failure.to_string();
            assert!(
                !text.contains("attacker") && !text.contains("transfer"),
                "{text}"
            );
            assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
        });
    }
}

/// A quoted server reply is marked as such and contains no control characters.
#[test]
fn a_refusal_in_clear_has_no_control_characters() {
    let mut bed = TestBed::new();
    let reply = "454-4.7.0 two\r\n454 4.7.0 \x1b[31mred\x07\u{9b}2J";
    let script = offering().on("STARTTLS", reply);
    bed.play(script, |case| {
        let smtp = case.greet();
        let failure = starttls_fails(case, &smtp, "U9278");
        let text = [&failure.message[..], &failure.detail, &failure.hint].concat();
        assert!(
            text.contains("red") && !text.replace('\n', "").contains(char::is_control),
            "{text:?}"
        );
        assert!(failure.detail.contains("server replied"), "{failure}");
    });
}
