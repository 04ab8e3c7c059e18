#![doc = include_str!("../README.md")]

pub mod connection;
pub mod error;
pub mod https;
pub mod resolve;
pub mod send;
pub mod stream;
pub mod tcp;
pub mod timeouts;
pub mod tls;
pub mod wait;

pub use error::NetError;
pub use stream::Stream;
pub use timeouts::Timeouts;
pub use tls::{MinVersion, SpeaksFirst, TlsCache, TlsInfo, TlsOptions};
pub use wait::{Deadline, Interest, Interrupted, PollWait, Wait};
