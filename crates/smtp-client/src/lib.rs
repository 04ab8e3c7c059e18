#![doc = include_str!("../README.md")]

pub mod connection;
pub mod error;
pub mod https;
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
    IdentityError, MinVersion, ServerIdentity, SpeaksFirst, TlsCache, TlsInfo, TlsOptions,
};
pub use wait::{Deadline, Interest, Interrupted, PollWait, Wait};
pub use wallet::{CertificateInfo, ClientIdentity, Locator, Wallet, WalletCache, WalletSource};
