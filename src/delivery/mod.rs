//! Delivery: the queue in the database, and the worker that sends what was committed to it.

pub mod dkim;
pub mod home;
pub mod wake;
