//! Delivery: the queue and the processes that send what is in it.

mod copies;
mod installations;
mod processes;
mod workers;
//! The queue: watching it, operating it, the suppression list, approved senders.

mod dumps;
mod rows;
mod senders;
mod suppression;
mod watching;
