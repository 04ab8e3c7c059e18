//! Every fault of Postfix's smtp-sink, an independent server. Whatever it does, the error has the
//! right class, the session is in step or closed, and nothing leaks.

use e2e::process::{LIMITS, NEVER};
use e2e::test_bed::{CLIENT, cancel_waiting, lasts};
use e2e::{Failure, Open, Reply, Session, Sink, Smtp, TestBed, invariants};

/// The commands, by smtp-sink's names; each stands for the conversation up to it.
fn steps_to(command: &str) -> &'static [&'static str] {
    match command {
        "CONNECT" => &[],
        "HELO" => &["HELO"],
        "EHLO" => &["EHLO"],
        "VRFY" => &["EHLO", "VRFY"],
        "NOOP" => &["EHLO", "NOOP"],
        "QUIT" => &["EHLO", "QUIT"],
        "MAIL" => &["EHLO", "MAIL"],
        "RSET" => &["EHLO", "MAIL", "RSET"],
        "RCPT" => &["EHLO", "MAIL", "RCPT"],
        "DATA" => &["EHLO", "MAIL", "RCPT", "DATA"],
        "." => &["EHLO", "MAIL", "RCPT", "DATA", "."],
        _ => panic!("no such command: {command}"),
    }
}

const COMMANDS: [&str; 11] = [
    "CONNECT", "HELO", "EHLO", "VRFY", "NOOP", "QUIT", "MAIL", "RSET", "RCPT", "DATA", ".",
];

/// The phase after this command was refused; none if the session is closed.
fn phase_after_refusal(command: &str) -> Option<&'static str> {
    match command {
        "CONNECT" | "QUIT" => None,
        "HELO" | "EHLO" => Some("connected"),
        "VRFY" | "NOOP" | "MAIL" | "." => Some("ready"),
        "RSET" | "RCPT" => Some("mail"),
        "DATA" => Some("recipient"),
        _ => panic!("no such command: {command}"),
    }
}

fn say(session: &mut Session, smtp: &Smtp, command: &str) -> Result<Reply, Failure> {
    match command {
        "HELO" => smtp.helo(session, CLIENT),
        "EHLO" => Ok(smtp.ehlo(session, CLIENT)?.remove(0)),
        "VRFY" => smtp.reply(session, "vrfy", &[&"someone"]),
        "NOOP" => smtp.noop(session),
        "QUIT" => smtp.quit(session),
        "MAIL" => smtp.mail(session, "a@example.test"),
        "RSET" => smtp.rset(session),
        "RCPT" => smtp.rcpt(session, "b@example.test"),
        "DATA" => smtp.open_data(session),
        _ => {
            smtp.write_data(session, "Subject: sink\r\n\r\nbody\r\n")?;
            smtp.close_data(session)
        }
    }
}

/// Runs the conversation up to the command, then the command. Returns its outcome, and the
/// connection if one was opened.
fn run_to(
    session: &mut Session,
    sink: &Sink,
    command: &str,
) -> (Option<Smtp>, Result<Reply, Failure>) {
    let smtp = match Open::to("127.0.0.1", sink.port()).open(session) {
        Ok(smtp) => smtp,
        Err(failure) => return (None, Err(failure)),
    };
    let steps = steps_to(command);
    let Some((last, before)) = steps.split_last() else {
        panic!("smtp-sink greeted");
    };
    for step in before {
        say(session, &smtp, step).unwrap_or_else(|failure| panic!("{step}: {failure}"));
    }
    let outcome = say(session, &smtp, last);
    (Some(smtp), outcome)
}

fn phase(session: &mut Session) -> Option<String> {
    let rows = session.query("SELECT phase FROM utl_smtp.connections()", &[]);
    rows.unwrap().first().map(|row| row.get(0))
}

/// Continues the session's mail, or starts a new one, so that the server's reply counts again.
#[track_caller]
fn still_works(session: &mut Session, smtp: &Smtp, refused: &str) {
    if !["EHLO", "HELO"].contains(&refused) {
        for step in ["NOOP", "RSET", "EHLO"] {
            if step != refused {
                let reply = say(session, smtp, step).unwrap_or_else(|f| panic!("{refused}: {f}"));
                assert_eq!(reply.code, 250, "{step} after {refused}");
            }
        }
    }
    assert_eq!(say(session, smtp, "QUIT").unwrap().code, 221, "{refused}");
}

/// `-f` and `-r`: each command refused permanently and temporarily.
#[test]
fn each_refused_command_is_an_error_of_its_class_and_leaves_the_session_in_step() {
    let mut bed = TestBed::new();
    for (option, sqlstate, text) in [("-f", "U9279", "500 5.3.0"), ("-r", "U9278", "450 4.3.0")] {
        for command in COMMANDS {
            let sink = Sink::start(&format!("{option} {command}"));
            bed.check_invariants(&[], |session| {
                let (smtp, outcome) = run_to(session, &sink, command);
                if command == "VRFY" {
                    let code = text[..3].parse::<i32>().unwrap();
                    assert_eq!(outcome.unwrap().code, code, "never raised");
                } else {
                    let failure = outcome.expect_err(command).expect(sqlstate);
                    assert!(failure.message.contains(text), "{command}: {failure}");
                }
                assert_eq!(
                    phase(session).as_deref(),
                    phase_after_refusal(command),
                    "{command}"
                );
                match (smtp, phase_after_refusal(command)) {
                    (Some(smtp), None) => invariants::assert_over(session, &smtp),
                    (Some(smtp), Some(_)) => still_works(session, &smtp, command),
                    (None, _) => assert_eq!(command, "CONNECT"),
                }
            });
        }
    }
}

/// `-q` and `-Q`: the connection is cut at each command, without a reply and after 421.
#[test]
fn a_connection_cut_at_any_command_is_421_and_over() {
    let mut bed = TestBed::new();
    for option in ["-q", "-Q"] {
        for command in COMMANDS {
            let sink = Sink::start(&format!("{option} {command}"));
            bed.check_invariants(&[], |session| {
                let (smtp, outcome) = run_to(session, &sink, command);
                let case = format!("{option} {command}");
                match (command, option) {
                    // What passes any reply through, and what has nothing left to fail at.
                    ("VRFY", _) | ("QUIT", "-q") => {
                        assert_eq!(outcome.unwrap().code, 421, "{case}")
                    }
                    _ => {
                        let failure = outcome.expect_err(&case).expect("U9278");
                        assert!(failure.message.contains("421"), "{case}: {failure}");
                        let doubt = failure.detail.contains("may have been accepted");
                        assert_eq!(doubt, case == "-q .", "{case}: {failure}");
                    }
                }
                assert_eq!(phase(session), None, "{case}");
                if let Some(smtp) = smtp {
                    invariants::assert_over(session, &smtp);
                }
            });
        }
    }
}

fn capabilities(session: &mut Session) -> Vec<String> {
    session.value("SELECT coalesce(capabilities, '{}') FROM utl_smtp.connections()")
}

fn send(session: &mut Session, smtp: &Smtp, body: &str) -> Result<(), Failure> {
    smtp.mail(session, "a@example.test")?;
    smtp.rcpt(session, "b@example.test")?;
    smtp.data(session, body)?;
    smtp.quit(session)?;
    Ok(())
}

/// Extensions that are not offered are not used, and offered ones are.
#[test]
fn what_is_not_announced_is_not_used() {
    let mut bed = TestBed::new();
    for (option, missing) in [
        ("-8", "8BITMIME"),
        ("-a", "AUTH"),
        ("-p", "PIPELINING"),
        ("-N", "DSN"),
    ] {
        let sink = Sink::start(option);
        let message = format!("Subject: {option}\n\nnaïve\n");
        bed.check_invariants(&["wonderland"], |session| {
            let warnings = session.notices().len();
            let smtp = Open::to("127.0.0.1", sink.port()).open(session).unwrap();
            smtp.ehlo(session, CLIENT).unwrap();
            let offered = capabilities(session);
            assert!(offered.len() > 3, "{offered:?}");
            assert!(
                !offered.iter().any(|one| one.starts_with(missing)),
                "{offered:?}"
            );
            // In clear either counts as not offered.
            let schemes = "CRAM-MD5 PLAIN LOGIN";
            let refused = smtp
                .auth(session, "alice", "wonderland", schemes)
                .unwrap_err();
            refused.expect("U4250");
            send(session, &smtp, &message).unwrap();
            let warned = session.notices().len() - warnings;
            assert_eq!(warned, usize::from(option == "-8"), "{option}");
        });
        assert_eq!(sink.only_message(), message.as_bytes(), "{option}");
    }
}

/// `-e` and `-P`: a server without ESMTP, and one behind a firewall that masks its greeting.
#[test]
fn a_server_without_esmtp_takes_mail_after_helo() {
    let mut bed = TestBed::new();
    for option in ["-e", "-P"] {
        let sink = Sink::start(option);
        bed.check_invariants(&[], |session| {
            let smtp = Open::to("127.0.0.1", sink.port()).open(session).unwrap();
            if let Err(failure) = smtp.ehlo(session, CLIENT) {
                failure.expect("U9279");
            }
            assert_eq!(smtp.helo(session, CLIENT).unwrap().code, 250);
            assert_eq!(capabilities(session), Vec::<String>::new(), "{option}");
            send(session, &smtp, "Subject: old\n\nbody\n").unwrap();
        });
        assert_eq!(sink.only_message(), b"Subject: old\n\nbody\n", "{option}");
    }
}

/// smtp-sink accepts any password. It is sent without TLS only if the superuser allows that.
#[test]
fn a_password_goes_out_in_clear_only_where_the_superuser_allows_it() {
    let mut bed = TestBed::new();
    bed.database.set("utl_smtp.allow_cleartext_auth", "on");
    let mut session = bed.database.connect(&bed.role);
    let sink = Sink::start("");
    bed.check_invariants(&["wonderland"], |_| {
        let smtp = Open::to("127.0.0.1", sink.port())
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, CLIENT).unwrap();
        let reply = smtp
            .auth(&mut session, "alice", "wonderland", "PLAIN")
            .unwrap();
        // smtp-sink has one answer to everything.
        assert_eq!(reply.code, 250);
        smtp.quit(&mut session).unwrap();
    });
}

/// `-w` and `-W`: a late reply is awaited, and one that exceeds the limit ends the session.
#[test]
fn a_late_reply_is_waited_for_as_long_as_the_limit_allows() {
    let mut bed = TestBed::new();
    for (option, command) in [
        ("-w 1", "DATA"),
        ("-W EHLO:1", "EHLO"),
        ("-W MAIL:1", "MAIL"),
        ("-W RCPT:1", "RCPT"),
        ("-W .:1", "."),
        ("-W NOOP:1", "NOOP"),
    ] {
        let sink = Sink::start(option);
        bed.check_invariants(&[], |session| {
            let (smtp, outcome) = lasts(1, || run_to(session, &sink, command));
            assert!(outcome.unwrap().code < 400, "{option}");
            smtp.unwrap().close_connection(session).unwrap();
        });
    }
    for (option, command) in [
        ("-w 300", "DATA"),
        ("-W RCPT:300", "RCPT"),
        ("-W .:300", "."),
    ] {
        let sink = Sink::start(option);
        let (last, before) = steps_to(command).split_last().unwrap();
        bed.check_invariants(&[], |session| {
            let (smtp, limit) = within_limits(session, &sink, before);
            let failure = lasts(limit, || say(session, &smtp, last).unwrap_err());
            let failure = failure.expect("U9278");
            let ended = format!("tx_timeout of {limit} s");
            assert!(failure.detail.contains(&ended), "{option}: {failure}");
            invariants::assert_over(session, &smtp);
            assert_eq!(phase(session), None);
        });
    }
}

/// Lines with dots, bare line endings, eight-bit text and long lines, as text and as raw octets.
fn awkward_pieces() -> Vec<String> {
    let mut pieces: Vec<String> = [
        "Subject: awkward\r\n\r",
        "\n.",
        "\r\n",
        "..\r\n.a\n",
        ".",
        "\n\n.\r",
        "\r.\r\n",
        "Grüße あ\r",
        "\r\n",
        "From the start\n",
    ]
    .map(str::to_owned)
    .into();
    pieces.push("long ".repeat(3000) + "\n");
    pieces.extend((0..2000).map(|number| format!(".{number}\n")));
    pieces.push("no end".to_owned());
    pieces
}

/// The message as the server stores it.
fn as_kept(pieces: &[String]) -> Vec<u8> {
    let text = pieces.concat().replace("\r\n", "\n").replace('\r', "\n");
    (text + "\n").into_bytes()
}

/// The received octets equal the sent octets.
#[test]
fn the_message_arrives_as_it_was_written() {
    let mut bed = TestBed::new();
    let pieces = awkward_pieces();
    for (raw, option) in [
        (false, ""),
        (true, ""),
        (false, "-T 1024"),
        (true, "-H 1 -T 512"),
    ] {
        let sink = Sink::start(option);
        bed.check_invariants(&[], |session| {
            let smtp = Open::to("127.0.0.1", sink.port()).open(session).unwrap();
            smtp.ehlo(session, CLIENT).unwrap();
            smtp.mail(session, "a@example.test").unwrap();
            smtp.rcpt(session, "b@example.test").unwrap();
            smtp.open_data(session).unwrap();
            for piece in &pieces {
                match raw {
                    true => smtp.write_raw_data(session, piece.as_bytes()).unwrap(),
                    false => smtp.write_data(session, piece).unwrap(),
                }
            }
            assert_eq!(smtp.close_data(session).unwrap().code, 250);
            smtp.quit(session).unwrap();
        });
        assert!(
            sink.only_message() == as_kept(&pieces),
            "raw: {raw}, {option}"
        );
    }
}

/// Two megabytes: more than the socket buffers hold with such a small window.
const BODY: &str = "SELECT utl_smtp.data($1::text::utl_smtp.connection, repeat(repeat('x', 98) || E'\\r\\n', 20000))";

fn body(session: &mut Session, smtp: &Smtp) -> Result<(), Failure> {
    session.query_one(BODY, &[&smtp.handle])?;
    Ok(())
}

const TO_RCPT: [&str; 3] = ["EHLO", "MAIL", "RCPT"];

/// Opens a connection with this time limit and sends these commands.
fn said(
    session: &mut Session,
    sink: &Sink,
    limit: i32,
    commands: &[&str],
) -> Result<Smtp, Failure> {
    let open = Open::to("127.0.0.1", sink.port()).timeout(limit);
    let smtp = open.open(session)?;
    for command in commands {
        say(session, &smtp, command)?;
    }
    Ok(smtp)
}

/// The same with the shortest time limit that is sufficient; also returns that limit in seconds.
#[track_caller]
fn within_limits(session: &mut Session, sink: &Sink, commands: &[&str]) -> (Smtp, i32) {
    let within = LIMITS.into_iter().find_map(|limit| {
        let smtp = said(session, sink, limit, commands).ok()?;
        Some((smtp, limit))
    });
    within.expect("the commands take more than a minute")
}

/// `-T`, `-H`: a tiny window, and a server that does not read at first.
#[test]
fn a_slow_window_takes_the_whole_message() {
    let mut bed = TestBed::new();
    for option in ["-T 1024 -H 1", "-T 4096"] {
        let sink = Sink::start(option);
        bed.check_invariants(&[], |session| {
            let smtp = said(session, &sink, NEVER, &TO_RCPT).unwrap();
            session.query_one(BODY, &[&smtp.handle]).unwrap();
            smtp.quit(session).unwrap();
        });
        let expected = ("x".repeat(98) + "\n").repeat(20_000);
        assert!(sink.only_message() == expected.as_bytes(), "{option}");
    }
}

/// The same with a cancel, and with a time limit: no part of the message counts.
#[test]
fn a_slow_window_can_be_cancelled_and_meets_the_deadline() {
    let mut bed = TestBed::new();
    let mut observer = bed.database.superuser();
    for cancelled in [true, false] {
        let sink = Sink::start("-T 1 -H 300");
        bed.check_invariants(&[], |session| {
            let smtp = if cancelled {
                let smtp = said(session, &sink, NEVER, &TO_RCPT).unwrap();
                let failure =
                    cancel_waiting(session, &mut observer, |session| body(session, &smtp));
                failure.expect("57014");
                smtp
            } else {
                let (smtp, limit) = within_limits(session, &sink, &TO_RCPT);
                let failure = lasts(limit, || body(session, &smtp).unwrap_err());
                failure.expect("U9278");
                smtp
            };
            invariants::assert_over(session, &smtp);
            assert_eq!(phase(session), None);
        });
        let received = sink.messages_so_far();
        assert!(received.iter().all(|one| one.len() < 2_000_000));
    }
}

/// `-A`: a server refuses in the middle of the message and stops reading. A refusal that arrives
/// after the whole message was sent is the reply to the message.
#[test]
fn a_refusal_in_the_middle_of_a_message_ends_the_session() {
    let mut bed = TestBed::new();
    for option in ["-A 0", "-A 1 -T 1024"] {
        let sink = Sink::start(option);
        bed.check_invariants(&[], |session| {
            let (smtp, _) = within_limits(session, &sink, &TO_RCPT);
            let failure = body(session, &smtp).unwrap_err();
            if failure.sqlstate == "U9279" {
                assert!(failure.message.contains("550 This violates"), "{failure}");
            } else {
                failure.expect("U9278");
                invariants::assert_over(session, &smtp);
            }
        });
    }
}

/// One server, many sessions in sequence and in parallel; none is left.
#[test]
fn many_sessions_leave_nothing_behind() {
    let mut bed = TestBed::new();
    let sink = Sink::start("-m 8");
    bed.check_invariants(&[], |session| {
        for _ in 0..20 {
            let open: Vec<Smtp> = (0..8)
                .map(|_| Open::to("127.0.0.1", sink.port()).open(session).unwrap())
                .collect();
            for smtp in &open {
                smtp.ehlo(session, CLIENT).unwrap();
            }
            for smtp in open {
                send(session, &smtp, "Subject: many\n").unwrap();
            }
        }
    });
    assert_eq!(sink.messages().len(), 160);
}
