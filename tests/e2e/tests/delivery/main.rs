//! Delivery: the queue, watching and operating it, the suppression list, approved senders; the processes that send what is
//! in the queue, copies of it, crashes.

mod copies;
mod crashes;
mod dumps;
mod kills;
mod processes;
mod rows;
mod senders;
mod suppression;
mod watching;
mod workers;
