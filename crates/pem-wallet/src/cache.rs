//! A cache of parsed wallets, each used for as long as its files are unchanged.

use std::sync::Arc;

use crate::error::WalletError;
use crate::files::{self, Directory, Stamp};
use crate::locator::WalletSource;
use crate::reader;
use crate::wallet::Wallet;

/// Wallets that a process keeps parsed.
const WALLETS_KEPT: usize = 16;

/// The wallets that a process has opened. A lookup costs one stat for each file; a wallet is read
/// again when a file was changed, added or removed.
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
    /// Opens a wallet, or returns the cached one.
    ///
    /// # Errors
    /// As [`Wallet::open`].
    pub fn open(&mut self, source: &WalletSource) -> Result<Arc<Wallet>, WalletError> {
        let opened = Opened::new(source)?;
        // Taken before the files are read, so the next call sees a change in between.
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
            if self.entries.len() >= WALLETS_KEPT {
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

/// A wallet whose directory is open, so the files that are compared are the files that are read.
/// The trust store of the system has no directory.
struct Opened<'a>(Option<Directory<'a>>);

impl<'a> Opened<'a> {
    fn new(source: &'a WalletSource) -> Result<Self, WalletError> {
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

    fn read(self) -> Result<Wallet, WalletError> {
        match self.0 {
            Some(directory) => reader::read(directory.read()?),
            None => Wallet::system(),
        }
    }
}
