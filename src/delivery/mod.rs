//! Delivery: the queue in the database, and the worker that sends what was committed to it.

mod control;
pub mod dkim;
mod engine;
pub mod home;
pub mod launcher;
mod shared;
pub mod store;
pub mod wake;
mod worker;

/// Called when the library is loaded, perhaps in the postmaster.
pub fn prepare() {
    shared::prepare();
    launcher::prepare();
}
