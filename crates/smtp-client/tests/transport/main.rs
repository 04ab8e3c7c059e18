//! The transport on real loopback sockets. Certificates are made for each test; servers run in
//! threads.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

#[path = "../../../pem-wallet/tests/wallets/certs.rs"]
mod certs;
mod client_identity;
mod handshake;
mod https;
mod resumption;
mod send;
mod streams;
mod support;
