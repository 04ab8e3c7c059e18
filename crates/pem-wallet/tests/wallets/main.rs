//! Wallets on disk, and the certificates that they trust. Certificates are made for each test;
//! handshakes run in memory.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod certificates;
mod certs;
mod client_identity;
mod der;
mod reasons;
mod revocation;
mod support;
mod wallets;
