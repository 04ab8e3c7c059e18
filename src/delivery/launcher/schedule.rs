//! Which database has a worker, and when it gets one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::delivery::shared::{Asker, Outcome, Shared};
use crate::delivery::worker;
use crate::pg::background::{self, Handle};
use crate::pg::{databases, lock, notices};
use crate::settings;

/// How often the list of databases is read.
const SCAN: Duration = Duration::from_secs(60);
/// How long a database rests whose extension has another version than the library.
const OUTDATED: Duration = Duration::from_secs(30);
/// A worker that ended otherwise than it should is started again after this time, then after twice
/// as long, and so on.
const LEAST_DELAY: Duration = Duration::from_secs(1);
const MOST_DELAY: Duration = Duration::from_secs(60);
/// A worker that lived as long was healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// How long a worker keeps its place while other databases wait for one.
const TURN: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_secs(1);
/// How often it is said that there are too few places.
const WARNING: Duration = Duration::from_secs(3600);

/// What the launcher knows of the databases.
pub struct Schedule {
    shared: &'static Shared,
    databases: BTreeMap<u32, Database>,
    /// When the list of databases is read next.
    scan_at: Instant,
    deliver: bool,
    warned_at: Option<Instant>,
}

struct Database {
    phase: Phase,
    /// Whether a worker was asked for, not only looked whether one is needed.
    asked: bool,
    /// How long the next worker waits if this one fails.
    delay: Duration,
    /// How its last worker ended.
    last: Outcome,
}

enum Phase {
    /// Nothing to do until somebody asks.
    Resting,
    /// A worker is started at this moment.
    Due(Instant),
    /// A worker was started at this moment.
    Running(Handle, Instant),
    /// It has a worker of an earlier launcher's.
    Foreign,
}

impl Schedule {
    pub fn new(shared: &'static Shared) -> Self {
        Self {
            shared,
            databases: BTreeMap::new(),
            scan_at: Instant::now(),
            deliver: settings::deliver(),
            warned_at: None,
        }
    }

    /// The configuration was read again.
    pub fn reload(&mut self) {
        let deliver = settings::deliver();
        if deliver != self.deliver {
            self.deliver = deliver;
            // Each database has to note when mail began or ceased to wait.
            self.look_at_all(Instant::now());
        }
    }

    /// Does what is due; returns how long there is nothing to do.
    pub fn step(&mut self, now: Instant) -> Duration {
        self.take_requests(now);
        for (database, state) in &mut self.databases {
            state.see_whether_ended(*database, self.shared, now);
        }
        // A database whose worker has ended may be gone.
        if self.scan_at <= now || self.databases.values().any(|state| state.is_due(now)) {
            self.scan(now);
        }
        self.start_due(now);
        self.time_to_next(now)
    }

    fn take_requests(&mut self, now: Instant) {
        let Some(requests) = self.shared.take_requests() else {
            self.scan_at = now;
            self.look_at_all(now);
            return;
        };
        for (database, asker) in requests {
            match self.databases.get_mut(&database) {
                // Nobody would send it.
                Some(_) if !self.deliver => {}
                Some(state) if state.last == Outcome::Stopped && asker == Asker::Mail => {}
                Some(state) => state.ask(database, self.shared, now),
                None => {
                    // It is new, or not even there.
                    self.databases.insert(database, Database::new(now, true));
                    self.scan_at = now;
                }
            }
        }
    }

    fn look_at_all(&mut self, now: Instant) {
        for (database, state) in &mut self.databases {
            state.ask(*database, self.shared, now);
        }
    }

    /// Reads which databases there are. One that is new is looked at.
    fn scan(&mut self, now: Instant) {
        let found = match background::catalog_transaction(databases::connectable) {
            Ok(found) => found,
            Err(failure) => {
                failure.log();
                self.scan_at = now + MOMENT;
                return;
            }
        };
        self.scan_at = now + SCAN;
        let found: Vec<u32> = found.into_iter().map(pg_sys::Oid::to_u32).collect();
        self.databases
            .retain(|database, state| found.contains(database) || state.is_running());
        for database in found {
            let looked_at = || Database::new(now, false);
            self.databases.entry(database).or_insert_with(looked_at);
        }
    }

    /// Starts workers, those first that wait longest.
    fn start_due(&mut self, now: Instant) {
        let mut due: Vec<(Instant, u32)> = self
            .databases
            .iter()
            .filter(|(_, state)| state.is_due(now))
            .filter_map(|(database, state)| Some((state.due_at()?, *database)))
            .collect();
        due.sort_unstable();
        for (_, database) in due {
            let Some(state) = self.databases.get_mut(&database) else {
                continue;
            };
            if lock::database_is_wanted(database.into()) {
                // It may be gone when its turn comes.
                state.phase = Phase::Due(now + MOMENT);
            } else if worker::is_running(database.into()) {
                state.phase = Phase::Foreign;
            } else if let Some(handle) = worker::start(database.into(), state.asked, state.last) {
                state.asked = false;
                state.phase = Phase::Running(handle, now);
            } else {
                self.make_room(now);
                return;
            }
        }
    }

    /// There is no place for another worker: one that has nothing to do, or has had its turn, makes
    /// room.
    fn make_room(&mut self, now: Instant) {
        if self.warned_at.is_none_or(|at| at + WARNING <= now) {
            self.warned_at = Some(now);
            notices::warn_with_hint(
                "databases with queued mail take turns: all slots for background workers are taken",
                "Raise max_worker_processes and restart the server.",
            );
        }
        let workers = self.databases.iter().filter_map(|(database, state)| {
            let Phase::Running(_, since) = &state.phase else {
                return None;
            };
            Some((*since, self.shared.worker(*database)?))
        });
        let workers: Vec<_> = workers.collect();
        if workers.iter().any(|(_, worker)| worker.is_asked_to_yield()) {
            return;
        }
        let had_turn = |since: Instant| since + TURN <= now;
        let idle = workers.iter().find(|(_, worker)| worker.is_idle());
        let oldest = workers.iter().min_by_key(|(since, _)| *since);
        let chosen = idle.or(oldest.filter(|(since, _)| had_turn(*since)));
        if let Some((_, worker)) = chosen {
            worker.ask_to_yield();
        }
    }

    fn time_to_next(&self, now: Instant) -> Duration {
        let times = self
            .databases
            .values()
            .filter_map(|state| match &state.phase {
                Phase::Due(at) => Some((*at).max(now + MOMENT / 2)),
                Phase::Foreign => Some(now + MOMENT),
                Phase::Running(..) | Phase::Resting => None,
            });
        let next = times.chain([self.scan_at]).min().unwrap_or(now);
        next.saturating_duration_since(now)
    }
}

impl Database {
    fn new(now: Instant, asked: bool) -> Self {
        Self {
            phase: Phase::Due(now),
            asked,
            delay: LEAST_DELAY,
            last: Outcome::Idle,
        }
    }

    fn due_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Due(at) => Some(at),
            _ => None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(..))
    }

    /// Somebody wants a worker.
    fn ask(&mut self, database: u32, shared: &Shared, now: Instant) {
        match self.phase {
            Phase::Resting => {
                self.asked = true;
                self.phase = Phase::Due(now);
            }
            Phase::Due(_) => self.asked = true,
            // One that is ready looks for mail itself. One that begins or leaves may have looked
            // too early.
            Phase::Running(..) | Phase::Foreign => {
                self.asked = shared.worker(database).is_none();
            }
        }
    }

    fn see_whether_ended(&mut self, database: u32, shared: &Shared, now: Instant) {
        let lived = match &self.phase {
            Phase::Running(handle, since) if !handle.is_alive() => now.duration_since(*since),
            Phase::Foreign if !worker::is_running(database.into()) => HEALTHY,
            Phase::Running(..) | Phase::Foreign => {
                // It is ready, and looks for mail after that: what was asked for before is done.
                self.asked &= shared.worker(database).is_none();
                return;
            }
            Phase::Resting | Phase::Due(_) => return,
        };
        let outcome = shared.take_outcome(database);
        if lived >= HEALTHY {
            self.delay = LEAST_DELAY;
        }
        let next = self.after(outcome, now);
        if let Phase::Running(handle, _) = std::mem::replace(&mut self.phase, next) {
            handle.forget();
        }
    }

    /// What follows on the end of a worker.
    fn after(&mut self, outcome: Outcome, now: Instant) -> Phase {
        self.last = outcome;
        match outcome {
            Outcome::Failed => {
                let delay = self.delay;
                self.delay = (delay * 2).min(MOST_DELAY);
                Phase::Due(now + delay)
            }
            Outcome::Idle | Outcome::Absent | Outcome::Stopped | Outcome::Off if !self.asked => {
                Phase::Resting
            }
            Outcome::Idle | Outcome::Absent | Outcome::Stopped | Outcome::Off => Phase::Due(now),
            Outcome::Outdated | Outcome::Newer => Phase::Due(now + OUTDATED),
            Outcome::Wanted | Outcome::Terminated => {
                // It is as it was before: with mail, perhaps.
                self.asked = true;
                Phase::Due(now + MOMENT)
            }
            Outcome::Busy => Phase::Foreign,
            Outcome::Yielded => Phase::Due(now),
        }
    }
}
