//! What a server answers, and what becomes of the mail.

use super::kills::{await_empty_queue, create_server, submit};
use super::processes::{PRELOAD, assert_no_crash, office};
use e2e::process::wait_until;
use e2e::{Action, OwnCluster, Recorder, Session, Step};
use std::sync::atomic::{AtomicBool, Ordering};

/// A server that does something else than accept, once.
struct Case {
    step: Step,
    action: fn() -> Action,
    outcome: Outcome,
}

enum Outcome {
    /// The attempt has failed for now, and another one succeeds.
    Deferred,
    /// The message may have arrived, and is sent once more.
    InDoubt,
    /// It has failed for good.
    Failed,
    /// The server could not be used, and this was no attempt.
    Waited,
}

use Outcome::{Deferred, Failed, InDoubt, Waited};

/// What each case does, and what follows from it.
fn cases() -> Vec<Case> {
    let case = |step, action, outcome| Case {
        step,
        action,
        outcome,
    };
    let drop = || Action::Drop;
    vec![
        case(Step::Greeting, drop, Waited),
        case(Step::Greeting, || bye("554 5.3.2 closed"), Waited),
        case(Step::Greeting, || bye("421 4.3.2 busy"), Waited),
        case(Step::Ehlo, drop, Waited),
        case(Step::Ehlo, || bye("421 4.7.0 go away"), Waited),
        case(Step::Mail, || Action::reply("451 4.3.0 later"), Deferred),
        case(Step::Mail, || Action::reply("550 5.1.8 no"), Failed),
        case(Step::Mail, || Action::reply("530 5.7.0 log in"), Waited),
        case(Step::Mail, || bye("421 4.3.2 later"), Deferred),
        case(Step::Rcpt, || Action::reply("450 4.2.1 later"), Deferred),
        case(Step::Rcpt, || Action::reply("552 5.2.2 too many"), Deferred),
        case(Step::Rcpt, || Action::reply("550 5.1.1 no"), Failed),
        case(Step::Rcpt, drop, Deferred),
        case(Step::Data, || Action::reply("451 4.3.0 later"), Deferred),
        case(Step::Data, || Action::reply("554 5.6.0 no"), Failed),
        case(Step::Data, drop, Deferred),
        case(Step::Body, drop, Deferred),
        case(Step::Dot, || Action::reply("452 4.3.1 full"), Deferred),
        case(Step::Dot, || Action::reply("554 5.7.1 spam"), Failed),
        case(Step::Dot, || Action::reply("550 5.7.606 banned"), Deferred),
        case(Step::Dot, || bye("421 4.3.2 later"), Deferred),
        case(Step::Dot, drop, InDoubt),
    ]
}

fn bye(reply: &str) -> Action {
    Action::ReplyAndDrop(reply.to_owned())
}

#[test]
fn what_failed_for_now_is_tried_again_and_what_failed_for_good_is_not() {
    let settings = [
        PRELOAD,
        "utl_smtp.retry_minimum = 1",
        "utl_smtp.auto_suppress = off",
    ];
    let cluster = OwnCluster::start(&settings);
    let mut session = cluster.superuser();
    let cases = cases();
    let recorders: Vec<Recorder> = cases.iter().map(|_| Recorder::start()).collect();
    session.run("BEGIN");
    for (number, (case, recorder)) in cases.iter().zip(&recorders).enumerate() {
        create_server(&mut session, &format!("server_{number}"), recorder);
        case.play(recorder);
        session.run(&submit(&format!("server_{number}"), &case.sender(number)));
    }
    session.run("COMMIT");
    await_empty_queue(&mut session);
    for (number, (case, recorder)) in cases.iter().zip(&recorders).enumerate() {
        case.check(&mut session, number, recorder);
    }
    assert_no_crash(&cluster);
}

impl Case {
    fn sender(&self, number: usize) -> String {
        format!("case-{number}@example.com")
    }

    fn play(&self, recorder: &Recorder) {
        let (step, action, is_done) = (self.step, self.action, AtomicBool::new(false));
        recorder.play(move |point| {
            match point.step == step && !is_done.swap(true, Ordering::SeqCst) {
                true => action(),
                false => Action::Go,
            }
        });
    }

    #[track_caller]
    fn check(&self, session: &mut Session, number: usize, recorder: &Recorder) {
        let log = "SELECT state, attempts, last_reply FROM utl_smtp.mail_log WHERE sender = $1";
        let sender = self.sender(number);
        let row = session.query_one(log, &[&sender]).unwrap();
        let found: (String, i32, String) = (row.get(0), row.get(1), row.get(2));
        let what = format!("{:?}: {:?}", self.step, (self.action)());
        let (state, attempts, copies) = match self.outcome {
            Deferred => ("sent", 2, 1),
            InDoubt => ("sent", 2, 2),
            Failed => ("failed", 1, 0),
            Waited => ("sent", 1, 1),
        };
        assert_eq!(
            (&*found.0, found.1),
            (state, attempts),
            "{what}: {}",
            found.2
        );
        if let (Failed, Action::Reply(reply)) = (&self.outcome, (self.action)()) {
            assert_eq!(found.2, reply);
        }
        let accepted = recorder.copies_from(&sender);
        let accepted: Vec<_> = accepted.iter().filter(|copy| !copy.is_refused).collect();
        assert_eq!(accepted.len(), copies, "{what}");
        recorder.assert_sound();
    }
}

/// Mail expires after an attempt, or a back-off of its server, past its lifetime.
#[test]
fn what_is_refused_for_its_whole_lifetime_expires() {
    let settings = [
        PRELOAD,
        "utl_smtp.retry_minimum = 1",
        "utl_smtp.retry_maximum = 1",
        "utl_smtp.message_lifetime = 3",
    ];
    let cluster = OwnCluster::start(&settings);
    let mut session = cluster.superuser();
    let refusing = Recorder::start();
    create_server(&mut session, "refusing", &refusing);
    refusing.play(|point| match point.step {
        Step::Rcpt => Action::reply("450 4.2.1 later"),
        _ => Action::Go,
    });
    session.run(&office(e2e::closed_port()));
    session.run(&submit("refusing", "refused@example.com"));
    session.run(&submit("office", "unheard@example.com"));
    await_empty_queue(&mut session);
    let log = "SELECT state, attempts, last_reply FROM utl_smtp.mail_log WHERE sender = $1";
    let row = session.query_one(log, &[&"refused@example.com"]).unwrap();
    let found = (row.get::<_, &str>(0), row.get::<_, &str>(2));
    assert_eq!(found, ("expired", "450 4.2.1 later"));
    assert!(row.get::<_, i32>(1) >= 2);
    let row = session.query_one(log, &[&"unheard@example.com"]).unwrap();
    assert_eq!((row.get(0), row.get(1)), ("expired", 0));
    assert_eq!(refusing.copies().len(), 0);
    assert_no_crash(&cluster);
}

/// The answer to the final dot never comes.
#[test]
fn what_may_have_arrived_is_unknown_if_it_may_arrive_only_once() {
    let cluster = OwnCluster::start(&[PRELOAD, "utl_smtp.retry_minimum = 1"]);
    let mut session = cluster.superuser();
    let recorder = Recorder::start();
    create_server(&mut session, "office", &recorder);
    recorder.hold(Step::Dot);
    let once = |sender: &str| {
        format!(
            "SELECT utl_smtp.submit('office', '{sender}', ARRAY['bob@example.com'], 'x', at_most_once => true)"
        )
    };
    session.run(&once("lost@example.com"));
    recorder.await_held(Step::Dot, 1);
    let sending = "SELECT state FROM utl_smtp.mail_queue";
    assert_eq!(session.value::<String>(sending), "sending");
    recorder.play(|point| match point.step {
        Step::Dot => Action::Drop,
        _ => Action::Go,
    });
    await_empty_queue(&mut session);
    // What has certainly not arrived is tried again.
    let is_refused = AtomicBool::new(false);
    recorder.play(move |point| {
        match point.step == Step::Data && !is_refused.swap(true, Ordering::SeqCst) {
            true => Action::Drop,
            false => Action::Go,
        }
    });
    session.run(&once("cut@example.com"));
    wait_until("it is sent", || {
        !recorder.copies_from("cut@example.com").is_empty()
    });
    await_empty_queue(&mut session);
    let log = "SELECT string_agg(sender || ' ' || state || ' ' || attempts, ', ' ORDER BY message_id) FROM utl_smtp.mail_log";
    let expected = "lost@example.com unknown 1, cut@example.com sent 2";
    assert_eq!(session.value::<String>(log), expected);
    assert_eq!(recorder.copies_from("lost@example.com").len(), 1);
    assert_no_crash(&cluster);
}
