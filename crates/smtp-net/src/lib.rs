//! The transport under smtp-core: sockets, TLS, wallets and names, over one way of waiting.
//!
//! [`connection`] drives smtp-core's session over a stream; the other modules know sockets and certificates and no SMTP.
//! Whatever may take time takes a [`wait::Wait`] and a [`wait::Deadline`]: a socket blocks for 2 ms at most, so nothing
//! keeps a server process from an interrupt for long, and everything that is open is closed by its destructor when an
//! interrupt unwinds through here.

pub mod connection;
pub mod error;
pub mod memory;
pub mod resolve;
pub mod send;
pub mod stream;
pub mod tcp;
pub mod timeouts;
pub mod tls;
pub mod wait;
pub mod wallet;
mod x509;

pub use error::NetError;
pub use stream::Stream;
pub use timeouts::Timeouts;
pub use tls::{
    FirstWord, IdentityError, MinVersion, ServerIdentity, TlsCache, TlsInfo, TlsOptions,
};
pub use wait::{Deadline, Interest, Interrupted, PollWait, Wait};
pub use wallet::{CertificateInfo, ClientIdentity, Locator, Wallet, WalletCache, WalletSource};
