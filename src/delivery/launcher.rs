//! The launcher: one process of the cluster, bound to no database, that starts a worker for each
//! database that has mail.
//!
//! With `shared_preload_libraries` it is started with the server, on a hot standby too, where it
//! only remembers having seen one. Else the first session that queues mail starts it, and it is
//! gone when the server is restarted.

mod schedule;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use self::schedule::Schedule;
use super::shared::{self, Shared};
use crate::pg::background::{self, Registration};
use crate::pg::lock::Tag;
use crate::pg::{cluster, notices};

/// The lock that the launcher holds.
const LAUNCHER: u32 = 1;
/// The lock of a transaction that starts it.
const START: u32 = 2;

/// Whether the server starts the launcher itself.
static IS_STATIC: AtomicBool = AtomicBool::new(false);

fn registration(on_standby: bool) -> Registration<'static> {
    Registration {
        kind: c"utl_smtp launcher",
        name: "utl_smtp launcher",
        function: c"utl_smtp_launcher",
        argument: 0,
        extra: 0,
        restarts: true,
        on_standby,
    }
}

/// Called when the library is loaded: if that is with the server, the launcher starts with it, too.
pub fn prepare() {
    if background::may_register_static() {
        registration(true).register_static();
        IS_STATIC.store(true, Ordering::Relaxed);
    }
}

/// Sees to it that there is a launcher. In a transaction.
pub fn ensure() {
    if shared::attach().is_some_and(|shared| shared.launcher.is_owned()) {
        return;
    }
    // Another one that was started a moment ago is as good, and so is one that its server starts
    // again.
    if IS_STATIC.load(Ordering::Relaxed)
        || is_running()
        || !Tag::new(pg_sys::InvalidOid, START, 0).take_in_transaction()
    {
        return;
    }
    if !registration(false).start() {
        notices::warn_with_hint(
            "queued mail is not sent: all slots for background workers are taken",
            "Raise max_worker_processes, or load utl_smtp with shared_preload_libraries; then restart the server.",
        );
    }
}

/// Whether there is a launcher.
pub fn is_running() -> bool {
    Tag::new(pg_sys::InvalidOid, LAUNCHER, 0).is_taken()
}

/// The launcher's process.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn utl_smtp_launcher(_argument: pg_sys::Datum) {
    background::begin(None);
    if !Tag::new(pg_sys::InvalidOid, LAUNCHER, 0).take() {
        // There is one. This one is not started again.
        background::exit();
    }
    let Some(shared) = shared::attach_or_create() else {
        background::exit_to_restart();
    };
    shared.launcher.own();
    background::at_exit(|| {
        if let Some(shared) = shared::attached() {
            shared.launcher.disown();
        }
    });
    let mut schedule = Schedule::new(shared);
    while !background::is_terminated() {
        let wait = match cluster::in_recovery() {
            true => watch_standby(shared),
            false => schedule.step(Instant::now()),
        };
        background::report_activity(None);
        background::wait(None, wait);
        if background::reload() {
            schedule.reload();
        }
    }
    background::exit_to_restart();
}

/// On a server that recovers nothing is sent. A standby is told from a restore by the file that
/// makes it one, which is gone after the promotion.
fn watch_standby(shared: &Shared) -> Duration {
    if cluster::data_directory().join("standby.signal").exists() {
        shared.was_standby.store(true, Ordering::SeqCst);
    }
    Duration::from_secs(1)
}
