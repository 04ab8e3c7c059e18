//! What the worker writes besides results: pauses, the log's retention, deferred mail that is made
//! due, stored times after somebody has set the clock.

use pgrx::spi::SpiClient;
use pgrx::{IntoDatum, pg_sys};

use crate::pg::owner::Plan;
use crate::pg::query::Timestamp;

/// A time in which mail did not age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The server; 0: all of them.
    pub server: pg_sys::Oid,
    pub began_at: pg_sys::TimestampTz,
    /// `None`: it has not ended.
    pub ended_at: Option<pg_sys::TimestampTz>,
}

thread_local! {
    static PAUSES: Plan = const {
        Plan::new(
            c"SELECT p.server, p.began_at, p.ended_at FROM utl_smtp.delivery_pause AS p ORDER BY p.began_at",
            &[],
        )
    };
    static BEGIN_PAUSE: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.delivery_pause (server, began_at)
              SELECT $1, $2 WHERE NOT EXISTS
                  (SELECT FROM utl_smtp.delivery_pause AS p WHERE p.server = $1 AND p.ended_at IS NULL)
              ON CONFLICT DO NOTHING",
            &[pg_sys::OIDOID, pg_sys::TIMESTAMPTZOID],
        )
    };
    static END_PAUSE: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.delivery_pause AS p SET ended_at = greatest(p.began_at, $2)
              WHERE p.server = $1 AND p.ended_at IS NULL",
            &[pg_sys::OIDOID, pg_sys::TIMESTAMPTZOID],
        )
    };
    static EXPIRE_LOG: Plan = const {
        Plan::new(
            c"WITH old AS MATERIALIZED (
                  SELECT l.message_id, l.recipient_no FROM utl_smtp.delivery_log AS l WHERE l.finished_at < $1
                  ORDER BY l.finished_at LIMIT $2)
              DELETE FROM utl_smtp.delivery_log AS l USING old
              WHERE l.message_id = old.message_id AND l.recipient_no = old.recipient_no",
            &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
        )
    };
    static PUSH: Plan = const {
        Plan::new(
            c"WITH pushed AS MATERIALIZED (
                  SELECT m.message_id FROM utl_smtp.message AS m
                  WHERE m.lease IS NULL AND m.held_reason IS NULL AND m.next_attempt_at > $1 AND m.last_attempt_at < $1
                    AND m.message_id > $2
                  ORDER BY m.message_id LIMIT $3 FOR UPDATE SKIP LOCKED),
              recipient AS (
                  UPDATE utl_smtp.message_recipient AS r SET next_attempt_at = least(r.next_attempt_at, $1)
                  FROM pushed
                  WHERE r.message_id = pushed.message_id AND r.attempts > 0 AND r.last_attempt_at < $1
                  RETURNING r.message_id),
              message AS (
                  UPDATE utl_smtp.message AS m SET next_attempt_at = least(m.next_attempt_at, $1)
                  FROM pushed WHERE m.message_id = pushed.message_id
                    AND EXISTS (SELECT FROM recipient AS r WHERE r.message_id = m.message_id))
              SELECT pg_catalog.max(pushed.message_id) FROM pushed",
            &[
                pg_sys::TIMESTAMPTZOID,
                pg_sys::INT8OID,
                pg_sys::INT8OID,
            ],
        )
    };
    static SHIFT_RECIPIENTS: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message_recipient AS r SET
                  next_attempt_at = r.next_attempt_at + $1 * interval '1 microsecond',
                  last_attempt_at = r.last_attempt_at + $1 * interval '1 microsecond'
              FROM utl_smtp.message AS m
              WHERE m.message_id = r.message_id AND m.due_at <= $2 AND NOT (m.submitted_at BETWEEN $3 AND $4)",
            SHIFT_TYPES,
        )
    };
    static SHIFT_MESSAGES: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message AS m SET
                  due_at = m.due_at + $1 * interval '1 microsecond',
                  next_attempt_at = m.next_attempt_at + $1 * interval '1 microsecond',
                  last_attempt_at = m.last_attempt_at + $1 * interval '1 microsecond'
              WHERE m.due_at <= $2 AND NOT (m.submitted_at BETWEEN $3 AND $4)",
            SHIFT_TYPES,
        )
    };
    static SHIFT_PAUSES: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.delivery_pause AS p SET
                  began_at = p.began_at + $1 * interval '1 microsecond',
                  ended_at = p.ended_at + $1 * interval '1 microsecond'
              WHERE p.began_at <= $2",
            &[pg_sys::FLOAT8OID, pg_sys::TIMESTAMPTZOID],
        )
    };
}

const SHIFT_TYPES: &[pg_sys::Oid] = &[
    pg_sys::FLOAT8OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
];

/// All pauses, by their beginning.
pub fn pauses(client: &mut SpiClient<'_>) -> Vec<Pause> {
    PAUSES.with(|plan| {
        let rows = plan.rows(client, &[]);
        let pause = |row| {
            Some(Pause {
                server: rows.get(row, 1)?,
                began_at: rows.get::<Timestamp>(row, 2)?.0,
                ended_at: rows.get::<Timestamp>(row, 3).map(|moment| moment.0),
            })
        };
        (0..rows.len()).filter_map(pause).collect()
    })
}

/// From now on mail of a server does not age.
pub fn begin_pause(client: &mut SpiClient<'_>, server: pg_sys::Oid, now: pg_sys::TimestampTz) {
    BEGIN_PAUSE.with(|plan| plan.run(client, &[Some(server.into()), Some(now.into())]));
}

/// From now on it does.
pub fn end_pause(client: &mut SpiClient<'_>, server: pg_sys::Oid, now: pg_sys::TimestampTz) {
    END_PAUSE.with(|plan| plan.run(client, &[Some(server.into()), Some(now.into())]));
}

/// Deletes up to `limit` of what became final before a moment; returns how many.
pub fn expire_log(client: &mut SpiClient<'_>, before: pg_sys::TimestampTz, limit: usize) -> u64 {
    let values = [Some(before.into()), Some((limit as i64).into())];
    EXPIRE_LOG.with(|plan| plan.run(client, &values))
}

/// Makes deferred mail due that was last tried before push_queue() was called: of up to `limit`
/// messages with a higher number than this. Returns where to go on; `None`: it is done.
pub fn push(
    client: &mut SpiClient<'_>,
    pushed_at: pg_sys::TimestampTz,
    above: i64,
    limit: usize,
) -> Option<i64> {
    let values = [
        Some(pushed_at.into()),
        Some(above.into()),
        Some((limit as i64).into()),
    ];
    PUSH.with(|plan| plan.rows(client, &values).get(0, 1))
}

/// Moves the stored times of mail that waits, and those of pauses, by so many microseconds, by
/// which the clock was set; `now` is what it shows. What was queued within the last seconds has its
/// right time already, and what is to be sent at a certain time keeps it.
pub fn shift(client: &mut SpiClient<'_>, by: i64, now: pg_sys::TimestampTz) {
    const RECENT: i64 = 5_000_000;
    let values = [
        (by as f64).into_datum(),
        Some(now.saturating_sub(by).into()),
        Some(now.saturating_sub(RECENT).into()),
        Some(now.into()),
    ];
    SHIFT_RECIPIENTS.with(|plan| plan.run(client, &values));
    SHIFT_MESSAGES.with(|plan| plan.run(client, &values));
    SHIFT_PAUSES.with(|plan| plan.run(client, &values[..2]));
}
