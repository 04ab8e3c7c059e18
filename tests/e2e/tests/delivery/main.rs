//! Delivery: the queue and the processes that send what is in it.

mod copies;
mod installations;
mod processes;
mod workers;
