//! The SMTP client protocol as pure data.
//!
//! This crate knows bytes and states and nothing else: no sockets, no clock, no randomness, no PostgreSQL. Bytes
//! from the peer are fed in, bytes for the peer are taken out, nonces are arguments.
//! Values of the types in [`text`] and [`host`] can only be built valid, so nothing that reaches the wire needs a
//! second check.

pub mod auth;
pub mod command;
pub mod data;
pub mod ehlo;
pub mod envelope;
mod exchange;
pub mod host;
pub mod limits;
pub mod parser;
pub mod phase;
pub mod reply;
pub mod secret;
pub mod session;
pub mod text;
pub mod transaction;
pub mod transcript;
