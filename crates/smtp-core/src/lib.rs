#![doc = include_str!("../README.md")]

pub mod auth;
pub mod command;
pub mod data;
pub mod ehlo;
pub mod envelope;
mod exchange;
pub mod host;
pub mod limits;
pub mod memory;
pub mod parser;
pub mod phase;
pub mod recorder;
pub mod reply;
pub mod secret;
pub mod session;
pub mod text;
pub mod transaction;
pub mod transcript;
