#![doc = include_str!("../README.md")]

mod cache;
mod client;
mod decrypt;
mod error;
mod files;
mod identity;
mod locator;
mod pem;
mod reader;
mod rejection;
mod verifier;
mod wallet;
mod warning;
mod x509;

pub use cache::WalletCache;
pub use client::ClientIdentity;
pub use error::{KeyProblem, OtherFormat, WalletError, io_text};
pub use identity::{IdentityError, ServerIdentity};
pub use locator::{Locator, LocatorError, WalletSource};
pub use rejection::{ChainProblem, DateProblem, Rejection};
pub use verifier::{TrustedBy, Verified, Verifier};
pub use wallet::{CertificateInfo, CertificateKind, Wallet};
pub use warning::{BlockProblem, FileProblem, Warning};
pub use x509::{IssuerFault, ListFault, SubjectName};
