//! What sessions, the launcher and the workers tell one another, in shared memory.
//!
//! A session whose transaction has queued mail wakes the worker of its database, or asks the
//! launcher for one. A worker leaves word why it ended.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::pg::shared_memory::{self, SharedLatch, shareable};

/// More workers than this at once are woken by nobody: they look once a second.
const WORKERS: usize = 256;
/// More databases than this at once make the launcher look at all of them.
const REQUESTS: usize = 128;
/// Set in a request of an operator's, beside the database's OID.
const BY_OPERATOR: u64 = 1 << 32;

/// Who wants a worker for a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// A transaction that has queued mail.
    Mail,
    /// `start_delivery()`
    Operator,
}

shareable! {
    /// The memory. Databases are OIDs; 0 is none.
    pub struct Shared {
        /// The launcher's, while there is one.
        pub launcher: SharedLatch,
        /// Whether the launcher has seen this server being a standby.
        pub was_standby: AtomicBool,
        /// Databases that want a worker, and who says so.
        requests: [AtomicU64; REQUESTS],
        /// Whether there was no room for another one.
        overflowed: AtomicBool,
        workers: [Worker; WORKERS],
    }
}

shareable! {
    /// A worker, or the last word of one that has ended.
    pub struct Worker {
        database: AtomicU32,
        /// The worker's, from when it is ready to be woken until it leaves.
        latch: SharedLatch,
        /// Whether mail was committed since it last looked.
        signalled: AtomicBool,
        /// Whether the launcher wants its place for another database.
        yields: AtomicBool,
        /// Whether it has no mail at all.
        idle: AtomicBool,
        outcome: AtomicU32,
    }
}

/// Why a worker has ended. Another version of the library may read the number: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// It did not come to say why.
    Failed,
    /// There has been no mail for a while.
    Idle,
    /// The database has no extension.
    Absent,
    /// The extension has another version than the library, and not a newer one.
    Outdated,
    /// `stop_delivery()` was called.
    Stopped,
    /// `utl_smtp.deliver` is off.
    Off,
    /// It comes back in a moment: somebody wants the database without sessions, or it is wanted
    /// after all.
    Wanted,
    /// There is another worker of this database.
    Busy,
    /// The launcher wanted its place for another database.
    Yielded,
    /// By SIGTERM.
    Terminated,
    /// The extension is newer than the library.
    Newer,
}

impl Outcome {
    const ALL: [Self; 11] = [
        Self::Failed,
        Self::Idle,
        Self::Absent,
        Self::Outdated,
        Self::Stopped,
        Self::Off,
        Self::Wanted,
        Self::Busy,
        Self::Yielded,
        Self::Terminated,
        Self::Newer,
    ];

    pub fn of(number: u32) -> Self {
        let index = usize::try_from(number).unwrap_or(0);
        Self::ALL.get(index).copied().unwrap_or(Self::Failed)
    }
}

/// Called when the library is loaded.
pub fn prepare() {
    shared_memory::prepare::<Shared>(c"utl_smtp 1", 1);
}

/// The memory, for sessions and workers. `None` where there is none: the launcher has not begun, or
/// has ended.
pub fn attach() -> Option<&'static Shared> {
    shared_memory::attach()
}

/// The same, for the launcher, which makes it if need be.
pub fn attach_or_create() -> Option<&'static Shared> {
    shared_memory::attach_or_create()
}

/// The same, if this process has attached it before. For a commit: nothing may fail.
pub fn attached() -> Option<&'static Shared> {
    shared_memory::attached()
}

impl Shared {
    /// Mail of this database is committed. Allocates nothing and never fails.
    pub fn wake(&self, database: u32) {
        let ready = |worker: &&Worker| worker.is_of(database) && worker.latch.is_owned();
        if let Some(worker) = self.workers.iter().find(ready) {
            if !worker.signalled.swap(true, Ordering::SeqCst) {
                worker.latch.set();
            }
            // A worker that leaves disowns its latch before it looks for the signal for the last
            // time.
            if ready(&worker) {
                return;
            }
        }
        self.request(database, Asker::Mail);
    }

    /// A database wants a worker. Allocates nothing and never fails.
    pub fn request(&self, database: u32, asker: Asker) {
        let request = match asker {
            Asker::Mail => u64::from(database),
            Asker::Operator => u64::from(database) | BY_OPERATOR,
        };
        let asked = self.requests.iter().any(|place| {
            let found = place.compare_exchange(0, request, Ordering::SeqCst, Ordering::SeqCst);
            found.is_ok() || found == Err(request)
        });
        if !asked {
            self.overflowed.store(true, Ordering::SeqCst);
        }
        self.launcher.set();
    }

    /// The databases that want a worker, and who says so; `None`: all may.
    pub fn take_requests(&self) -> Option<Vec<(u32, Asker)>> {
        if self.overflowed.swap(false, Ordering::SeqCst) {
            return None;
        }
        let places = self.requests.iter();
        let filled = places.filter(|place| place.load(Ordering::SeqCst) != 0);
        let taken = filled.map(|place| place.swap(0, Ordering::SeqCst));
        let taken = taken.filter_map(|request| {
            let database = u32::try_from(request & !BY_OPERATOR).ok()?;
            match request & BY_OPERATOR {
                0 => Some((database, Asker::Mail)),
                _ => Some((database, Asker::Operator)),
            }
        });
        Some(taken.collect())
    }

    /// A place for the worker that this process is; `None` where all are taken.
    pub fn claim(&self, database: u32) -> Option<usize> {
        let mut left = self.workers.iter();
        let left = left.position(|worker| worker.is_of(database) && !worker.latch.is_owned());
        let index = left.or_else(|| {
            self.workers.iter().position(|worker| {
                let place = &worker.database;
                let claimed =
                    place.compare_exchange(0, database, Ordering::SeqCst, Ordering::SeqCst);
                claimed.is_ok()
            })
        })?;
        let worker = &self.workers[index];
        worker
            .outcome
            .store(Outcome::Failed as u32, Ordering::SeqCst);
        let flags = [&worker.signalled, &worker.yields, &worker.idle];
        for flag in flags {
            flag.store(false, Ordering::SeqCst);
        }
        Some(index)
    }

    /// The place that was claimed.
    pub fn place(&self, index: usize) -> Option<&Worker> {
        self.workers.get(index)
    }

    /// Why the worker of a database has ended; its place is free then.
    pub fn take_outcome(&self, database: u32) -> Outcome {
        let ended = |worker: &&Worker| worker.is_of(database) && !worker.latch.is_owned();
        let Some(worker) = self.workers.iter().find(ended) else {
            return Outcome::Failed;
        };
        let outcome = worker.outcome();
        worker.database.store(0, Ordering::SeqCst);
        outcome
    }

    /// The worker of a database, if it is ready to be woken.
    pub fn worker(&self, database: u32) -> Option<&Worker> {
        let mut workers = self.workers.iter();
        workers.find(|worker| worker.is_of(database) && worker.latch.is_owned())
    }
}

impl Worker {
    fn is_of(&self, database: u32) -> bool {
        self.database.load(Ordering::SeqCst) == database
    }

    /// This process is ready to be woken.
    pub fn begin(&self) {
        self.latch.own();
    }

    /// This process is not woken any more.
    pub fn end(&self) {
        self.latch.disown();
    }

    /// Whether mail was committed since this was last asked.
    pub fn take_signal(&self) -> bool {
        self.signalled.swap(false, Ordering::SeqCst)
    }

    pub fn outcome(&self) -> Outcome {
        Outcome::of(self.outcome.load(Ordering::SeqCst))
    }

    pub fn set_outcome(&self, outcome: Outcome) {
        self.outcome.store(outcome as u32, Ordering::SeqCst);
    }

    /// Asks the worker to make room for another database.
    pub fn ask_to_yield(&self) {
        self.yields.store(true, Ordering::SeqCst);
        self.latch.set();
    }

    pub fn is_asked_to_yield(&self) -> bool {
        self.yields.load(Ordering::SeqCst)
    }

    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }
}
