//! What this backend keeps of wallets and of TLS sessions. A wallet that has changed on disk is
//! read anew.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use pem_wallet::{Locator, Wallet, WalletCache};
use smtp_client::tls::TlsCache;

use crate::errors::Report;

/// Nothing of this is made before its first use.
#[derive(Default)]
struct Caches {
    wallets: WalletCache,
    sessions: Arc<TlsCache>,
}

thread_local! {
    static CACHES: RefCell<Caches> = RefCell::default();
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    CACHES.with(|_| ());
}

/// Gives up all that can be made again.
pub fn forget() {
    CACHES.take();
}

/// The wallet of calls that name none, which is a setting.
pub fn default_wallet(path: Option<&str>) -> Result<Arc<Wallet>, Report> {
    let Some(path) = path else {
        return Err(Report::no_wallet());
    };
    open(&Locator::parse(path)?, None)
}

/// The wallet at a location. `roots`: the directories that it must be in, if its user is held to
/// any.
pub fn open(location: &Locator, roots: Option<Vec<PathBuf>>) -> Result<Arc<Wallet>, Report> {
    let source = location.resolve(roots.as_deref())?;
    CACHES.with_borrow_mut(|caches| Ok(caches.wallets.open(&source)?))
}

/// The TLS sessions that can be resumed.
pub fn tls_sessions() -> Arc<TlsCache> {
    CACHES.with_borrow(|caches| Arc::clone(&caches.sessions))
}
