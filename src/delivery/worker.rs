//! The worker of a database: the process that sends its mail.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::control::{self, Activity, Refusal};
use super::engine::Engine;
use super::shared::{self, Outcome, Worker};
use crate::pg::background::{self, Failure, Handle, Registration};
use crate::pg::lock::{self, Tag};
use crate::pg::notices;

/// The lock that the worker of a database holds.
const WORKER: u32 = 3;

/// How often it looks whether the database is wanted without sessions.
const TICK: Duration = Duration::from_millis(500);
/// How often it looks whether it may still send.
const CHECK: Duration = Duration::from_secs(1);
/// How long it stays when there is no mail left.
const STAY: Duration = Duration::from_secs(600);
/// What conversations whose final dot is out get when it leaves.
const GRACE: Duration = Duration::from_secs(1);
/// After an error of its own.
const PAUSE: Duration = Duration::from_secs(1);

/// In `bgw_extra`: it was asked for, so it stays a while even if there is no mail.
const ASKED: u8 = 1;
/// In the bits above: how the worker before it ended.
const LAST_SHIFT: u8 = 1;

/// What the database, its roles and the configuration might have set otherwise.
const SETTINGS: [(&CStr, &CStr); 13] = [
    (c"synchronous_commit", c"on"),
    (c"search_path", c""),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"300ms"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_deferrable", c"off"),
    (c"session_replication_role", c"origin"),
    (c"row_security", c"off"),
    (c"jit", c"off"),
    (c"max_parallel_workers_per_gather", c"0"),
    (c"application_name", c"utl_smtp delivery"),
];

fn tag(database: pg_sys::Oid) -> Tag {
    Tag::new(database, WORKER, 0)
}

/// Whether a database has a worker.
pub fn is_running(database: pg_sys::Oid) -> bool {
    tag(database).is_taken()
}

/// Starts the worker of a database. `None` where all slots of max_worker_processes are taken.
pub fn start(database: pg_sys::Oid, asked: bool, last: Outcome) -> Option<Handle> {
    let extra = if asked { ASKED } else { 0 } | (last as u8) << LAST_SHIFT;
    let worker = Registration {
        kind: c"utl_smtp delivery",
        name: &format!("utl_smtp delivery, database {database}"),
        function: c"utl_smtp_worker",
        argument: database.to_u32(),
        extra,
        restarts: false,
        on_standby: false,
    };
    worker.start_watched()
}

/// The place of this process in shared memory.
static PLACE: AtomicUsize = AtomicUsize::new(usize::MAX);

fn place() -> Option<&'static Worker> {
    shared::attached()?.place(PLACE.load(Ordering::Relaxed))
}

/// Takes a place in shared memory. The launcher may have ended, and another one have made new
/// memory.
fn claim_place(database: pg_sys::Oid) {
    if place().is_none()
        && let Some(shared) = shared::attach()
        && let Some(index) = shared.claim(database.to_u32())
    {
        PLACE.store(index, Ordering::Relaxed);
    }
}

/// The worker's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn utl_smtp_worker(database: pg_sys::Datum) {
    let database = pg_sys::Oid::from(database.value() as u32);
    claim_place(database);
    background::at_exit(|| {
        if let Some(place) = place() {
            if background::is_terminated() {
                place.set_outcome(Outcome::Terminated);
            }
            place.end();
        }
    });
    background::begin(Some(database));
    for (name, value) in SETTINGS {
        background::set(name, value);
    }
    let outcome = match tag(database).take() {
        true => serve(database),
        false => Outcome::Busy,
    };
    if let Some(place) = place() {
        place.set_outcome(outcome);
    }
    background::exit();
}

/// Sends mail until there is a reason to leave.
fn serve(database: pg_sys::Oid) -> Outcome {
    match background::transaction(control::begin) {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => {
            let last = Outcome::of((background::extra() >> LAST_SHIFT).into());
            return refused(&refusal, Some(last));
        }
        Err(failure) => return failed(&failure),
    }
    let engine = match background::catch(Engine::start) {
        Ok(engine) => engine,
        Err(failure) => return failed(&failure),
    };
    if let Some(place) = place() {
        place.begin();
    }
    let now = Instant::now();
    let mut worker = Service {
        database,
        engine,
        tick_at: now + TICK,
        check_at: now + CHECK,
        leave_at: match background::extra() & ASKED {
            0 => now,
            _ => now + STAY,
        },
        paused_until: None,
        last_failure: None,
        unshown_failure: None,
        shown: None,
    };
    let outcome = worker.run();
    // From here on, who wants a worker asks the launcher. Who did so before counts on this one.
    if let Some(place) = place() {
        place.end();
    }
    let changed = matches!(outcome, Outcome::Absent | Outcome::Stopped | Outcome::Off)
        && matches!(background::transaction(control::look), Ok(Ok(())));
    worker.stop(outcome);
    match changed {
        true => Outcome::Wanted,
        false => outcome,
    }
}

fn failed(failure: &Failure) -> Outcome {
    if background::is_terminated() {
        return Outcome::Terminated;
    }
    failure.log();
    Outcome::Failed
}

/// `last`: how the worker before this one ended, which has said so, unless this one has sent since.
fn refused(refusal: &Refusal, last: Option<Outcome>) -> Outcome {
    match refusal {
        Refusal::Absent => Outcome::Absent,
        Refusal::Stopped => Outcome::Stopped,
        Refusal::Off => Outcome::Off,
        Refusal::Outdated { database, version } => {
            let (outcome, hint) = match control::is_newer(version) {
                true => (
                    Outcome::Newer,
                    "Where utl_smtp is in shared_preload_libraries, restart the server.",
                ),
                false => (Outcome::Outdated, "ALTER EXTENSION utl_smtp UPDATE;"),
            };
            if last != Some(outcome) {
                let library = control::LIBRARY;
                let message = format!(
                    "no mail of database \"{database}\" is sent: extension utl_smtp has version {version}, its library {library}"
                );
                notices::warn_with_hint(&message, hint);
            }
            outcome
        }
    }
}

/// The worker, once it may send.
struct Service {
    database: pg_sys::Oid,
    engine: Engine,
    tick_at: Instant,
    check_at: Instant,
    /// When it leaves if there is no mail until then.
    leave_at: Instant,
    /// After an error.
    paused_until: Option<Instant>,
    /// The last error that was logged, and when.
    last_failure: Option<(String, Instant)>,
    /// The last error, if others do not see it yet.
    unshown_failure: Option<String>,
    /// What others see it doing.
    shown: Option<Activity>,
}

impl Service {
    fn run(&mut self) -> Outcome {
        loop {
            if background::is_terminated() {
                return Outcome::Terminated;
            }
            if background::reload() {
                self.engine.reload();
                self.check_at = Instant::now();
            }
            let now = Instant::now();
            if let Some(outcome) = self.reason_to_leave(now) {
                return outcome;
            }
            background::report_activity(Some("delivering mail"));
            let next = self.work(now);
            background::report_activity(None);
            background::report_statistics();
            // With nothing to do, it wakes no oftener than it must.
            let until = match self.engine.is_idle() {
                true => self.tick_at,
                false => next.min(self.tick_at),
            };
            let descriptor = self
                .paused_until
                .is_none()
                .then(|| self.engine.descriptor());
            background::wait(descriptor, until.saturating_duration_since(Instant::now()));
        }
    }

    /// One step of the engine; returns when it wants the next one.
    fn work(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.paused_until {
            if now < until {
                return until;
            }
            self.paused_until = None;
        }
        if place().is_some_and(Worker::take_signal) {
            self.engine.wake();
        }
        let engine = &mut self.engine;
        let next = background::catch(|| engine.run_once(now));
        match next.and_then(|next| engine.take_failure().map_or(Ok(next), Err)) {
            Ok(next) => next,
            Err(failure) => self.pause(&failure, now),
        }
    }

    /// After an error it does nothing for a moment. The same error is logged once a minute.
    fn pause(&mut self, failure: &Failure, now: Instant) -> Instant {
        let until = now + PAUSE;
        self.paused_until = Some(until);
        let is_known = self.last_failure.as_ref().is_some_and(|(message, at)| {
            *message == failure.message && now.duration_since(*at) < Duration::from_secs(60)
        });
        if !is_known && !background::is_terminated() {
            failure.log();
            self.last_failure = Some((failure.message.clone(), now));
            self.unshown_failure = Some(failure.message.clone());
        }
        until
    }

    fn reason_to_leave(&mut self, now: Instant) -> Option<Outcome> {
        if self.tick_at <= now {
            self.tick_at = now + TICK;
            if lock::database_is_wanted(self.database) {
                return Some(Outcome::Wanted);
            }
        }
        if self.check_at <= now {
            self.check_at = now + CHECK;
            self.attend_memory();
            if let Some(outcome) = self.look_again(now) {
                return Some(outcome);
            }
        }
        let idle = self.engine.is_idle();
        if !idle {
            self.leave_at = self.leave_at.max(now + STAY);
        }
        let place = place()?;
        place.set_idle(idle);
        if place.is_asked_to_yield() && !idle {
            return Some(Outcome::Yielded);
        }
        let leaves = idle && (self.leave_at <= now || place.is_asked_to_yield());
        (leaves && self.may_leave(place, now)).then_some(Outcome::Idle)
    }

    /// Whether it may still send; and what it does is shown to others.
    fn look_again(&mut self, now: Instant) -> Option<Outcome> {
        let activity = match self.engine.is_idle() {
            true => Activity::Idle,
            false => Activity::Running,
        };
        let changed = (self.shown != Some(activity)).then_some(activity);
        let failure = self.unshown_failure.as_deref();
        match background::transaction(|| control::look_again(changed, failure)) {
            Ok(Ok(())) => {
                self.shown = Some(activity);
                self.unshown_failure = None;
                None
            }
            Ok(Err(refusal)) => Some(refused(&refusal, None)),
            Err(failure) => {
                self.pause(&failure, now);
                None
            }
        }
    }

    /// Whether nobody has mail for this worker. From here on, who commits some asks the launcher
    /// for another worker.
    fn may_leave(&mut self, place: &Worker, now: Instant) -> bool {
        place.end();
        let may = !place.take_signal()
            && match background::transaction(control::is_deserted) {
                Ok(deserted) => deserted,
                Err(failure) => {
                    self.pause(&failure, now);
                    false
                }
            };
        if !may {
            place.begin();
            self.leave_at = self.leave_at.max(now + CHECK);
            self.engine.wake();
        }
        may
    }

    /// On 14 to 16 without preload the memory goes with the launcher that made it.
    fn attend_memory(&self) {
        if place().is_none() {
            claim_place(self.database);
            if let Some(place) = place() {
                place.begin();
            }
        }
    }

    /// Ends what is in flight.
    fn stop(mut self, outcome: Outcome) {
        background::begin_end();
        if matches!(outcome, Outcome::Terminated | Outcome::Wanted) {
            // Somebody waits for this process: it waits for no standby.
            background::set(c"synchronous_commit", c"local");
        }
        let grace = match outcome {
            Outcome::Absent | Outcome::Outdated | Outcome::Newer => Duration::ZERO,
            _ => GRACE,
        };
        let stopped = background::catch(|| self.engine.stop(grace));
        if let Err(failure) = stopped
            && outcome != Outcome::Absent
        {
            failure.log();
        }
    }
}
