//! The tables of the queue.

pub mod operate;
mod sql;
pub mod suppression;
pub mod watch;
