#![doc = include_str!("../README.md")]

pub mod backoff;
pub mod blocked;
pub mod clock;
pub mod rate;
pub mod retry;
pub mod server;
pub mod state;
pub mod status;
pub mod suppression;
pub mod verdict;

#[cfg(test)]
mod testing;
