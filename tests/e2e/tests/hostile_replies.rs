//! Peers whose replies are not what is due: every code at every step, broken syntax, floods, drips, silence, resets,
//! words that nobody asked for and words that come too late.

use e2e::peer::Ending;
use e2e::scene::{CLIENT, Scene, Stage};
use e2e::vigil::assert_over;
use e2e::{Failure, Peer, Script, Session, Smtp};
use postgres::NoTls;
use std::time::{Duration, Instant};

const IN_STEP: &str = "250 in step";
const PASSWORD: &str = "nOt-a-sEcret";
/// Of AUTH PLAIN; the peers don't care.
const USER: &str = "alice";

/// A command, at a point of the conversation where its reply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
    Rset,
    Noop,
    Vrfy,
    Help,
    Command,
    CommandReplies,
    Quit,
}

use Step::*;

const STEPS: [Step; 15] = [
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
    Rset,
    Noop,
    Vrfy,
    Help,
    Command,
    CommandReplies,
    Quit,
];

impl Step {
    /// The peer up to the point where it has heard the command.
    fn script(self) -> Script {
        let greeted = Script::greeting();
        let ready = || Script::greeting().on("EHLO", "250-peer\r\n250 AUTH PLAIN");
        let mail = || ready().on("MAIL", "250 ok");
        let rcpt = || mail().on("RCPT", "250 ok");
        match self {
            Ehlo => greeted.expect_start("EHLO"),
            Helo => greeted.expect_start("HELO"),
            StartTls => ready().expect_start("STARTTLS"),
            Auth => ready().expect_start("AUTH PLAIN "),
            Mail => ready().expect_start("MAIL"),
            Rcpt => mail().expect_start("RCPT"),
            Data => rcpt().expect_start("DATA"),
            Dot => rcpt().on("DATA", "354 go").body(),
            Rset => rcpt().expect_start("RSET"),
            Noop => ready().expect_start("NOOP"),
            Vrfy => ready().expect_start("VRFY"),
            Help => ready().expect_start("HELP"),
            Command | CommandReplies => ready().expect_start("XTEST"),
            Quit => ready().expect_start("QUIT"),
        }
    }

    /// The client up to the same point.
    #[track_caller]
    fn prepare(self, stage: &mut Stage<'_>, timeout: i32) -> Smtp {
        let smtp = stage.open().timeout(timeout).open(stage.session).unwrap();
        if matches!(self, Ehlo | Helo) {
            return smtp;
        }
        stage.ehlo(&smtp);
        if matches!(self, Rcpt | Data | Dot | Rset) {
            smtp.mail(stage.session, "a@example.test").unwrap();
        }
        if matches!(self, Data | Dot | Rset) {
            smtp.rcpt(stage.session, "b@example.test").unwrap();
        }
        if self == Dot {
            smtp.open_data(stage.session).unwrap();
            smtp.write_data(stage.session, "body\r\n").unwrap();
        }
        smtp
    }

    /// The call, and the code that it returns.
    fn call(self, session: &mut Session, smtp: &Smtp) -> Result<i32, Failure> {
        let last = |replies: Vec<e2e::Reply>| replies.last().unwrap().code;
        let reply = match self {
            Ehlo => return smtp.ehlo(session, CLIENT).map(last),
            Help => return smtp.replies(session, "help", &[]).map(last),
            CommandReplies => {
                let verb = "XTEST";
                return smtp.replies(session, "command_replies", &[&verb]).map(last);
            }
            Helo => smtp.helo(session, CLIENT),
            StartTls => smtp.starttls(session),
            Auth => smtp.auth(session, USER, PASSWORD, "PLAIN"),
            Mail => smtp.mail(session, "a@example.test"),
            Rcpt => smtp.rcpt(session, "b@example.test"),
            Data => smtp.open_data(session),
            Dot => smtp.close_data(session),
            Rset => smtp.rset(session),
            Noop => smtp.noop(session),
            Vrfy => smtp.reply(session, "vrfy", &[&"b@example.test"]),
            Command => smtp.command(session, "XTEST", None),
            Quit => smtp.quit(session),
        };
        reply.map(|reply| reply.code)
    }

    /// Whether 4xx, 5xx and a lost connection are returned rather than raised.
    fn never_raises(self) -> bool {
        matches!(self, Vrfy | Help | CommandReplies)
    }

    /// What CONTEXT calls it.
    fn in_context(self) -> &'static str {
        match self {
            Ehlo => "EHLO",
            Helo => "HELO",
            StartTls => "STARTTLS",
            Auth => "AUTH",
            Mail => "MAIL FROM",
            Rcpt => "RCPT TO",
            Data => "DATA",
            Dot => "end of data",
            Rset => "RSET",
            Noop => "NOOP",
            Vrfy => "VRFY",
            Help => "HELP",
            Command | CommandReplies => "XTEST",
            Quit => "QUIT",
        }
    }
}

/// What is to come of a call.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The code returned, or the SQLSTATE raised.
    result: Result<i32, &'static str>,
    over: bool,
}

/// The contract for a well-formed reply of this code.
fn due(step: Step, code: i32, raising: bool) -> Outcome {
    let raises = raising && !step.never_raises();
    let lost = Outcome {
        result: if raises { Err("U9278") } else { Ok(421) },
        over: true,
    };
    let failure = |sqlstate| Outcome {
        result: if raises { Err(sqlstate) } else { Ok(code) },
        over: step == Quit,
    };
    let positive = match (step, code / 100) {
        (_, 4) if code == 421 => return lost,
        (_, 4) => return failure("U9278"),
        (_, 5) => return failure("U9279"),
        (StartTls, _) => false,
        (Data, _) => code == 354,
        // After a 354 to an unknown command the server may be reading a message.
        (Command | CommandReplies, _) => code != 354,
        (Quit, _) => true,
        (_, class) => class == 2,
    };
    if !positive {
        return lost;
    }
    Outcome {
        result: Ok(code),
        over: step == Quit,
    }
}

/// Codes of each class, those that mean something here and those that mean nothing anywhere.
const CODES: [i32; 22] = [
    200, 220, 221, 235, 250, 251, 258, 299, 334, 354, 399, 421, 450, 452, 455, 500, 503, 535, 550,
    552, 554, 559,
];

/// Every one of these codes at every step.
fn matrix(scene: &mut Scene, codes: &[i32], raising: bool) {
    for step in STEPS {
        let cells: Vec<i32> = codes
            .iter()
            .copied()
            // What follows a 220 is a handshake.
            .filter(|code| !(step == StartTls && *code == 220))
            .collect();
        let script = |code: &i32| {
            let answered = step.script().send(format!("{code}-one\r\n{code} two\r\n"));
            match (step, code) {
                // A challenge that PLAIN does not have is answered by the end of the exchange.
                (Auth, 334) => answered.expect("*"),
                _ => answered.on("NOOP", IN_STEP),
            }
        };
        let scripts = cells.iter().map(script).collect();
        scene.play_each(scripts, &[PASSWORD], |stage| {
            for code in &cells {
                let smtp = step.prepare(stage, 10);
                let expected = due(step, *code, raising);
                let result = step.call(stage.session, &smtp);
                let place = format!("{code} to {step:?}");
                match (&result, &expected.result) {
                    (Ok(returned), Ok(wanted)) => assert_eq!(returned, wanted, "{place}"),
                    (Err(failure), Err(sqlstate)) => {
                        assert_eq!(&failure.sqlstate, sqlstate, "{place}: {failure}");
                        assert_failure_of(failure, step, *code);
                    }
                    _ => panic!("{place}: {result:?}, wanted {expected:?}"),
                }
                assert_eq!(stage.sessions() == 0, expected.over, "{place}");
                if expected.over {
                    assert_gone(stage, &smtp, raising);
                } else if (step, *code) != (Data, 354) {
                    assert_eq!(smtp.noop(stage.session).unwrap().text, "in step", "{place}");
                }
                smtp.close_connection(stage.session).unwrap();
            }
        });
    }
}

/// The code leads the message, except where the reply could not follow.
fn assert_failure_of(failure: &Failure, step: Step, code: i32) {
    let shown = if code >= 400 { code } else { 421 };
    let head = format!("error: {shown} ");
    assert!(failure.message.contains(&head), "{step:?}: {failure}");
    let told = match (step, code) {
        (Auth, 334) => "PLAIN failed".to_owned(),
        _ => code.to_string(),
    };
    assert!(failure.detail.contains(&told), "{step:?}: {failure}");
    let context = format!("in reply to {}", step.in_context());
    assert!(failure.context.contains(&context), "{step:?}: {failure}");
}

#[track_caller]
fn assert_gone(stage: &mut Stage<'_>, smtp: &Smtp, raising: bool) {
    if raising {
        assert_over(stage.session, smtp);
    } else {
        assert_eq!(smtp.noop(stage.session).unwrap().code, 421);
    }
}

/// A scene in which AUTH PLAIN may be tried in clear.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.database.set("utl_smtp.allow_cleartext_auth", "on");
    scene.session = scene.database.connect(&scene.role);
    scene
}

/// RPL-08, RPL-15, RPL-16, RPL-18: the first digit decides, 421 ends the session wherever it comes, and a positive
/// reply that can't follow ends it too. Otherwise the session is in step.
#[test]
fn each_code_at_each_step_means_what_its_first_digit_says() {
    let mut scene = scene();
    matrix(&mut scene, &CODES, true);
}

/// RPL-08, RPL-16, RPL-18: the same where the caller judges.
#[test]
fn each_code_is_returned_where_the_caller_judges() {
    let mut scene = scene();
    scene.session.run("SET utl_smtp.raise_reply_errors = off");
    matrix(
        &mut scene,
        &[250, 299, 354, 399, 421, 450, 455, 503, 552, 559],
        false,
    );
}

/// RPL-01, RPL-06: RFC 5321 §4.2 asks to act on the code alone: any text or none, CRLF or bare LF.
#[test]
fn replies_with_any_text_or_none_are_understood() {
    let mut scene = Scene::new();
    for (wire, texts) in [
        (&b"250\r\n"[..], &[""][..]),
        (b"250 \r\n", &[""]),
        (b"250-\r\n250\r\n", &["", ""]),
        (b"250-\r\n250 \r\n", &["", ""]),
        (b"250 550 denied\r\n", &["550 denied"]),
        (b"250  two blanks \r\n", &[" two blanks "]),
        (b"250-a\n250 b\n", &["a", "b"]),
        (b"250-a\n250-b\r\n250 c\n", &["a", "b", "c"]),
        (b"250 -\r\n", &["-"]),
    ] {
        let script = Script::greeting()
            .expect_start("EHLO")
            .send(wire)
            .on("NOOP", IN_STEP);
        scene.play(script, |stage| {
            let smtp = stage.connect();
            let replies = smtp.ehlo(stage.session, CLIENT).unwrap();
            let heard: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
            assert_eq!(heard, texts, "{}", wire.escape_ascii());
            assert!(replies.iter().all(|reply| reply.code == 250));
            assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
        });
    }
}

/// RPL-07: what opens with no code from 200 to 599 and a separator ends the session at once.
#[test]
fn malformed_replies_end_the_session() {
    let mut scene = Scene::new();
    let malformed = [
        "2a0 x",
        "25 x",
        "2500 x",
        "abc",
        "",
        "199 x",
        "600 x",
        "-1",
        " 250 x",
        "250\tx",
        "250_x",
        "2 50 x",
        "\0\0\0",
        "999 x",
        "000 x",
        "+250 x",
        "25O x",
        "²50 x",
        "250-a\r\n251 b",
        "250-a\r\nx",
        "250-a\r\n\r\n250 b",
        "250-a\r\n25",
        "HTTP/1.1 400 Bad Request",
        "* OK IMAP",
    ];
    let script = |line: &&str| Noop.script().send(format!("{line}\r\n"));
    let scripts = malformed.iter().map(script).collect();
    scene.play_each(scripts, &[], |stage| {
        for line in malformed {
            let smtp = Noop.prepare(stage, 10);
            let failure = smtp.noop(stage.session).expect_err(line).expect("U9278");
            assert!(failure.message.contains("421"), "{line:?}: {failure}");
            assert!(
                failure.detail.contains("alformed reply"),
                "{line:?}: {failure}"
            );
            let shown = [&failure.message[..], &failure.detail].concat();
            assert!(!shown.contains(char::is_control), "{line:?}: {shown:?}");
            assert_over(stage.session, &smtp);
        }
    });
}

/// RPL-07: the same at every other step; quit and the routines that return replies return 421.
#[test]
fn malformed_replies_end_the_session_at_every_step() {
    let mut scene = scene();
    let scripts = STEPS.iter().map(|step| step.script().send("2a0 x\r\n"));
    scene.play_each(scripts.collect(), &[PASSWORD], |stage| {
        for step in STEPS {
            let smtp = step.prepare(stage, 10);
            assert_lost(step, step.call(stage.session, &smtp));
            assert_over(stage.session, &smtp);
            assert_eq!(stage.sessions(), 0);
        }
    });
}

/// What every step makes of a connection that is lost.
#[track_caller]
fn assert_lost(step: Step, outcome: Result<i32, Failure>) {
    match outcome {
        Ok(code) => {
            assert!(
                step.never_raises() || step == Quit,
                "{step:?} returned {code}"
            );
            assert_eq!(code, 421, "{step:?}");
        }
        Err(failure) => {
            assert!(!step.never_raises() && step != Quit, "{step:?}: {failure}");
            assert_eq!(failure.sqlstate, "U9278", "{step:?}: {failure}");
            assert!(
                failure.message.contains("error: 421 "),
                "{step:?}: {failure}"
            );
        }
    }
}

/// RPL-10: bytes that are no text: the code counts, the text is made harmless, what is UTF-8 stays.
#[test]
fn bytes_that_are_no_text_are_made_harmless() {
    let mut scene = Scene::new();
    let mail = "📧".as_bytes();
    let (half, rest) = mail.split_at(2);
    let cases: [(Vec<&[u8]>, &str); 8] = [
        (vec![b"250 a\0b\r\n"], "a?b"),
        (vec![b"250 a\xffb\r\n"], "a?b"),
        (vec![b"250 \x1b[31mred\x07\r\n"], "?[31mred?"),
        (vec![b"250 lone \xc3\r\n"], "lone ?"),
        (vec![b"250 ", half, rest, b"\r\n"], "📧"),
        (vec![b"250 over\xc0\xaflong\r\n"], "over??long"),
        (vec!["250 c1 \u{9b}31m\r\n".as_bytes()], "c1 ?31m"),
        (vec![b"250 car\rriage\r\n"], "car?riage"),
    ];
    for (pieces, text) in cases {
        let script = Script::greeting().expect_start("NOOP").pieces(&pieces);
        scene.play(script.on("NOOP", IN_STEP), |stage| {
            let smtp = stage.connect();
            let reply = smtp.noop(stage.session).unwrap();
            assert_eq!((reply.code, reply.text.as_str()), (250, text));
            assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
        });
    }
    // The same in an error's words.
    let script = Script::greeting().on("NOOP", "550 \x1b]0;title\x07 no\u{9c}");
    scene.play(script, |stage| {
        let smtp = stage.connect();
        let failure = smtp.noop(stage.session).unwrap_err().expect("U9279");
        let shown = [&failure.message[..], &failure.detail, &failure.hint].concat();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(shown.contains("title"), "{shown}");
    });
}

/// RPL-03, RPL-04: the caps take effect while a peer goes on sending: it does not have to stop, and nothing piles up.
#[test]
fn a_flood_ends_at_the_caps() {
    let mut scene = scene();
    let floods = [
        ("250-x\r\n".repeat(4_000_000), "65536"),
        ("2".repeat(28_000_000), "4096"),
        ("250 ".to_owned() + &"x".repeat(28_000_000), "4096"),
    ];
    for (flood, cap) in floods {
        for step in [Ehlo, Noop] {
            let record = scene.play(step.script().send(&flood), |stage| {
                let smtp = step.prepare(stage, 30);
                let failure = step.call(stage.session, &smtp).unwrap_err().expect("U9278");
                assert!(failure.detail.contains(cap), "{failure}");
                assert_over(stage.session, &smtp);
            });
            assert!(
                matches!(record.only().ending, Ending::ClientLeft(_)),
                "all of the flood was taken"
            );
        }
        let record = scene.play(Script::new().send(&flood), |stage| {
            stage
                .open()
                .open(stage.session)
                .unwrap_err()
                .expect("U9278");
        });
        assert!(matches!(record.only().ending, Ending::ClientLeft(_)));
    }
}

/// RPL-03, RPL-04: the caps to the octet. One more ends the session although the peer then waits.
#[test]
fn the_caps_are_exact() {
    let mut scene = Scene::new();
    let line = |length: usize| format!("250 {}\r\n", "x".repeat(length - 6));
    let reply = |length: usize| {
        let begin = "250-123456789\r\n".repeat(length / 15 - 1);
        let end = line(length - begin.len());
        begin + &end
    };
    for (answer, fits) in [
        (line(4096), true),
        (line(4097), false),
        ("2".repeat(4097), false),
        (reply(65536), true),
        (reply(65537), false),
        ("250-x\r\n".repeat(65536 / 7 + 1), false),
    ] {
        let script = Script::greeting()
            .expect_start("NOOP")
            .send(&answer)
            .on("NOOP", IN_STEP);
        scene.play(script, |stage| {
            let began = Instant::now();
            let smtp = stage.open().timeout(20).open(stage.session).unwrap();
            let outcome = smtp.noop(stage.session);
            if fits {
                outcome.unwrap();
                assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
            } else {
                outcome.unwrap_err().expect("U9278");
                assert_over(stage.session, &smtp);
            }
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "it waited for the deadline"
            );
        });
    }
}

/// RPL-03: a reply without end can be cancelled before it comes to the cap.
#[test]
fn an_endless_reply_can_be_cancelled() {
    let mut scene = Scene::new();
    let endless = "250-x\r\n".repeat(1000);
    for step in [Ehlo, Noop] {
        let script = step.script().drip(&endless, Duration::from_millis(5));
        scene.play(script, |stage| {
            let smtp = step.prepare(stage, 30);
            let token = stage.session.cancel_token();
            let cancel = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                token.cancel_query(NoTls).unwrap();
            });
            step.call(stage.session, &smtp).unwrap_err().expect("57014");
            cancel.join().unwrap();
            assert_over(stage.session, &smtp);
        });
    }
}

/// RPL-05: the deadline is one for the whole command, however often a byte comes.
#[test]
fn a_dripping_reply_ends_at_the_deadline() {
    let mut scene = scene();
    let drip =
        |script: Script| script.drip("250-never\r\n".repeat(100), Duration::from_millis(100));
    let steps = [Ehlo, Auth, Dot, Vrfy, Quit];
    let scripts = steps.iter().map(|step| drip(step.script())).collect();
    scene.play_each(scripts, &[PASSWORD], |stage| {
        for step in steps {
            let smtp = step.prepare(stage, 1);
            lasts_one_second(|| assert_lost(step, step.call(stage.session, &smtp)));
            assert_over(stage.session, &smtp);
        }
    });
    scene.play(drip(Script::new()), |stage| {
        let open = stage.open().timeout(1);
        let failure = lasts_one_second(|| open.open(stage.session).unwrap_err());
        assert!(failure.expect("U9278").detail.contains("tx_timeout"));
    });
}

#[track_caller]
fn lasts_one_second<T>(act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = act();
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
        "it took {took:?}"
    );
    result
}

/// RPL-11: what a server says when nothing was asked is no answer to what is asked next, which is not even sent.
#[test]
fn unsolicited_words_are_never_paired_with_the_next_command() {
    let mut scene = scene();
    for said in [
        "250 ok\r\n",
        "250-ok\r\n",
        "25",
        "\r\n",
        "354 go\r\n",
        "220 go\r\n",
        "garbage\r\n",
        "421 4.3.2 shutting down\r\n",
        "421-4.3.2 shutting\r\n421 4.3.2 down\r\n",
    ] {
        for step in [Mail, Noop, StartTls, Auth, Vrfy, Quit] {
            let ready = Script::greeting().on("EHLO", "250-peer\r\n250 AUTH PLAIN");
            let script = ready.await_release().send(said).drain();
            let record = scene.play_each(vec![script], &[PASSWORD], |stage| {
                let smtp = stage.greet();
                release(stage.peer);
                let outcome = step.call(stage.session, &smtp);
                if let (Err(failure), "421 4.3.2 shutting down\r\n") = (&outcome, said) {
                    assert!(
                        failure.message.ends_with("421 4.3.2 shutting down"),
                        "{failure}"
                    );
                }
                assert_lost(step, outcome);
                assert_over(stage.session, &smtp);
                assert_eq!(stage.sessions(), 0);
            });
            assert_eq!(
                record.only().lines(),
                [format!("EHLO {CLIENT}")],
                "{step:?} after {said:?}"
            );
        }
    }
}

/// Lets the peer speak, and gives its words time to arrive.
fn release(peer: &Peer) {
    peer.release();
    std::thread::sleep(Duration::from_millis(60));
}

/// RPL-11: an early verdict on the message is none: the message is not ended.
#[test]
fn unsolicited_words_inside_a_message_keep_it_from_being_ended() {
    let mut scene = Scene::new();
    for said in [
        "250 2.0.0 queued already\r\n",
        "421 4.4.2 too slow\r\n",
        "554 5.6.0 virus\r\n",
    ] {
        let script = Script::greeting()
            .on("EHLO", "250 peer")
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .on("DATA", "354 go")
            .await_release()
            .send(said)
            .drain();
        let record = scene.play(script, |stage| {
            let smtp = Dot.prepare(stage, 10);
            release(stage.peer);
            assert_lost(Dot, smtp.close_data(stage.session).map(|reply| reply.code));
            assert_over(stage.session, &smtp);
        });
        assert!(!record.only().heard(b"\r\n.\r\n"), "{said:?}");
    }
}

/// RPL-11: a flood of them costs no memory either.
#[test]
fn a_flood_while_nothing_is_asked_costs_no_memory() {
    let mut scene = Scene::new();
    let flood = "250 ok\r\n".repeat(3_500_000);
    let script = Script::greeting()
        .on("EHLO", "250 peer")
        .await_release()
        .send(flood);
    let record = scene.play(script, |stage| {
        let smtp = stage.greet();
        release(stage.peer);
        smtp.noop(stage.session).unwrap_err().expect("U9278");
        assert_over(stage.session, &smtp);
    });
    assert!(matches!(record.only().ending, Ending::ClientLeft(_)));
}

/// RPL-12: a second reply in the packet of the first: the first stands, the next call finds the connection broken.
#[test]
fn a_surplus_reply_breaks_the_connection_at_the_next_call() {
    let mut scene = scene();
    for surplus in [
        "250 surplus\r\n",
        "2",
        "421 4.3.2 bye\r\n",
        "\n",
        "354 go\r\n",
    ] {
        let scripts = [Ehlo, Mail, Rcpt, Dot, Rset, Vrfy].map(|step| {
            let answer = format!("250 first\r\n{surplus}");
            step.script().send(answer).drain()
        });
        let record = scene.play_each(scripts.to_vec(), &[], |stage| {
            for step in [Ehlo, Mail, Rcpt, Dot, Rset, Vrfy] {
                let smtp = step.prepare(stage, 10);
                assert_eq!(step.call(stage.session, &smtp).unwrap(), 250, "{step:?}");
                let failure = smtp.mail(stage.session, "next@example.test").unwrap_err();
                let failure = failure.expect("U9278");
                assert!(!failure.message.contains("surplus"), "{failure}");
                assert_over(stage.session, &smtp);
            }
        });
        for conversation in &record.conversations {
            assert!(!conversation.heard(b"next@example.test"), "{surplus:?}");
        }
    }
}

/// RPL-12: a verdict in the packet of the challenge was given before the answer was known.
#[test]
fn a_verdict_before_the_answer_to_its_challenge_is_none() {
    let mut scene = scene();
    let script = Script::greeting()
        .on("EHLO", "250-peer\r\n250 AUTH LOGIN")
        .on("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n235 2.7.0 welcome")
        .drain();
    let record = scene.play_each(vec![script], &[PASSWORD], |stage| {
        let smtp = stage.greet();
        let login = smtp.auth(stage.session, USER, PASSWORD, "LOGIN");
        login.unwrap_err().expect("U9278");
        assert_over(stage.session, &smtp);
    });
    assert_eq!(
        record.only().lines()[..2],
        [format!("EHLO {CLIENT}"), "AUTH LOGIN".to_owned()]
    );
}

/// RPL-13: by the time the late reply comes, there is nobody to take it for another's.
#[test]
fn a_late_reply_meets_a_closed_connection() {
    let mut scene = scene();
    for step in [Ehlo, Mail, Dot, Vrfy] {
        let script = step
            .script()
            .sleep(Duration::from_millis(1500))
            .send("250 late\r\n")
            .line();
        let record = scene.play(script, |stage| {
            let smtp = step.prepare(stage, 1);
            lasts_one_second(|| assert_lost(step, step.call(stage.session, &smtp)));
            std::thread::sleep(Duration::from_millis(600));
            assert_over(stage.session, &smtp);
        });
        assert!(
            !record.only().completed(),
            "{step:?}: the connection was still open"
        );
    }
}

/// RPL-14: only 220 opens a conversation. A server that refuses is told QUIT before the close, as RFC 5321 §3.1 and
/// RFC 7504 ask.
#[test]
fn only_220_is_a_welcome() {
    let mut scene = Scene::new();
    let quits = |code: i32| code >= 400 && code != 421;
    for (greeting, sqlstate) in [
        ("221 bye", "U9278"),
        ("250 ok", "U9278"),
        ("354 go", "U9278"),
        ("421 4.3.2 not now", "U9278"),
        ("450 4.7.0 later", "U9278"),
        ("500 what", "U9279"),
        ("501 what", "U9279"),
        ("521 5.3.2 this host takes no mail", "U9279"),
        ("530 5.7.0 not without TLS", "U9279"),
        ("554 5.7.1 no service here", "U9279"),
    ] {
        let code: i32 = greeting[..3].parse().unwrap();
        let script = || Script::new().send(format!("{code}-welcome?\r\n{greeting}\r\n"));
        let record = scene.play(script().drain(), |stage| {
            let failure = stage
                .open()
                .open(stage.session)
                .unwrap_err()
                .expect(sqlstate);
            let shown = if code >= 400 {
                greeting
            } else {
                "421 Service not available"
            };
            assert!(failure.message.ends_with(shown), "{failure}");
            assert_eq!(stage.sessions(), 0);
        });
        let heard = record.only().lines();
        assert_eq!(
            heard,
            if quits(code) { vec!["QUIT"] } else { vec![] },
            "{greeting}"
        );
        // Oracle's overload returns the same without a connection.
        scene.play(script(), |stage| {
            let (smtp, reply) = stage.open().open_reply(stage.session).unwrap();
            assert!(smtp.is_none());
            assert_eq!(
                reply.code,
                if code >= 400 { code } else { 421 },
                "{greeting}"
            );
            assert_eq!(stage.sessions(), 0);
        });
    }
    scene.play(Script::greeting().quit(), |stage| {
        let (smtp, reply) = stage.open().open_reply(stage.session).unwrap();
        assert_eq!(reply.code, 220);
        smtp.unwrap().quit(stage.session).unwrap();
    });
}

/// RPL-14: no greeting, and the end of the connection instead of one or in its middle.
#[test]
fn a_greeting_that_does_not_come_is_a_transient_error() {
    let mut scene = Scene::new();
    scene.play(Script::new().hold(), |stage| {
        let open = stage.open().timeout(1);
        let failure = lasts_one_second(|| open.open(stage.session).unwrap_err());
        assert!(failure.expect("U9278").detail.contains("greeting"));
        let (smtp, reply) = open.open_reply(stage.session).unwrap();
        assert!(smtp.is_none());
        assert_eq!(reply.code, 421);
    });
    for begin in ["", "22", "220 half", "220-one\r\n"] {
        for script in [
            Script::new().send(begin).cut(),
            Script::new().send(begin).reset(),
        ] {
            scene.play(script, |stage| {
                let failure = stage
                    .open()
                    .open(stage.session)
                    .unwrap_err()
                    .expect("U9278");
                assert!(
                    failure.message.contains("421 Service not available"),
                    "{failure}"
                );
                assert_eq!(stage.sessions(), 0);
            });
        }
    }
}

/// RPL-15: capabilities come from 250 and nothing else; after 5xx the caller may fall back to HELO.
#[test]
fn only_250_tells_capabilities_and_helo_may_follow_a_refused_ehlo() {
    let mut scene = Scene::new();
    let offered = "SELECT coalesce(array_to_string(capabilities, ','), 'unknown') FROM utl_smtp.connections()";
    for code in [220, 221, 251, 299] {
        let script = Script::greeting()
            .on("EHLO", "250-peer\r\n250-SIZE 99\r\n250 SMTPUTF8")
            .on(
                "EHLO",
                &format!("{code}-peer\r\n{code}-SIZE 99\r\n{code} SMTPUTF8"),
            );
        scene.play(script, |stage| {
            let smtp = stage.greet();
            assert!(stage.session.value::<String>(offered).contains("SIZE 99"));
            stage.ehlo(&smtp);
            assert_eq!(stage.session.value::<String>(offered), "unknown", "{code}");
            let utf8 = smtp.mail(stage.session, "用户@example.test");
            utf8.unwrap_err().expect("22023");
        });
    }
    for refusal in [
        "500 5.5.1 unknown",
        "501 5.5.4 bad",
        "502 5.5.1 not here",
        "504 no",
        "550 no",
    ] {
        let script = Script::greeting()
            .on("EHLO", refusal)
            .on("HELO", "250 peer");
        let record = scene.play(script.transaction(), |stage| {
            let smtp = stage.connect();
            smtp.ehlo(stage.session, CLIENT)
                .unwrap_err()
                .expect("U9279");
            smtp.helo(stage.session, CLIENT).unwrap();
            smtp.mail(stage.session, "a@example.test").unwrap();
            smtp.rcpt(stage.session, "b@example.test").unwrap();
            smtp.data(stage.session, "body\r\n").unwrap();
            smtp.quit(stage.session).unwrap();
        });
        assert!(record.only().completed());
    }
}

/// RPL-16: QUIT waits for its reply, but not for long, and frees the connection whatever comes.
#[test]
fn quit_is_bounded_and_frees_the_connection() {
    let mut scene = Scene::new();
    let silent = || Quit.script().hold();
    scene.play(silent(), |stage| {
        let smtp = Quit.prepare(stage, 1);
        let reply = lasts_one_second(|| smtp.quit(stage.session).unwrap());
        assert_eq!(reply.code, 421);
        assert_eq!(stage.sessions(), 0);
    });
    // A longer tx_timeout does not lengthen it beyond five seconds.
    scene.play(silent(), |stage| {
        let smtp = Quit.prepare(stage, 60);
        let began = Instant::now();
        assert_eq!(smtp.quit(stage.session).unwrap().code, 421);
        let took = began.elapsed();
        assert!(
            (Duration::from_millis(4800)..Duration::from_secs(10)).contains(&took),
            "{took:?}"
        );
        assert_eq!(stage.sessions(), 0);
    });
    for reply in ["451 4.3.0 later", "500 5.5.2 what"] {
        let script = Quit.script().send(format!("{reply}\r\n"));
        scene.play(script, |stage| {
            let smtp = Quit.prepare(stage, 10);
            assert!(
                smtp.quit(stage.session)
                    .unwrap_err()
                    .message
                    .ends_with(reply)
            );
            assert_eq!(stage.sessions(), 0);
        });
    }
}

/// RPL-18: 421 in several lines, and the words of the server.
#[test]
fn a_421_of_several_lines_is_told_in_full() {
    let mut scene = Scene::new();
    let script = Mail
        .script()
        .send("421-4.3.2 we are\r\n421 4.3.2 closing\r\n");
    scene.play(script, |stage| {
        let smtp = Mail.prepare(stage, 10);
        let failure = smtp
            .mail(stage.session, "a@example.test")
            .unwrap_err()
            .expect("U9278");
        assert!(failure.message.ends_with("421 4.3.2 closing"), "{failure}");
        assert!(failure.detail.contains("421-4.3.2 we are"), "{failure}");
        assert_over(stage.session, &smtp);
    });
}

/// RPL-19: the end of the connection, orderly or not, before a reply, in its first line and between its lines.
#[test]
fn a_connection_lost_at_any_step_is_421() {
    let mut scene = scene();
    for part in ["", "25", "250-one\r\n"] {
        type Loss = fn(Script) -> Script;
        let losses: [Loss; 2] = [Script::cut, Script::reset];
        for lose in losses {
            let scripts = STEPS.map(|step| lose(step.script().send(part)));
            scene.play_each(scripts.to_vec(), &[PASSWORD], |stage| {
                for step in STEPS {
                    let smtp = step.prepare(stage, 10);
                    assert_lost(step, step.call(stage.session, &smtp));
                    assert_eq!(stage.sessions(), 0, "{step:?}");
                    assert_over(stage.session, &smtp);
                }
            });
        }
    }
}

/// RPL-19: lost while nothing was asked, and while the message is being sent.
#[test]
fn a_connection_lost_between_commands_or_inside_a_message_is_421() {
    let mut scene = scene();
    type Loss = fn(Script) -> Script;
    let losses: [Loss; 2] = [Script::cut, Script::reset];
    for lose in losses {
        for step in [Helo, Mail, Noop, Auth, StartTls, Vrfy, Quit] {
            let ready = Script::greeting().on("EHLO", "250-peer\r\n250 AUTH PLAIN");
            scene.play(lose(ready.await_release()), |stage| {
                let smtp = stage.greet();
                release(stage.peer);
                assert_lost(step, step.call(stage.session, &smtp));
                assert_over(stage.session, &smtp);
            });
        }
        let data = Script::greeting()
            .on("EHLO", "250 peer")
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .on("DATA", "354 go");
        scene.play(lose(data.await_release()), |stage| {
            let smtp = Dot.prepare(stage, 10);
            release(stage.peer);
            let line = "x".repeat(78) + "\r\n";
            let lost = (0..200_000)
                .find_map(|_| smtp.write_data(stage.session, &line.repeat(400)).err())
                .expect("writing into the void");
            assert_lost(Dot, Err(lost));
            assert_over(stage.session, &smtp);
        });
    }
}

/// RPL-20: what a server says, cut in whatever way, leads to the same result, and never to anything but a result.
#[test]
fn random_replies_are_taken_the_same_however_they_are_cut() {
    let mut scene = Scene::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut scripts = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let stream = random.stream();
        let begin = || Script::greeting().expect_start("EHLO");
        scripts.push(begin().send(&stream).cut());
        let mut cut = begin();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(random.below(rest.len().min(40)) + 1);
            cut = cut.send(piece);
            rest = others;
        }
        scripts.push(cut.cut());
        streams.push(stream);
    }
    let mut accepted = 0;
    scene.play_each(scripts, &[], |stage| {
        for stream in &streams {
            let mut outcome = || {
                let smtp = stage.connect();
                let outcome = smtp.ehlo(stage.session, CLIENT);
                let _ = smtp.noop(stage.session);
                smtp.close_connection(stage.session).unwrap();
                outcome.map_err(|failure| (failure.sqlstate, failure.message))
            };
            let (whole, cut) = (outcome(), outcome());
            assert_eq!(whole, cut, "{}", stream.escape_ascii());
            if let Err((sqlstate, _)) = &whole {
                assert!(["U9278", "U9279"].contains(&sqlstate.as_str()), "{whole:?}");
            }
            accepted += usize::from(whole.is_ok());
        }
    });
    assert!(
        (5..95).contains(&accepted),
        "{accepted} of 100 are good: no mix"
    );
}

/// The same numbers in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Mostly lines of a reply, now and then something else.
    fn stream(&mut self) -> Vec<u8> {
        let code = ["250", "250", "250", "451", "550", "421", "354", "299"][self.below(8)];
        let mut stream = Vec::new();
        for _ in 0..self.below(6) {
            let text: Vec<u8> = (0..self.below(30)).map(|_| self.next() as u8).collect();
            match self.below(12) {
                0 => stream.extend(text),
                1 => stream.extend(b"\r\n"),
                2 => stream.extend([b"250-".as_slice(), &text, b"\r\n"].concat()),
                _ => stream.extend(format!("{code}-{}\r\n", text.escape_ascii()).into_bytes()),
            }
        }
        let end = ["\r\n", "\r\n", "\r\n", "\n", ""][self.below(5)];
        stream.extend(format!("{code} end{end}").into_bytes());
        stream
    }
}
