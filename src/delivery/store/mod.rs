//! The tables of the queue.

pub mod record;
