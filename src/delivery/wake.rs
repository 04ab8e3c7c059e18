//! Waking the worker when a transaction that has queued mail commits.

/// To be called in the transaction that has written a message. Nothing is woken yet: a worker finds the message when it
/// looks for mail the next time.
pub fn message_queued() {}
