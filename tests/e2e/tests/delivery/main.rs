//! The queue: recording mail into it.

mod contents;
mod recorded;
mod recording;
mod transactions;
