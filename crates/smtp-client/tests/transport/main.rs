//! The transport on real loopback sockets. Certificates are made for each test; servers run in
//! threads.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod certificates;
mod client_identity;
mod der;
mod handshake;
mod https;
mod reasons;
mod resumption;
mod revocation;
mod send;
mod streams;
mod support;
mod wallets;
