//! The AUTH exchange: the scheme, the lines, and how it ends.

use super::*;

/// A man in the middle who removes STARTTLS and the stronger schemes gets no password.
#[test]
fn schemes_that_show_the_secret_are_not_used_in_clear() {
    let mut bed = TestBed::new();
    let secret = "cLear-secret-01";
    let script = offering("PLAIN LOGIN XOAUTH2 OAUTHBEARER").then(answering(4, refusing_auth));
    let record = bed.play_each(vec![script], &[secret], |case| {
        let smtp = case.greet();
        let lists = [
            &CLEARTEXT[..],
            &[
                "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN",
                "PLAIN XOAUTH2",
                "plain",
            ],
        ];
        for schemes in lists.concat() {
            let failure = smtp.auth(case.session, USER, secret, schemes).unwrap_err();
            assert!(
                failure.hint.to_lowercase().contains("starttls"),
                "{failure}"
            );
            failure.expect("U4250");
        }
        let default = "SELECT code FROM utl_smtp.auth($1::text::utl_smtp.connection, $2, $3)";
        let failure = case
            .session
            .query_one(default, &[&smtp.handle, &USER, &secret]);
        e2e::Failure::from(failure.unwrap_err()).expect("U4250");
        for setting in [
            "SET utl_smtp.allow_cleartext_auth = on",
            "SET LOCAL utl_smtp.allow_cleartext_auth = on",
        ] {
            case.session.try_run(setting).unwrap_err().expect("42501");
        }
        // The session is in step.
        smtp.noop(case.session).unwrap();
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["NOOP", "QUIT"]);
}

/// Only the superuser's setting overrides this.
#[test]
fn the_superusers_setting_allows_them() {
    let mut bed = cleartext_bed();
    let record = bed.play(offering_all().then(answering(2, refusing_auth)), |case| {
        let smtp = case.greet();
        let failure = smtp
            .auth(case.session, USER, "secret", "PLAIN")
            .unwrap_err();
        assert!(failure.expect("U9279").message.contains("535"));
        smtp.quit(case.session).unwrap();
    });
    let response = STANDARD.encode(format!("\0{USER}\0secret"));
    assert_eq!(record.only().lines()[1], format!("AUTH PLAIN {response}"));
}

#[test]
fn the_callers_order_decides_among_what_is_offered() {
    let mut bed = cleartext_bed();
    let script = offering("LOGIN PLAIN CRAM-MD5").then(answering(6, refusing_auth));
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        for schemes in [
            "CRAM-MD5 PLAIN",
            "PLAIN CRAM-MD5",
            "SCRAM-SHA-256 LOGIN PLAIN",
            "  cram-md5  ",
        ] {
            let refused = smtp.auth(case.session, "u", "p", schemes).unwrap_err();
            refused.expect("U9279");
        }
        for (schemes, sqlstate) in [
            ("XOAUTH2 SCRAM-SHA-256", "U4250"),
            ("EXTERNAL", "U4250"),
            ("NTLM", "U4249"),
            ("PLAIN NTLM", "U4249"),
            ("PLAINX", "U4249"),
            ("", "22023"),
            (" ", "22023"),
        ] {
            let failure = smtp.auth(case.session, "u", "p", schemes).unwrap_err();
            assert_eq!(failure.sqlstate, sqlstate, "{schemes:?}: {failure}");
        }
        smtp.quit(case.session).unwrap();
    });
    let plain = format!("AUTH PLAIN {}", STANDARD.encode("\0u\0p"));
    let expected = [
        "AUTH CRAM-MD5",
        &plain,
        "AUTH LOGIN",
        "AUTH CRAM-MD5",
        "QUIT",
    ];
    assert_eq!(record.only().lines()[1..], expected);
}

/// A repeated nonce would allow replays.
#[test]
fn each_scram_exchange_has_a_nonce_of_its_own() {
    let mut bed = TestBed::new();
    let script = offering("SCRAM-SHA-256").then(answering(3, refusing_auth));
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        for _ in 0..2 {
            let refused = smtp.auth(case.session, "u", "p", "SCRAM-SHA-256");
            refused.unwrap_err().expect("U9279");
        }
        smtp.quit(case.session).unwrap();
    });
    let nonce = |line: &String| {
        let response = line.strip_prefix("AUTH SCRAM-SHA-256 ").unwrap();
        let first = String::from_utf8(STANDARD.decode(response).unwrap()).unwrap();
        first.strip_prefix("n,,n=u,r=").unwrap().to_owned()
    };
    let nonces: Vec<String> = record.only().lines()[1..3].iter().map(nonce).collect();
    assert_ne!(nonces[0], nonces[1]);
    assert!(nonces.iter().all(|nonce| nonce.len() >= 32), "{nonces:?}");
}

/// Without EHLO the server's schemes are unknown.
#[test]
fn without_ehlo_the_first_of_the_list_is_tried() {
    let mut bed = cleartext_bed();
    let script = Script::greeting().then(answering(3, refusing_auth));
    let record = bed.play(script, |case| {
        let smtp = case.connect();
        smtp.auth(case.session, "u", "p", "LOGIN PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.helo(case.session, CLIENT).unwrap();
        smtp.auth(case.session, "u", "p", "CRAM-MD5 PLAIN")
            .unwrap_err()
            .expect("U9279");
    });
    let helo = format!("HELO {CLIENT}");
    assert_eq!(
        record.only().lines(),
        ["AUTH LOGIN", &helo, "AUTH CRAM-MD5"]
    );
}

/// The example of RFC 2195.
#[test]
fn cram_md5_answers_a_challenge_and_cancels_what_is_none() {
    let mut bed = TestBed::new();
    let challenge = "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
    let response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    let start = || {
        offering("CRAM-MD5")
            .on("AUTH CRAM-MD5", challenge)
            .expect(response)
    };
    bed.play(start().send("235 ok\r\n").quit(), |case| {
        let smtp = case.greet();
        let reply = smtp
            .auth(case.session, "tim", "tanstaaftanstaaf", "CRAM-MD5")
            .unwrap();
        assert_eq!(reply.code, 235);
        smtp.quit(case.session).unwrap();
    });
    let refused = start().send("535 wrong\r\n").on("NOOP", "250 ok");
    bed.play(refused, |case| {
        let smtp = case.greet();
        let failure = smtp.auth(case.session, "tim", "tanstaaftanstaaf", "CRAM-MD5");
        failure.unwrap_err().expect("U9279");
        smtp.noop(case.session).unwrap();
    });
    for nonsense in ["334 not base64!", "334 ", "334", "334 PDE4OTYu=Njk3"] {
        let script = offering("CRAM-MD5")
            .on("AUTH CRAM-MD5", nonsense)
            .expect("*");
        let record = bed.play(script.send("501 cancelled\r\n"), |case| {
            let smtp = case.greet();
            let failure = smtp
                .auth(case.session, "tim", "secret", "CRAM-MD5")
                .unwrap_err();
            assert!(failure.detail.contains("CRAM-MD5"), "{nonsense}: {failure}");
            failure.expect("U9278");
            invariants::assert_over(case.session, &smtp);
        });
        assert_eq!(record.only().lines().len(), 3, "{nonsense}");
    }
    let endless = format!("334 {}", "QUJD".repeat(25 * 1024));
    bed.play(offering("CRAM-MD5").on("AUTH", &endless).drain(), |case| {
        let smtp = case.greet();
        smtp.auth(case.session, "tim", "secret", "CRAM-MD5")
            .unwrap_err()
            .expect("U9278");
        invariants::assert_over(case.session, &smtp);
    });
}

/// A response that is too long for the AUTH line follows an empty challenge, whatever its text.
#[test]
fn a_long_response_waits_for_the_challenge() {
    let mut bed = cleartext_bed();
    let short = STANDARD.encode("\0u\0p");
    let script = offering("PLAIN")
        .expect(format!("AUTH PLAIN {short}"))
        .send("235 ok\r\n");
    bed.play(script, |case| {
        let smtp = case.greet();
        assert_eq!(
            smtp.auth(case.session, "u", "p", "PLAIN").unwrap().code,
            235
        );
    });
    let password = "p".repeat(600);
    let long = STANDARD.encode(format!("\0u\0{password}"));
    for challenge in ["334 ", "334", "334 go ahead, please"] {
        let script = offering("PLAIN")
            .expect("AUTH PLAIN")
            .send(format!("{challenge}\r\n"))
            .expect(&*long)
            .send("235 ok\r\n");
        bed.play(script, |case| {
            let smtp = case.greet();
            let reply = smtp.auth(case.session, "u", &password, "PLAIN");
            assert_eq!(
                reply
                    .unwrap_or_else(|why| panic!("{challenge}: {why}"))
                    .code,
                235
            );
        });
    }
}

/// The AUTH line has at most 512 octets, a response at most 12288, including line endings.
#[test]
fn a_token_goes_out_whole_up_to_the_limit_of_a_response() {
    let mut bed = cleartext_bed();
    let frame = "user=u\x01auth=Bearer \x01\x01".len();
    for (length, inline) in [(300, true), (400, false), (9213 - frame, false)] {
        let token = "t".repeat(length);
        let response = STANDARD.encode(format!("user=u\x01auth=Bearer {token}\x01\x01"));
        let script = match inline {
            true => offering("XOAUTH2").expect(format!("AUTH XOAUTH2 {response}")),
            false => offering("XOAUTH2")
                .on("AUTH XOAUTH2", "334 ")
                .expect(&*response),
        };
        let record = bed.play(script.send("235 ok\r\n"), |case| {
            let smtp = case.greet();
            let reply = smtp.auth(case.session, "u", &token, "XOAUTH2");
            assert_eq!(
                reply.unwrap_or_else(|why| panic!("{length}: {why}")).code,
                235
            );
        });
        assert!(record.only().lines()[1].len() + 2 <= 512);
        assert!(response.len() + 2 <= 12_288);
    }
    let record = bed.play(offering("XOAUTH2").quit(), |case| {
        let smtp = case.greet();
        let token = "t".repeat(9214 - frame);
        let failure = smtp.auth(case.session, "u", &token, "XOAUTH2").unwrap_err();
        assert!(!failure.to_string().contains("ttt"), "{failure}");
        failure.expect("22023");
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["QUIT"]);
}

#[test]
fn an_endless_row_of_challenges_is_cancelled() {
    let mut bed = cleartext_bed();
    for scheme in ALL {
        for challenge in ["334 VXNlcm5hbWU6", "334 "] {
            let script = (0..100).fold(offering_all(), |script, _| {
                script.answer(move |_| format!("{challenge}\r\n").into_bytes())
            });
            let record = bed.play(script, |case| {
                let smtp = case.greet();
                let failure = smtp
                    .auth(case.session, "user", "secret", scheme)
                    .unwrap_err();
                assert_eq!(failure.sqlstate, "U9278", "{scheme}: {failure}");
                invariants::assert_over(case.session, &smtp);
            });
            let lines = record.only().lines();
            assert!(lines.len() <= 13, "{scheme}: {lines:?}");
            assert_eq!(lines.last().unwrap(), "*", "{scheme}");
        }
    }
}

#[test]
fn names_and_passwords_are_utf_8_in_one_line_of_base64() {
    let mut bed = cleartext_bed();
    let long = "ä".repeat(4600);
    for (user, password) in [("jürgen", "пароль"), ("u", &*long), ("x y", " \t\x7f ")] {
        let plain = STANDARD.encode(format!("\0{user}\0{password}"));
        let script = match plain.len() {
            ..500 => offering("PLAIN LOGIN").expect(format!("AUTH PLAIN {plain}")),
            _ => offering("PLAIN LOGIN")
                .on("AUTH PLAIN", "334 ")
                .expect(&*plain),
        };
        let script = script
            .send("535 no\r\n")
            .on("AUTH LOGIN", "334 VXNlcm5hbWU6")
            .expect(STANDARD.encode(user))
            .send("334 UGFzc3dvcmQ6\r\n")
            .expect(STANDARD.encode(password))
            .send("535 no\r\n");
        bed.play(script, |case| {
            let smtp = case.greet();
            for scheme in ["PLAIN", "LOGIN"] {
                let refused = smtp.auth(case.session, user, password, scheme).unwrap_err();
                refused.expect("U9279");
            }
        });
    }
    let record = bed.play(offering_all().quit(), |case| {
        let smtp = case.greet();
        for scheme in ALL {
            for text in ["a\r\nb", "a\nb", &"p".repeat(10 * 1024)] {
                for (user, password) in [(text, "p"), ("u", text)] {
                    let failure = smtp.auth(case.session, user, password, scheme).unwrap_err();
                    assert_eq!(failure.sqlstate, "22023", "{scheme}: {failure}");
                }
            }
        }
        let nul = "SELECT utl_smtp.auth($1::text::utl_smtp.connection, 'u', \
                   convert_from('\\x610062', 'UTF8'), 'PLAIN')";
        let nul = case.session.execute(nul, &[&smtp.handle]).unwrap_err();
        e2e::Failure::from(nul).expect("22021");
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["QUIT"]);
}

#[test]
fn a_refusal_is_an_error_of_its_class_and_only_421_ends_the_session() {
    let mut bed = cleartext_bed();
    for (reply, sqlstate) in [
        ("535 5.7.8 credentials invalid", "U9279"),
        ("534 5.7.9 too weak", "U9279"),
        ("538 5.7.11 encryption required", "U9279"),
        ("530 5.7.0 authentication required", "U9279"),
        ("500 what", "U9279"),
        ("504 5.5.4 unrecognized type", "U9279"),
        ("454 4.7.0 temporary failure", "U9278"),
        ("432 4.7.12 password transition", "U9278"),
        ("421 4.3.2 closing", "U9278"),
    ] {
        for scheme in ["PLAIN", "LOGIN"] {
            let script = match scheme {
                "PLAIN" => offering_all().on("AUTH PLAIN", reply),
                _ => offering_all()
                    .on("AUTH LOGIN", "334 VXNlcm5hbWU6")
                    .line()
                    .send(format!("{reply}\r\n")),
            };
            bed.play(script.answer(|_| b"250 ok\r\n".to_vec()), |case| {
                let smtp = case.greet();
                let failure = smtp.auth(case.session, "u", "p", scheme).unwrap_err();
                assert!(failure.message.contains(reply), "{failure}");
                assert!(failure.context.contains("AUTH"), "{failure}");
                failure.expect(sqlstate);
                match reply.starts_with("421") {
                    true => invariants::assert_over(case.session, &smtp),
                    false => assert_eq!(smtp.noop(case.session).unwrap().code, 250),
                }
            });
        }
    }
}

/// The server decides about the order of commands.
#[test]
fn a_second_auth_and_one_inside_a_transaction_are_sent() {
    let mut bed = cleartext_bed();
    let script = offering_all()
        .on("AUTH PLAIN", "235 ok")
        .on("AUTH PLAIN", "503 5.5.1 already authenticated")
        .on("MAIL", "250 ok")
        .on("AUTH PLAIN", "503 5.5.1 not now")
        .on("RCPT", "250 ok");
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.auth(case.session, "first", "p", "PLAIN").unwrap();
        smtp.auth(case.session, "second", "p", "PLAIN")
            .unwrap_err()
            .expect("U9279");
        let who = "SELECT authenticated_as FROM utl_smtp.connections()";
        assert_eq!(case.session.value::<String>(who), "first");
        smtp.mail(case.session, "a@example.test").unwrap();
        smtp.auth(case.session, "third", "p", "PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.rcpt(case.session, "b@example.test").unwrap();
    });
}

/// The same check applies to Oracle's idiom, however the line is split and spelled.
#[test]
fn auth_through_command_meets_the_same_gate() {
    let mut bed = TestBed::new();
    let secret = "coMmand-secret-13";
    let response = STANDARD.encode(format!("\0u\0{secret}"));
    let script = offering("PLAIN LOGIN CRAM-MD5").then(answering(3, refusing_auth));
    let record = bed.play_each(vec![script], &[secret], |case| {
        let smtp = case.greet();
        let plain = format!("PLAIN {response}");
        let whole = format!("AUTH PLAIN {response}");
        for (cmd, arg) in [
            ("AUTH", Some("LOGIN")),
            ("AUTH", Some(&*plain)),
            ("AUTH LOGIN", None),
            ("auth login", None),
            ("  AUTH", Some("  PLAIN")),
            ("AUTH  PLAIN", Some(&response)),
            (&*whole, None),
            ("Auth", Some("xoauth2")),
            ("AUTH", Some("OAUTHBEARER =")),
        ] {
            let failure = smtp.command(case.session, cmd, arg).unwrap_err();
            assert_eq!(failure.sqlstate, "U4250", "{cmd:?}: {failure}");
            let replies = smtp.replies(case.session, "command_replies", &[&cmd, &arg]);
            replies.unwrap_err().expect("U4250");
        }
        let refused = smtp
            .command(case.session, "AUTH", Some("CRAM-MD5"))
            .unwrap_err();
        refused.expect("U9279");
        smtp.quit(case.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["AUTH CRAM-MD5", "QUIT"]);
}

/// Under TLS the three calls work like auth().
#[test]
fn auth_through_command_works_under_tls() {
    let mut bed = TestBed::new();
    let identity = bed.identity();
    let (user, password) = (STANDARD.encode("alice"), STANDARD.encode("tLs-secret-13"));
    let script = Script::new()
        .handshake(identity.server())
        .then(offering("LOGIN"))
        .on("AUTH LOGIN", "334 VXNlcm5hbWU6")
        .expect(&*user)
        .send("334 UGFzc3dvcmQ6\r\n")
        .expect(&*password)
        .send("235 ok\r\n")
        .quit();
    bed.play_each(vec![script], &["tLs-secret-13"], |case| {
        case.session.run("SET utl_smtp.trace = 'notice'");
        let smtp = case.open().implicit_tls().open(case.session).unwrap();
        case.ehlo(&smtp);
        for (line, code) in [("AUTH LOGIN", 334), (&*user, 334), (&*password, 235)] {
            let reply = smtp.command(case.session, line, None).unwrap();
            assert_eq!(reply.code, code);
        }
        smtp.quit(case.session).unwrap();
        let said = case.session.notice_texts();
        assert_eq!(
            said.iter().filter(|line| *line == "C: ********").count(),
            2,
            "{said:?}"
        );
    });
}
