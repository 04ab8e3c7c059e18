//! AUTH against servers that lie and callers that forget TLS, and where secrets must not turn up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Cluster;
use e2e::own_cluster::is_root;
use e2e::scene::{CLIENT, NAME};
use e2e::{Database, Open, OwnCluster, Peer, Scene, Script, Vigil, vigil};
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const USER: &str = "alice@example.test";
const ALL: [&str; 7] = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-256",
    "XOAUTH2",
    "OAUTHBEARER",
    "EXTERNAL",
];
/// Those that show the secret to whoever listens.
const CLEARTEXT: [&str; 4] = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];

/// A scene in which every scheme may be used in clear.
fn cleartext_scene() -> Scene {
    let scene = Scene::new();
    scene.database.set("utl_smtp.allow_cleartext_auth", "on");
    let session = scene.database.connect(&scene.role);
    Scene { session, ..scene }
}

/// A server that offers these schemes.
fn offering(schemes: &str) -> Script {
    Script::greeting().on("EHLO", &format!("250-peer\r\n250 AUTH {schemes}"))
}

fn offering_all() -> Script {
    offering(&ALL.join(" "))
}

/// Answers so many lines, each by its first word or else with 250.
fn answering(lines: usize, answer: fn(&str) -> &'static str) -> Script {
    (0..lines).fold(Script::new(), |script, _| {
        script.answer(move |line| format!("{}\r\n", answer(line)).into_bytes())
    })
}

fn refusing_auth(line: &str) -> &'static str {
    match line.split(' ').next() {
        Some("AUTH") => "535 5.7.8 no",
        Some("QUIT") => "221 bye",
        _ => "250 ok",
    }
}

/// AUTH-01, AUTH-02: a man in the middle who hides STARTTLS and the better schemes gets no password.
#[test]
fn schemes_that_show_the_secret_are_not_used_in_clear() {
    let mut scene = Scene::new();
    let secret = "cLear-secret-01";
    let script = offering("PLAIN LOGIN XOAUTH2 OAUTHBEARER").then(answering(4, refusing_auth));
    let record = scene.play_each(vec![script], &[secret], |stage| {
        let smtp = stage.greet();
        let lists = [
            &CLEARTEXT[..],
            &[
                "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN",
                "PLAIN XOAUTH2",
                "plain",
            ],
        ];
        for schemes in lists.concat() {
            let failure = smtp.auth(stage.session, USER, secret, schemes).unwrap_err();
            assert!(
                failure.hint.to_lowercase().contains("starttls"),
                "{failure}"
            );
            failure.expect("U4250");
        }
        let default = "SELECT code FROM utl_smtp.auth($1::text::utl_smtp.connection, $2, $3)";
        let failure = stage
            .session
            .query_one(default, &[&smtp.handle, &USER, &secret]);
        e2e::Failure::from(failure.unwrap_err()).expect("U4250");
        for setting in [
            "SET utl_smtp.allow_cleartext_auth = on",
            "SET LOCAL utl_smtp.allow_cleartext_auth = on",
        ] {
            stage.session.try_run(setting).unwrap_err().expect("42501");
        }
        // The session is in step.
        smtp.noop(stage.session).unwrap();
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["NOOP", "QUIT"]);
}

/// AUTH-01: the one way round it is the superuser's.
#[test]
fn the_superusers_setting_allows_them() {
    let mut scene = cleartext_scene();
    let record = scene.play(offering_all().then(answering(2, refusing_auth)), |stage| {
        let smtp = stage.greet();
        let failure = smtp
            .auth(stage.session, USER, "secret", "PLAIN")
            .unwrap_err();
        assert!(failure.expect("U9279").message.contains("535"));
        smtp.quit(stage.session).unwrap();
    });
    let response = STANDARD.encode(format!("\0{USER}\0secret"));
    assert_eq!(record.only().lines()[1], format!("AUTH PLAIN {response}"));
}

/// AUTH-03
#[test]
fn the_callers_order_decides_among_what_is_offered() {
    let mut scene = cleartext_scene();
    let script = offering("LOGIN PLAIN CRAM-MD5").then(answering(6, refusing_auth));
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        for schemes in [
            "CRAM-MD5 PLAIN",
            "PLAIN CRAM-MD5",
            "SCRAM-SHA-256 LOGIN PLAIN",
            "  cram-md5  ",
        ] {
            let refused = smtp.auth(stage.session, "u", "p", schemes).unwrap_err();
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
            let failure = smtp.auth(stage.session, "u", "p", schemes).unwrap_err();
            assert_eq!(failure.sqlstate, sqlstate, "{schemes:?}: {failure}");
        }
        smtp.quit(stage.session).unwrap();
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

/// AUTH-03: nothing is known of a server that was not asked.
#[test]
fn without_ehlo_the_first_of_the_list_is_tried() {
    let mut scene = cleartext_scene();
    let script = Script::greeting().then(answering(3, refusing_auth));
    let record = scene.play(script, |stage| {
        let smtp = stage.connect();
        smtp.auth(stage.session, "u", "p", "LOGIN PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.helo(stage.session, CLIENT).unwrap();
        smtp.auth(stage.session, "u", "p", "CRAM-MD5 PLAIN")
            .unwrap_err()
            .expect("U9279");
    });
    let helo = format!("HELO {CLIENT}");
    assert_eq!(
        record.only().lines(),
        ["AUTH LOGIN", &helo, "AUTH CRAM-MD5"]
    );
}

/// AUTH-04: with the example of RFC 2195.
#[test]
fn cram_md5_answers_a_challenge_and_cancels_what_is_none() {
    let mut scene = Scene::new();
    let challenge = "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+";
    let response = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    let start = || {
        offering("CRAM-MD5")
            .on("AUTH CRAM-MD5", challenge)
            .expect(response)
    };
    scene.play(start().send("235 ok\r\n").quit(), |stage| {
        let smtp = stage.greet();
        let reply = smtp
            .auth(stage.session, "tim", "tanstaaftanstaaf", "CRAM-MD5")
            .unwrap();
        assert_eq!(reply.code, 235);
        smtp.quit(stage.session).unwrap();
    });
    let refused = start().send("535 wrong\r\n").on("NOOP", "250 ok");
    scene.play(refused, |stage| {
        let smtp = stage.greet();
        let failure = smtp.auth(stage.session, "tim", "tanstaaftanstaaf", "CRAM-MD5");
        failure.unwrap_err().expect("U9279");
        smtp.noop(stage.session).unwrap();
    });
    for nonsense in ["334 not base64!", "334 ", "334", "334 PDE4OTYu=Njk3"] {
        let script = offering("CRAM-MD5")
            .on("AUTH CRAM-MD5", nonsense)
            .expect("*");
        let record = scene.play(script.send("501 cancelled\r\n"), |stage| {
            let smtp = stage.greet();
            let failure = smtp
                .auth(stage.session, "tim", "secret", "CRAM-MD5")
                .unwrap_err();
            assert!(failure.detail.contains("CRAM-MD5"), "{nonsense}: {failure}");
            failure.expect("U9278");
            vigil::assert_over(stage.session, &smtp);
        });
        assert_eq!(record.only().lines().len(), 3, "{nonsense}");
    }
    let endless = format!("334 {}", "QUJD".repeat(25 * 1024));
    scene.play(offering("CRAM-MD5").on("AUTH", &endless).drain(), |stage| {
        let smtp = stage.greet();
        smtp.auth(stage.session, "tim", "secret", "CRAM-MD5")
            .unwrap_err()
            .expect("U9278");
        vigil::assert_over(stage.session, &smtp);
    });
}

/// AUTH-05, AUTH-08: a response that is too long for the AUTH line follows an empty challenge, however that is worded.
#[test]
fn a_long_response_waits_for_the_challenge() {
    let mut scene = cleartext_scene();
    let short = STANDARD.encode("\0u\0p");
    let script = offering("PLAIN")
        .expect(format!("AUTH PLAIN {short}"))
        .send("235 ok\r\n");
    scene.play(script, |stage| {
        let smtp = stage.greet();
        assert_eq!(
            smtp.auth(stage.session, "u", "p", "PLAIN").unwrap().code,
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
        scene.play(script, |stage| {
            let smtp = stage.greet();
            let reply = smtp.auth(stage.session, "u", &password, "PLAIN");
            assert_eq!(
                reply
                    .unwrap_or_else(|why| panic!("{challenge}: {why}"))
                    .code,
                235
            );
        });
    }
}

/// AUTH-08: the AUTH line has at most 512 octets, a response at most 12288, the line ends included.
#[test]
fn a_token_goes_out_whole_up_to_the_limit_of_a_response() {
    let mut scene = cleartext_scene();
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
        let record = scene.play(script.send("235 ok\r\n"), |stage| {
            let smtp = stage.greet();
            let reply = smtp.auth(stage.session, "u", &token, "XOAUTH2");
            assert_eq!(
                reply.unwrap_or_else(|why| panic!("{length}: {why}")).code,
                235
            );
        });
        assert!(record.only().lines()[1].len() + 2 <= 512);
        assert!(response.len() + 2 <= 12_288);
    }
    let record = scene.play(offering("XOAUTH2").quit(), |stage| {
        let smtp = stage.greet();
        let token = "t".repeat(9214 - frame);
        let failure = smtp
            .auth(stage.session, "u", &token, "XOAUTH2")
            .unwrap_err();
        assert!(!failure.to_string().contains("ttt"), "{failure}");
        failure.expect("22023");
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["QUIT"]);
}

/// AUTH-07
#[test]
fn an_endless_row_of_challenges_is_cancelled() {
    let mut scene = cleartext_scene();
    for scheme in ALL {
        for challenge in ["334 VXNlcm5hbWU6", "334 "] {
            let script = (0..100).fold(offering_all(), |script, _| {
                script.answer(move |_| format!("{challenge}\r\n").into_bytes())
            });
            let record = scene.play(script, |stage| {
                let smtp = stage.greet();
                let failure = smtp
                    .auth(stage.session, "user", "secret", scheme)
                    .unwrap_err();
                assert_eq!(failure.sqlstate, "U9278", "{scheme}: {failure}");
                vigil::assert_over(stage.session, &smtp);
            });
            let lines = record.only().lines();
            assert!(lines.len() <= 13, "{scheme}: {lines:?}");
            assert_eq!(lines.last().unwrap(), "*", "{scheme}");
        }
    }
}

/// AUTH-10
#[test]
fn names_and_passwords_are_utf_8_in_one_line_of_base64() {
    let mut scene = cleartext_scene();
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
        scene.play(script, |stage| {
            let smtp = stage.greet();
            for scheme in ["PLAIN", "LOGIN"] {
                let refused = smtp
                    .auth(stage.session, user, password, scheme)
                    .unwrap_err();
                refused.expect("U9279");
            }
        });
    }
    let record = scene.play(offering_all().quit(), |stage| {
        let smtp = stage.greet();
        for scheme in ALL {
            for text in ["a\r\nb", "a\nb", &"p".repeat(10 * 1024)] {
                for (user, password) in [(text, "p"), ("u", text)] {
                    let failure = smtp
                        .auth(stage.session, user, password, scheme)
                        .unwrap_err();
                    assert_eq!(failure.sqlstate, "22023", "{scheme}: {failure}");
                }
            }
        }
        let nul = "SELECT utl_smtp.auth($1::text::utl_smtp.connection, 'u', \
                   convert_from('\\x610062', 'UTF8'), 'PLAIN')";
        let nul = stage.session.execute(nul, &[&smtp.handle]).unwrap_err();
        e2e::Failure::from(nul).expect("22021");
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["QUIT"]);
}

/// AUTH-11
#[test]
fn a_refusal_is_an_error_of_its_class_and_only_421_ends_the_session() {
    let mut scene = cleartext_scene();
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
            scene.play(script.answer(|_| b"250 ok\r\n".to_vec()), |stage| {
                let smtp = stage.greet();
                let failure = smtp.auth(stage.session, "u", "p", scheme).unwrap_err();
                assert!(failure.message.contains(reply), "{failure}");
                assert!(failure.context.contains("AUTH"), "{failure}");
                failure.expect(sqlstate);
                match reply.starts_with("421") {
                    true => vigil::assert_over(stage.session, &smtp),
                    false => assert_eq!(smtp.noop(stage.session).unwrap().code, 250),
                }
            });
        }
    }
}

/// AUTH-12: the order of commands is the server's to judge.
#[test]
fn a_second_auth_and_one_inside_a_transaction_are_sent() {
    let mut scene = cleartext_scene();
    let script = offering_all()
        .on("AUTH PLAIN", "235 ok")
        .on("AUTH PLAIN", "503 5.5.1 already authenticated")
        .on("MAIL", "250 ok")
        .on("AUTH PLAIN", "503 5.5.1 not now")
        .on("RCPT", "250 ok");
    scene.play(script, |stage| {
        let smtp = stage.greet();
        smtp.auth(stage.session, "first", "p", "PLAIN").unwrap();
        smtp.auth(stage.session, "second", "p", "PLAIN")
            .unwrap_err()
            .expect("U9279");
        let who = "SELECT authenticated_as FROM utl_smtp.connections()";
        assert_eq!(stage.session.value::<String>(who), "first");
        smtp.mail(stage.session, "a@example.test").unwrap();
        smtp.auth(stage.session, "third", "p", "PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.rcpt(stage.session, "b@example.test").unwrap();
    });
}

/// AUTH-13: Oracle's idiom meets the same gate, however the line is cut and written.
#[test]
fn auth_through_command_meets_the_same_gate() {
    let mut scene = Scene::new();
    let secret = "coMmand-secret-13";
    let response = STANDARD.encode(format!("\0u\0{secret}"));
    let script = offering("PLAIN LOGIN CRAM-MD5").then(answering(3, refusing_auth));
    let record = scene.play_each(vec![script], &[secret], |stage| {
        let smtp = stage.greet();
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
            let failure = smtp.command(stage.session, cmd, arg).unwrap_err();
            assert_eq!(failure.sqlstate, "U4250", "{cmd:?}: {failure}");
            let replies = smtp.replies(stage.session, "command_replies", &[&cmd, &arg]);
            replies.unwrap_err().expect("U4250");
        }
        let refused = smtp
            .command(stage.session, "AUTH", Some("CRAM-MD5"))
            .unwrap_err();
        refused.expect("U9279");
        smtp.quit(stage.session).unwrap();
    });
    assert_eq!(record.only().lines()[1..], ["AUTH CRAM-MD5", "QUIT"]);
}

/// AUTH-13: under TLS the three calls are as good as auth().
#[test]
fn auth_through_command_works_under_tls() {
    let mut scene = Scene::new();
    let identity = scene.identity();
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
    scene.play_each(vec![script], &["tLs-secret-13"], |stage| {
        stage.session.run("SET utl_smtp.trace = 'notice'");
        let smtp = stage.open().implicit_tls().open(stage.session).unwrap();
        stage.ehlo(&smtp);
        for (line, code) in [("AUTH LOGIN", 334), (&*user, 334), (&*password, 235)] {
            let reply = smtp.command(stage.session, line, None).unwrap();
            assert_eq!(reply.code, code);
        }
        smtp.quit(stage.session).unwrap();
        let said = stage.session.notice_texts();
        assert_eq!(
            said.iter().filter(|line| *line == "C: ********").count(),
            2,
            "{said:?}"
        );
    });
}

/// Each scheme up to a 535 in which the server repeats all that it has heard, and the secret besides.
fn echoing(scheme: &str, secret: &'static str) -> Script {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let challenges: usize = match scheme {
        "LOGIN" => 2,
        "CRAM-MD5" => 1,
        _ => 0,
    };
    (0..=challenges).fold(offering_all(), |script, number| {
        let heard = std::sync::Arc::clone(&heard);
        script.answer(move |line| {
            let mut heard = heard.lock().unwrap();
            write!(heard, " {line}").unwrap();
            match number < challenges {
                true => b"334 UGFzc3dvcmQ6\r\n".to_vec(),
                false => {
                    let encoded = STANDARD.encode(secret);
                    format!("535-no: {heard}\r\n535 {secret} {encoded}\r\n").into_bytes()
                }
            }
        })
    })
}

/// LEAK-01, LEAK-02: nor does a server that says them back help.
#[test]
fn no_secret_is_in_an_error_a_trace_or_the_log_at_any_level() {
    let secret = "sEcret-tOken-of-01";
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"] {
        let mut scene = Scene::new();
        for (setting, value) in [
            ("utl_smtp.allow_cleartext_auth", "on"),
            ("log_min_messages", "debug5"),
            ("log_error_verbosity", "verbose"),
            ("log_min_error_statement", "debug5"),
            ("client_min_messages", "debug5"),
        ] {
            scene.database.set(setting, value);
        }
        scene.session = scene.database.connect(&scene.role);
        for trace in ["off", "notice", "log"] {
            let script = echoing(scheme, secret).on("NOOP", "250 ok").quit();
            let record = scene.play_each(vec![script], &[secret], |stage| {
                let before = stage.session.notices().len();
                stage
                    .session
                    .run(&format!("SET utl_smtp.trace = '{trace}'"));
                let smtp = stage.greet();
                let failure = smtp.auth(stage.session, USER, secret, scheme).unwrap_err();
                vigil::no_secret(&failure.to_string(), &[secret], "the error");
                failure.expect("U9279");
                let last = "SELECT last_reply FROM utl_smtp.connections()";
                let last: String = stage.session.value(last);
                vigil::no_secret(&last, &[secret], "connections()");
                smtp.noop(stage.session).unwrap();
                smtp.quit(stage.session).unwrap();
                let said = stage.session.notice_texts().split_off(before);
                let traced = said.iter().any(|line| line.starts_with("C: AUTH"));
                // At debug5 what is logged goes to the client too.
                assert_eq!(traced, trace != "off", "{said:?}");
            });
            assert!(record.only().lines()[1].starts_with(&format!("AUTH {scheme}")));
        }
    }
}

/// LEAK-01: a wallet's password, where the handshake fails.
#[test]
fn a_wallet_password_shows_nowhere() {
    let mut scene = Scene::new();
    scene.database.set("log_min_messages", "debug5");
    scene.session = scene.database.connect(&scene.role);
    let stranger = e2e::certs::Authority::new("Another CA").issue(&[NAME]);
    let secret = "wAllet-pass-01";
    let script = Script::new().handshake(stranger.server());
    scene.play_each(vec![script], &[secret], |stage| {
        stage.session.run("SET utl_smtp.trace = 'notice'");
        let open = stage.open().wallet_password(secret).implicit_tls();
        let failure = open.open(stage.session).unwrap_err().expect("U9024");
        vigil::no_secret(&failure.to_string(), &[secret], "the error");
    });
}

/// LEAK-03: the forms that the documentation recommends.
#[test]
fn pg_stat_statements_keeps_no_secret_of_a_select() {
    let cluster = OwnCluster::start(&[
        "shared_preload_libraries = 'pg_stat_statements'",
        "pg_stat_statements.track = 'all'",
    ]);
    let mut session = cluster.superuser();
    session.run("CREATE EXTENSION pg_stat_statements");
    let (bound, literal) = ("bOund-secret-03", "lIteral-secret-03");
    for secret in [bound, literal] {
        let peer = Peer::start(offering("CRAM-MD5").on("AUTH CRAM-MD5", "535 no").quit());
        let smtp = Open::to("127.0.0.1", peer.port())
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, CLIENT).unwrap();
        let refused = match secret == bound {
            true => smtp.auth(&mut session, USER, secret, "CRAM-MD5").map(drop),
            false => session.try_run(&format!(
                "SELECT utl_smtp.auth('{}', '{USER}', '{secret}', 'CRAM-MD5')",
                smtp.handle
            )),
        };
        refused.unwrap_err().expect("U9279");
        smtp.quit(&mut session).unwrap();
        peer.finish();
        // A statement that fails is not kept: one that succeeds with the same text is.
        let kept = format!("SELECT length(concat('{USER}', '{secret}'))");
        session.run(&kept);
    }
    let kept: String = session.value("SELECT string_agg(query, E'\\n') FROM pg_stat_statements");
    assert!(kept.contains("utl_smtp."), "{kept}");
    vigil::no_secret(&kept, &[bound, literal], "pg_stat_statements");
}

/// LEAK-04
#[test]
fn no_setting_holds_a_secret() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("LOAD 'utl_smtp'");
    let names: Vec<String> = session.value(
        "SELECT array_agg(name ORDER BY name) FROM pg_settings WHERE name LIKE 'utl\\_smtp.%'",
    );
    let expected = [
        "allow_cleartext_auth",
        "default_timeout",
        "max_connections",
        "min_tls_version",
        "raise_reply_errors",
        "trace",
        "wallet_path",
        "wallet_roots",
    ];
    assert_eq!(names, expected.map(|name| format!("utl_smtp.{name}")));
    // The prefix is reserved: none can be invented either.
    session
        .try_run("SET utl_smtp.password = 'x'")
        .unwrap_err()
        .expect("42602");
}

/// LEAK-05
#[test]
fn a_connection_is_a_number_that_means_nothing_elsewhere() {
    let mut scene = cleartext_scene();
    let secret = "cOmposite-secret-05";
    let script = offering("PLAIN").on("AUTH PLAIN", "235 ok");
    scene.play_each(vec![script], &[secret], |stage| {
        let pid = stage.session.pid();
        let mut seen = Vec::new();
        for _ in 0..8 {
            let open = stage.open().wallet_password(secret);
            let smtp = open.open(stage.session).unwrap();
            stage.ehlo(&smtp);
            smtp.auth(stage.session, USER, secret, "PLAIN").unwrap();
            stage
                .session
                .run("CREATE TEMP TABLE IF NOT EXISTS kept (c utl_smtp.connection)");
            let store = "INSERT INTO kept VALUES ($1::text::utl_smtp.connection)
                         RETURNING c::text || to_json(c), (c).private_tcp_con, (c).private_state";
            let row = stage.session.query_one(store, &[&smtp.handle]).unwrap();
            let (text, handle, state): (String, i64, Option<i32>) =
                (row.get(0), row.get(1), row.get(2));
            vigil::no_secret(&text, &[secret, USER], "the connection");
            let number = handle as u64;
            assert!(number > 1 << 20, "{number} could be a descriptor");
            assert!(!is_mapped(pid, number), "{number:#x} is an address");
            assert!(state.unwrap_or(0).unsigned_abs() < 8, "{text}");
            seen.push(handle);
        }
        let steps: Vec<i64> = seen
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        assert!(
            steps.iter().all(|step| step.unsigned_abs() > 1 << 20),
            "{seen:?}"
        );
        stage.session.run("DROP TABLE kept");
    });
}

/// The address ranges of a process with their permissions and names.
fn mappings(pid: i32) -> Vec<(u64, u64, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let lines = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(start)?, number(end)?, rest.to_owned()))
    });
    lines.collect()
}

fn is_mapped(pid: i32, address: u64) -> bool {
    mappings(pid)
        .iter()
        .any(|(start, end, _)| (*start..*end).contains(&address))
}

/// LEAK-06: while the server thinks about the password.
#[test]
fn process_listings_show_no_secret_during_auth() {
    let mut scene = cleartext_scene();
    let secret = "lIsting-secret-06";
    let peer = Peer::start(
        offering("PLAIN")
            .line()
            .await_release()
            .send("235 ok\r\n")
            .quit(),
    );
    let watch = Vigil::begin(&mut scene.session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut scene.session)
        .unwrap();
    smtp.ehlo(&mut scene.session, CLIENT).unwrap();
    let pid = scene.session.pid();
    let mut other = scene.database.superuser();
    std::thread::scope(|scope| {
        let session = &mut scene.session;
        let smtp = &smtp;
        let auth = scope.spawn(move || smtp.auth(session, USER, secret, "PLAIN"));
        peer.wait_for(b"AUTH PLAIN");
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let activity: String = other.value(&format!(
            "SELECT to_json(a)::text FROM pg_stat_activity AS a WHERE pid = {pid}"
        ));
        assert!(activity.contains("utl_smtp.auth"), "{activity}");
        for text in [String::from_utf8_lossy(&title).into_owned(), activity] {
            vigil::no_secret(&text, &[secret], "a process listing");
        }
        peer.release();
        assert_eq!(auth.join().unwrap().unwrap().code, 235);
    });
    smtp.quit(&mut scene.session).unwrap();
    watch.end(&mut scene.session, &[secret]);
    peer.finish();
}

/// LEAK-07: what only the extension has made of a password is gone from the backend's memory. The password itself is
/// PostgreSQL's parameter. Reading another process's memory takes root.
#[test]
fn what_was_made_of_a_password_is_wiped_after_use() {
    if !is_root() {
        eprintln!("not root: the backend's memory can't be read");
        return;
    }
    let mut scene = cleartext_scene();
    let secret = "wIped-secret-07-0123456789-0123456789-0123456789";
    for scheme in ["PLAIN", "LOGIN"] {
        let script = match scheme {
            "PLAIN" => offering_all().on("AUTH PLAIN", "235 ok").quit(),
            _ => offering_all()
                .on("AUTH LOGIN", "334 VXNlcm5hbWU6")
                .line()
                .send("334 UGFzc3dvcmQ6\r\n")
                .line()
                .send("235 ok\r\n")
                .quit(),
        };
        scene.play_each(vec![script], &[secret], |stage| {
            let smtp = stage.greet();
            smtp.auth(stage.session, "user", secret, scheme).unwrap();
            smtp.quit(stage.session).unwrap();
            let encoded = match scheme {
                "PLAIN" => STANDARD.encode(format!("\0user\0{secret}")),
                _ => STANDARD.encode(secret),
            };
            // Not the whole: the part may be left of which the beginning was overwritten.
            let part = &encoded[encoded.len() / 2..encoded.len() - 4];
            let places = places_of(stage.session.pid(), part.as_bytes());
            assert!(places.is_empty(), "{scheme}: left in memory: {places:?}");
        });
    }
}

/// The mappings of a process in which these bytes are.
fn places_of(pid: i32, bytes: &[u8]) -> Vec<String> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut places = Vec::new();
    for (start, end, rest) in mappings(pid) {
        if !rest.starts_with("rw-p") {
            continue;
        }
        let mut content = vec![0; (end - start) as usize];
        if memory.read_exact_at(&mut content, start).is_err() {
            continue;
        }
        if content.windows(bytes.len()).any(|window| window == bytes) {
            places.push(format!("{start:x} {rest}"));
        }
    }
    places
}

/// LEAK-08
#[test]
fn variables_in_the_servers_environment_change_nothing() {
    let authority = e2e::certs::Authority::new("Private CA");
    let wallet = e2e::certs::Wallet::of(&authority);
    let ca = wallet.path().join("ca.pem").display().to_string();
    let directory = wallet.path().display().to_string();
    // /tmp can be written by the server's user.
    let keys = format!("/tmp/e2e-keys-{}.log", std::process::id());
    let proxy = "socks5h://127.0.0.1:9";
    let cluster = OwnCluster::start_in(
        &format!(
            "export SSLKEYLOGFILE={keys} SSL_CERT_FILE={ca} SSL_CERT_DIR={directory} \
                    ALL_PROXY={proxy} all_proxy={proxy} HTTPS_PROXY={proxy} HTTP_PROXY={proxy} \
                    https_proxy={proxy} SMTP_PROXY={proxy} LD_DEBUG= RES_OPTIONS='attempts:1 timeout:1'"
        ),
        &[],
    );
    let mut session = cluster.superuser();
    let identity = authority.issue(&[NAME]);
    let peer = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .quit(),
    );
    let open = Open::to("localhost", peer.port())
        .secure_host(NAME)
        .implicit_tls();
    // SSL_CERT_FILE would make the machine's trust store the private CA.
    let failure = open
        .clone()
        .wallet("system:")
        .open(&mut session)
        .unwrap_err();
    failure.expect("U9024");
    let smtp = open.wallet(&directory).open(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    assert!(!std::path::Path::new(&keys).exists(), "keys were logged");
    assert_eq!(peer.finish().accepted(), 2);
}

/// LEAK-10
#[test]
fn a_dump_brings_the_access_list_along() {
    let database = Database::new();
    let (app, gone) = (database.role("app"), database.role("gone"));
    let peer = Peer::start(Script::greeting().quit());
    database.allow(&app, "127.0.0.1", peer.port());
    let mut source = database.superuser();
    source.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('*.example.test', 25, 587,
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'PUBLIC',
                 start_date => '2020-01-01 00:00+00', end_date => '2100-01-01 00:00+00'));
         SELECT dbms_network_acl_admin.append_host_ace('10.0.0.0/8', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], false, principal_name => '{app}'));
         SELECT dbms_network_acl_admin.create_acl('mail.xml', 'it''s mail', '{app}', true, 'connect');
         SELECT dbms_network_acl_admin.assign_acl('mail.xml', 'bücher.example.test', 25);
         SELECT dbms_network_acl_admin.append_host_ace('gone.example.test', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{gone}'));
         DROP ROLE {gone}"
    ));
    let entries = "SELECT string_agg(to_json(a)::text, E'\\n' ORDER BY to_json(a)::text)
                     FROM utl_smtp.host_ace AS a WHERE host <> 'gone.example.test'";
    let lists = "SELECT dbms_network_acl_admin.check_privilege('mail.xml', current_setting('e2e.app'), 'connect')";
    let copy = Database::empty("");
    restore(&database, &copy);
    let mut target = copy.superuser();
    assert_eq!(
        target.value::<String>(entries),
        source.value::<String>(entries)
    );
    let gone = "SELECT count(*) FROM utl_smtp.host_ace WHERE host = 'gone.example.test'";
    assert_eq!(
        (source.value::<i64>(gone), target.value::<i64>(gone)),
        (1, 0)
    );
    target.run(&format!("SET e2e.app = '{app}'"));
    assert_eq!(target.value::<i32>(lists), 1);
    // They are in force.
    let mut session = copy.connect(&app);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.quit(&mut session).unwrap();
    let denied = Open::to("10.1.2.3", 25).open(&mut session).unwrap_err();
    denied.expect("42501");
    peer.finish();
}

/// pg_dump, and psql with what it wrote.
fn restore(from: &Database, to: &Database) {
    let cluster = Cluster::shared();
    let program = |name: &str| {
        let mut command = Command::new(format!("{}/{name}", cluster.bin));
        command
            .args(["-h", &cluster.host, "-p", &cluster.port.to_string()])
            .args(["-U", &cluster.superuser, "--no-password"]);
        command
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let dump = program("pg_dump")
        .arg("-f")
        .arg(file.path())
        .arg(from.name())
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let load = program("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file.path())
        .args(["-d", to.name()])
        .output()
        .unwrap();
    assert!(
        load.status.success(),
        "{}",
        String::from_utf8_lossy(&load.stderr)
    );
}
