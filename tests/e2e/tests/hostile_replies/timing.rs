//! Replies that arrive late, slowly, or never.

use super::*;

/// An endless reply can be cancelled before it reaches the cap.
#[test]
fn an_endless_reply_can_be_cancelled() {
    let mut bed = TestBed::new();
    let mut observer = bed.database.superuser();
    let endless = "250-x\r\n".repeat(9000);
    for step in [Ehlo, Noop] {
        let script = step.script().drip(&endless, Duration::from_millis(5));
        bed.play(script, |case| {
            let smtp = step.prepare(case, NEVER);
            let failure = case.cancel(&mut observer, |session| step.call(session, &smtp));
            failure.expect("57014");
            assert_over(case.session, &smtp);
        });
    }
}

/// One deadline applies to the whole command, however often a byte arrives.
#[test]
fn a_dripping_reply_ends_at_the_deadline() {
    let mut bed = bed();
    // Longer than a limit may be, and shorter than a reply may be.
    let drip =
        |script: Script| script.drip("250-never\r\n".repeat(100), Duration::from_millis(100));
    for step in [Ehlo, Auth, Dot, Vrfy, Quit] {
        let script = drip(step.script());
        bed.play_to_the_limit(
            &script,
            &[PASSWORD],
            |case, limit| step.try_prepare(case, limit),
            |case, smtp, limit| {
                // QUIT has a limit of its own, too.
                let limit = if step == Quit { limit.min(5) } else { limit };
                lasts(limit, || {
                    assert_timed_out(step, step.call(case.session, &smtp));
                });
                assert_over(case.session, &smtp);
            },
        );
    }
    bed.play(drip(Script::new()), |case| {
        let open = case.open().timeout(1);
        let failure = lasts(1, || open.open(case.session).unwrap_err());
        assert!(failure.expect("U9278").detail.contains("tx_timeout"));
    });
}

/// The connection is lost by the time limit, not by the end of the data.
#[track_caller]
fn assert_timed_out(step: Step, outcome: Result<i32, Failure>) {
    if let Err(failure) = &outcome {
        assert!(failure.detail.contains("tx_timeout"), "{step:?}: {failure}");
    }
    assert_lost(step, outcome);
}

/// One limit applies to everything that `data` waits for: each reply arrives within it, but not
/// both.
#[test]
fn data_has_one_deadline_for_its_replies() {
    let mut bed = bed();
    let reached = LIMITS.into_iter().any(|limit| {
        let pause = Duration::from_secs(limit.try_into().unwrap()) * 3 / 5;
        let script = Data.script().sleep(pause).send("354 go\r\n").body();
        let script = script.sleep(pause).send("250 ok\r\n").drain();
        let mut reached = false;
        bed.play(script, |case| {
            let Ok(smtp) = Data.try_prepare(case, limit) else {
                return;
            };
            reached = true;
            let failure = smtp.data(case.session, "body\r\n").unwrap_err();
            let ended = format!("tx_timeout of {limit} s");
            assert!(failure.detail.contains(&ended), "{failure}");
            failure.expect("U9278");
            assert_over(case.session, &smtp);
        });
        reached
    });
    assert!(reached);
}

/// When the late reply arrives, the connection is closed, so it is not taken for another's.
#[test]
fn a_late_reply_meets_a_closed_connection() {
    let mut bed = bed();
    for step in [Ehlo, Mail, Dot, Vrfy] {
        let script = step.script().await_release().send("250 late\r\n").line();
        let record = bed.play_to_the_limit(
            &script,
            &[],
            |case, limit| step.try_prepare(case, limit),
            |case, smtp, limit| {
                lasts(limit, || {
                    assert_timed_out(step, step.call(case.session, &smtp));
                });
                case.peer.release();
                assert_over(case.session, &smtp);
            },
        );
        assert!(
            !record.only().completed(),
            "{step:?}: the connection was still open"
        );
    }
}

/// No greeting, or a connection that ends before or within it.
#[test]
fn a_greeting_that_does_not_come_is_a_transient_error() {
    let mut bed = TestBed::new();
    let open = |case: &mut Case<'_>, limit: i32| {
        let open = case.open().timeout(limit);
        let failure = lasts(limit, || open.open(case.session).unwrap_err());
        let failure = failure.expect("U9278");
        let (smtp, reply) = open.open_reply(case.session).unwrap();
        assert!(smtp.is_none());
        assert_eq!(reply.code, 421);
        let reason = format!(
            "Service not available: the tx_timeout of {limit} s ended \
             while waiting for the greeting"
        );
        // A busy machine may not be connected before the limit is over.
        let waited = failure.detail.contains("greeting") && reply.text == reason;
        waited.then_some(()).ok_or(failure)
    };
    bed.play_to_the_limit(&Script::new().hold(), &[], open, |_, (), _| ());
    for begin in ["", "22", "220 half", "220-one\r\n"] {
        for script in [
            Script::new().send(begin).cut(),
            Script::new().send(begin).reset(),
        ] {
            bed.play(script, |case| {
                let failure = case.open().open(case.session).unwrap_err().expect("U9278");
                assert!(
                    failure.message.contains("421 Service not available"),
                    "{failure}"
                );
                assert_eq!(case.sessions(), 0);
            });
        }
    }
}

/// QUIT waits only briefly for its reply, and always frees the connection.
#[test]
fn quit_is_bounded_and_frees_the_connection() {
    let mut bed = TestBed::new();
    let silent = Quit.script().hold();
    bed.play_to_the_limit(
        &silent,
        &[],
        |case, limit| Quit.try_prepare(case, limit),
        |case, smtp, limit| {
            let reply = lasts(limit.min(5), || smtp.quit(case.session).unwrap());
            assert_eq!(reply.code, 421);
            let reason = "ended while waiting for the reply to QUIT";
            assert!(reply.text.contains(reason), "{}", reply.text);
            assert_eq!(case.sessions(), 0);
        },
    );
    // A longer tx_timeout does not lengthen it beyond five seconds.
    bed.play(silent, |case| {
        let smtp = Quit.prepare(case, 90);
        let began = Instant::now();
        let reply = lasts(5, || smtp.quit(case.session).unwrap());
        assert_eq!(reply.code, 421);
        assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
        assert_eq!(case.sessions(), 0);
    });
    // A refusal is one, in whatever words.
    for reply in [
        "451 4.3.0 later",
        "500 5.5.2 what",
        "421 Service not available",
    ] {
        let script = Quit.script().send(format!("{reply}\r\n"));
        bed.play(script, |case| {
            let smtp = Quit.prepare(case, 60);
            assert!(
                smtp.quit(case.session)
                    .unwrap_err()
                    .message
                    .ends_with(reply)
            );
            assert_eq!(case.sessions(), 0);
        });
    }
}

/// The connection ends, cleanly or not, before a reply, in its first line, and between its lines.
#[test]
fn a_connection_lost_at_any_step_is_421() {
    let mut bed = bed();
    for part in ["", "25", "250-one\r\n"] {
        type Loss = fn(Script) -> Script;
        let losses: [Loss; 2] = [Script::cut, Script::reset];
        for lose in losses {
            let scripts = STEPS.map(|step| lose(step.script().send(part)));
            bed.play_each(scripts.to_vec(), &[PASSWORD], |case| {
                for step in STEPS {
                    let smtp = step.prepare(case, 60);
                    assert_lost(step, step.call(case.session, &smtp));
                    assert_eq!(case.sessions(), 0, "{step:?}");
                    assert_over(case.session, &smtp);
                }
            });
        }
    }
}

/// The connection is lost between commands, and while the message is being sent.
#[test]
fn a_connection_lost_between_commands_or_inside_a_message_is_421() {
    let mut bed = bed();
    type Loss = fn(Script) -> Script;
    let losses: [Loss; 2] = [Script::cut, Script::reset];
    for lose in losses {
        for step in [Helo, Mail, Noop, Auth, StartTls, Vrfy, Quit] {
            let ready = Script::greeting().on("EHLO", "250-peer\r\n250 AUTH PLAIN");
            bed.play(lose(ready.await_release()), |case| {
                let smtp = case.greet();
                case.peer.release_and_arrive();
                assert_lost(step, step.call(case.session, &smtp));
                assert_over(case.session, &smtp);
            });
        }
        let data = Script::greeting()
            .on("EHLO", "250 peer")
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .on("DATA", "354 go");
        bed.play(lose(data.await_release()), |case| {
            let smtp = Dot.prepare(case, 60);
            case.peer.release_and_arrive();
            let line = "x".repeat(78) + "\r\n";
            let lost = (0..200_000)
                .find_map(|_| smtp.write_data(case.session, &line.repeat(400)).err())
                .expect("writing into the void");
            assert_lost(Dot, Err(lost));
            assert_over(case.session, &smtp);
        });
    }
}

/// A caller that checks replies gets the reason why there is none.
#[test]
fn a_421_that_is_returned_gives_the_reason() {
    let mut bed = bed();
    let lost = |case: &mut Case<'_>, smtp: &Smtp, step: Step, reason: &str| {
        case.session.run("SET utl_smtp.raise_reply_errors = off");
        let reply = match step {
            Dot => smtp.close_data(case.session),
            Quit => smtp.quit(case.session),
            _ => smtp.noop(case.session),
        };
        let reply = reply.unwrap();
        assert_eq!(reply.code, 421);
        assert_eq!(reply.text, format!("Service not available: {reason}"));
        let reply = smtp.noop(case.session).unwrap();
        assert_eq!(
            reply.text,
            "Service not available: there is no open connection"
        );
        case.session.run("RESET utl_smtp.raise_reply_errors");
    };
    let cases = [
        (
            Noop,
            Noop.script().cut(),
            "the server closed the connection, while waiting for the reply to NOOP",
        ),
        (
            Noop,
            Noop.script().hold(),
            "the tx_timeout of {limit} s ended while waiting for the reply to NOOP",
        ),
        (
            Noop,
            Noop.script().send("nonsense\r\n"),
            "malformed reply: \"nonsense\"",
        ),
        (
            Noop,
            Noop.script().send("354-go\r\n354 on\r\n"),
            "unexpected reply: 354-go 354 on",
        ),
        (
            Dot,
            Dot.script().cut(),
            "the server closed the connection, while waiting for the reply to end of data; the message may have been accepted",
        ),
        (
            Quit,
            Quit.script().cut(),
            "the server closed the connection, while waiting for the reply to QUIT",
        ),
    ];
    for (step, script, reason) in cases {
        bed.play_to_the_limit(
            &script,
            &[],
            |case, limit| step.try_prepare(case, limit),
            |case, smtp, limit| {
                let reason = reason.replace("{limit}", &limit.to_string());
                lost(case, &smtp, step, &reason);
            },
        );
    }
    // What the server said itself is its own reason.
    let script = Script::greeting().on("EHLO", "250 peer\r\n421 4.3.2 shutting down");
    bed.play(script, |case| {
        let smtp = case.greet();
        case.session.run("SET utl_smtp.raise_reply_errors = off");
        let reply = smtp.noop(case.session).unwrap();
        assert_eq!((reply.code, &*reply.text), (421, "4.3.2 shutting down"));
    });
}

/// The reason contains no secrets.
#[test]
fn the_reason_of_a_421_shows_no_secret() {
    let mut bed = bed();
    bed.session.run("SET utl_smtp.raise_reply_errors = off");
    let script = Auth.script().send(format!("xyz {PASSWORD}\r\n"));
    bed.play_each(vec![script], &[PASSWORD], |case| {
        let smtp = Auth.prepare(case, 10);
        let reply = smtp.auth(case.session, USER, PASSWORD, "PLAIN").unwrap();
        let reason = "Service not available: malformed reply: \"xyz ********\"";
        assert_eq!((reply.code, &*reply.text), (421, reason));
    });
}
