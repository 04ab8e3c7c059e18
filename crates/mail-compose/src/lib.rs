#![doc = include_str!("../README.md")]

mod address;
mod content_type;
mod draft;
mod error;
mod header;
mod message;
mod part;
mod scan;
mod tree;

pub use address::{Address, AddressList};
pub use content_type::ContentType;
pub use draft::{Draft, Priority, Stamp};
pub use error::{ComposeError, Field, Problem};
pub use header::{Header, Subject};
pub use message::Message;
pub use part::{Attachment, BodyText, ContentId, Disposition, FileName, InlineImage};
pub use scan::HeaderScan;
