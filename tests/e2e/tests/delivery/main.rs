//! Delivery: the queue, the processes that send what is in it, and those who watch and operate them.

mod copies;
mod installations;
mod processes;
mod workers;
//! The queue: watching it, operating it, the suppression list, approved senders.

mod dumps;
mod processes;
mod rows;
mod senders;
mod suppression;
mod watching;
mod workers;
