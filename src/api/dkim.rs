//! DKIM: `set_dkim_key`, `drop_dkim_key`, `dkim_record`, `dkim_sign`.

use std::slice;
use std::time::{SystemTime, UNIX_EPOCH};

use dkim_sign::{Domain, HashedMessage, LIMIT, MessageHasher, PrivateKey, Selector, Signer};
use pgrx::check_for_interrupts;
use pgrx::prelude::*;
use smtp_core::memory::require;

use super::admit;
use super::arguments::required;
use crate::delivery::dkim::{self as keys, Key};
use crate::errors::{Report, dkim};
use crate::pg::datum::{Bytes, Text, Value, bytea_datum};
use crate::pg::memory;

/// Octets that are hashed before the next look for interrupts.
const PIECE: usize = 1 << 20;

/// `utl_smtp.set_dkim_key`
#[pg_extern(sql = false)]
fn set_dkim_key(
    domain: Option<Bytes<'_>>,
    selector: Option<Bytes<'_>>,
    private_key: Option<Bytes<'_>>,
) {
    set(domain, selector, private_key).unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.drop_dkim_key`
#[pg_extern(sql = false)]
fn drop_dkim_key(domain: Option<Bytes<'_>>, selector: Option<Bytes<'_>>) {
    remove(domain, selector).unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.dkim_record`
#[pg_extern(sql = false)]
fn dkim_record(domain: Option<Bytes<'_>>, selector: Option<Bytes<'_>>) -> Text {
    Text(record(domain, selector).unwrap_or_else(|report| report.raise()))
}

/// `utl_smtp.dkim_sign`
#[pg_extern(sql = false)]
fn dkim_sign(message: Option<Bytes<'_>>, domain: Option<Bytes<'_>>) -> Value {
    sign(message, domain).unwrap_or_else(|report| report.raise())
}

fn set(
    domain: Option<Bytes<'_>>,
    selector: Option<Bytes<'_>>,
    private_key: Option<Bytes<'_>>,
) -> Result<(), Report> {
    admit()?;
    let (domain, selector) = names(domain, selector)?;
    let pem = required("private_key", private_key)?;
    let key = PrivateKey::parse(&pem).map_err(dkim::private_key)?;
    let too_long = |error| dkim::name("selector", error);
    let signer = Signer::new(domain, selector, key).map_err(too_long)?;
    keys::store(signer.domain(), signer.selector(), &pem);
    Ok(())
}

fn remove(domain: Option<Bytes<'_>>, selector: Option<Bytes<'_>>) -> Result<(), Report> {
    admit()?;
    let (domain, selector) = names(domain, selector)?;
    match keys::remove(&domain, &selector) {
        true => Ok(()),
        false => Err(dkim::no_key(domain.as_str(), Some(selector.as_str()))),
    }
}

fn record(domain: Option<Bytes<'_>>, selector: Option<Bytes<'_>>) -> Result<String, Report> {
    admit()?;
    let (domain, selector) = names(domain, selector)?;
    let keys = keys::keys_of(slice::from_ref(&domain))?;
    for signer in keys.iter().map(signer) {
        let signer = signer?;
        if *signer.selector() == selector {
            return Ok(signer.key().dns_record());
        }
    }
    Err(dkim::no_key(domain.as_str(), Some(selector.as_str())))
}

fn sign(message: Option<Bytes<'_>>, domain: Option<Bytes<'_>>) -> Result<Value, Report> {
    admit()?;
    let domain = parsed_domain(domain)?;
    let message = message.ok_or_else(|| Report::null_argument("message"))?;
    let keys = keys::keys_of(slice::from_ref(&domain))?;
    let signers: Vec<Signer> = keys.iter().map(signer).collect::<Result<_, _>>()?;
    if signers.is_empty() {
        return Err(dkim::no_key(domain.as_str(), None));
    }
    let octets = message.get();
    let hashed = hash(octets)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let fields = keys::fields(&signers, &hashed, now.as_secs())?;
    bytea_datum(fields.as_bytes(), octets)
        .map(Value)
        .ok_or_else(dkim::too_large)
}

fn hash(message: &[u8]) -> Result<HashedMessage, Report> {
    // The signed fields, and what is made of them.
    require(4 * LIMIT)?;
    let mut hasher = MessageHasher::new();
    for piece in message.chunks(PIECE) {
        check_for_interrupts!();
        memory::check();
        hasher.feed(piece);
    }
    hasher.finish().map_err(dkim::message)
}

fn names(
    domain: Option<Bytes<'_>>,
    selector: Option<Bytes<'_>>,
) -> Result<(Domain, Selector), Report> {
    let domain = parsed_domain(domain)?;
    let selector = required("selector", selector)?;
    let selector = Selector::parse(&selector).map_err(|error| dkim::name("selector", error))?;
    Ok((domain, selector))
}

fn parsed_domain(domain: Option<Bytes<'_>>) -> Result<Domain, Report> {
    let domain = required("domain", domain)?;
    Domain::parse(&domain).map_err(|error| dkim::name("domain", error))
}

fn signer(key: &Key) -> Result<Signer, Report> {
    key.signer().map_err(|reason| dkim::unusable(key, &reason))
}
