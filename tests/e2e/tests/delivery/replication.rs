//! The queue's tables on a subscriber of logical replication.

use super::processes::*;
use e2e::process::{BOUND, wait_until};
use e2e::rows::column;
use e2e::{OwnCluster, Recorder, Session, Step};
use std::time::{Duration, Instant};

/// What a publication of the queue has.
const TABLES: &str =
    "utl_smtp.message, utl_smtp.message_recipient, utl_smtp.message_content, utl_smtp.delivery_log";

/// One side of a replication: a cluster with a mail server.
struct Side {
    cluster: OwnCluster,
    session: Session,
    recorder: Recorder,
}

impl Side {
    fn new() -> Self {
        let cluster = OwnCluster::start(&[
            PRELOAD,
            "wal_level = logical",
            "wal_retrieve_retry_interval = 100ms",
            "utl_smtp.retry_minimum = 1",
        ]);
        let mut session = cluster.superuser();
        let recorder = Recorder::start();
        session.run(&office(recorder.port()));
        Self {
            cluster,
            session,
            recorder,
        }
    }

    fn submit(&mut self, sender: &str, at_most_once: bool) -> i64 {
        self.session.value(&format!(
            "SELECT utl_smtp.submit('office', '{sender}', ARRAY['bob@example.com'], E'Subject: x\\n\\nhello',
                                    at_most_once => {at_most_once})"
        ))
    }

    fn pause(&mut self, paused: bool) {
        let verb = match paused {
            true => "ADD",
            false => "SET",
        };
        self.session.run(&format!(
            "ALTER SERVER office OPTIONS ({verb} paused '{paused}')"
        ));
    }

    fn subscribe(&mut self, publisher: &Self) {
        let cluster = &publisher.cluster;
        self.session.run(&format!(
            "CREATE SUBSCRIPTION queue CONNECTION 'host={} port={} user={} dbname=postgres' PUBLICATION queue",
            cluster.host, cluster.port, cluster.superuser
        ));
    }

    /// Waits until a query returns these texts.
    #[track_caller]
    fn await_rows(&mut self, query: &str, expected: &[&str]) {
        let mut rows = column(&mut self.session, query);
        let began = Instant::now();
        while rows != expected {
            let log = || self.cluster.log_text();
            assert!(
                began.elapsed() < BOUND,
                "{rows:?}, not {expected:?}\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
            rows = column(&mut self.session, query);
        }
    }

    /// The senders of what has arrived at its mail server.
    fn arrived(&self) -> Vec<String> {
        let copies = self.recorder.copies().into_iter();
        copies.map(|copy| copy.sender).collect()
    }
}

const HELD: &str =
    "SELECT sender || coalesce(' ' || held_reason, '') FROM utl_smtp.mail_queue ORDER BY 1";
const LOG: &str = "SELECT sender || ' ' || state FROM utl_smtp.mail_log ORDER BY 1";

/// It holds what it was given and sends its own, and its worker stays away from what the publisher
/// has in flight, so that nothing is in the way of what comes next.
#[test]
fn a_subscriber_holds_what_its_publisher_has_queued_and_sends_its_own() {
    let (mut publisher, mut subscriber) = (Side::new(), Side::new());
    publisher.pause(true);
    publisher.submit("first@publisher.example", false);
    publisher
        .session
        .run(&format!("CREATE PUBLICATION queue FOR TABLE {TABLES}"));
    // Numbers that the publisher does not use.
    subscriber
        .session
        .run("SELECT setval('utl_smtp.message_id', 1000000000000)");
    subscriber.submit("own@subscriber.example", false);
    await_worker(&mut subscriber.session, "postgres");
    subscriber.subscribe(&publisher);
    subscriber.await_rows(HELD, &["first@publisher.example copy"]);
    subscriber.await_rows(LOG, &["own@subscriber.example sent"]);

    // Mail that comes while both workers run.
    publisher.recorder.hold(Step::Dot);
    publisher.pause(false);
    publisher.submit("once@publisher.example", true);
    publisher.recorder.await_held(Step::Dot, 2);
    let shown = "SELECT sender || ' ' || (state IN ('held', 'sending')) || ' ' || attempts FROM utl_smtp.mail_queue ORDER BY 1";
    subscriber.await_rows(
        shown,
        &[
            "first@publisher.example true 0",
            "once@publisher.example true 0",
        ],
    );
    // A worker that begins finds it in flight.
    let worker = await_worker(&mut subscriber.session, "postgres");
    terminate(&mut subscriber.session, worker);
    subscriber.submit("again@subscriber.example", false);
    let own = [
        "again@subscriber.example sent",
        "own@subscriber.example sent",
    ];
    subscriber.await_rows(LOG, &own);

    publisher.recorder.go();
    let sent = [
        "first@publisher.example sent",
        "once@publisher.example sent",
    ];
    publisher.await_rows(LOG, &sent);
    subscriber.await_rows(HELD, &[]);
    // The publisher's results have come, too.
    let log = "SELECT sender || ' ' || state FROM utl_smtp.delivery_log ORDER BY 1";
    subscriber.await_rows(log, &[own[0], sent[0], sent[1], own[1]]);
    assert_eq!(
        subscriber.arrived(),
        ["own@subscriber.example", "again@subscriber.example"]
    );
    assert_eq!(publisher.arrived().len(), 2);
    assert_eq!(log_lines(&subscriber.cluster, "ERROR:"), [""; 0]);
}

/// That is why caveats.md says to use other numbers there. Nothing is lost by it, and replication
/// goes on when the number is free.
#[test]
fn replication_waits_where_both_sides_use_the_same_number() {
    let (mut publisher, mut subscriber) = (Side::new(), Side::new());
    publisher.pause(true);
    subscriber.pause(true);
    let number = publisher.submit("first@publisher.example", false);
    assert_eq!(subscriber.submit("own@subscriber.example", false), number);
    publisher
        .session
        .run(&format!("CREATE PUBLICATION queue FOR TABLE {TABLES}"));
    subscriber.subscribe(&publisher);
    let collides = "duplicate key value violates unique constraint \"message_key\"";
    wait_until("replication has stopped", || {
        !log_lines(&subscriber.cluster, collides).is_empty()
    });
    // The subscriber's own mail is not touched, and goes out.
    assert_eq!(
        column(&mut subscriber.session, HELD),
        ["own@subscriber.example"]
    );
    subscriber.pause(false);
    subscriber.await_rows(LOG, &["own@subscriber.example sent"]);
    publisher.pause(false);
    publisher.await_rows(LOG, &["first@publisher.example sent"]);
    assert_eq!(subscriber.arrived(), ["own@subscriber.example"]);
    assert_eq!(publisher.arrived(), ["first@publisher.example"]);

    // The remedy.
    subscriber.session.run(
        "SELECT utl_smtp.purge(now());
         SELECT setval('utl_smtp.message_id', 1000000000000)",
    );
    let log = "SELECT sender FROM utl_smtp.delivery_log ORDER BY 1";
    subscriber.await_rows(log, &["first@publisher.example"]);
}
