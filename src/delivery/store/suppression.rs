//! The suppression list, for those who maintain it by hand and for the worker.
//!
//! The worker asks about the recipients of a batch at the moment of sending, and adds to the list
//! when it settles their results, in its own transactions. Any owner of mail can lock rows here by
//! calling `cancel`, for as long as his transaction is open. The worker skips them: they are about
//! to be changed or deleted, and mail to everybody else must not wait.

use std::collections::HashSet;

use mail_queue::suppression::CanonicalAddress;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::sql::{bigints, in_queue, texts};
use crate::errors::Report;
use crate::pg::datum::text_datum;
use crate::pg::owner::Plan;
use crate::pg::query::StoredText;

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

/// An address that has bounced, by a reply to a message.
#[derive(Clone, Copy)]
pub struct Bounced<'a> {
    pub address: &'a CanonicalAddress,
    pub reply: &'a str,
    pub message_id: i64,
}

thread_local! {
    static SUPPRESS: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.suppression (address, reason, created_at)
              VALUES ($1, $2, pg_catalog.clock_timestamp())
              ON CONFLICT (address) DO UPDATE SET reason = excluded.reason",
            &[pg_sys::TEXTOID, pg_sys::TEXTOID],
        )
    };
    static UNSUPPRESS: Plan = const {
        Plan::new(
            c"DELETE FROM utl_smtp.suppression WHERE address = $1",
            &[pg_sys::TEXTOID],
        )
    };
    static SUPPRESSED: Plan = const {
        Plan::new(
            c"SELECT asked.number - 1
              FROM pg_catalog.unnest($1) WITH ORDINALITY AS asked (address, number)
              JOIN utl_smtp.suppression AS s ON s.address = asked.address COLLATE pg_catalog.\"C\"",
            &[pg_sys::TEXTARRAYOID],
        )
    };
    static HIT: Plan = const {
        Plan::new(
            c"WITH hit AS MATERIALIZED (
                  SELECT s.address FROM utl_smtp.suppression AS s WHERE s.address = ANY ($1)
                  FOR UPDATE SKIP LOCKED)
              UPDATE utl_smtp.suppression AS s SET last_hit_at = pg_catalog.clock_timestamp()
              FROM hit WHERE s.address = hit.address",
            &[pg_sys::TEXTARRAYOID],
        )
    };
    static ADD: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.suppression (address, reason, reply, message_id, created_at)
              SELECT entry.address, $1, entry.reply, entry.message_id, pg_catalog.clock_timestamp()
              FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                   AS entry (address, reply, message_id)
              ORDER BY entry.address COLLATE pg_catalog.\"C\", entry.message_id
              ON CONFLICT DO NOTHING",
            &[
                pg_sys::TEXTOID,
                pg_sys::TEXTARRAYOID,
                pg_sys::TEXTARRAYOID,
                pg_sys::INT8ARRAYOID,
            ],
        )
    };
    static WITHDRAW: Plan = const {
        Plan::new(
            c"WITH entry AS MATERIALIZED (
                  SELECT s.address FROM utl_smtp.suppression AS s
                  WHERE s.address = ANY ($1) AND s.reason = 'hard bounce' FOR UPDATE SKIP LOCKED)
              DELETE FROM utl_smtp.suppression AS s USING entry WHERE s.address = entry.address",
            &[pg_sys::TEXTARRAYOID],
        )
    };
    static FAILED: Plan = const {
        Plan::new(
            c"WITH free AS MATERIALIZED (
                  SELECT k.address FROM utl_smtp.soft_bounce AS k WHERE k.address = ANY ($1)
                  FOR UPDATE SKIP LOCKED),
              locked AS MATERIALIZED (
                  SELECT k.address FROM utl_smtp.soft_bounce AS k WHERE k.address = ANY ($1)
                  EXCEPT SELECT free.address FROM free)
              INSERT INTO utl_smtp.soft_bounce AS known (address, failures, last_failure_at)
              SELECT entry.address, pg_catalog.count(*), pg_catalog.clock_timestamp()
              FROM pg_catalog.unnest($1) AS entry (address)
              WHERE entry.address COLLATE pg_catalog.\"C\"
                    NOT IN (SELECT locked.address FROM locked)
              GROUP BY entry.address
              ORDER BY entry.address COLLATE pg_catalog.\"C\"
              ON CONFLICT (address) DO UPDATE
              SET failures = excluded.failures
                      + CASE WHEN known.last_failure_at < $2 THEN 0 ELSE known.failures END,
                  last_failure_at = excluded.last_failure_at
              RETURNING known.address, known.failures",
            &[pg_sys::TEXTARRAYOID, pg_sys::TIMESTAMPTZOID],
        )
    };
    static ENDED: Plan = const {
        Plan::new(
            c"WITH known AS MATERIALIZED (
                  SELECT k.address FROM utl_smtp.soft_bounce AS k WHERE k.address = ANY ($1)
                  FOR UPDATE SKIP LOCKED)
              DELETE FROM utl_smtp.soft_bounce AS k USING known WHERE k.address = known.address",
            &[pg_sys::TEXTARRAYOID],
        )
    };
    /// The same, once nobody else has them locked.
    static FORGET: Plan = const {
        Plan::new(
            c"DELETE FROM utl_smtp.soft_bounce WHERE address = ANY ($1)",
            &[pg_sys::TEXTARRAYOID],
        )
    };
}

/// Puts an address on the list by hand, for a reason. One that is on it gets the reason.
pub fn suppress(address: &CanonicalAddress, reason: &str) -> Result<(), Report> {
    in_queue(|client| {
        let values = [address.as_str(), reason].map(|text| Some(text_datum(text)));
        SUPPRESS.with(|plan| plan.run(client, &values));
    })
}

/// Takes an address off the list, and forgets the failures of its mailbox; returns whether it was
/// on the list.
pub fn unsuppress(address: &CanonicalAddress) -> Result<bool, Report> {
    in_queue(|client| {
        FORGET.with(|plan| plan.run(client, &[spellings(std::slice::from_ref(address))]));
        let values = [Some(text_datum(address.as_str()))];
        UNSUPPRESS.with(|plan| plan.run(client, &values)) > 0
    })
}

/// Whether an address is on the list.
pub fn is_suppressed(address: &CanonicalAddress) -> Result<bool, Report> {
    in_queue(|client| suppressed(client, std::slice::from_ref(address)) == [true])
}

/// Which of these are on the list, in the same order. One query.
pub fn suppressed(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) -> Vec<bool> {
    let mut suppressed = vec![false; addresses.len()];
    if addresses.is_empty() {
        return suppressed;
    }
    SUPPRESSED.with(|plan| {
        let found = plan.rows(client, &[spellings(addresses)]);
        for row in 0..found.len() {
            let index = found.get::<i64>(row, 1).map(|index| index as usize);
            if let Some(entry) = index.and_then(|index| suppressed.get_mut(index)) {
                *entry = true;
            }
        }
    });
    suppressed
}

/// Notes that mail was not sent because these are on the list.
pub fn note_hits(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    if !addresses.is_empty() {
        HIT.with(|plan| plan.run(client, &[spellings(addresses)]));
    }
}

/// Adds addresses that have bounced; those that are on the list stay as they are.
pub fn add(client: &mut SpiClient<'_>, bounce: Bounce, bounced: &[Bounced<'_>]) {
    if bounced.is_empty() {
        return;
    }
    let values = [
        Some(text_datum(bounce.reason())),
        texts(bounced.iter().map(|entry| entry.address.as_str())),
        texts(bounced.iter().map(|entry| entry.reply)),
        bigints(bounced.iter().map(|entry| entry.message_id)),
    ];
    ADD.with(|plan| plan.run(client, &values));
}

/// Takes addresses off again that hard bounces have put on the list: the server refuses nearly
/// everybody.
pub fn withdraw(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    if !addresses.is_empty() {
        WITHDRAW.with(|plan| plan.run(client, &[spellings(addresses)]));
    }
}

/// Counts final results that are failures of the mailbox, see
/// [`mail_queue::suppression::is_mailbox_failure`]. Adds those addresses to the list that have now
/// had `limit` of them in a row; what was before `counted_from` does not count any more,
/// as it is not in the log.
pub fn count_mailbox_failures(
    client: &mut SpiClient<'_>,
    failed: &[Bounced<'_>],
    limit: usize,
    counted_from: Option<pg_sys::TimestampTz>,
) {
    if failed.is_empty() {
        return;
    }
    let addresses = || texts(failed.iter().map(|entry| entry.address.as_str()));
    let full: HashSet<String> = FAILED.with(|plan| {
        let rows = plan.rows(client, &[addresses(), counted_from.map(Into::into)]);
        let is_full = |row| {
            let failures: Option<i32> = rows.get(row, 2);
            failures.is_some_and(|failures| failures as usize >= limit)
        };
        let full = (0..rows.len()).filter(|row| is_full(*row));
        full.filter_map(|row| rows.get::<StoredText>(row, 1)?.0.ok())
            .collect()
    });
    let is_full = |entry: &&Bounced<'_>| full.contains(entry.address.as_str());
    let bounced: Vec<_> = failed.iter().filter(is_full).copied().collect();
    if !bounced.is_empty() {
        let addresses = texts(bounced.iter().map(|entry| entry.address.as_str()));
        FORGET.with(|plan| plan.run(client, &[addresses]));
    }
    add(client, Bounce::Soft, &bounced);
}

/// Ends the failures in a row of addresses that have had another final result: one that is no
/// failure of the mailbox.
pub fn end_mailbox_failures(client: &mut SpiClient<'_>, addresses: &[CanonicalAddress]) {
    if !addresses.is_empty() {
        ENDED.with(|plan| plan.run(client, &[spellings(addresses)]));
    }
}

fn spellings(addresses: &[CanonicalAddress]) -> Option<pg_sys::Datum> {
    texts(addresses.iter().map(CanonicalAddress::as_str))
}
