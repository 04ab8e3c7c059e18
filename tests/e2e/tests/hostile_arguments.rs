//! Arguments that try to be more than one argument: nothing that a caller gives ends a line, begins a second command
//! or smuggles parameters, and what is refused has sent nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::scene::{CLIENT, Stage};
use e2e::smtp::Argument;
use e2e::{Database, Failure, Open, Peer, Scene, Script, Session, Smtp};

/// One text argument of one routine, with everything else as it should be.
type Call = fn(&mut Session, &Smtp, &str) -> Result<(), Failure>;

/// Every text argument that becomes part of a command line.
const ON_THE_WIRE: &[(&str, Call)] = &[
    ("helo domain", |s, c, x| discard(c.helo(s, x))),
    ("ehlo domain", |s, c, x| discard(c.ehlo(s, x))),
    ("mail sender", |s, c, x| discard(c.mail(s, x))),
    ("mail parameters", |s, c, x| {
        discard(c.reply(s, "mail", &[&"a@example.test", &x]))
    }),
    ("rcpt recipient", |s, c, x| discard(c.rcpt(s, x))),
    ("rcpt parameters", |s, c, x| {
        discard(c.reply(s, "rcpt", &[&"a@example.test", &x]))
    }),
    ("vrfy recipient", |s, c, x| {
        discard(c.reply(s, "vrfy", &[&x]))
    }),
    ("help command", |s, c, x| {
        discard(c.replies(s, "help", &[&x]))
    }),
    ("command cmd", |s, c, x| discard(c.command(s, x, None))),
    ("command arg", |s, c, x| {
        discard(c.command(s, "NOOP", Some(x)))
    }),
    ("command_replies cmd", |s, c, x| {
        discard(c.replies(s, "command_replies", &[&x]))
    }),
    ("command_replies arg", |s, c, x| {
        discard(c.replies(s, "command_replies", &[&"NOOP", &x]))
    }),
    ("auth username", |s, c, x| {
        discard(c.auth(s, x, "secret", "PLAIN"))
    }),
    ("auth password", |s, c, x| {
        discard(c.auth(s, "user", x, "PLAIN"))
    }),
];

/// Those that are checked and do not appear on the wire.
const ELSEWHERE: &[(&str, Call)] = &[
    ("auth schemes", |s, c, x| {
        discard(c.auth(s, "user", "secret", x))
    }),
    ("starttls secure_host", |s, c, x| {
        discard(c.reply(s, "starttls", &[&x]))
    }),
    ("open_connection host", |s, _, x| {
        discard(Open::to(x, 25).open(s))
    }),
    ("open_connection secure_host", |s, _, x| {
        discard(Open::to("127.0.0.1", 25).secure_host(x).open(s))
    }),
    ("open_connection wallet_path", |s, _, x| {
        discard(Open::to("127.0.0.1", 25).wallet(x).open(s))
    }),
];

fn discard<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    result.map(drop)
}

/// A server that offers all that would let an argument through, and says yes to everything but AUTH.
fn agreeable(lines: usize) -> Script {
    const OFFERS: &[u8] =
        b"250-peer\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";
    (0..=lines).fold(Script::greeting(), |script, _| {
        script.answer(|line| match line.split(' ').next() {
            Some("EHLO") => OFFERS.to_vec(),
            Some("AUTH") => b"535 no\r\n".to_vec(),
            Some("QUIT") => b"221 bye\r\n".to_vec(),
            _ => b"250 ok\r\n".to_vec(),
        })
    })
}

/// A scene in which PLAIN may be used in clear, so that AUTH gets as far as its arguments.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.database.set("utl_smtp.allow_cleartext_auth", "on");
    let session = scene.database.connect(&scene.role);
    Scene { session, ..scene }
}

/// Plays `act` after EHLO, says QUIT, and hands over the lines between the two.
#[track_caller]
fn lines_of(scene: &mut Scene, act: impl FnOnce(&mut Stage<'_>, &Smtp)) -> Vec<String> {
    let record = scene.play(agreeable(4000), |stage| {
        let smtp = stage.greet();
        act(stage, &smtp);
        assert_eq!(smtp.quit(stage.session).unwrap().code, 221);
    });
    let mut lines = record.only().lines();
    assert_eq!(lines.remove(0), format!("EHLO {CLIENT}"));
    assert_eq!(lines.pop().unwrap(), "QUIT");
    lines
}

/// INJ-01, INJ-02, INJ-05, INJ-06: nor is the value repeated, since it may be a secret.
#[test]
fn a_line_break_in_any_argument_is_refused_and_nothing_is_sent() {
    let mut scene = scene();
    let payloads = [
        "a@b>\r\nRCPT TO:<evil@x",
        "a@example.test\nRSET",
        "a@example.test\rRSET",
        "x\r\nMAIL FROM:<a>",
        "BODY=8BITMIME\r\nDATA",
        "SIZE=1 AUTH=<>\nX",
        "NOOP\r\nRSET",
        "PLAIN\r\nNOOP",
        "file:/tmp\r\nNOOP",
        "a\r\n",
        "a\n",
        "a\r",
        "\r\na",
        "\n",
        "\r",
    ];
    let lines = lines_of(&mut scene, |stage, smtp| {
        for payload in payloads {
            for (argument, call) in ON_THE_WIRE.iter().chain(ELSEWHERE) {
                let failure = call(stage.session, smtp, payload)
                    .expect_err(&format!("{argument}: {payload:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{argument} {payload:?}: {failure}"
                );
                let name = argument.split(' ').nth(1).unwrap();
                assert!(
                    failure.message.contains(&format!("\"{name}\"")),
                    "{argument}: {failure}"
                );
            }
        }
        assert_eq!(stage.sessions(), 1);
    });
    assert_eq!(lines, [""; 0]);
}

/// INJ-02: the other control characters, C1 and DEL among them. A password may hold them: it goes out as base64.
#[test]
fn no_control_character_gets_into_a_command_line() {
    let mut scene = scene();
    let lines = lines_of(&mut scene, |stage, smtp| {
        for control in [
            "\x01", "\t", "\x0b", "\x1b[2J", "\x7f", "\u{80}", "\u{85}", "\u{9f}",
        ] {
            for (argument, call) in ON_THE_WIRE.iter().chain(ELSEWHERE) {
                if argument.starts_with("auth ") && *argument != "auth schemes" {
                    continue;
                }
                let failure = call(stage.session, smtp, &format!("a{control}b"))
                    .expect_err(&format!("{argument}: {control:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{argument} {control:?}: {failure}"
                );
                assert!(
                    !format!("{failure}").contains(control),
                    "{argument}: {failure}"
                );
            }
        }
    });
    assert_eq!(lines, [""; 0]);
}

/// INJ-03: PostgreSQL's text has no NUL, so it can only come as bytes or percent-encoded.
#[test]
fn a_nul_is_refused_wherever_it_can_come_from() {
    let mut scene = scene();
    let record = scene.play(
        agreeable(0)
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .message("250 ok")
            .quit(),
        |stage| {
            let located = stage.open().wallet("file:/tmp/a%00b").open(stage.session);
            assert!(
                located
                    .unwrap_err()
                    .expect("22023")
                    .message
                    .contains("wallet_path")
            );
            let smtp = stage.greet();
            for call in [
                "ehlo",
                "helo",
                "mail",
                "rcpt",
                "vrfy",
                "command",
                "write_data",
            ] {
                let sql = format!(
                    "SELECT utl_smtp.{call}('{}', convert_from('\\x610062', 'UTF8'))",
                    smtp.handle
                );
                stage.session.try_run(&sql).unwrap_err().expect("22021");
            }
            smtp.mail(stage.session, "a@example.test").unwrap();
            smtp.rcpt(stage.session, "b@example.test").unwrap();
            smtp.open_data(stage.session).unwrap();
            smtp.write_data(stage.session, "one").unwrap();
            let nul = smtp.write_raw_data(stage.session, b"x\0y").unwrap_err();
            assert!(nul.expect("22023").message.contains("\"data\""));
            smtp.close_data(stage.session).unwrap();
            smtp.quit(stage.session).unwrap();
        },
    );
    assert_eq!(record.only().message(), b"one\r\n");
}

/// INJ-07
#[test]
fn an_address_is_one_address_and_parameters_have_their_own_argument() {
    let mut scene = scene();
    let lines = lines_of(&mut scene, |stage, smtp| {
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
                    .reply(stage.session, function, &[&payload])
                    .expect_err(&format!("{function}: {payload:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{function} {payload:?}: {failure}"
                );
            }
        }
        smtp.rcpt(stage.session, "").unwrap_err().expect("22023");
        smtp.rcpt(stage.session, "<>").unwrap_err().expect("22023");
        for address in ["a@b.test", "<a@b.test>"] {
            smtp.mail(stage.session, address).unwrap();
            let parameters: &[Argument<'_>] = &[&address, &"NOTIFY=NEVER"];
            smtp.reply(stage.session, "rcpt", parameters).unwrap();
        }
        for null_sender in ["", "<>"] {
            smtp.mail(stage.session, null_sender).unwrap();
        }
    });
    let pair = ["MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test> NOTIFY=NEVER"];
    assert_eq!(lines, [&pair[..], &pair, &["MAIL FROM:<>"; 2]].concat());
}

/// INJ-08
#[test]
fn a_quoted_local_part_is_sent_as_it_is() {
    let mut scene = scene();
    let quoted = [
        r#""a\"b c"@d.test"#,
        r#""a>b"@d.test"#,
        r#""a@b"@d.test"#,
        r#""a\\"@d.test"#,
    ];
    let lines = lines_of(&mut scene, |stage, smtp| {
        for address in quoted {
            smtp.rcpt(stage.session, address).unwrap();
            smtp.rcpt(stage.session, &format!("<{address}>")).unwrap();
        }
        for broken in ["\"a\rb\"@d.test", "\"a\\\rb\"@d.test", "\"a\nb\"@d.test"] {
            smtp.rcpt(stage.session, broken)
                .unwrap_err()
                .expect("22023");
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

/// INJ-09
#[test]
fn command_leaves_what_changes_the_session_to_its_routine() {
    let mut scene = scene();
    let lines = lines_of(&mut scene, |stage, smtp| {
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
            let failure = smtp.command(stage.session, command, argument).unwrap_err();
            assert!(failure.hint.contains(routine), "{command:?}: {failure}");
            failure.expect("U9277");
            let failure = smtp
                .replies(stage.session, "command_replies", &[&command, &argument])
                .unwrap_err();
            assert!(failure.hint.contains(routine), "{command:?}: {failure}");
            failure.expect("U9277");
        }
        for empty in ["", " "] {
            smtp.command(stage.session, empty, Some("DATA"))
                .unwrap_err()
                .expect("22023");
        }
        smtp.command(stage.session, "NOOP", Some("DATA")).unwrap();
        let phase: String = stage
            .session
            .value("SELECT phase FROM utl_smtp.connections()");
        assert_eq!(phase, "ready");
    });
    assert_eq!(lines, ["NOOP DATA"]);
}

/// INJ-17: the line is sent whole or not at all.
#[test]
fn a_command_line_is_at_most_998_octets_and_never_cut() {
    let mut scene = scene();
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
    let lines = lines_of(&mut scene, |stage, smtp| {
        for (before, after, call) in makers {
            for octets in [512, 998, 999, 100_000] {
                let filler = "x".repeat(octets - before.len() - after);
                let outcome = call(stage.session, smtp, &filler);
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
        smtp.command(stage.session, "AUTH", Some(&auth))
            .unwrap_err()
            .expect("U9279");
        expected.push(format!("AUTH {auth}"));
        let longer = format!("{auth}=");
        smtp.command(stage.session, "AUTH", Some(&longer))
            .unwrap_err()
            .expect("22023");
    });
    assert_eq!(lines, expected);
}

/// INJ-18: whatever an argument is, the server hears one line or nothing.
#[test]
fn random_arguments_make_one_line_or_none() {
    let mut scene = scene();
    let seed = 0x1234_5678_9abc_def0 ^ u64::from(std::process::id());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut sent = 0;
    let mut refused = 0;
    let record = scene.play(agreeable(4000), |stage| {
        let smtp = stage.greet();
        for _ in 0..100 {
            for (argument, call) in ON_THE_WIRE {
                let text = random.text();
                match call(stage.session, &smtp, &text) {
                    Ok(()) => sent += 1,
                    Err(failure) if failure.sqlstate == "U9279" => sent += 1,
                    Err(failure) => {
                        refused += 1;
                        assert_eq!(failure.sqlstate, "22023", "{argument} {text:?}: {failure}");
                    }
                }
            }
        }
        smtp.quit(stage.session).unwrap();
    });
    assert!(
        sent > 100 && refused > 100,
        "{sent} sent, {refused} refused"
    );
    let heard = &record.only().plain;
    let lines = heard.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    // EHLO and QUIT besides, and what follows the last line end.
    assert_eq!(lines.len(), sent + 3);
    assert_eq!(lines.last().unwrap(), b"");
    for line in &lines[..lines.len() - 1] {
        let text = line.strip_suffix(b"\r").expect("a bare LF");
        assert!(
            !text.contains(&b'\r') && !text.contains(&0),
            "{}",
            text.escape_ascii()
        );
        assert!(std::str::from_utf8(text).is_ok(), "{}", text.escape_ascii());
    }
}

/// Xorshift: enough for texts, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Addresses and names with a sprinkling of what breaks them.
    fn text(&mut self) -> String {
        let plain = [
            "a",
            "example.test",
            "@",
            "user@",
            "SIZE=1",
            "b",
            "<",
            ">",
            "\"",
        ];
        let nasty = [
            "\r",
            "\n",
            "\r\n",
            "\t",
            " ",
            "\\",
            ".",
            "\u{2028}",
            "\u{85}",
            "é",
            "用",
            "\u{1f600}",
        ];
        let length = 1 + self.below(4);
        let mut text = String::new();
        for _ in 0..length {
            match self.below(8) {
                0 | 1 => text.push_str(nasty[self.below(nasty.len() as u64) as usize]),
                2 => text.extend(char::from_u32(1 + self.below(0x10_ffff) as u32)),
                _ => text.push_str(plain[self.below(plain.len() as u64) as usize]),
            }
        }
        text
    }
}

/// A role's session in a database of this encoding, and a peer that it may talk to.
fn encoded(encoding: &str, script: Script) -> (Database, Session, Peer, Smtp) {
    let database = Database::empty(&format!("ENCODING '{encoding}' LOCALE 'C'"));
    database.superuser().run("CREATE EXTENSION utl_smtp");
    database.set("utl_smtp.allow_cleartext_auth", "on");
    let peer = Peer::start(script);
    let mut session = database.role_for("127.0.0.1", peer.port());
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    (database, session, peer, smtp)
}

/// INJ-11: a client that speaks UTF-8 to a database that does not.
#[test]
fn text_of_any_database_encoding_goes_out_as_utf_8() {
    for (encoding, word, domain, a_label) in [
        ("LATIN1", "grüße", "bücher.example", "xn--bcher-kva.example"),
        (
            "SQL_ASCII",
            "grüße",
            "bücher.example",
            "xn--bcher-kva.example",
        ),
        ("EUC_JP", "挨拶", "日本語.example", "xn--wgv71a119e.example"),
        ("UTF8", "привет", "日本語.example", "xn--wgv71a119e.example"),
    ] {
        let script = agreeable(5).message("250 ok").quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        smtp.ehlo(&mut session, domain).unwrap();
        smtp.mail(&mut session, &format!("{word}@{domain}"))
            .unwrap();
        smtp.rcpt(&mut session, &format!("<{word}@example.test>"))
            .unwrap();
        smtp.command(&mut session, "NOOP", Some(word)).unwrap();
        smtp.reply(&mut session, "vrfy", &[&word]).unwrap();
        smtp.auth(&mut session, word, word, "PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.data(&mut session, word).unwrap();
        smtp.quit(&mut session).unwrap();
        let record = peer.finish();
        let plain = STANDARD.encode(format!("\0{word}\0{word}"));
        let expected = [
            format!("EHLO {a_label}"),
            format!("MAIL FROM:<{word}@{a_label}> SMTPUTF8"),
            format!("RCPT TO:<{word}@example.test>"),
            format!("NOOP {word}"),
            format!("VRFY {word}"),
            format!("AUTH PLAIN {plain}"),
            "DATA".to_owned(),
            word.to_owned(),
            ".".to_owned(),
            "QUIT".to_owned(),
        ];
        assert_eq!(record.only().lines(), expected, "{encoding}");
    }
}

/// INJ-11: bytes that are no text in any encoding do not reach the wire.
#[test]
fn invalid_bytes_of_a_database_without_encoding_are_refused() {
    let script = agreeable(2).message("250 ok").quit();
    let (_database, mut session, peer, smtp) = encoded("SQL_ASCII", script);
    smtp.ehlo(&mut session, CLIENT).unwrap();
    // E'…\xfc' is one byte here: LATIN1's ü.
    for call in [
        r"helo($1, E'b\xfccher.example')",
        r"ehlo($1, E'b\xfccher.example')",
        r"mail($1, E'\xfc@example.test')",
        r"mail($1, 'a@example.test', E'X=\xfc')",
        r"rcpt($1, E'\xfc@example.test')",
        r"vrfy($1, E'\xfc')",
        r"help($1, E'\xfc')",
        r"command($1, E'NOOP \xfc')",
        r"command($1, 'NOOP', E'\xe3\x81')",
        r"auth($1, E'\xfc', 'x', 'PLAIN')",
        r"auth($1, 'x', E'\xfc', 'PLAIN')",
        r"starttls($1, E'\xfc.example')",
        r"data($1, E'\xfc')",
    ] {
        let call = call.replace("$1", &format!("'{}'", smtp.handle));
        let failure = session
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err();
        assert_eq!(failure.sqlstate, "22023", "{call}: {failure}");
    }
    smtp.mail(&mut session, "a@example.test").unwrap();
    smtp.rcpt(&mut session, "b@example.test").unwrap();
    smtp.open_data(&mut session).unwrap();
    let write = format!(r"SELECT utl_smtp.write_data('{}', E'\xfc')", smtp.handle);
    session.try_run(&write).unwrap_err().expect("22023");
    // Bytes are another matter: they are the caller's.
    smtp.write_raw_data(&mut session, b"\xfc").unwrap();
    smtp.close_data(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    let record = peer.finish();
    assert_eq!(record.only().message(), b"\xfc\r\n");
    assert_eq!(record.only().lines().len(), 7, "{}", record.only());
}

/// INJ-11, RPL-10: a reply has characters that the database has not.
#[test]
fn replies_come_back_in_the_encoding_of_the_database() {
    for (encoding, expected) in [
        ("LATIN1", "größe ??"),
        ("EUC_JP", "gr??e 挨拶"),
        ("UTF8", "größe 挨拶"),
        ("SQL_ASCII", "größe 挨拶"),
    ] {
        let script = Script::greeting()
            .on("NOOP", "250 größe 挨拶")
            .on("RSET", "550 größe 挨拶")
            .quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        let text = smtp.noop(&mut session).unwrap().text;
        // EUC_JP has ö and ß or not, depending on which of its planes is looked at.
        let fits = text == expected || encoding == "EUC_JP" && text.ends_with(" 挨拶");
        assert!(fits, "{encoding}: {text}");
        let failure = smtp.rset(&mut session).unwrap_err().expect("U9279");
        assert!(failure.message.contains("550 gr"), "{encoding}: {failure}");
        smtp.quit(&mut session).unwrap();
        peer.finish();
    }
}
