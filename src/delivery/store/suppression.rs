//! The suppression list, for those who maintain it by hand and for the worker.
//!
//! The worker asks about the recipients of a batch at the moment of sending, and adds to the list when it settles their
//! results, in its own transactions. Addresses are written in order, so that two writers do not wait for each other.

use mail_queue::suppression::CanonicalAddress;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::sql::{bigints, in_queue, integer, text, texts};
use crate::errors::Report;
use crate::pg::query::{rows, run};

/// Why an address is added by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bounce {
    Hard,
    Soft,
}

impl Bounce {
    fn reason(self) -> &'static str {
        match self {
            Self::Hard => "hard bounce",
            Self::Soft => "soft bounce",
        }
    }
}

/// An address that is added by itself, for a reply to a message.
#[derive(Clone, Copy)]
pub struct Bounced<'a> {
    pub address: &'a CanonicalAddress,
    pub reply: &'a str,
    pub message_id: i64,
}

/// Puts an address on the list by hand, for a reason. One that is on it gets the reason.
pub fn suppress(address: &CanonicalAddress, reason: &str) -> Result<(), Report> {
    let insert = "INSERT INTO utl_smtp.suppression (address, reason, created_at)
         VALUES ($1, $2, pg_catalog.clock_timestamp())
         ON CONFLICT (address) DO UPDATE SET reason = excluded.reason";
    in_queue(|client| run(client, insert, &[text(address.as_str()), text(reason)])).map(|_| ())
}

/// Takes an address off the list, and forgets the failures of its mailbox; returns whether it was on the list.
pub fn unsuppress(address: &CanonicalAddress) -> Result<bool, Report> {
    let delete = "DELETE FROM utl_smtp.suppression WHERE address = $1";
    in_queue(|client| {
        end_mailbox_failures(client, std::slice::from_ref(address));
        run(client, delete, &[text(address.as_str())]) > 0
    })
}

/// Whether an address is on the list.
pub fn is_suppressed(address: &CanonicalAddress) -> Result<bool, Report> {
    in_queue(|client| suppressed(client, std::slice::from_ref(address)) == [true])
}

/// Which of these are on the list, in the same order. One query.
pub fn suppressed(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) -> Vec<bool> {
    let query = "SELECT (asked.number - 1)::pg_catalog.int8
         FROM pg_catalog.unnest($1) WITH ORDINALITY AS asked (address, number)
         JOIN utl_smtp.suppression AS s ON s.address = asked.address COLLATE pg_catalog.\"C\"";
    let mut suppressed = vec![false; addresses.len()];
    if addresses.is_empty() {
        return suppressed;
    }
    let found = rows(
        client,
        query,
        &[texts(addresses.iter().map(CanonicalAddress::as_str))],
    );
    for row in 0..found.len() {
        let index = found.get::<i64>(row, 1).map(|index| index as usize);
        if let Some(entry) = index.and_then(|index| suppressed.get_mut(index)) {
            *entry = true;
        }
    }
    suppressed
}

/// Notes that mail was not sent because these are on the list.
pub fn note_hits(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    let update = "WITH hit AS (
             SELECT s.address FROM utl_smtp.suppression AS s WHERE s.address = ANY ($1)
             ORDER BY s.address FOR UPDATE)
         UPDATE utl_smtp.suppression AS s SET last_hit_at = pg_catalog.clock_timestamp()
         FROM hit WHERE s.address = hit.address";
    if !addresses.is_empty() {
        let addresses = texts(addresses.iter().map(CanonicalAddress::as_str));
        run(client, update, &[addresses]);
    }
}

/// Adds addresses that have bounced; those that are on the list stay as they are.
pub fn add(client: &mut SpiClient<'_>, bounce: Bounce, bounced: &[Bounced<'_>]) {
    let insert = "INSERT INTO utl_smtp.suppression (address, reason, reply, message_id, created_at)
         SELECT entry.address, $1, entry.reply, entry.message_id, pg_catalog.clock_timestamp()
         FROM pg_catalog.unnest($2, $3, $4) AS entry (address, reply, message_id)
         ORDER BY entry.address COLLATE pg_catalog.\"C\"
         ON CONFLICT DO NOTHING";
    if bounced.is_empty() {
        return;
    }
    let parameters = [
        text(bounce.reason()),
        texts(bounced.iter().map(|entry| entry.address.as_str())),
        texts(bounced.iter().map(|entry| entry.reply)),
        bigints(bounced.iter().map(|entry| entry.message_id)),
    ];
    run(client, insert, &parameters);
}

/// Takes addresses off again that hard bounces have put on the list: the server refuses nearly everybody.
pub fn withdraw(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    let delete = "DELETE FROM utl_smtp.suppression
         WHERE address = ANY ($1) AND reason = 'hard bounce'";
    if !addresses.is_empty() {
        let addresses = texts(addresses.iter().map(CanonicalAddress::as_str));
        run(client, delete, &[addresses]);
    }
}

/// Counts final results that are failures of the mailbox, see [`mail_queue::suppression::is_mailbox_failure`]. Adds those
/// addresses to the list that have now had `limit` of them in a row; failures before `counted_from` do not count any more.
pub fn count_mailbox_failures(
    client: &mut SpiClient<'_>,
    failed: &[Bounced<'_>],
    limit: usize,
    counted_from: Option<pg_sys::TimestampTz>,
) {
    let upsert = "INSERT INTO utl_smtp.soft_bounce AS known (address, failures, last_failure_at)
         SELECT entry.address, pg_catalog.count(*)::pg_catalog.int4, pg_catalog.clock_timestamp()
         FROM pg_catalog.unnest($1) AS entry (address)
         GROUP BY entry.address
         ORDER BY entry.address COLLATE pg_catalog.\"C\"
         ON CONFLICT (address) DO UPDATE
         SET failures = excluded.failures
                 + CASE WHEN known.last_failure_at < $2 THEN 0 ELSE known.failures END,
             last_failure_at = excluded.last_failure_at";
    let full = "DELETE FROM utl_smtp.soft_bounce
         WHERE address = ANY ($1) AND failures >= $2
         RETURNING address";
    if failed.is_empty() {
        return;
    }
    let addresses = || texts(failed.iter().map(|entry| entry.address.as_str()));
    run(
        client,
        upsert,
        &[
            addresses(),
            (pg_sys::TIMESTAMPTZOID, counted_from.map(Into::into)),
        ],
    );
    let limit = integer(i32::try_from(limit).unwrap_or(i32::MAX));
    let full = rows(client, full, &[addresses(), limit]);
    let full: Vec<String> = (0..full.len()).filter_map(|row| full.get(row, 1)).collect();
    let bounced: Vec<_> = failed
        .iter()
        .filter(|entry| full.iter().any(|address| address == entry.address.as_str()))
        .copied()
        .collect();
    add(client, Bounce::Soft, &bounced);
}

/// Ends the failures in a row of addresses that have had another final result: for every one that is no failure of the
/// mailbox.
pub fn end_mailbox_failures(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    let delete = "DELETE FROM utl_smtp.soft_bounce WHERE address = ANY ($1)";
    if !addresses.is_empty() {
        let addresses = texts(addresses.iter().map(CanonicalAddress::as_str));
        run(client, delete, &[addresses]);
    }
}
