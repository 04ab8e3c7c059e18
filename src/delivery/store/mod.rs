//! The tables of the queue.

pub mod operate;
mod sql;
pub mod watch;
