//! Somebody sets the clock while mail waits and while it is being sent.

use super::processes::{PRELOAD, SUBMIT, await_worker, log_lines, worker_of};
use e2e::process::{self, wait_until};
use e2e::{Action, Faults, Recorder, Session, Step};
use std::time::{Duration, Instant};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

/// A cluster whose clock a test can set.
struct Clock {
    faults: Faults,
    session: Session,
}

impl Clock {
    fn new(settings: &[&str]) -> Self {
        let faults = Faults::start_with(&[&[PRELOAD][..], settings].concat());
        let session = faults.cluster.superuser();
        Self { faults, session }
    }

    fn server(&mut self, name: &str, recorder: &Recorder) {
        self.session.run(&format!(
            "CREATE SERVER {name} FOREIGN DATA WRAPPER utl_smtp
             OPTIONS (host '127.0.0.1', port '{}', security 'none')",
            recorder.port()
        ));
    }

    fn submit(&mut self, server: &str) -> i64 {
        self.session.value(&SUBMIT.replace("office", server))
    }

    /// Waits until a message has had so many attempts and waits for another one.
    #[track_caller]
    fn await_deferred(&mut self, id: i64, attempts: i32) {
        let query = format!(
            "SELECT coalesce((SELECT state || ' ' || attempts FROM utl_smtp.mail_queue WHERE message_id = {id}),
                             (SELECT state FROM utl_smtp.mail_log WHERE message_id = {id}))"
        );
        wait_until(format_args!("{id} is deferred"), || {
            let state: String = self.session.value(&query);
            let tried = state.strip_prefix("deferred ").map(str::parse::<i32>);
            let may_change = ["queued", "sending", "deferred"];
            assert!(
                may_change.iter().any(|begins| state.starts_with(begins)),
                "{id} is {state}"
            );
            tried.is_some_and(|tried| tried.unwrap() >= attempts)
        });
    }

    /// Waits until a message is final, which is sent.
    #[track_caller]
    fn assert_sent(&mut self, id: i64) {
        let query = format!("SELECT max(state) FROM utl_smtp.mail_log WHERE message_id = {id}");
        let mut state = None;
        wait_until(format_args!("{id} is final"), || {
            state = self.session.value::<Option<String>>(&query);
            state.is_some()
        });
        assert_eq!(state.as_deref(), Some("sent"));
    }

    /// Lets mail wait for two seconds from now on, and for that makes the deferred message due until
    /// the worker has read the settings.
    #[track_caller]
    fn shorten_retries(&mut self, id: i64) {
        for name in ["utl_smtp.retry_minimum", "utl_smtp.retry_maximum"] {
            self.session.run(&format!("ALTER SYSTEM SET {name} = 2"));
        }
        self.session.run("SELECT pg_reload_conf()");
        let is_far = format!(
            "SELECT state = 'deferred' AND next_attempt_at > now() + interval '1 minute'
             FROM utl_smtp.mail_queue WHERE message_id = {id}"
        );
        // Not due at once, as what was pushed and not tried yet.
        let is_near = is_far.replace("> now()", "BETWEEN now() AND now()");
        wait_until("the worker has read its settings", || {
            if self.session.value::<bool>(&is_far) {
                self.session.run("SELECT utl_smtp.push_queue()");
            }
            self.session.value::<bool>(&is_near)
        });
    }
}

fn refuse(recorder: &Recorder) {
    recorder.play(|point| match point.step {
        Step::Rcpt => Action::reply("450 4.2.0 later"),
        _ => Action::Go,
    });
}

/// By a day forward and then a few hours back: mail waits as long as it would have, none expires,
/// and what is in flight is sent once.
#[test]
fn a_clock_that_is_set_changes_nothing_for_mail() {
    let mut clock = Clock::new(&[
        "utl_smtp.retry_minimum = 3600",
        "utl_smtp.retry_maximum = 3600",
        "utl_smtp.message_lifetime = 7200",
    ]);
    let [waiting, flying, other] = [0; 3].map(|_| Recorder::start());
    clock.server("waiting", &waiting);
    clock.server("flying", &flying);
    clock.server("other", &other);
    refuse(&waiting);
    flying.hold(Step::Dot);
    let deferred = clock.submit("waiting");
    let in_flight = clock.submit("flying");
    clock.await_deferred(deferred, 1);
    flying.await_held(Step::Dot, 1);
    let worker = await_worker(&mut clock.session, "postgres");

    // It seems to be due now, and older than its lifetime.
    clock.faults.step_clock(DAY);
    let fresh = clock.submit("other");
    clock.assert_sent(fresh);
    let next = format!(
        "SELECT next_attempt_at > now() + interval '30 minutes' FROM utl_smtp.mail_queue WHERE message_id = {deferred}"
    );
    wait_until("its time has moved", || clock.session.value::<bool>(&next));
    assert_eq!(waiting.reached(Step::Rcpt), 1);
    clock.session.run("SELECT utl_smtp.push_queue()");
    clock.await_deferred(deferred, 2);

    // It seems to have to wait for hours.
    clock.shorten_retries(deferred);
    clock.faults.step_clock(DAY - 3 * HOUR);
    let (began, used) = (Instant::now(), process::processor_time(worker));
    let attempts =
        format!("SELECT attempts FROM utl_smtp.mail_queue WHERE message_id = {deferred}");
    let attempts: i32 = clock.session.value(&attempts);
    clock.await_deferred(deferred, attempts + 3);
    let (took, used) = (began.elapsed(), process::processor_time(worker) - used);
    // The first of the three attempts may have been due.
    assert!(took > Duration::from_secs(3), "{took:?}");
    assert!(used < took / 4, "{used:?} of {took:?}");

    waiting.go();
    flying.go();
    clock.assert_sent(deferred);
    clock.assert_sent(in_flight);
    for recorder in [&waiting, &flying, &other] {
        assert_eq!(recorder.copies().len(), 1);
    }
    assert_eq!(worker_of(&mut clock.session, "postgres"), Some(worker));
    for text in ["ERROR:", "PANIC:"] {
        assert_eq!(log_lines(&clock.faults.cluster, text), [""; 0]);
    }
}

/// The time in which mail did not age is still known when the clock goes back.
#[test]
fn a_pause_counts_when_the_clock_is_set_back_in_it() {
    let mut clock = Clock::new(&[
        "utl_smtp.retry_minimum = 1",
        "utl_smtp.retry_maximum = 1",
        "utl_smtp.message_lifetime = 600",
    ]);
    let recorder = Recorder::start();
    clock.server("office", &recorder);
    refuse(&recorder);
    let id = clock.submit("office");
    clock.await_deferred(id, 1);
    clock
        .session
        .run("ALTER SERVER office OPTIONS (ADD paused 'true')");
    let paused = "SELECT EXISTS (SELECT FROM utl_smtp.delivery_pause WHERE ended_at IS NULL)";
    wait_until("the server is paused", || {
        clock.session.value::<bool>(paused)
    });
    // As if that had been an hour ago.
    clock.session.run(
        "BEGIN; UPDATE utl_smtp.message SET due_at = due_at - interval '1 hour';
         UPDATE utl_smtp.delivery_pause SET began_at = began_at - interval '1 hour'; COMMIT",
    );
    clock.faults.step_clock(-3 * HOUR);
    let moved = "SELECT due_at < now() - interval '30 minutes' FROM utl_smtp.message";
    wait_until("its time has moved", || clock.session.value::<bool>(moved));
    let attempts: i32 = clock
        .session
        .value("SELECT attempts FROM utl_smtp.mail_queue");
    clock
        .session
        .run("ALTER SERVER office OPTIONS (SET paused 'false')");
    clock.await_deferred(id, attempts + 1);
    recorder.go();
    clock.assert_sent(id);
}
