//! Crashes: what was in flight arrives, once if it can be known that it did not arrive before, and
//! the log tells.

use super::kills::{self, Kill, await_empty_queue, create_server, submit};
use e2e::process::wait_until;
use e2e::recorder::Copy;
use e2e::{Action, OwnCluster, Recorder, Session, Step};

const STEPS: [Step; 8] = [
    Step::Greeting,
    Step::Ehlo,
    Step::Mail,
    Step::Rcpt,
    Step::Data,
    Step::Body,
    Step::Dot,
    Step::Answered,
];

/// A message at one step of its conversation, and a second one that is to be sent at most once.
struct Case {
    kill: Kill,
    step: Step,
    recorder: Recorder,
}

impl Case {
    /// With a server of its own, which the worker does not know yet.
    fn new(kill: Kill, step: Step) -> Self {
        Self {
            kill,
            step,
            recorder: Recorder::start(),
        }
    }

    fn server(&self) -> String {
        format!("{:?}_{:?}", self.kill, self.step).to_lowercase()
    }

    fn sender(&self, once: bool) -> String {
        let once = if once { "once" } else { "least" };
        format!("{once}-{}@example.com", self.server())
    }

    fn submit(&self, session: &mut Session) {
        // Of what is large a part is still in the worker.
        let lines = if self.step == Step::Body { 80_000 } else { 3 };
        for once in [false, true] {
            session.run(&format!(
                "SELECT utl_smtp.submit('{}', '{}', ARRAY['bob@example.com'],
                     E'Subject: crash\\n\\n' || repeat(repeat('x', 70) || E'\\n', {lines}) || 'end', at_most_once => {once})",
                self.server(),
                self.sender(once),
            ));
        }
    }

    /// Whether a message is claimed when it is at this step.
    fn is_claimed(&self) -> bool {
        !matches!(self.step, Step::Greeting | Step::Ehlo)
    }

    /// Whether the server has the message.
    fn is_out(&self) -> bool {
        matches!(self.step, Step::Dot | Step::Answered)
    }

    /// Where the messages wait.
    fn stop_at(&self) -> Step {
        match self.step {
            Step::Answered => Step::Dot,
            step => step,
        }
    }

    fn hold(&self) {
        self.recorder.hold(self.stop_at());
    }

    fn await_held(&self) {
        let count = if self.is_claimed() { 2 } else { 1 };
        self.recorder.await_held(self.stop_at(), count);
    }

    /// From now on holds whoever connects.
    fn stop(&self) {
        let (at, known) = (self.step, self.recorder.connections());
        self.recorder.play(move |point| {
            let is_new = point.connection >= known;
            let stops = match is_new {
                true => point.step == Step::Greeting,
                false => point.step == at,
            };
            if stops { Action::Hold } else { Action::Go }
        });
    }
}

/// the cluster crashes while the worker is at each step of a conversation.
#[test]
fn a_crash_at_any_step_loses_nothing_and_repeats_what_was_out() {
    let cluster = OwnCluster::start(&kills::DURABLE);
    drop(cluster.superuser());
    for kill in Kill::ALL {
        let mut session = kills::connect(&cluster);
        let mut locker = kills::connect(&cluster);
        let cases = STEPS.map(|step| Case::new(kill, step));
        for case in &cases {
            create_server(&mut session, &case.server(), &case.recorder);
        }
        cases.iter().for_each(Case::hold);
        cases.iter().for_each(|case| case.submit(&mut session));
        cases.iter().for_each(Case::await_held);
        // What is answered from now on can't be recorded.
        locker.run("BEGIN; LOCK TABLE utl_smtp.delivery_log IN SHARE MODE");
        let answered = &cases[STEPS.len() - 1].recorder;
        answered.go();
        wait_until("the worker knows the answers", || {
            answered.reached(Step::Answered) == 2 && waits_for_the_log(&mut session)
        });
        cases.iter().for_each(Case::stop);

        kill.strike(&cluster);
        let mut session = kills::connect(&cluster);
        cases
            .iter()
            .for_each(|case| assert_doubt(&mut session, case));
        cases.iter().for_each(|case| case.recorder.go());
        await_empty_queue(&mut session);
        cases
            .iter()
            .for_each(|case| assert_delivery(&mut session, case));
    }
}

fn waits_for_the_log(session: &mut Session) -> bool {
    session.value(
        "SELECT EXISTS (SELECT FROM pg_locks
                        WHERE relation = 'utl_smtp.delivery_log'::regclass AND NOT granted)",
    )
}

/// After the crash, before anything is sent again.
#[track_caller]
fn assert_doubt(session: &mut Session, case: &Case) {
    let sender = case.sender(false);
    let mut found = (0, None);
    wait_until(format_args!("{sender} is rescued"), || {
        let rescued = "SELECT attempts, last_reply FROM utl_smtp.mail_queue WHERE sender = $1";
        let row = session.query_one(rescued, &[&sender]).unwrap();
        found = (row.get(0), row.get::<_, Option<String>>(1));
        !case.is_claimed() || found.0 > 0
    });
    let doubt = "outcome unknown: the worker ended while the message was being sent";
    let expected = match case.is_claimed() {
        true => (1, Some(doubt.to_owned())),
        false => (0, None),
    };
    assert_eq!(found, expected, "{sender}");
    let once = case.sender(true);
    let expected = case.is_claimed().then(|| {
        let reply = Some(doubt.to_owned());
        ("unknown".to_owned(), 1, reply)
    });
    assert_eq!(result(session, &once), expected, "{once}");
}

/// At the end.
#[track_caller]
fn assert_delivery(session: &mut Session, case: &Case) {
    let sender = case.sender(false);
    let copies = case.recorder.copies_from(&sender);
    let expected = if case.is_out() { 2 } else { 1 };
    assert_eq!(copies.len(), expected, "{sender}");
    assert_alike(&copies);
    let attempts = if case.is_claimed() { 2 } else { 1 };
    let sent = |attempts| Some(("sent".to_owned(), attempts, Some("250 kept".to_owned())));
    assert_eq!(
        result(session, &sender),
        sent(attempts),
        "{sender}"
    );

    let once = case.sender(true);
    let copies = case.recorder.copies_from(&once);
    let expected = usize::from(case.is_out() || !case.is_claimed());
    assert_eq!(copies.len(), expected, "{once}");
    if !case.is_claimed() {
        assert_eq!(result(session, &once), sent(1), "{once}");
    }
    case.recorder.assert_sound();
}

/// Copies of one message are the same, octet by octet.
#[track_caller]
fn assert_alike(copies: &[Copy]) {
    for copy in copies {
        assert_eq!(copy.message_id(), copies[0].message_id());
        assert!(copy.content == copies[0].content);
        assert!(copy.content.ends_with(b"\r\nend\r\n"));
        assert_eq!(copy.recipients, ["bob@example.com"]);
    }
}

/// What the log says of the only recipient of a sender's message.
fn result(session: &mut Session, sender: &str) -> Option<(String, i32, Option<String>)> {
    let log = "SELECT state, attempts, last_reply FROM utl_smtp.mail_log WHERE sender = $1";
    let row = session.query_opt(log, &[&sender]).unwrap()?;
    Some((row.get(0), row.get(1), row.get(2)))
}
