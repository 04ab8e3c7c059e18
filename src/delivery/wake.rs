//! What a transaction that has queued mail does for it to be sent: at once it sees to it that there
//! is a launcher, and when it is committed it wakes who will send it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::launcher;
use super::shared::{self, Asker};
use crate::pg::cluster;
use crate::pg::transaction::{self, Ending};

/// Whether the present transaction has queued mail. A subtransaction that is rolled back leaves it
/// as it is: who is woken for nothing finds nothing.
static QUEUED: AtomicBool = AtomicBool::new(false);
/// Whether it has called `start_delivery()`.
static STARTED: AtomicBool = AtomicBool::new(false);

/// To be called after a message is written to the queue, in the transaction that wrote it.
pub fn message_queued() {
    note(&QUEUED);
}

/// To be called when an operator has started delivery in this database, in the transaction that did
/// it.
pub fn delivery_started() {
    note(&STARTED);
}

fn note(what: &AtomicBool) {
    if what.load(Ordering::Relaxed) {
        return;
    }
    transaction::at_each_end(ended);
    launcher::ensure();
    what.store(true, Ordering::Relaxed);
}

/// In the callback of a commit: no memory may be allocated here, and nothing may fail.
fn ended(ending: Ending) {
    let queued = QUEUED.swap(false, Ordering::Relaxed);
    let started = STARTED.swap(false, Ordering::Relaxed);
    if ending != Ending::Committed || !(queued || started) {
        return;
    }
    let Some(shared) = shared::attached() else {
        return;
    };
    let database = cluster::database().to_u32();
    if started {
        shared.request(database, Asker::Operator);
    }
    if queued {
        shared.wake(database);
    }
}
