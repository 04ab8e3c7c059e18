//! Delivery: the queue, the processes that send what is in it, and those who watch and operate them.

mod copies;
mod dumps;
mod installations;
mod processes;
mod rows;
mod senders;
mod suppression;
mod watching;
mod workers;
