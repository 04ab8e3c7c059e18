//! What is done with messages of the queue and rows of the log by hand. The callers judge who may.
//!
//! A message is locked first and looked at then: what a worker has claimed by that time stays in
//! its hands. A message that would stay as it is is not locked: a worker can send it and record the
//! result, however long the caller's transaction lasts.

use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::sql::{
    BEING_SENT, CONTROL, bigint, boolean, bound, cluster, cluster_prefix, in_queue, text,
};
use crate::delivery::{control, home, wake};
use crate::errors::Report;
use crate::pg::query::{Parameter, rows, run};
use crate::settings;

/// The owner of a message that is in the queue or in the log: `Some(None)` if that role is gone.
/// `None` if there is no such message.
pub fn owner_of(message_id: i64) -> Result<Option<Option<pg_sys::Oid>>, Report> {
    let queued = bound(
        "utl_smtp.message",
        "row.message_id",
        "pg_catalog.starts_with(row.home, $2)",
    );
    let logged = bound(
        "utl_smtp.delivery_log",
        "row.message_id",
        "row.cluster = $3",
    );
    let query = format!(
        "(SELECT role_oid FROM {queued} AS queued WHERE message_id = $1)
         UNION ALL
         (SELECT role_oid FROM {logged} AS logged WHERE message_id = $1 LIMIT 1)"
    );
    let parameters = [bigint(message_id), text(&cluster_prefix()), cluster()];
    in_queue(|client| {
        let rows = rows(client, &query, &parameters);
        (rows.len() > 0).then(|| rows.get(0, 1))
    })
}

/// Cancels a message for the recipients that are not being sent to, in the name of `by`; returns
/// how many.
pub fn cancel(message_id: i64, by: &str) -> Result<u64, Report> {
    let free = format!("NOT {BEING_SENT}");
    in_queue(|client| {
        if !lock(client, message_id, &free) {
            return 0;
        }
        let chosen = format!("m.message_id = $4 AND {free}");
        let reason = format!("cancelled by {by}");
        let cancelled = finish(client, "cancelled", &reason, &chosen, &[bigint(message_id)]);
        let unclaimed = "m.message_id = $1 AND m.lease IS NULL";
        discard_finished(client, unclaimed, &[bigint(message_id)]);
        cancelled
    })
}

/// Makes the deferred recipients of a message due now, and frees one that is held because of
/// crashes: for one more attempt, before it is held again. Returns how many recipients.
pub fn retry(message_id: i64) -> Result<u64, Report> {
    let deferred = format!(
        "NOT {BEING_SENT}
         AND (m.held_reason = 'crashed' OR m.held_reason IS NULL AND r.attempts > 0)"
    );
    let recipients = format!(
        "UPDATE utl_smtp.message_recipient AS r
         SET next_attempt_at = least(r.next_attempt_at, pg_catalog.clock_timestamp())
         FROM utl_smtp.message AS m {CONTROL}
         WHERE r.message_id = $1 AND m.message_id = $1 AND {deferred}"
    );
    let message = "UPDATE utl_smtp.message AS m
         SET held_reason = NULL, crashes = least(m.crashes, 2),
             next_attempt_at = least(m.next_attempt_at, pg_catalog.clock_timestamp())
         WHERE m.message_id = $1";
    in_queue(|client| {
        if !lock(client, message_id, &deferred) {
            return 0;
        }
        let retried = run(client, &recipients, &[bigint(message_id)]);
        if retried > 0 {
            run(client, message, &[bigint(message_id)]);
            wake::message_queued();
        }
        retried
    })
}

/// Makes all deferred mail due now.
pub fn push() -> Result<(), Report> {
    let push = "UPDATE utl_smtp.delivery_control SET pushed_at = pg_catalog.clock_timestamp()";
    in_queue(|client| run(client, push, &[]))?;
    wake::message_queued();
    Ok(())
}

/// Sends mail of this database, and lets it age.
pub fn start() -> Result<(), Report> {
    in_queue(|client| {
        enable(client, true);
        if settings::deliver() {
            control::end_pause(client);
        }
    })?;
    wake::delivery_started();
    Ok(())
}

/// Sends no mail of this database, and lets it not age.
pub fn stop() -> Result<(), Report> {
    in_queue(|client| {
        enable(client, false);
        control::begin_pause(client);
    })
}

fn enable(client: &mut SpiClient<'_>, enabled: bool) {
    let enable = "UPDATE utl_smtp.delivery_control SET enabled = $1";
    run(client, enable, &[boolean(enabled)]);
}

/// A message that another installation has queued and that was not adopted, with this one's stamp
/// as `$n`.
fn foreign(stamp: usize) -> String {
    format!(
        "(m.home <> ${stamp}
          AND NOT EXISTS (SELECT FROM utl_smtp.adopted_home AS a WHERE a.home = ${stamp} AND a.adopted = m.home))"
    )
}

/// Takes over what other installations have queued, to send it from here; returns how many
/// recipients. What was in flight there may have arrived: that is final for at_most_once, and an
/// attempt for others.
pub fn adopt() -> Result<u64, Report> {
    const DOUBT: &str = "outcome unknown: the message was being sent when this copy was made";
    // A negative lease is of one that had not begun to send.
    let doubtful = format!(
        "{} AND m.at_most_once AND m.lease > 0 AND {BEING_SENT}",
        foreign(4)
    );
    let attempted = format!(
        "UPDATE utl_smtp.message_recipient AS r
         SET attempts = least(r.attempts, 2147483646) + 1, last_attempt_at = m.last_attempt_at, last_reply = $2
         FROM utl_smtp.message AS m {CONTROL}
         WHERE r.message_id = m.message_id AND {} AND m.lease > 0 AND {BEING_SENT}",
        foreign(1)
    );
    let recipients = format!(
        "SELECT pg_catalog.count(*)
         FROM utl_smtp.message_recipient AS r JOIN utl_smtp.message AS m ON m.message_id = r.message_id
         WHERE {}",
        foreign(1)
    );
    let from = bound(
        "utl_smtp.message",
        "row.message_id",
        "pg_catalog.starts_with(row.home, $2)",
    );
    let adopted = format!(
        "UPDATE utl_smtp.message AS m
         SET home = $1,
             server = coalesce(bound.server_oid, 0), server_name = bound.current_server_name,
             owner = coalesce(bound.role_oid, 0), owner_name = bound.role_name,
             held_reason = nullif(m.held_reason, 'copy'),
             lease = NULL,
             due_at = greatest(m.due_at, pg_catalog.clock_timestamp())
         FROM {from} AS bound
         WHERE bound.message_id = m.message_id AND {}",
        foreign(1)
    );
    let stamp = || text(&home::stamp());
    in_queue(|client| {
        lock_foreign(client);
        finish(client, "unknown", DOUBT, &doubtful, &[stamp()]);
        discard_finished(client, &foreign(1), &[stamp()]);
        run(client, &attempted, &[stamp(), text(DOUBT)]);
        let count: Option<i64> = rows(client, &recipients, &[stamp()]).get(0, 1);
        run(client, &adopted, &[stamp(), text(&cluster_prefix())]);
        wake::message_queued();
        count.unwrap_or(0) as u64
    })
}

/// Cancels what other installations have queued, in the name of `by`; returns how many recipients.
pub fn refuse(by: &str) -> Result<u64, Report> {
    let reason = format!("cancelled in a copy by {by}");
    let stamp = || text(&home::stamp());
    in_queue(|client| {
        lock_foreign(client);
        let cancelled = finish(client, "cancelled", &reason, &foreign(4), &[stamp()]);
        discard_finished(client, &foreign(1), &[stamp()]);
        cancelled
    })
}

/// Deletes what became final before a moment from the log; returns how many recipients.
pub fn purge(before: pg_sys::TimestampTz) -> Result<u64, Report> {
    let purge = "DELETE FROM utl_smtp.delivery_log WHERE finished_at < $1";
    let before = (pg_sys::TIMESTAMPTZOID, Some(before.into()));
    in_queue(|client| run(client, purge, &[before]))
}

/// Locks a message if it has recipients `r` that meet a condition; `false` if it has none.
fn lock(client: &mut SpiClient<'_>, message_id: i64, condition: &str) -> bool {
    let look = format!(
        "SELECT FROM utl_smtp.message AS m
         JOIN utl_smtp.message_recipient AS r ON r.message_id = m.message_id {CONTROL}
         WHERE m.message_id = $1 AND {condition} LIMIT 1"
    );
    let lock = "SELECT FROM utl_smtp.message AS m WHERE m.message_id = $1 FOR UPDATE";
    [&*look, lock]
        .iter()
        .all(|query| run(client, query, &[bigint(message_id)]) > 0)
}

fn lock_foreign(client: &mut SpiClient<'_>) {
    let lock = format!(
        "SELECT pg_catalog.count(*) FROM (SELECT FROM utl_smtp.message AS m WHERE {} FOR UPDATE) AS locked",
        foreign(1)
    );
    run(client, &lock, &[text(&home::stamp())]);
}

/// Moves recipients `r` of messages `m` to the log, in a state and for a reason that is not about
/// their mailboxes; returns how many. `chosen` says which,
/// with parameters from `$4` on.
fn finish(
    client: &mut SpiClient<'_>,
    state: &str,
    reason: &str,
    chosen: &str,
    chosen_by: &[Parameter],
) -> u64 {
    // Only those: all others would be read to cancel one.
    let messages = bound(
        "(SELECT * FROM utl_smtp.message WHERE message_id IN (SELECT message_id FROM gone))",
        "row.*",
        "pg_catalog.starts_with(row.home, $3)",
    );
    let statement = format!(
        "WITH gone AS (
             DELETE FROM utl_smtp.message_recipient AS r
             USING utl_smtp.message AS m {CONTROL}
             WHERE r.message_id = m.message_id AND {chosen}
             RETURNING r.*),
         ended AS (
             DELETE FROM utl_smtp.soft_bounce AS known USING gone
             WHERE known.address = utl_smtp.canonical_address(gone.recipient) COLLATE pg_catalog.\"C\")
         INSERT INTO utl_smtp.delivery_log
             (message_id, recipient_no, recipient, state, server, server_name, owner, owner_name, sender, subject, size,
              submitted_at, attempts, finished_at, last_reply)
         SELECT m.message_id, r.recipient_no, r.recipient, $1,
                coalesce(m.server_oid, 0), m.current_server_name, coalesce(m.role_oid, 0), m.role_name,
                m.sender, m.subject, m.size, m.submitted_at, r.attempts, (SELECT pg_catalog.clock_timestamp()),
                $2 || coalesce('; the last attempt: ' || r.last_reply, '')
         FROM gone AS r JOIN {messages} AS m ON m.message_id = r.message_id"
    );
    let mut parameters = vec![text(state), text(reason), text(&cluster_prefix())];
    parameters.extend_from_slice(chosen_by);
    run(client, &statement, &parameters)
}

/// Deletes messages `m` that have no recipients any more, with their content.
fn discard_finished(client: &mut SpiClient<'_>, chosen: &str, chosen_by: &[Parameter]) {
    let statement = format!(
        "WITH gone AS (
             DELETE FROM utl_smtp.message AS m
             WHERE {chosen}
               AND NOT EXISTS (SELECT FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id)
             RETURNING m.message_id)
         DELETE FROM utl_smtp.message_content AS c USING gone WHERE c.message_id = gone.message_id"
    );
    run(client, &statement, chosen_by);
}
