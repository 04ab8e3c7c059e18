//! The DKIM keys of the database, in `utl_smtp.dkim_key`, and signing with them.
//!
//! Reading keys needs PostgreSQL, and signing does not: the worker's main thread calls [`keys_of`]
//! with the domains that [`dkim_sign::MessageHasher::authors`] finds in the first pieces of a
//! message. A plain thread turns the keys into signers ([`Key::signer`]), hashes the message piece
//! by piece, and sends [`fields`] in front of it.
//!
//! A queued message with several From fields ([`dkim_sign::MessageError::SeveralFrom`]) fails. One
//! whose authors are not known for another reason, or have no key, is sent without a signature; so
//! is one with a key that is unusable, but for the signatures of the others.

use std::fmt;

use dkim_sign::{
    Domain, HashedMessage, KeyError, NameError, PrivateKey, Selector, Signer, SigningFailed,
};
use pgrx::spi::{Spi, SpiClient};
use pgrx::{IntoDatum, pg_sys};
use zeroize::Zeroizing;

use crate::errors::{Report, dkim};
use crate::pg::datum::{Text, text_datum};
use crate::pg::owner::{self, Plan};
use crate::pg::query::{self, Parameter};

/// A row of the table, as it is: whoever may write tables may have written anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    domain: String,
    selector: String,
    private_key: Zeroizing<String>,
}

/// Why a row can't sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("its domain or selector is not valid: {0}")]
    Name(#[from] NameError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Key {
    /// Whether it signs mail from this domain.
    pub fn is_of(&self, domain: &str) -> bool {
        self.domain == domain
    }

    /// Ready to sign. It takes milliseconds and calls nothing of PostgreSQL's.
    pub fn signer(&self) -> Result<Signer, Unusable> {
        let domain = Domain::parse(&self.domain)?;
        let selector = Selector::parse(&self.selector)?;
        let key = PrivateKey::parse(&self.private_key)?;
        Ok(Signer::new(domain, selector, key)?)
    }
}

/// `selector._domainkey.domain`
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}._domainkey.{}", self.selector, self.domain)
    }
}

thread_local! {
    static ANY: Plan = const { Plan::new(c"SELECT FROM utl_smtp.dkim_key LIMIT 1", &[]) };
    static OF_DOMAINS: Plan = const {
        Plan::new(
            c"SELECT k.domain, k.selector, k.private_key FROM utl_smtp.dkim_key AS k
              WHERE k.domain OPERATOR(pg_catalog.=) ANY ($1) ORDER BY k.domain, k.selector",
            &[pg_sys::TEXTARRAYOID],
        )
    };
}

/// Whether there is any key.
pub fn has_keys(client: &mut SpiClient<'_>) -> bool {
    ANY.with(|plan| plan.run(client, &[]) > 0)
}

/// The keys of these domains, in the order of domains and selectors. For the main thread, in a
/// transaction. The caller's rights don't count.
pub fn keys_of(domains: &[Domain]) -> Result<Vec<Key>, Report> {
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = domains.iter().map(ToString::to_string).collect();
    owner::with_owner_rights(|client| read(client, names)).ok_or_else(dkim::no_table)
}

/// The same, in an order that is the same each time.
pub fn read(client: &mut SpiClient<'_>, domains: Vec<String>) -> Vec<Key> {
    OF_DOMAINS.with(|plan| {
        let rows = plan.rows(client, &[domains.into_datum()]);
        let column = |row, column| {
            rows.get(row, column)
                .map_or(String::new(), |Text(text)| text)
        };
        let key = |row| Key {
            domain: column(row, 1),
            selector: column(row, 2),
            private_key: column(row, 3).into(),
        };
        (0..rows.len()).map(key).collect()
    })
}

/// Adds or replaces a key, with the rights of the caller.
pub fn store(domain: &Domain, selector: &Selector, private_key: &str) {
    write(
        "INSERT INTO utl_smtp.dkim_key (domain, selector, private_key) VALUES ($1, $2, $3) \
         ON CONFLICT ON CONSTRAINT dkim_key_key DO UPDATE SET private_key = EXCLUDED.private_key",
        &[domain.as_str(), selector.as_str(), private_key],
    );
}

/// Removes a key, with the rights of the caller. Whether there was one.
pub fn remove(domain: &Domain, selector: &Selector) -> bool {
    let removed = write(
        "DELETE FROM utl_smtp.dkim_key AS k \
         WHERE k.domain OPERATOR(pg_catalog.=) $1 AND k.selector OPERATOR(pg_catalog.=) $2",
        &[domain.as_str(), selector.as_str()],
    );
    removed > 0
}

/// Returns how many rows were written.
fn write(statement: &str, parameters: &[&str]) -> u64 {
    let parameter = |text: &&str| (pg_sys::TEXTOID, Some(text_datum(text)));
    let parameters: Vec<Parameter> = parameters.iter().map(parameter).collect();
    Spi::connect_mut(|client| query::run(client, statement, &parameters))
}

/// The fields DKIM-Signature to put in front of a message, one for each signer. It calls nothing of
/// PostgreSQL's.
///
/// `now` is in seconds since 1970.
pub fn fields(
    signers: &[Signer],
    message: &HashedMessage,
    now: u64,
) -> Result<String, SigningFailed> {
    signers
        .iter()
        .map(|signer| signer.sign(message, now))
        .collect()
}
