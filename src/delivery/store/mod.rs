//! The tables of the queue.

pub mod operate;
pub mod record;
mod sql;
pub mod watch;
