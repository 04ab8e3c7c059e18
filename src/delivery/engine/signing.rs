//! Mail is signed as it is sent (RFC 6376), by the thread of a connection. It calls nothing of
//! PostgreSQL's.
//!
//! A signature stands in front of a message and has the hash of its body in it: a message that is
//! signed is read twice. While the database has no key, nothing is read for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dkim_sign::{AuthorsError, Domain, HashedMessage, MessageError, MessageHasher, Signer};
use pgrx::spi::SpiClient;
use smtp_client::wait::Interrupted;

use super::remote::Remote;
use crate::conversation::authority::Authority;
use crate::delivery::dkim::{self, Key, Unusable};
use crate::errors::sentence;

/// The keys of the database, as the threads of a worker know them.
#[derive(Default)]
pub struct Keyring {
    /// Whether there are any.
    has_keys: AtomicBool,
    /// By domain. Parsing an RSA key takes as long as signing with it.
    parsed: Mutex<HashMap<String, Vec<Parsed>>>,
}

/// A row and the signer that it makes, if it is usable.
#[derive(Clone)]
struct Parsed {
    key: Key,
    signer: Option<Signer>,
}

impl Keyring {
    /// Looks for keys, after messages were claimed: a key that was there before a message signs it.
    pub fn look(&self, client: &mut SpiClient<'_>) {
        let has_keys = dkim::has_keys(client);
        self.has_keys.store(has_keys, Ordering::SeqCst);
    }

    /// Domains whose keys are kept at most. After that it begins anew.
    const MOST: usize = 1000;

    /// The signers of a domain that has these keys now, and the keys that are unusable, unless that
    /// was told before.
    fn signers(&self, domain: &Domain, keys: Vec<Key>) -> (Vec<Signer>, Vec<(Key, Unusable)>) {
        let mut unusable = Vec::new();
        // Threads that come with the same new key wait here until one of them has parsed it.
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parsed.remove(domain.as_str()).unwrap_or_default();
        let parse = |key: Key| match known.iter().find(|known| known.key == key) {
            Some(known) => known.clone(),
            None => {
                let signer = key.signer();
                let signer = signer.map_err(|error| unusable.push((key.clone(), error)));
                Parsed {
                    signer: signer.ok(),
                    key,
                }
            }
        };
        let now: Vec<Parsed> = keys.into_iter().map(parse).collect();
        let signers = now.iter().filter_map(|parsed| parsed.signer.clone());
        let signers = signers.collect();
        if !now.is_empty() {
            if parsed.len() >= Self::MOST {
                parsed.clear();
            }
            parsed.insert(domain.to_string(), now);
        }
        (signers, unusable)
    }
}

/// Why a message can't be sent now.
pub enum NotSigned {
    /// RFC 5322 §3.6 allows one field From: readers don't agree on which of several they show.
    SeveralFrom,
    /// Something of ours failed, or a piece is gone, or the thread is to stop.
    Failed,
}

impl From<Interrupted> for NotSigned {
    fn from(_: Interrupted) -> Self {
        Self::Failed
    }
}

/// The fields to put in front of a message, one for each key of its authors' domains: none where
/// there is no key, or the authors are not known.
///
/// `piece` gives a piece of the message, counted from 0, and `None` behind the last.
pub fn fields<P: AsRef<[u8]>>(
    remote: &Remote<'_>,
    piece: impl Fn(usize) -> Option<Result<P, Interrupted>>,
) -> Result<String, NotSigned> {
    if !remote.channel.keyring.has_keys.load(Ordering::SeqCst) {
        return Ok(String::new());
    }
    let mut hasher = MessageHasher::new();
    let mut signers = None;
    for piece in (0..).map_while(piece) {
        hasher.feed(piece?.as_ref());
        if signers.is_none()
            && let Some(authors) = hasher.authors()
        {
            let found = signers_of(remote, authors)?;
            if found.is_empty() {
                return Ok(String::new());
            }
            signers = Some(found);
        }
    }
    let message = match hasher.finish() {
        Ok(message) => message,
        Err(error) => return unsigned(error),
    };
    let signers = match signers {
        Some(signers) => signers,
        // It has no body.
        None => signers_of(remote, message.authors())?,
    };
    sign(&signers, &message)
}

fn unsigned(error: MessageError) -> Result<String, NotSigned> {
    match error {
        MessageError::SeveralFrom => Err(NotSigned::SeveralFrom),
        MessageError::NoFrom | MessageError::HeaderTooLarge => Ok(String::new()),
    }
}

fn sign(signers: &[Signer], message: &HashedMessage) -> Result<String, NotSigned> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    dkim::fields(signers, message, now).map_err(|_| NotSigned::Failed)
}

/// The signers of all authors.
fn signers_of(
    remote: &Remote<'_>,
    authors: Result<Vec<Domain>, AuthorsError>,
) -> Result<Vec<Signer>, NotSigned> {
    let domains = match authors {
        Ok(domains) if domains.is_empty() => return Ok(Vec::new()),
        Ok(domains) => domains,
        Err(AuthorsError::Message(MessageError::SeveralFrom)) => {
            return Err(NotSigned::SeveralFrom);
        }
        Err(_) => return Ok(Vec::new()),
    };
    let keys = remote.keys(domains.clone());
    let mut keys = keys.map_err(|_| NotSigned::Failed)?;
    let mut signers = Vec::new();
    for domain in domains {
        let (own, others) = keys.into_iter().partition(|key| key.is_of(&domain));
        keys = others;
        let (found, unusable) = remote.channel.keyring.signers(&domain, own);
        signers.extend(found);
        for (key, error) in unusable {
            remote.warn(
                &format!("mail is not signed by the DKIM key \"{key}\""),
                Some(&sentence(&error.to_string())),
            );
        }
    }
    Ok(signers)
}
