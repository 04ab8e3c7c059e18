//! Sessions that end while a message is on its way.

use super::*;

/// 421 is the reply to one command. The recipients before it have their own, those after it none.
#[test]
fn a_421_in_the_middle_of_a_group_ends_the_session() {
    let mut bed = TestBed::new();
    for raises in [true, false] {
        let script = pipelining()
            .group(&[A, B, C], &["250 sender", "550 a", "421 4.3.2 closing"])
            .drain();
        let record = bed.play(script, |case| {
            case.session.run(&format!("SET utl_smtp.raise_reply_errors = {raises}"));
            let smtp = case.greet();
            let outcome = send(case, &smtp, &[A, B, C]);
            case.session.run("RESET utl_smtp.raise_reply_errors");
            match raises {
                true => {
                    let failure = outcome.unwrap_err().expect("U9278");
                    assert!(failure.message.ends_with(": 421 4.3.2 closing"), "{failure}");
                    assert_eq!(
                        failure.detail,
                        "Refused: a@example.test (550 a), b@example.test (421 4.3.2 closing)."
                    );
                }
                false => assert_eq!(
                    outcome.unwrap(),
                    [
                        "a@example.test: 550 a",
                        "b@example.test: 421 4.3.2 closing",
                        "c@example.test: 421 not sent: the server answered RCPT TO by 421 4.3.2 closing",
                    ]
                ),
            }
            assert_over(case.session, &smtp);
        });
        assert!(!record.only().heard(b"Subject"));
    }
}

/// The replies move to the wrong commands, so nothing is sent.
#[test]
fn one_reply_too_many_ends_the_session_before_the_message() {
    let mut bed = TestBed::new();
    for (replies, said) in [
        (
            &["250 sender", "250 a", "250 another", "354 go"][..],
            "250 another",
        ),
        (
            &["250 sender", "250 a", "354 go", "250 another"],
            "250 another",
        ),
    ] {
        let script = pipelining().group(&[A], replies).drain();
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let failure = send(case, &smtp, &[A]).unwrap_err().expect("U9278");
            assert!(failure.detail.contains(said), "{failure}");
            assert_over(case.session, &smtp);
        });
        assert!(!record.only().heard(b"\r\n.\r\n"), "{}", record.only());
    }
}

#[test]
fn one_reply_too_few_is_a_timeout() {
    let mut bed = TestBed::new();
    let script = pipelining().group(&[A], &["250 sender", "250 a"]).drain();
    let prepare = |case: &mut Case<'_>, limit| {
        let smtp = case.open().timeout(limit).open(case.session)?;
        smtp.ehlo(case.session, CLIENT)?;
        Ok(smtp)
    };
    let record = bed.play_to_the_limit(&script, &[], prepare, |case, smtp: Smtp, limit| {
        let failure = lasts(limit, || send(case, &smtp, &[A]).unwrap_err());
        let failure = failure.expect("U9278");
        assert!(failure.detail.contains("tx_timeout"), "{failure}");
        assert!(failure.context.ends_with("in reply to DATA"), "{failure}");
        assert!(
            !failure.detail.contains("may have been accepted"),
            "{failure}"
        );
        assert_over(case.session, &smtp);
    });
    for conversation in &record.conversations {
        assert!(!conversation.heard(b"Subject"));
    }
}

/// Before the dot nobody got the message; after it nobody knows.
#[test]
fn a_connection_lost_after_the_dot_is_unknown() {
    let mut bed = TestBed::new();
    for raises in [true, false] {
        let script = pipelining()
            .group(&[A, B], &["250 sender", "250 a", "550 b", "354 go"])
            .body()
            .cut();
        bed.play(script, |case| {
            case.session.run(&format!("SET utl_smtp.raise_reply_errors = {raises}"));
            let smtp = case.greet();
            let outcome = send(case, &smtp, &[A, B]);
            case.session.run("RESET utl_smtp.raise_reply_errors");
            match raises {
                true => {
                    let failure = outcome.unwrap_err().expect("U9278");
                    assert!(failure.detail.contains("may have been accepted. Refused: b@"), "{failure}");
                    assert!(failure.hint.contains("may deliver it twice"), "{failure}");
                }
                false => {
                    let rows = outcome.unwrap();
                    let start = "a@example.test: 421 unknown: the final dot was sent, and sending again may deliver twice: ";
                    assert!(rows[0].starts_with(start), "{rows:?}");
                    assert_eq!(rows[1], "b@example.test: 550 b");
                }
            }
            assert_over(case.session, &smtp);
        });
    }
}

/// Somebody got the message, so nothing is raised, though the session is over.
#[test]
fn a_session_that_ends_in_a_further_transaction_leaves_the_outcome_of_the_first() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(
            &[A, B, C],
            &["250 ok", "250 a", "452 later", "452 later", "354 go"],
        )
        .verdict("250 queued")
        .group(&[B, C], &["250 ok", "550 b"])
        .cut();
    bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &[A, B, C]).unwrap();
        assert_eq!(
            rows[..2],
            ["a@example.test: 250 queued", "b@example.test: 550 b"]
        );
        assert!(
            rows[2].starts_with("c@example.test: 421 not sent: "),
            "{rows:?}"
        );
        assert!(!rows[2].contains("may have been accepted"), "{rows:?}");
        assert_over(case.session, &smtp);
    });
}

#[test]
fn a_cancelled_call_ends_the_session() {
    let mut bed = TestBed::new();
    let mut observer = bed.database.superuser();
    let script = pipelining()
        .group(&[A], &["250 sender", "250 a", "354 go"])
        .body()
        .drain();
    bed.play(script, |case| {
        let smtp = case.greet();
        let failure = case.cancel(&mut observer, |session| {
            smtp.send_message(session, SENDER, &[A], MESSAGE)
        });
        failure.expect("57014");
        assert_over(case.session, &smtp);
    });
}

#[test]
fn without_a_connection_nothing_is_sent_to_anybody() {
    let mut bed = TestBed::new();
    bed.check_invariants(&[], |session| {
        let smtp = Smtp {
            handle: "(h,25,,1,0)".to_owned(),
        };
        let failure = smtp
            .send_message(session, SENDER, &[A], MESSAGE)
            .unwrap_err();
        let failure = failure.expect("U9278");
        assert!(
            failure.detail.starts_with("There is no open connection"),
            "{failure}"
        );
        session.run("SET utl_smtp.raise_reply_errors = off");
        let rows = smtp
            .send_message(session, SENDER, &[A, B], MESSAGE)
            .unwrap();
        let text = "421 not sent: there is no open connection";
        assert_eq!(
            words(&rows),
            [format!("{A}: {text}"), format!("{B}: {text}")]
        );
        session.run("RESET utl_smtp.raise_reply_errors");
    });
}

/// An open message would take the commands for its text.
#[test]
fn a_call_inside_of_message_data_sends_nothing() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .on("MAIL", "250 ok")
        .on("RCPT", "250 ok")
        .message("250 queued")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        smtp.mail(case.session, SENDER).unwrap();
        smtp.rcpt(case.session, A).unwrap();
        smtp.open_data(case.session).unwrap();
        smtp.write_data(case.session, MESSAGE).unwrap();
        send(case, &smtp, &[B]).unwrap_err().expect("U9277");
        case.session.run("SET utl_smtp.raise_reply_errors = off");
        send(case, &smtp, &[B]).unwrap_err().expect("U9277");
        case.session.run("RESET utl_smtp.raise_reply_errors");
        smtp.close_data(case.session).unwrap();
        assert_in_step(case.session, &smtp);
    });
    assert_eq!(record.only().message(), ON_THE_WIRE);
}
