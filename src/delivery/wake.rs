//! What a transaction that has queued mail does for it to be sent: at once it sees to it that there is a launcher, and
//! when it is committed it wakes who will send it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::pg::transaction::{self, Ending};

/// Whether the present transaction has queued mail. A subtransaction that is rolled back leaves it as it is: who is woken
/// for nothing finds nothing.
static QUEUED: AtomicBool = AtomicBool::new(false);

/// To be called after a message is written to the queue, in the transaction that wrote it.
pub fn message_queued() {
    if QUEUED.load(Ordering::Relaxed) {
        return;
    }
    transaction::at_each_end(ended);
    QUEUED.store(true, Ordering::Relaxed);
}

/// In the callback of a commit: no memory may be allocated here, and nothing may fail.
fn ended(_: Ending) {
    QUEUED.store(false, Ordering::Relaxed);
}
