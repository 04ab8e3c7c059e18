//! Every reply code at every step, and its meaning.

use super::*;

/// The expected outcome of a call.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The code returned, or the SQLSTATE raised.
    result: Result<i32, &'static str>,
    over: bool,
}

/// The expected outcome for a well-formed reply with this code.
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
        (Ehlo | Helo, _) => code == 250,
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

/// Codes of each class, known and unknown.
const CODES: [i32; 22] = [
    200, 220, 221, 235, 250, 251, 258, 299, 334, 354, 399, 421, 450, 452, 455, 500, 503, 535, 550,
    552, 554, 559,
];

/// Tries each of these codes at every step.
fn matrix(bed: &mut TestBed, codes: &[i32], raising: bool) {
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
        bed.play_each(scripts, &[PASSWORD], |case| {
            for code in &cells {
                let smtp = step.prepare(case, 60);
                let expected = due(step, *code, raising);
                let result = step.call(case.session, &smtp);
                let place = format!("{code} to {step:?}");
                match (&result, &expected.result) {
                    (Ok(returned), Ok(wanted)) => assert_eq!(returned, wanted, "{place}"),
                    (Err(failure), Err(sqlstate)) => {
                        assert_eq!(&failure.sqlstate, sqlstate, "{place}: {failure}");
                        assert_failure_of(failure, step, *code);
                    }
                    _ => panic!("{place}: {result:?}, wanted {expected:?}"),
                }
                assert_eq!(case.sessions() == 0, expected.over, "{place}");
                if expected.over {
                    assert_gone(case, &smtp, raising);
                } else if (step, *code) != (Data, 354) {
                    assert_eq!(smtp.noop(case.session).unwrap().text, "in step", "{place}");
                }
                smtp.close_connection(case.session).unwrap();
            }
        });
    }
}

/// The message starts with the code, unless the reply was not allowed there.
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
fn assert_gone(case: &mut Case<'_>, smtp: &Smtp, raising: bool) {
    if raising {
        assert_over(case.session, smtp);
    } else {
        assert_eq!(smtp.noop(case.session).unwrap().code, 421);
    }
}

/// The first digit decides. 421 ends the session everywhere, and so does a positive reply that is
/// not allowed there. Otherwise the session is in step.
#[test]
fn each_code_at_each_step_means_what_its_first_digit_says() {
    let mut bed = bed();
    matrix(&mut bed, &CODES, true);
}

/// The same with raise_reply_errors off.
#[test]
fn each_code_is_returned_if_raise_reply_errors_is_off() {
    let mut bed = bed();
    bed.session.run("SET utl_smtp.raise_reply_errors = off");
    matrix(
        &mut bed,
        &[250, 299, 354, 399, 421, 450, 455, 503, 552, 559],
        false,
    );
}

/// Only 220 opens a conversation. A refusing server gets QUIT before the close, as RFC 5321 §3.1
/// and RFC 7504 require.
#[test]
fn only_220_is_a_welcome() {
    let mut bed = TestBed::new();
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
        let record = bed.play(script().drain(), |case| {
            let failure = case.open().open(case.session).unwrap_err().expect(sqlstate);
            let shown = if code >= 400 {
                greeting
            } else {
                "421 Service not available"
            };
            assert!(failure.message.ends_with(shown), "{failure}");
            assert_eq!(case.sessions(), 0);
        });
        let heard = record.only().lines();
        assert_eq!(
            heard,
            if quits(code) { vec!["QUIT"] } else { vec![] },
            "{greeting}"
        );
        // Oracle's overload returns the same without a connection.
        bed.play(script(), |case| {
            let (smtp, reply) = case.open().open_reply(case.session).unwrap();
            assert!(smtp.is_none());
            assert_eq!(
                reply.code,
                if code >= 400 { code } else { 421 },
                "{greeting}"
            );
            assert_eq!(case.sessions(), 0);
        });
    }
    bed.play(Script::greeting().quit(), |case| {
        let (smtp, reply) = case.open().open_reply(case.session).unwrap();
        assert_eq!(reply.code, 220);
        smtp.unwrap().quit(case.session).unwrap();
    });
}

/// Only 250 accepts EHLO; after 5xx the caller may fall back to HELO.
#[test]
fn only_250_accepts_ehlo_and_helo_may_follow_a_refused_one() {
    let mut bed = TestBed::new();
    for code in [220, 221, 251, 299] {
        let script = Script::greeting()
            .on("EHLO", "250-peer\r\n250-SIZE 99\r\n250 SMTPUTF8")
            .on(
                "EHLO",
                &format!("{code}-peer\r\n{code}-SIZE 99\r\n{code} SMTPUTF8"),
            );
        bed.play(script, |case| {
            let smtp = case.greet();
            let failure = smtp.ehlo(case.session, CLIENT).unwrap_err();
            assert!(failure.detail.contains("nexpected reply"), "{failure}");
            failure.expect("U9278");
            assert_over(case.session, &smtp);
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
        let record = bed.play(script.transaction(), |case| {
            let smtp = case.connect();
            smtp.ehlo(case.session, CLIENT).unwrap_err().expect("U9279");
            smtp.helo(case.session, CLIENT).unwrap();
            smtp.mail(case.session, "a@example.test").unwrap();
            smtp.rcpt(case.session, "b@example.test").unwrap();
            smtp.data(case.session, "body\r\n").unwrap();
            smtp.quit(case.session).unwrap();
        });
        assert!(record.only().completed());
    }
}

/// A multi-line 421, with the server's text.
#[test]
fn a_421_of_several_lines_is_told_in_full() {
    let mut bed = TestBed::new();
    let script = Mail
        .script()
        .send("421-4.3.2 we are\r\n421 4.3.2 closing\r\n");
    bed.play(script, |case| {
        let smtp = Mail.prepare(case, 60);
        let failure = smtp
            .mail(case.session, "a@example.test")
            .unwrap_err()
            .expect("U9278");
        assert!(failure.message.ends_with("421 4.3.2 closing"), "{failure}");
        assert!(failure.detail.contains("421-4.3.2 we are"), "{failure}");
        assert_over(case.session, &smtp);
    });
}

/// Programs for Oracle's Autonomous Database omit EHLO; servers then answer 503.
#[test]
fn a_503_where_no_ehlo_was_sent_is_told_what_to_do() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on("MAIL", "503 5.5.1 send HELO/EHLO first")
        .on("AUTH", "503 5.5.1 send HELO/EHLO first")
        .on("EHLO", "250 peer")
        .on("MAIL", "503 5.5.1 nested MAIL command");
    bed.play(script, |case| {
        let smtp = case.connect();
        let first = smtp.mail(case.session, "a@example.test").unwrap_err();
        let auth = smtp.auth(case.session, USER, PASSWORD, "CRAM-MD5");
        for failure in [first, auth.unwrap_err()] {
            assert!(failure.hint.contains("utl_smtp.ehlo(c, NULL)"), "{failure}");
            failure.expect("U9279");
        }
        case.ehlo(&smtp);
        let failure = smtp.mail(case.session, "a@example.test").unwrap_err();
        assert_eq!(failure.hint, "", "{failure}");
    });
    // Nor is it EHLO that a server misses before it has greeted.
    bed.play(
        Script::new().send("503 5.3.2 not now\r\n").drain(),
        |case| {
            let failure = case.open().open(case.session).unwrap_err();
            assert_eq!(failure.hint, "", "{failure}");
        },
    );
}

/// The message shows a one-line reply unchanged; DETAIL shows the rest.
#[test]
fn detail_repeats_no_reply_of_one_line() {
    let mut bed = TestBed::new();
    let script = Script::greeting()
        .on("EHLO", "250 peer")
        .on("NOOP", "550 5.1.1 no")
        .on("RSET", "550-5.1.1 for two\r\n550 5.1.1 reasons");
    bed.play(script, |case| {
        let smtp = case.greet();
        let failure = smtp.noop(case.session).unwrap_err().expect("U9279");
        assert!(failure.message.ends_with("550 5.1.1 no"), "{failure}");
        assert_eq!(failure.detail, "");
        let failure = smtp.rset(case.session).unwrap_err().expect("U9279");
        let whole = "The server replied: 550-5.1.1 for two\n550 5.1.1 reasons";
        assert_eq!(failure.detail, whole);
    });
}
