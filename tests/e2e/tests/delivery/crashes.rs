//! Crashes: what was in flight arrives, once if it can be known that it did not arrive before, and
//! the log tells.

use super::kills::{self, Kill, await_empty_queue, create_server, submit};
use super::processes::await_worker;
use e2e::process::{self, wait_until};
use e2e::recorder::{Copy, Point};
use e2e::{Action, OwnCluster, Recorder, Session, Step};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// The cluster crashes while the worker is at each step of a conversation.
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
    assert_eq!(result(session, &sender), sent(attempts), "{sender}");

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

/// Twenty messages are in flight when the first crash comes, and one of them is at each
/// of the two that follow.
#[test]
fn the_message_in_flight_at_three_crashes_is_held_and_no_other() {
    const POISON: &str = "poison@example.com";
    let cluster = OwnCluster::start(&kills::DURABLE);
    let mut session = cluster.superuser();
    let recorder = Recorder::start();
    create_server(&mut session, "office", &recorder);
    recorder.hold(Step::Dot);
    session.run(&submit("office", POISON));
    recorder.await_held(Step::Dot, 1);
    session.run(
        "SELECT utl_smtp.submit('office', n || '@example.com', ARRAY['bob@example.com'], 'hello')
         FROM generate_series(1, 99) AS n",
    );
    recorder.await_held(Step::Dot, 20);
    let suspects: HashSet<String> = senders(&recorder.copies());
    assert!(suspects.contains(POISON));
    let flight = Arc::new(Flight::default());
    flight.end(&recorder);
    let (watched, flying) = (suspects.clone(), Arc::clone(&flight));
    recorder.play(move |point| {
        let is_answered = match point.step {
            Step::Dot => point.sender != POISON,
            step => step == Step::Answered,
        };
        let is_alive = flying.note(point, watched.contains(&point.sender), is_answered);
        match is_alive && (is_answered || point.step != Step::Dot) {
            true => Action::Go,
            false => Action::Hold,
        }
    });
    for crash in 1..=3 {
        if crash > 1 {
            recorder_has(&recorder, POISON, crash);
        }
        flight.end(&recorder);
        Kill::Worker.strike(&cluster);
    }
    let mut session = kills::connect(&cluster);
    let left = "SELECT count(*) FILTER (WHERE state <> 'held'), count(*) FROM utl_smtp.mail_queue";
    wait_until("the others are sent", || {
        session.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0
    });
    let held = "SELECT string_agg(concat_ws(' ', sender, held_reason, attempts), ', ') FROM utl_smtp.mail_queue";
    assert_eq!(session.value::<String>(held), format!("{POISON} crashed 3"));
    assert_eq!(flight.most(), 1);
    let copies = recorder.copies();
    for sender in senders(&copies) {
        let expected = match (sender.as_str(), suspects.contains(&sender)) {
            (POISON, _) => 3,
            (_, true) => 2,
            (_, false) => 1,
        };
        let copies = recorder.copies_from(&sender);
        // Others may have been in flight when a later crash came.
        let most = if expected == 1 { 3 } else { expected };
        assert!((expected..=most).contains(&copies.len()), "{sender}");
    }
    assert_eq!(senders(&copies).len(), 100);

    recorder.go();
    let retry = "SELECT utl_smtp.retry(message_id) FROM utl_smtp.mail_queue";
    assert_eq!(session.value::<i32>(retry), 1);
    await_empty_queue(&mut session);
    let sent = Some(("sent".to_owned(), 4, Some("250 kept".to_owned())));
    assert_eq!(result(&mut session, POISON), sent);
    let ids: HashSet<String> = recorder
        .copies_from(POISON)
        .iter()
        .map(Copy::message_id)
        .collect();
    assert_eq!(ids.len(), 1);
    recorder.assert_sound();
}

/// The messages that are in a transaction with the server.
#[derive(Default)]
struct Flight(Mutex<InFlight>);

#[derive(Default)]
struct InFlight {
    senders: HashSet<String>,
    /// How many there were at once.
    most: usize,
    /// Connections below this number are those of workers that were killed.
    first_alive: usize,
}

impl Flight {
    /// False for a connection of a worker that was killed. `is_answered`: or will be at once,
    /// before the next message can be begun.
    fn note(&self, point: &Point, is_watched: bool, is_answered: bool) -> bool {
        let mut flight = self.0.lock().unwrap();
        let is_alive = point.connection >= flight.first_alive;
        if is_alive && is_watched {
            match is_answered {
                true => flight.senders.remove(&point.sender),
                false => flight.senders.insert(point.sender.clone()),
            };
            flight.most = flight.most.max(flight.senders.len());
        }
        is_alive
    }

    /// The worker is about to be killed. What its connections have in hand does not count any more,
    /// also where one of their threads is just about to note it.
    fn end(&self, recorder: &Recorder) {
        let mut flight = self.0.lock().unwrap();
        flight.first_alive = recorder.connections();
        flight.senders.clear();
    }

    /// How many there were at once, at most.
    fn most(&self) -> usize {
        self.0.lock().unwrap().most
    }
}

fn senders(copies: &[Copy]) -> HashSet<String> {
    copies.iter().map(|copy| copy.sender.clone()).collect()
}

#[track_caller]
fn recorder_has(recorder: &Recorder, sender: &str, copies: usize) {
    wait_until(format_args!("copy {copies} from {sender} arrives"), || {
        recorder.copies_from(sender).len() >= copies
    });
}

/// A server that answers within the second that a worker has repeats nothing. How fast the
/// worker can be is up to the machine, so one of several rounds has to show it.
#[test]
fn a_worker_that_is_told_to_end_awaits_the_answers_to_its_final_dots() {
    let settings = [&kills::DURABLE[..], &["utl_smtp.worker_connections = 30"]].concat();
    let cluster = OwnCluster::start(&settings);
    drop(cluster.superuser());
    let terminate = |worker: i32| {
        kills::connect(&cluster).run(&format!("SELECT pg_terminate_backend({worker})"));
    };
    let term = |worker: i32| process::signal(worker, "TERM");
    let ways: [(&str, &dyn Fn(i32)); 3] = [
        ("terminated", &terminate),
        ("signalled", &term),
        ("shut_down", &|_| kills::begin_shut_down(&cluster)),
    ];
    for (way, end) in ways {
        let clean = (1..=5).any(|round| ends_cleanly(&cluster, &format!("{way}_{round}"), end));
        assert!(clean, "{way}: each time something was sent twice");
    }
}

/// Ends a worker while 20 final dots and five other messages are out. Whether nothing was sent
/// twice.
fn ends_cleanly(cluster: &OwnCluster, name: &str, end: &dyn Fn(i32)) -> bool {
    let mut session = kills::connect(cluster);
    let (dots, others) = (Recorder::start(), Recorder::start());
    dots.hold(Step::Dot);
    others.hold(Step::Rcpt);
    let (dot, other) = (format!("dot_{name}"), format!("other_{name}"));
    create_server(&mut session, &dot, &dots);
    create_server(&mut session, &other, &others);
    for (server, count) in [(&dot, 20), (&other, 5)] {
        session.run(&format!(
            "ALTER SERVER {server} OPTIONS (max_connections '{count}');
             SELECT utl_smtp.submit('{server}', n || '@example.com', ARRAY['bob@example.com'], 'hello')
             FROM generate_series(1, {count}) AS n"
        ));
    }
    dots.await_held(Step::Dot, 20);
    others.await_held(Step::Rcpt, 5);
    let worker = await_worker(&mut session, "postgres");
    drop(session);
    end(worker);
    // By then it knows.
    std::thread::sleep(Duration::from_millis(200));
    dots.go();
    wait_until("the worker ends", || !process::is_alive(worker));
    others.go();
    if name.starts_with("shut_down") {
        wait_until("the server is down", || cluster.is_down());
        kills::start(cluster);
    }
    let mut session = kills::connect(cluster);
    await_empty_queue(&mut session);
    // What was not out was not tried.
    let tried = "SELECT count(*) FROM utl_smtp.mail_log WHERE server = $1 AND state = 'sent' AND attempts = 1";
    let row = session.query_one(tried, &[&other]).unwrap();
    assert_eq!(row.get::<_, i64>(0), 5);
    assert_eq!(others.copies().len(), 5);
    assert_eq!(senders(&dots.copies()).len(), 20);
    dots.copies().len() == 20
}

/// A transaction is committed without waiting for the disk, and the server crashes when its
/// mail is on its way.
#[test]
fn mail_that_is_on_its_way_was_committed_durably() {
    let settings = [&kills::DURABLE[..], &["wal_writer_delay = 10s"]].concat();
    let cluster = OwnCluster::start(&settings);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    session.run("CREATE TABLE mine (n integer)");
    // A worker that is there flushes nothing else meanwhile.
    session.run(&submit("office", "first@example.com"));
    await_worker(&mut session, "postgres");
    await_empty_queue(&mut session);
    recorder.hold(Step::Data);
    for n in 1..=3 {
        let mut session = kills::connect(&cluster);
        let sender = format!("{n}@example.com");
        session.run("SET synchronous_commit = off");
        session.run(&format!(
            "BEGIN; INSERT INTO mine VALUES ({n}); {}; COMMIT",
            submit("office", &sender)
        ));
        recorder.await_held(Step::Data, 1);
        Kill::Immediate.strike(&cluster);
        let mut session = kills::connect(&cluster);
        let rows: i64 = session.value("SELECT count(*) FROM mine");
        assert_eq!(rows, n);
        recorder.go();
        await_empty_queue(&mut session);
        assert_eq!(recorder.copies_from(&sender).len(), 1);
        recorder.hold(Step::Data);
    }
}
