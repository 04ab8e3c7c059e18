#![doc = include_str!("../README.md")]

pub mod connection;
pub mod error;
pub mod https;
pub mod resolve;
pub mod send;
pub mod stop;
pub mod stream;
pub mod tcp;
pub mod timeouts;
pub mod tls;
pub mod wait;
