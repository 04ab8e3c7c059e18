#![doc = include_str!("../README.md")]

mod authors;
mod body;
mod folding;
mod header;
mod key;
mod lines;
mod message;
mod name;
mod signer;

pub use authors::AuthorsError;
pub use header::LIMIT;
pub use key::{KeyError, PrivateKey};
pub use message::{HashedMessage, MessageError, MessageHasher};
pub use name::{Domain, NameError, Selector};
pub use signer::{Signer, SigningFailed};
