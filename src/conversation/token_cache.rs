//! The access tokens that this backend keeps, and the refresh tokens it was given instead of those
//! of the options.

use std::cell::RefCell;

use oauth2_token::{Token, usable_for};
use smtp_client::wait::Deadline;
use smtp_core::secret::Secret;

use crate::servers::token::TokenKey;

/// Access tokens that a backend keeps.
const TOKENS_KEPT: usize = 64;

/// What is kept of one server and mapping.
struct Entry {
    key: TokenKey,
    /// The access token, and until when it is used.
    token: Option<(Secret, Deadline)>,
    rotated: Option<Rotated>,
}

/// A refresh token that was exchanged for another.
struct Rotated {
    /// The one of the mapping. Where that is altered, it counts again.
    given: Secret,
    current: Secret,
}

thread_local! {
    /// Most recently stored last.
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    ENTRIES.with(|_| ());
}

/// The token that is kept, unless it is to be renewed.
pub fn token(key: &TokenKey) -> Option<Secret> {
    with(key, |entry| {
        let (token, until) = entry.token.as_ref()?;
        (!until.passed()).then(|| token.clone())
    })
}

/// The refresh token that was got for the one of the mapping.
pub fn refresh_token(key: &TokenKey, given: &Secret) -> Option<Secret> {
    with(key, |entry| {
        let rotated = entry
            .rotated
            .as_ref()
            .filter(|rotated| rotated.given == *given);
        rotated.map(|rotated| rotated.current.clone())
    })
}

/// Keeps what was granted. Whatever was kept of the same mapping as it was before is dropped.
/// `given`: the mapping's refresh token.
pub fn store(key: TokenKey, token: &Token, given: Option<&Secret>) {
    let until = Deadline::after(Some(usable_for(token.expires_in)));
    ENTRIES.with_borrow_mut(|entries| {
        let known = entries.iter().position(|entry| entry.key == key);
        let mut entry = known.map_or_else(
            || Entry {
                key,
                token: None,
                rotated: None,
            },
            |index| entries.remove(index),
        );
        entries.retain(|entry| (entry.key.server, entry.key.mapping) != (key.server, key.mapping));
        entry.token = Some((token.access_token.clone(), until));
        if let (Some(given), Some(current)) = (given, &token.refresh_token) {
            let (given, current) = (given.clone(), current.clone());
            entry.rotated = Some(Rotated { given, current });
        }
        if entries.len() >= TOKENS_KEPT {
            entries.remove(0);
        }
        entries.push(entry);
    });
}

/// Drops an access token that was refused.
pub fn forget(key: &TokenKey) {
    with(key, |entry| entry.token.take());
}

fn with<T>(key: &TokenKey, run: impl FnOnce(&mut Entry) -> Option<T>) -> Option<T> {
    ENTRIES.with_borrow_mut(|entries| {
        let entry = entries.iter_mut().find(|entry| entry.key == *key)?;
        run(entry)
    })
}
