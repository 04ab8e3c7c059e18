//! The queue: watching it, operating it, the suppression list, approved senders.

mod dumps;
mod rows;
mod senders;
mod suppression;
mod watching;
