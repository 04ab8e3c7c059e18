//! Data that a server sends without being asked.

use super::*;

/// Unsolicited data is never taken as the answer to the next command, which is not even sent.
#[test]
fn unsolicited_words_are_never_paired_with_the_next_command() {
    let mut bed = bed();
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
            let record = bed.play_each(vec![script], &[PASSWORD], |case| {
                let smtp = case.greet();
                case.peer.release_and_arrive();
                let outcome = step.call(case.session, &smtp);
                if let (Err(failure), "421 4.3.2 shutting down\r\n") = (&outcome, said) {
                    assert!(
                        failure.message.ends_with("421 4.3.2 shutting down"),
                        "{failure}"
                    );
                }
                assert_lost(step, outcome);
                assert_over(case.session, &smtp);
                assert_eq!(case.sessions(), 0);
            });
            assert_eq!(
                record.only().lines(),
                [format!("EHLO {CLIENT}")],
                "{step:?} after {said:?}"
            );
        }
    }
}

/// An early reply to the message does not count: the message is not ended.
#[test]
fn unsolicited_words_inside_a_message_keep_it_from_being_ended() {
    let mut bed = TestBed::new();
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
        let record = bed.play(script, |case| {
            let smtp = Dot.prepare(case, 60);
            case.peer.release_and_arrive();
            assert_lost(Dot, smtp.close_data(case.session).map(|reply| reply.code));
            assert_over(case.session, &smtp);
        });
        assert!(!record.only().heard(b"\r\n.\r\n"), "{said:?}");
    }
}

/// A flood of unsolicited data uses no memory either.
#[test]
fn a_flood_while_nothing_is_asked_costs_no_memory() {
    let mut bed = TestBed::new();
    let flood = "250 ok\r\n".repeat(3_500_000);
    let script = Script::greeting()
        .on("EHLO", "250 peer")
        .await_release()
        .send(flood);
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        case.peer.release_and_arrive();
        smtp.noop(case.session).unwrap_err().expect("U9278");
        assert_over(case.session, &smtp);
    });
    assert!(matches!(record.only().ending, Ending::ClientLeft(_)));
}

/// A second reply in the same packet: the first one counts, the next call finds the connection
/// broken.
#[test]
fn a_surplus_reply_breaks_the_connection_at_the_next_call() {
    let mut bed = bed();
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
        let record = bed.play_each(scripts.to_vec(), &[], |case| {
            for step in [Ehlo, Mail, Rcpt, Dot, Rset, Vrfy] {
                let smtp = step.prepare(case, 60);
                assert_eq!(step.call(case.session, &smtp).unwrap(), 250, "{step:?}");
                let failure = smtp.mail(case.session, "next@example.test").unwrap_err();
                let failure = failure.expect("U9278");
                assert!(!failure.message.contains("surplus"), "{failure}");
                assert_over(case.session, &smtp);
            }
        });
        for conversation in &record.conversations {
            assert!(!conversation.heard(b"next@example.test"), "{surplus:?}");
        }
    }
}

/// A final reply in the challenge's packet was sent before the answer was known.
#[test]
fn a_verdict_before_the_answer_to_its_challenge_is_none() {
    let mut bed = bed();
    let script = Script::greeting()
        .on("EHLO", "250-peer\r\n250 AUTH LOGIN")
        .on("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n235 2.7.0 welcome")
        .drain();
    let record = bed.play_each(vec![script], &[PASSWORD], |case| {
        let smtp = case.greet();
        let login = smtp.auth(case.session, USER, PASSWORD, "LOGIN");
        let failure = login.unwrap_err().expect("U9278");
        assert!(
            failure.detail.contains("spoke when no command"),
            "{failure}"
        );
        assert_over(case.session, &smtp);
    });
    assert_eq!(
        record.only().lines(),
        [format!("EHLO {CLIENT}"), "AUTH LOGIN".to_owned()]
    );
}
