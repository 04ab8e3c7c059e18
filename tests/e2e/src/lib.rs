//! The end-to-end suite: PostgreSQL with the extension on one side, real mail servers and scripted peers on
//! the other.
//!
//! - [`cluster`]: a fresh database for each test, sessions, roles and what they may reach
//! - [`smtp`]: the SQL functions as Rust calls
//! - [`vigil`]: what must hold after any hostile case (U1 to U6)
//! - [`mail`]: the private Postfix: its ports, and the mail that it delivered
//! - [`peer`]: a server that plays a script byte by byte and records what it hears
//! - [`certs`]: private CAs, certificates, wallets
//! - [`dialogues`]: scripts worded as well-known mail services word them
//!
//! The servers are started once, by `make test`, which names them in the environment.

pub mod certs;
pub mod cluster;
pub mod dialogues;
mod environment;
pub mod mail;
pub mod peer;
pub mod smtp;
pub mod vigil;

pub use cluster::{Database, Failure, Session};
pub use mail::MailServer;
pub use peer::{Peer, Script};
pub use smtp::{Open, Reply, Smtp};
pub use vigil::Vigil;
