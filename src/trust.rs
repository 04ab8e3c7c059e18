//! Which wallet a call means and what is in it, and what this backend keeps of wallets and of TLS sessions.
//!
//! A wallet is looked at on disk whenever one is asked for, but not again within a moment of the same statement: a
//! statement that sends many mails would do so twice for each.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use smtp_net::error::NetError;
use smtp_net::tls::TlsCache;
use smtp_net::wallet::{Locator, Wallet, WalletCache, WalletSource};

use crate::access;
use crate::errors::{Report, sqlstate};
use crate::settings;

/// How long a look at the disk counts, if the statement isn't over before.
const MOMENT: Duration = Duration::from_millis(10);

/// A location and the directories that it must be in, if the role is held to any.
type Name = (String, Option<Vec<PathBuf>>);

/// Nothing of this is made before its first use.
#[derive(Default)]
struct Kept {
    found: Lately<Name, WalletSource>,
    opened: Lately<WalletSource, Arc<Wallet>>,
    wallets: WalletCache,
    sessions: TlsCache,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Called when the library is loaded, see [`crate::memory::prepare`].
pub fn prepare() {
    KEPT.with(|_| ());
}

/// Gives up all that can be made again.
pub fn forget() {
    KEPT.take();
}

/// The wallet of calls that name none.
pub fn default_wallet() -> Result<WalletSource, Report> {
    let Some(path) = settings::wallet_path() else {
        return Err(Report::new(sqlstate::WALLET, "ORA-28759: failure to open file")
            .detail("No wallet is given, and utl_smtp.wallet_path is empty.")
            .hint("Name a directory of PEM certificates as wallet_path, or \"system:\" for the machine's own trust store."));
    };
    find((path, None))
}

/// The wallet that a caller names, if the caller may.
pub fn named_wallet(path: &str) -> Result<WalletSource, Report> {
    find((path.to_owned(), access::wallet_roots()))
}

fn find(name: Name) -> Result<WalletSource, Report> {
    let find = |(path, roots): &Name| Locator::parse(path)?.resolve(roots.as_deref());
    Ok(KEPT.with_borrow_mut(|kept| kept.found.get(&name, find))?)
}

/// What is in a wallet.
pub fn open_wallet(source: &WalletSource) -> Result<Arc<Wallet>, Report> {
    KEPT.with_borrow_mut(|kept| {
        let wallets = &mut kept.wallets;
        Ok(kept.opened.get(source, |source| wallets.open(source))?)
    })
}

/// Lends the TLS sessions that can be resumed. A handshake may unwind in here, which gives them back; it never runs SQL.
pub fn with_tls_sessions<T>(run: impl FnOnce(&mut TlsCache) -> T) -> T {
    KEPT.with_borrow_mut(|kept| run(&mut kept.sessions))
}

/// The last thing looked for on disk.
struct Lately<K, V>(Option<Look<K, V>>);

struct Look<K, V> {
    key: K,
    value: V,
    statement: pg_sys::TimestampTz,
    at: Instant,
}

impl<K: PartialEq + Clone, V: Clone> Lately<K, V> {
    /// What was seen this very moment, else what `look` sees now.
    fn get(
        &mut self,
        key: &K,
        look: impl FnOnce(&K) -> Result<V, NetError>,
    ) -> Result<V, NetError> {
        // SAFETY: reads the backend's state.
        let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
        let at = Instant::now();
        if let Some(last) = &self.0
            && last.key == *key
            && last.statement == statement
            && at.duration_since(last.at) < MOMENT
        {
            return Ok(last.value.clone());
        }
        let value = look(key)?;
        self.0 = Some(Look {
            key: key.clone(),
            value: value.clone(),
            statement,
            at,
        });
        Ok(value)
    }
}

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Self(None)
    }
}
