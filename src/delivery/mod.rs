//! Delivery: the queue in the database, and the worker that sends what was committed to it.

pub mod home;
pub mod store;
pub mod wake;
