//! Whole conversations of a [`smtp_core::session::Session`], both directions, byte by byte. See
//! [`script`] for the notation.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod auth;
mod commands;
mod groups;
mod message;
mod properties;
mod replies;
mod rfc;
mod script;
mod secrets;
mod servers;
mod starttls;
mod transactions;
