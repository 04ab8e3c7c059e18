//! Wallets that were parsed before, and whether they are still what is on disk.

use std::sync::Arc;

use smtp_core::limits;

use super::files::{self, Directory, Stamp};
use super::{Wallet, WalletSource};
use crate::error::NetError;

/// The wallets one process has opened. Looking one up again costs a stat of each of its files and no parsing; a
/// wallet with any file changed, added or taken away is read again.
#[derive(Debug, Default)]
pub struct WalletCache {
    /// Most recently used last.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    source: WalletSource,
    stamps: Vec<Stamp>,
    wallet: Arc<Wallet>,
}

impl WalletCache {
    /// Opens a wallet, or finds it.
    pub fn open(&mut self, source: &WalletSource) -> Result<Arc<Wallet>, NetError> {
        let opened = Opened::new(source)?;
        // Taken before the files are read: a change in between is seen next time.
        let stamps = opened.stamps();
        let known = self.entries.iter().position(|e| e.source == *source);
        if let Some(entry) = known.map(|index| self.entries.remove(index))
            && stamps.as_ref() == Some(&entry.stamps)
        {
            let wallet = Arc::clone(&entry.wallet);
            self.entries.push(entry);
            return Ok(wallet);
        }
        let wallet = Arc::new(opened.read()?);
        if let Some(stamps) = stamps {
            if self.entries.len() >= limits::WALLETS_KEPT {
                self.entries.remove(0);
            }
            self.entries.push(Entry {
                source: source.clone(),
                stamps,
                wallet: Arc::clone(&wallet),
            });
        }
        Ok(wallet)
    }
}

/// A wallet whose place is open, so that what is looked at is what is read.
#[expect(clippy::large_enum_variant, reason = "lives for one call")]
enum Opened<'a> {
    System,
    Directory(Directory<'a>),
}

impl<'a> Opened<'a> {
    fn new(source: &'a WalletSource) -> Result<Self, NetError> {
        match source {
            WalletSource::System => Ok(Self::System),
            WalletSource::Directory { path, roots } => {
                Directory::open(path, roots.as_deref()).map(Self::Directory)
            }
        }
    }

    fn stamps(&self) -> Option<Vec<Stamp>> {
        match self {
            Self::System => files::system_stamps(),
            Self::Directory(directory) => Some(directory.stamps()),
        }
    }

    fn read(self) -> Result<Wallet, NetError> {
        match self {
            Self::System => Wallet::system(),
            Self::Directory(directory) => Wallet::read(directory.read()?),
        }
    }
}
