//! Delivery: the queue, the processes that send what is in it, and those who watch and operate
//! them.

mod answers;
mod bounces;
mod contents;
mod copies;
mod crashes;
mod dumps;
mod forged;
mod installations;
mod interference;
mod kills;
mod ported;
mod processes;
mod recorded;
mod recording;
mod rows;
mod senders;
mod sending;
mod signing;
mod storm;
mod suppression;
mod transactions;
mod verdicts;
mod watching;
mod workers;
