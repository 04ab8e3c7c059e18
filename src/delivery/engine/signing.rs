//! Mail is signed as it is sent (RFC 6376), by the thread of a connection. It calls nothing of
//! PostgreSQL's.
//!
//! A signature stands in front of a message and has the hash of its body in it: a message that is
//! signed is read twice. While the database has no key, nothing is read for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Those of domains that have signed of late, or have none.
    domains: HashMap<String, Vec<Parsed>>,
    /// How often they were compared with the table.
    looks: u64,
}

/// A row and the signer that it makes, if it is usable. Parsing an RSA key takes as long as signing
/// with it.
#[derive(Clone)]
struct Parsed {
    key: Key,
    signer: Option<Signer>,
}

impl Keyring {
    /// Looks for keys, after messages were claimed: a key that was there before a message signs it,
    /// and one that was dropped does not.
    pub fn look(&self, client: &mut SpiClient<'_>) {
        let has_keys = dkim::has_keys(client);
        let domains: Vec<String> = self.known().domains.keys().cloned().collect();
        let keys = match has_keys && !domains.is_empty() {
            true => dkim::read(client, domains),
            false => Vec::new(),
        };
        let mut known = self.known();
        known.looks += 1;
        known.domains.retain(|domain, parsed| {
            let now = keys.iter().filter(|key| key.is_of(domain));
            now.eq(parsed.iter().map(|parsed| &parsed.key))
        });
        drop(known);
        self.has_keys.store(has_keys, Ordering::SeqCst);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signers of a domain; where it is not known, how often the table was looked at.
    fn signers(&self, domain: &Domain) -> Result<Vec<Signer>, u64> {
        let known = self.known();
        let parsed = known.domains.get(domain.as_str()).ok_or(known.looks)?;
        Ok(signers(parsed))
    }

    /// Domains that are known at most. After that it begins anew.
    const MOST: usize = 100;

    /// The signers of a domain that has these keys, and the keys that are unusable. `looks`: as it
    /// was before the keys were read.
    fn learn(
        &self,
        domain: &Domain,
        keys: Vec<Key>,
        looks: u64,
    ) -> (Vec<Signer>, Vec<(Key, Unusable)>) {
        let mut unusable = Vec::new();
        // Threads that come with the same new key wait here until one of them has parsed it.
        let mut known = self.known();
        let others = known.domains.remove(domain.as_str()).unwrap_or_default();
        let parse = |key: Key| match others.iter().find(|other| other.key == key) {
            Some(other) => other.clone(),
            None => {
                let signer = key.signer();
                let signer = signer.map_err(|error| unusable.push((key.clone(), error)));
                Parsed {
                    signer: signer.ok(),
                    key,
                }
            }
        };
        let parsed: Vec<Parsed> = keys.into_iter().map(parse).collect();
        let signers = signers(&parsed);
        if known.looks == looks {
            if known.domains.len() >= Self::MOST {
                known.domains.clear();
            }
            known.domains.insert(domain.to_string(), parsed);
        }
        (signers, unusable)
    }
}

fn signers(parsed: &[Parsed]) -> Vec<Signer> {
    let signers = parsed.iter().filter_map(|parsed| parsed.signer.clone());
    signers.collect()
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
    let keyring = &remote.channel.keyring;
    let mut signers = Vec::new();
    for domain in domains {
        let looks = match keyring.signers(&domain) {
            Ok(found) => {
                signers.extend(found);
                continue;
            }
            Err(looks) => looks,
        };
        let keys = remote.keys(vec![domain.clone()]);
        let keys = keys.map_err(|_| NotSigned::Failed)?;
        let (found, unusable) = keyring.learn(&domain, keys, looks);
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
