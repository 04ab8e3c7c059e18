//! Message data: whatever a body holds, the server hears one message with one end, and only what was meant to be sent.

use e2e::peer::Ending;
use e2e::scene::{CLIENT, Stage};
use e2e::{Database, Failure, MailServer, Open, Peer, Scene, Script, Session, Smtp, vigil};
use postgres::NoTls;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::time::Duration;

/// What has been used to smuggle a second message past servers that take more than CRLF for a line end.
const SMUGGLING: [&str; 8] = [
    "\n.\n",
    "\n.\r",
    "\r.\n",
    "\r.\r",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
];
const SMUGGLING_WITH_NUL: &[u8] = b"\r\n\0.\r\n";

/// Up to RCPT, all welcome; 8BITMIME is offered.
fn ready() -> Script {
    Script::greeting()
        .on("EHLO", "250-peer\r\n250 8BITMIME")
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
}

fn ready_for_one() -> Script {
    ready().message("250 queued").quit()
}

/// What this writes is what a transaction of its own sends.
type Write<'a> = &'a dyn Fn(&mut Session, &Smtp) -> Result<(), Failure>;

/// Each in a connection of its own; hands over what the server heard between DATA and the final dot.
#[track_caller]
fn heard(scene: &mut Scene, writes: &[Write<'_>]) -> Vec<Vec<u8>> {
    let record = scene.play(ready_for_one(), |stage| {
        for write in writes {
            let smtp = address(stage);
            smtp.open_data(stage.session).unwrap();
            write(stage.session, &smtp).unwrap();
            assert_eq!(smtp.close_data(stage.session).unwrap().code, 250);
            assert_eq!(smtp.quit(stage.session).unwrap().code, 221);
        }
    });
    let conversations = record.conversations.iter();
    conversations
        .map(|conversation| {
            assert!(conversation.completed(), "{conversation}");
            check_framing(&conversation.plain);
            conversation.message()
        })
        .collect()
}

/// Up to RCPT.
#[track_caller]
fn address(stage: &mut Stage<'_>) -> Smtp {
    let smtp = stage.greet();
    smtp.mail(stage.session, "a@example.test").unwrap();
    smtp.rcpt(stage.session, "b@example.test").unwrap();
    smtp
}

/// No bare CR, no bare LF, no NUL, and one final dot, with nothing but QUIT behind it.
#[track_caller]
fn check_framing(wire: &[u8]) {
    let text = wire.escape_ascii().to_string();
    assert!(!wire.contains(&0), "{text}");
    for (index, byte) in wire.iter().enumerate() {
        let fits = match byte {
            b'\r' => wire.get(index + 1) == Some(&b'\n'),
            b'\n' => index > 0 && wire[index - 1] == b'\r',
            _ => true,
        };
        assert!(fits, "a bare {} in {text}", byte.escape_ascii());
    }
    let end = wire
        .windows(5)
        .position(|five| five == b"\r\n.\r\n")
        .expect("no final dot");
    assert_eq!(
        &wire[end + 5..],
        b"QUIT\r\n",
        "behind the first final dot of {text}"
    );
}

/// What a server makes of the lines it heard.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

/// The body with the line ends that it should have had.
fn normalised(body: &str) -> Vec<u8> {
    let lines = body.replace("\r\n", "\n").replace('\r', "\n");
    let ended = if lines.is_empty() || lines.ends_with('\n') {
        lines
    } else {
        lines + "\n"
    };
    ended.replace('\n', "\r\n").into_bytes()
}

/// DAT-01
#[test]
fn every_leading_dot_is_doubled_and_comes_back_single() {
    let mut scene = Scene::new();
    let bodies = [
        ".\r\n",
        "..\r\n",
        ".a",
        ".",
        "....",
        ".\r\nafter\r\n",
        "Subject: x\r\n\r\n.\r\nafter\r\n",
        "Subject: x\r\n.header\r\n\r\nbody\r\n.\r\n",
        "a.b\r\n .c\r\nd.\r\n",
        ".\r\n.\r\n.\r\n",
    ];
    let writes = bodies.map(|body| move |s: &mut Session, c: &Smtp| c.write_data(s, body));
    let writes: Vec<Write<'_>> = writes.iter().map(|write| write as Write<'_>).collect();
    for (body, wire) in bodies.iter().zip(heard(&mut scene, &writes)) {
        assert_eq!(unstuffed(&wire), normalised(body), "{body:?}");
        for line in wire.split_inclusive(|byte| *byte == b'\n') {
            assert!(
                !line.starts_with(b".") || line.starts_with(b".."),
                "{body:?}"
            );
        }
    }
}

/// DAT-02: how the caller cuts the text changes nothing, in the text form and in the raw form.
#[test]
fn a_dot_line_cut_at_any_point_is_the_same_dot_line() {
    let mut scene = Scene::new();
    let body = "a\r\n.\r\n..\r\n\r.\r\n.";
    let mut writes: Vec<Box<dyn Fn(&mut Session, &Smtp) -> Result<(), Failure>>> = Vec::new();
    for raw in [false, true] {
        for cut in 0..=body.len() {
            writes.push(Box::new(move |session, smtp| {
                let (left, right) = body.split_at(cut);
                write_pieces(session, smtp, &[left, right], raw)
            }));
        }
        writes.push(Box::new(move |session, smtp| {
            let pieces: Vec<&str> = body.split_inclusive(|_| true).collect();
            write_pieces(session, smtp, &pieces, raw)
        }));
    }
    let writes: Vec<Write<'_>> = writes.iter().map(|write| &**write as Write<'_>).collect();
    let expected = b"a\r\n..\r\n...\r\n\r\n..\r\n..\r\n";
    for wire in heard(&mut scene, &writes) {
        assert_eq!(wire, expected, "{}", wire.escape_ascii());
    }
}

fn write_pieces(
    session: &mut Session,
    smtp: &Smtp,
    pieces: &[&str],
    raw: bool,
) -> Result<(), Failure> {
    pieces.iter().try_for_each(|piece| match raw {
        true => smtp.write_raw_data(session, piece.as_bytes()),
        false => smtp.write_data(session, piece),
    })
}

/// DAT-03, DAT-04, DAT-05, DAT-06, DAT-07, DAT-08, DAT-09, DAT-10, DAT-12: in one piece, and with a cut in
/// every place.
#[test]
fn no_smuggling_sequence_ends_a_message() {
    let mut scene = Scene::new();
    let smuggled = "MAIL FROM:<evil@x>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nsmuggled";
    let bodies = SMUGGLING.map(|sequence| format!("first{sequence}{smuggled}{sequence}"));
    let mut writes: Vec<Box<dyn Fn(&mut Session, &Smtp) -> Result<(), Failure> + '_>> = Vec::new();
    let mut expected = Vec::new();
    for (body, sequence) in bodies.iter().zip(SMUGGLING) {
        for raw in [false, true] {
            for cut in 0..=sequence.len() {
                let (left, right) = body.split_at("first".len() + cut);
                writes.push(Box::new(move |session, smtp| {
                    write_pieces(session, smtp, &[left, right], raw)
                }));
                expected.push(normalised(body));
            }
        }
    }
    let writes: Vec<Write<'_>> = writes.iter().map(|write| &**write as Write<'_>).collect();
    let heard = heard(&mut scene, &writes);
    assert_eq!(heard.len(), expected.len());
    for (wire, expected) in heard.iter().zip(expected) {
        assert_eq!(unstuffed(wire), expected, "{}", wire.escape_ascii());
    }
}

/// DAT-11, DAT-12: a text can't hold a NUL, and bytes must not.
#[test]
fn a_nul_in_a_body_is_refused_and_the_rest_can_still_be_sent() {
    let mut scene = Scene::new();
    let refused = |session: &mut Session, smtp: &Smtp| {
        smtp.write_data(session, "one\r\n")?;
        let nul = smtp
            .write_raw_data(session, SMUGGLING_WITH_NUL)
            .unwrap_err();
        assert!(nul.expect("22023").message.contains("\"data\""));
        let text = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection, \
                    convert_from('\\x0d0a002e0d0a', 'UTF8'))";
        let nul = Failure::from(session.execute(text, &[&smtp.handle]).unwrap_err());
        nul.expect("22021");
        smtp.write_data(session, "two\r\n")
    };
    let heard = heard(&mut scene, &[&refused]);
    assert_eq!(heard[0], b"one\r\ntwo\r\n");
}

/// DAT-13: Postfix, which refuses a message with a bare LF in it, takes each as one message.
#[test]
fn postfix_takes_every_smuggling_sequence_as_plain_text() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = database.role_for(&mail.host, mail.plain);
    let smtp = Open::to(&mail.host, mail.plain).open(&mut session).unwrap();
    smtp.ehlo(&mut session, CLIENT).unwrap();
    let mut sent = Vec::new();
    for (number, sequence) in SMUGGLING.iter().enumerate() {
        for raw in [false, true] {
            let mark = format!("smuggling-{number}-{raw}-{}", std::process::id());
            let body = format!("before{sequence}MAIL FROM:<evil@example.test>\r\nafter{sequence}");
            smtp.mail(&mut session, "sender@foo.test").unwrap();
            smtp.rcpt(&mut session, "bob@example.test").unwrap();
            smtp.open_data(&mut session).unwrap();
            smtp.write_data(&mut session, &format!("Subject: {mark}\r\n\r\n"))
                .unwrap();
            write_pieces(&mut session, &smtp, &[&body], raw).unwrap();
            let reply = smtp
                .close_data(&mut session)
                .unwrap_or_else(|failure| panic!("{sequence:?}: {failure}"));
            assert_eq!(reply.code, 250, "{sequence:?}: {reply:?}");
            sent.push((mark, body));
        }
    }
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    smtp.quit(&mut session).unwrap();
    for (mark, body) in sent {
        let delivered = mail.delivered("bob", &mark);
        let expected = String::from_utf8(normalised(&body))
            .unwrap()
            .replace("\r\n", "\n");
        let text = String::from_utf8_lossy(delivered.body()).into_owned();
        assert_eq!(text, expected, "{body:?}");
        assert_eq!(mail.count("bob", &mark), 1);
    }
    let log = std::fs::read_to_string(&mail.log).unwrap();
    assert!(!log.contains("bare <LF>"), "Postfix has met a bare LF");
}

/// DAT-14: by data() and by the three calls.
#[test]
fn exactly_one_line_end_stands_before_the_final_dot() {
    let mut scene = Scene::new();
    for (body, expected) in [
        ("", ""),
        ("a", "a\r\n"),
        ("a\r\n", "a\r\n"),
        ("a\r", "a\r\n"),
        ("a\n", "a\r\n"),
        ("a\r\n\r\n", "a\r\n\r\n"),
        ("\r\n", "\r\n"),
        (".", "..\r\n"),
    ] {
        let record = scene.play(ready_for_one(), |stage| {
            let smtp = address(stage);
            assert_eq!(smtp.data(stage.session, body).unwrap().code, 250);
            smtp.quit(stage.session).unwrap();
        });
        assert_eq!(record.only().message(), expected.as_bytes(), "{body:?}");
        check_framing(&record.only().plain);
        let write: Write<'_> = &|session, smtp| smtp.write_data(session, body);
        assert_eq!(
            heard(&mut scene, &[write])[0],
            expected.as_bytes(),
            "{body:?}"
        );
    }
    let nothing: Write<'_> = &|_, _| Ok(());
    assert_eq!(heard(&mut scene, &[nothing])[0], b"");
}

/// DAT-15
#[test]
fn lines_are_as_long_as_the_caller_made_them() {
    let mut scene = Scene::new();
    for length in [998, 999, 1024 * 1024] {
        let write: Write<'_> = &|session, smtp| {
            let sql = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection, repeat('x', $2))";
            session.execute(sql, &[&smtp.handle, &length])?;
            Ok(())
        };
        let wire = &heard(&mut scene, &[write])[0];
        assert_eq!(wire.len(), length as usize + 2);
        assert!(wire[..length as usize].iter().all(|byte| *byte == b'x'));
    }
}

/// DAT-16
#[test]
fn eight_bit_text_is_sent_with_one_warning_a_message() {
    let mut scene = Scene::new();
    let transaction = Script::new()
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
        .message("250 queued");
    let twice = transaction
        .clone()
        .then(transaction.clone())
        .then(transaction);
    for (offer, warnings) in [("250 SIZE 1000", 2), ("250 8BITMIME", 0)] {
        let script = Script::greeting()
            .on("EHLO", &format!("250-peer\r\n{offer}"))
            .then(twice.clone())
            .quit();
        let record = scene.play(script, |stage| {
            let before = stage.session.notices().len();
            let smtp = stage.greet();
            for body in [&["Grüße\r\n", "あ", "é"][..], &["plain"], &["ä", "ö"]] {
                smtp.mail(stage.session, "a@example.test").unwrap();
                smtp.rcpt(stage.session, "b@example.test").unwrap();
                smtp.open_data(stage.session).unwrap();
                write_pieces(stage.session, &smtp, body, false).unwrap();
                smtp.close_data(stage.session).unwrap();
            }
            smtp.quit(stage.session).unwrap();
            let said = stage.session.notices().split_off(before);
            assert_eq!(said.len(), warnings, "{said:?}");
            for warning in said {
                assert_eq!(warning.severity(), "WARNING");
                assert!(warning.message().contains("8BITMIME"), "{warning:?}");
            }
        });
        assert!(record.only().heard("Grüße\r\nあé\r\n.\r\n".as_bytes()));
        assert!(record.only().heard("äö\r\n.\r\n".as_bytes()));
    }
}

/// DAT-17: no 354, no data, in either form.
#[test]
fn nothing_is_sent_unless_the_server_says_354() {
    let mut scene = Scene::new();
    for (reply, sqlstate, over) in [
        ("250 ok", "U9278", true),
        ("221 bye", "U9278", true),
        ("220 ready", "U9278", true),
        ("334 ", "U9278", true),
        ("355 ok", "U9278", true),
        ("421 closing", "U9278", true),
        ("451 later", "U9278", false),
        ("554 no valid recipients", "U9279", false),
        ("garbage", "U9278", true),
        ("3540 go", "U9278", true),
    ] {
        for whole in [true, false] {
            let script = ready()
                .on("DATA", reply)
                .answer(|_| b"250 ok\r\n".to_vec())
                .quit();
            let record = scene.play(script, |stage| {
                let smtp = address(stage);
                let failure = match whole {
                    true => smtp.data(stage.session, "the body"),
                    false => smtp.open_data(stage.session),
                };
                let failure = failure.expect_err(reply).expect(sqlstate);
                if over {
                    vigil::assert_over(stage.session, &smtp);
                    smtp.write_data(stage.session, "the body")
                        .unwrap_err()
                        .expect("U9278");
                    smtp.close_data(stage.session).unwrap_err().expect("U9278");
                } else {
                    assert!(failure.message.contains(reply), "{failure}");
                    smtp.write_data(stage.session, "the body")
                        .unwrap_err()
                        .expect("U9277");
                    smtp.close_data(stage.session).unwrap_err().expect("U9277");
                    smtp.noop(stage.session).unwrap();
                    smtp.quit(stage.session).unwrap();
                }
            });
            let heard = record.only();
            assert!(
                !heard.heard(b"the body") && !heard.heard(b"\r\n.\r\n"),
                "{reply}: {heard}"
            );
            assert_eq!(heard.lines()[3], "DATA");
            assert_eq!(
                heard.lines().len(),
                if over { 4 } else { 6 },
                "{reply}: {heard}"
            );
        }
    }
}

/// DAT-17, with the failure returned instead of raised: the body must not follow then either.
#[test]
fn a_returned_refusal_of_data_sends_no_body() {
    let mut scene = Scene::new();
    for (reply, code) in [("451 later", 451), ("554 no", 554), ("250 ok", 421)] {
        let record = scene.play(ready().on("DATA", reply).drain(), |stage| {
            stage.session.run("SET utl_smtp.raise_reply_errors = off");
            let smtp = address(stage);
            assert_eq!(smtp.data(stage.session, "the body").unwrap().code, code);
            smtp.close_connection(stage.session).unwrap();
            stage.session.run("RESET utl_smtp.raise_reply_errors");
        });
        assert_eq!(record.only().lines().len(), 4, "{}", record.only());
    }
}

/// More than a socket's buffers hold, written without the client's having to send it.
fn flood(session: &mut Session, smtp: &Smtp) -> Result<(), Failure> {
    session.try_run(&format!(
        "DO $$ BEGIN FOR i IN 1 .. 50 LOOP
             PERFORM utl_smtp.write_data('{}', repeat('x', 1000000));
         END LOOP; END $$",
        smtp.handle
    ))
}

/// DAT-20
#[test]
fn a_server_that_stops_reading_meets_the_deadline_of_a_write() {
    let mut scene = Scene::new();
    warm_up(&mut scene);
    let record = scene.play(ready().on("DATA", "354 go ahead").hold(), |stage| {
        let smtp = stage.open().timeout(1).open(stage.session).unwrap();
        stage.ehlo(&smtp);
        smtp.mail(stage.session, "a@example.test").unwrap();
        smtp.rcpt(stage.session, "b@example.test").unwrap();
        smtp.open_data(stage.session).unwrap();
        let failure = flood(stage.session, &smtp).unwrap_err().expect("U9278");
        assert!(failure.message.contains("421"), "{failure}");
        assert!(failure.detail.contains("tx_timeout of 1 s"), "{failure}");
        assert!(failure.detail.contains("sending message data"), "{failure}");
        assert!(
            !failure.detail.contains("may have been accepted"),
            "{failure}"
        );
        vigil::assert_over(stage.session, &smtp);
    });
    assert!(!record.only().heard(b"\r\n.\r\n"));
}

/// DAT-20, DAT-22: a cancel in the middle of a write ends the session, and no one catches it on the way.
#[test]
fn a_cancel_in_the_middle_of_a_write_ends_the_session() {
    let mut scene = Scene::new();
    warm_up(&mut scene);
    let record = scene.play(ready().on("DATA", "354 go ahead").hold(), |stage| {
        let smtp = address(stage);
        smtp.open_data(stage.session).unwrap();
        let token = stage.session.cancel_token();
        let cancel = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            token.cancel_query(NoTls).unwrap();
        });
        flood(stage.session, &smtp).unwrap_err().expect("57014");
        cancel.join().unwrap();
        smtp.write_data(stage.session, "more")
            .unwrap_err()
            .expect("U9278");
        smtp.close_data(stage.session).unwrap_err().expect("U9278");
        vigil::assert_over(stage.session, &smtp);
        assert_eq!(stage.sessions(), 0);
    });
    assert!(!record.only().heard(b"\r\n.\r\n") && !record.only().heard(b"RSET"));
}

/// DAT-21
#[test]
fn an_unanswered_final_dot_may_have_been_enough() {
    let mut scene = Scene::new();
    let dot = || ready().on("DATA", "354 go ahead").body();
    for (case, script) in [
        ("stall", dot().hold()),
        ("end", dot().cut()),
        ("half a reply", dot().send("250 qu").cut()),
        ("reset", dot().reset()),
    ] {
        scene.play(script, |stage| {
            let smtp = stage.open().timeout(1).open(stage.session).unwrap();
            stage.ehlo(&smtp);
            smtp.mail(stage.session, "a@example.test").unwrap();
            smtp.rcpt(stage.session, "b@example.test").unwrap();
            let failure = smtp
                .data(stage.session, "body")
                .unwrap_err()
                .expect("U9278");
            let doubt = "may have been accepted";
            assert!(failure.detail.contains(doubt), "{case}: {failure}");
            assert!(failure.context.contains("end of data"), "{case}: {failure}");
            vigil::assert_over(stage.session, &smtp);
        });
    }
    for (reply, sqlstate, over) in [
        ("421 4.3.2 closing", "U9278", true),
        ("451 4.3.0 try later", "U9278", false),
        ("552 5.3.4 too big", "U9279", false),
        ("554 5.7.1 spam", "U9279", false),
    ] {
        let script = dot()
            .send(format!("{reply}\r\n"))
            .answer(|_| b"250 ok\r\n".to_vec());
        scene.play(script, |stage| {
            let smtp = address(stage);
            let failure = smtp
                .data(stage.session, "body")
                .unwrap_err()
                .expect(sqlstate);
            assert!(failure.message.contains(reply), "{failure}");
            assert!(
                !failure.detail.contains("may have been accepted"),
                "{failure}"
            );
            match over {
                true => vigil::assert_over(stage.session, &smtp),
                false => assert_eq!(smtp.noop(stage.session).unwrap().code, 250),
            }
            smtp.close_connection(stage.session).unwrap();
        });
    }
}

/// DAT-21: a server may think about a message for long.
#[test]
fn a_late_reply_to_the_final_dot_is_waited_for() {
    let mut scene = Scene::new();
    let slow = ready()
        .on("DATA", "354 go ahead")
        .body()
        .sleep(Duration::from_millis(1500))
        .send("250 queued at last\r\n")
        .quit();
    scene.play(slow, |stage| {
        let smtp = address(stage);
        assert_eq!(
            smtp.data(stage.session, "body").unwrap().text,
            "queued at last"
        );
        smtp.quit(stage.session).unwrap();
    });
}

/// DAT-22: an error that is not the connection's leaves it where it was: in the message.
#[test]
fn errors_and_rollbacks_leave_the_message_open() {
    let mut scene = Scene::new();
    let write: Write<'_> = &|session, smtp| {
        smtp.write_data(session, "one\r\n")?;
        session.try_run("SELECT 1/0").unwrap_err().expect("22012");
        let null = format!("SELECT utl_smtp.write_data('{}', NULL)", smtp.handle);
        session.try_run(&null).unwrap_err().expect("22023");
        session.run(&format!(
            "BEGIN; SAVEPOINT s; SELECT utl_smtp.write_data('{}', E'two\\n'); ROLLBACK TO s; ROLLBACK",
            smtp.handle
        ));
        let commands: [(&str, Result<(), Failure>); 8] = [
            ("rset", smtp.rset(session).map(drop)),
            ("noop", smtp.noop(session).map(drop)),
            ("mail", smtp.mail(session, "x@example.test").map(drop)),
            ("rcpt", smtp.rcpt(session, "x@example.test").map(drop)),
            ("open_data", smtp.open_data(session).map(drop)),
            ("data", smtp.data(session, "x").map(drop)),
            ("command", smtp.command(session, "RSET", None).map(drop)),
            ("starttls", smtp.starttls(session).map(drop)),
        ];
        for (name, outcome) in commands {
            let failure = outcome.expect_err(name).expect("U9277");
            assert!(failure.hint.contains("close_data"), "{name}: {failure}");
        }
        smtp.write_data(session, "three\r\n")
    };
    assert_eq!(heard(&mut scene, &[write])[0], b"one\r\ntwo\r\nthree\r\n");
}

/// DAT-23: by a client that goes away, by pg_terminate_backend, by an error that is FATAL.
#[test]
fn a_backend_that_ends_inside_a_message_does_not_finish_it() {
    let scene = Scene::new();
    let peer = Peer::start(ready().on("DATA", "354 go ahead").body());
    let begin = |session: &mut Session| {
        let smtp = Open::to("127.0.0.1", peer.port()).open(session).unwrap();
        smtp.ehlo(session, CLIENT).unwrap();
        smtp.mail(session, "a@example.test").unwrap();
        smtp.rcpt(session, "b@example.test").unwrap();
        smtp.open_data(session).unwrap();
        // More than is gathered, so that some of it is on its way.
        smtp.write_data(session, &"line\r\n".repeat(20_000))
            .unwrap();
    };
    let mut leaving = scene.database.connect(&scene.role);
    begin(&mut leaving);
    drop(leaving);
    let mut terminated = scene.database.connect(&scene.role);
    begin(&mut terminated);
    let terminate = format!("SELECT pg_terminate_backend({}, 5000)", terminated.pid());
    assert!(scene.database.superuser().value::<bool>(&terminate));
    let mut fatal = scene.database.connect(&scene.role);
    begin(&mut fatal);
    fatal.run("SET idle_session_timeout = '100ms'");
    std::thread::sleep(Duration::from_millis(500));
    assert!(fatal.try_run("SELECT 1").is_err());
    let record = peer.finish();
    assert_eq!(record.accepted(), 3);
    for conversation in &record.conversations {
        assert!(conversation.heard(b"DATA\r\nline\r\n"));
        assert!(!conversation.heard(b"\r\n.\r\n") && !conversation.heard(b"QUIT"));
        assert!(
            matches!(conversation.ending, Ending::ClientLeft(_)),
            "{:?}",
            conversation.ending
        );
    }
}

/// DAT-24
#[test]
fn quit_inside_a_message_is_refused_and_close_connection_gives_it_up() {
    let mut scene = Scene::new();
    let record = scene.play(ready().on("DATA", "354 go ahead").body(), |stage| {
        let smtp = address(stage);
        smtp.open_data(stage.session).unwrap();
        smtp.write_data(stage.session, "half a message\r\n")
            .unwrap();
        let failure = smtp.quit(stage.session).unwrap_err().expect("U9277");
        assert!(failure.hint.contains("close_connection"), "{failure}");
        let phase: String = stage
            .session
            .value("SELECT phase FROM utl_smtp.connections()");
        assert_eq!(phase, "data");
        smtp.close_connection(stage.session).unwrap();
        assert_eq!(stage.sessions(), 0);
        smtp.close_connection(stage.session).unwrap();
    });
    let heard = record.only();
    assert!(
        !heard.heard(b"\r\n.\r\n") && !heard.heard(b"QUIT"),
        "{heard}"
    );
    assert!(
        matches!(heard.ending, Ending::ClientLeft(_)),
        "{:?}",
        heard.ending
    );
}

/// DAT-25: a text of more than 1 GB can't be, and a message of more than 2 GB is counted right.
#[test]
fn a_message_of_more_than_two_gigabytes_is_counted_and_costs_no_memory() {
    let mut scene = Scene::new();
    warm_up(&mut scene);
    let (port, sink) = sink();
    scene.watch(&[], |session| {
        let smtp = Open::to("127.0.0.1", port)
            .timeout(60)
            .open(session)
            .unwrap();
        smtp.open_data(session).unwrap();
        let impossible = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection,
                                                     repeat('x', 1073741824))";
        let failure = Failure::from(session.execute(impossible, &[&smtp.handle]).unwrap_err());
        failure.expect("54000");
        session.run(&format!(
            "DO $$ BEGIN FOR i IN 1 .. 2200 LOOP
                 PERFORM utl_smtp.write_data('{}', repeat('x', 1000000));
             END LOOP; END $$",
            smtp.handle
        ));
        smtp.close_data(session).unwrap();
        let counted: i64 = session.value("SELECT bytes_sent FROM utl_smtp.connections()");
        // Besides: the line DATA, the line end that was missing, the dot.
        assert_eq!(counted, 2_200_000_000 + 6 + 2 + 3);
        smtp.close_connection(session).unwrap();
    });
    assert_eq!(sink.join().unwrap(), 2_200_000_011);
}

/// A server that takes one message and keeps nothing of it; ends with how many octets it read.
fn sink() -> (u16, std::thread::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 sink\r\n").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let mut octets = 0;
        loop {
            let length = stream.read(&mut buffer).unwrap();
            if length == 0 {
                return octets;
            }
            octets += length as u64;
            let read = &buffer[..length];
            if read.ends_with(b"DATA\r\n") {
                stream.write_all(b"354 go ahead\r\n").unwrap();
            } else if read.ends_with(b".\r\n") {
                stream.write_all(b"250 gone\r\n").unwrap();
            }
        }
    });
    (port, thread)
}

/// PL/pgSQL and a large text cost memory once, whatever is done with them.
fn warm_up(scene: &mut Scene) {
    scene
        .session
        .run("DO $$ BEGIN PERFORM length(repeat('x', 1000000)); END $$");
}
