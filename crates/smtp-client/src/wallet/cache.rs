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

/// A wallet whose directory is open, so that what is looked at is what is read. The system's trust
/// store has none.
struct Opened<'a>(Option<Directory<'a>>);

impl<'a> Opened<'a> {
    fn new(source: &'a WalletSource) -> Result<Self, NetError> {
        let directory = match source {
            WalletSource::System => None,
            WalletSource::Directory { path, roots } => {
                Some(Directory::open(path, roots.as_deref())?)
            }
        };
        Ok(Self(directory))
    }

    fn stamps(&self) -> Option<Vec<Stamp>> {
        match &self.0 {
            Some(directory) => Some(directory.stamps()),
            None => files::system_stamps(),
        }
    }

    fn read(self) -> Result<Wallet, NetError> {
        match self.0 {
            Some(directory) => Wallet::read(directory.read()?),
            None => Wallet::system(),
        }
    }
}
