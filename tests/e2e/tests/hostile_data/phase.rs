//! Before 354, between 354 and the final dot, and after it.

use super::*;

/// Without 354 no data is sent, in either form.
#[test]
fn nothing_is_sent_unless_the_server_says_354() {
    let mut bed = TestBed::new();
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
            let record = bed.play(script, |case| {
                let smtp = address(case);
                let failure = match whole {
                    true => smtp.data(case.session, "the body"),
                    false => smtp.open_data(case.session),
                };
                let failure = failure.expect_err(reply).expect(sqlstate);
                if over {
                    invariants::assert_over(case.session, &smtp);
                    smtp.write_data(case.session, "the body")
                        .unwrap_err()
                        .expect("U9278");
                    smtp.close_data(case.session).unwrap_err().expect("U9278");
                } else {
                    assert!(failure.message.contains(reply), "{failure}");
                    smtp.write_data(case.session, "the body")
                        .unwrap_err()
                        .expect("U9277");
                    smtp.close_data(case.session).unwrap_err().expect("U9277");
                    smtp.noop(case.session).unwrap();
                    smtp.quit(case.session).unwrap();
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

/// If the failure is returned instead of raised, the body must not be sent either.
#[test]
fn a_returned_refusal_of_data_sends_no_body() {
    let mut bed = TestBed::new();
    for (reply, code) in [("451 later", 451), ("554 no", 554), ("250 ok", 421)] {
        let record = bed.play(ready().on("DATA", reply).drain(), |case| {
            case.session.run("SET utl_smtp.raise_reply_errors = off");
            let smtp = address(case);
            assert_eq!(smtp.data(case.session, "the body").unwrap().code, code);
            smtp.close_connection(case.session).unwrap();
            case.session.run("RESET utl_smtp.raise_reply_errors");
        });
        assert_eq!(record.only().lines().len(), 4, "{}", record.only());
    }
}

/// One write of more than a socket's buffers hold, without the client's having to send it.
fn flood(session: &mut Session, smtp: &Smtp) -> Result<(), Failure> {
    session.try_run(&format!(
        "SELECT utl_smtp.write_data('{}', repeat('x', 50000000))",
        smtp.handle
    ))
}

#[test]
fn a_server_that_stops_reading_meets_the_deadline_of_a_write() {
    let mut bed = TestBed::new();
    let script = ready().on("DATA", "354 go ahead").hold();
    let in_data = |case: &mut Case<'_>, limit: i32| {
        let smtp = address_within(case, limit)?;
        smtp.open_data(case.session)?;
        Ok(smtp)
    };
    let record = bed.play_to_the_limit(&script, &[], in_data, |case, smtp, limit| {
        let failure = lasts(limit, || flood(case.session, &smtp).unwrap_err()).expect("U9278");
        assert!(failure.message.contains("421"), "{failure}");
        let ended = format!("tx_timeout of {limit} s");
        assert!(failure.detail.contains(&ended), "{failure}");
        assert!(failure.detail.contains("sending message data"), "{failure}");
        assert!(
            !failure.detail.contains("may have been accepted"),
            "{failure}"
        );
        invariants::assert_over(case.session, &smtp);
    });
    assert!(!record.only().heard(b"\r\n.\r\n"));
}

/// A cancel during a write ends the session, and no handler catches it.
#[test]
fn a_cancel_in_the_middle_of_a_write_ends_the_session() {
    let mut bed = TestBed::new();
    let mut observer = bed.database.superuser();
    let record = bed.play(ready().on("DATA", "354 go ahead").hold(), |case| {
        let smtp = address_within(case, NEVER).unwrap();
        smtp.open_data(case.session).unwrap();
        let failure = case.cancel(&mut observer, |session| flood(session, &smtp));
        failure.expect("57014");
        smtp.write_data(case.session, "more")
            .unwrap_err()
            .expect("U9278");
        smtp.close_data(case.session).unwrap_err().expect("U9278");
        invariants::assert_over(case.session, &smtp);
        assert_eq!(case.sessions(), 0);
    });
    assert!(!record.only().heard(b"\r\n.\r\n") && !record.only().heard(b"RSET"));
}

#[test]
fn after_an_unanswered_final_dot_the_message_may_have_been_accepted() {
    let mut bed = TestBed::new();
    let dot = || ready().on("DATA", "354 go ahead").body();
    // Not by `data`: on a busy machine the limit may end its wait for 354.
    let in_data = |case: &mut Case<'_>, limit: i32| {
        let smtp = address_within(case, limit)?;
        smtp.open_data(case.session)?;
        smtp.write_data(case.session, "body")?;
        Ok(smtp)
    };
    bed.play_to_the_limit(&dot().hold(), &[], in_data, |case, smtp, limit| {
        let stalled = lasts(limit, || smtp.close_data(case.session).unwrap_err());
        in_doubt("stall", &stalled.expect("U9278"));
        invariants::assert_over(case.session, &smtp);
    });
    for (ending, script) in [
        ("end", dot().cut()),
        ("half a reply", dot().send("250 qu").cut()),
        ("reset", dot().reset()),
    ] {
        bed.play(script, |case| {
            let smtp = address(case);
            let failure = smtp.data(case.session, "body").unwrap_err().expect("U9278");
            in_doubt(ending, &failure);
            invariants::assert_over(case.session, &smtp);
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
        bed.play(script, |case| {
            let smtp = address(case);
            let failure = smtp
                .data(case.session, "body")
                .unwrap_err()
                .expect(sqlstate);
            assert!(failure.message.contains(reply), "{failure}");
            assert!(
                !failure.detail.contains("may have been accepted"),
                "{failure}"
            );
            match over {
                true => invariants::assert_over(case.session, &smtp),
                false => assert_eq!(smtp.noop(case.session).unwrap().code, 250),
            }
            smtp.close_connection(case.session).unwrap();
        });
    }
}

#[track_caller]
fn in_doubt(ending: &str, failure: &Failure) {
    let doubt = "may have been accepted";
    assert!(failure.detail.contains(doubt), "{ending}: {failure}");
    assert!(
        failure.context.contains("end of data"),
        "{ending}: {failure}"
    );
}

/// A server may take long to process a message.
#[test]
fn a_late_reply_to_the_final_dot_is_waited_for() {
    let mut bed = TestBed::new();
    let slow = ready()
        .on("DATA", "354 go ahead")
        .body()
        .sleep(Duration::from_millis(1500))
        .send("250 queued at last\r\n")
        .quit();
    bed.play(slow, |case| {
        let smtp = address(case);
        assert_eq!(
            smtp.data(case.session, "body").unwrap().text,
            "queued at last"
        );
        smtp.quit(case.session).unwrap();
    });
}

/// Half a minute exceeds none of the internal limits.
#[test]
fn a_reply_to_the_final_dot_after_half_a_minute_is_waited_for() {
    let mut bed = TestBed::new();
    let slow = ready()
        .on("DATA", "354 go ahead")
        .body()
        .sleep(Duration::from_secs(31))
        .send("250 queued at last\r\n")
        .quit();
    bed.play(slow, |case| {
        let smtp = address_within(case, NEVER).unwrap();
        let reply = smtp.data(case.session, "body").unwrap();
        assert_eq!(reply.text, "queued at last");
        smtp.quit(case.session).unwrap();
    });
}

/// An error unrelated to the connection leaves it inside the message.
#[test]
fn errors_and_rollbacks_leave_the_message_open() {
    let mut bed = TestBed::new();
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
    assert_eq!(heard(&mut bed, &[write])[0], b"one\r\ntwo\r\nthree\r\n");
}

/// By a disconnecting client, by pg_terminate_backend, and by a FATAL error.
#[test]
fn a_backend_that_ends_inside_a_message_does_not_finish_it() {
    let bed = TestBed::new();
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
    let mut leaving = bed.database.connect(&bed.role);
    begin(&mut leaving);
    drop(leaving);
    let mut terminated = bed.database.connect(&bed.role);
    begin(&mut terminated);
    let terminate = format!("SELECT pg_terminate_backend({}, 60000)", terminated.pid());
    assert!(bed.database.superuser().value::<bool>(&terminate));
    let mut fatal = bed.database.connect(&bed.role);
    begin(&mut fatal);
    fatal.run("SET idle_session_timeout = '100ms'");
    let pid = fatal.pid();
    wait_until("the idle backend ends", || !process::is_alive(pid));
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

#[test]
fn quit_inside_a_message_is_refused_and_close_connection_gives_it_up() {
    let mut bed = TestBed::new();
    let record = bed.play(ready().on("DATA", "354 go ahead").body(), |case| {
        let smtp = address(case);
        smtp.open_data(case.session).unwrap();
        smtp.write_data(case.session, "half a message\r\n").unwrap();
        let failure = smtp.quit(case.session).unwrap_err().expect("U9277");
        assert!(failure.hint.contains("close_connection"), "{failure}");
        let phase: String = case
            .session
            .value("SELECT phase FROM utl_smtp.connections()");
        assert_eq!(phase, "data");
        smtp.close_connection(case.session).unwrap();
        assert_eq!(case.sessions(), 0);
        smtp.close_connection(case.session).unwrap();
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

/// A text cannot exceed 1 GB, and a message of more than 2 GB is counted correctly.
#[test]
fn a_message_of_more_than_two_gigabytes_is_counted_and_costs_no_memory() {
    let mut bed = TestBed::new();
    let (port, sink) = sink();
    bed.check_invariants(&[], |session| {
        let smtp = Open::to("127.0.0.1", port)
            .timeout(NEVER)
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

/// A server that accepts one message and discards it; returns the number of octets read.
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
