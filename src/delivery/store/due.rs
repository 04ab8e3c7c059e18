//! Which servers have mail, and when it is due. Nothing is locked or written here.

use pgrx::IntoDatum;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use crate::pg::owner::Plan;
use crate::pg::query::Timestamp;

/// The first message of a server that waits.
#[derive(Clone, Copy)]
pub struct First {
    pub server: pg_sys::Oid,
    pub next_attempt_at: pg_sys::TimestampTz,
    pub owner: pg_sys::Oid,
}

/// A message that was queued of late.
#[derive(Clone, Copy)]
pub struct Recent {
    pub message_id: i64,
    pub server: pg_sys::Oid,
    pub owner: pg_sys::Oid,
}

thread_local! {
    /// From one server to the next by the index, whatever lies between.
    static FIRST_OF_EACH: Plan = const {
        Plan::new(
            c"WITH RECURSIVE first AS (
                  (SELECT m.server, m.next_attempt_at, m.owner FROM utl_smtp.message AS m
                   WHERE m.lease IS NULL AND m.held_reason IS NULL
                   ORDER BY m.server, m.next_attempt_at, m.message_id LIMIT 1)
                  UNION ALL
                  SELECT following.server, following.next_attempt_at, following.owner
                  FROM first CROSS JOIN LATERAL (
                      SELECT m.server, m.next_attempt_at, m.owner FROM utl_smtp.message AS m
                      WHERE m.lease IS NULL AND m.held_reason IS NULL AND m.server > first.server
                      ORDER BY m.server, m.next_attempt_at, m.message_id LIMIT 1) AS following)
              SELECT first.server, first.next_attempt_at, first.owner FROM first",
            &[],
        )
    };
    /// By number: `IS TRUE` keeps the planner from the index of due messages, which it would read
    /// from end to end.
    static RECENT: Plan = const {
        Plan::new(
            c"SELECT m.message_id, m.server, m.owner FROM utl_smtp.message AS m
              WHERE m.message_id > $1
                AND (m.lease IS NULL AND m.held_reason IS NULL AND m.next_attempt_at <= $2) IS TRUE
              ORDER BY m.message_id LIMIT $3",
            &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
        )
    };
    static FIRST_OF_OTHERS: Plan = const {
        Plan::new(
            c"SELECT m.server, m.next_attempt_at, m.owner FROM utl_smtp.message AS m
              WHERE m.lease IS NULL AND m.held_reason IS NULL AND m.server = $1 AND m.owner <> ALL ($2)
              ORDER BY m.next_attempt_at, m.message_id LIMIT 1",
            &[pg_sys::OIDOID, pg_sys::OIDARRAYOID],
        )
    };
    static PUSHED: Plan = const {
        Plan::new(c"SELECT c.pushed_at FROM utl_smtp.delivery_control AS c LIMIT 1", &[])
    };
    static STOPPED: Plan = const {
        Plan::new(c"SELECT FROM utl_smtp.delivery_control AS c WHERE NOT c.enabled", &[])
    };
    static SUSPECTS: Plan = const {
        Plan::new(
            c"SELECT EXISTS (SELECT FROM utl_smtp.message AS m
                             WHERE m.crashes > 0 AND m.lease IS NULL AND m.held_reason IS NULL AND m.next_attempt_at <= $1)",
            &[pg_sys::TIMESTAMPTZOID],
        )
    };
    static OLDEST: Plan = const {
        Plan::new(
            c"SELECT pg_catalog.min(m.due_at) FROM utl_smtp.message AS m
              WHERE m.server = $1 AND m.lease IS NULL AND m.held_reason IS NULL AND m.next_attempt_at <= $2",
            &[pg_sys::OIDOID, pg_sys::TIMESTAMPTZOID],
        )
    };
    static ANY: Plan = const {
        Plan::new(
            c"SELECT EXISTS (SELECT FROM utl_smtp.message AS m WHERE m.held_reason IS NULL)",
            &[],
        )
    };
}

/// The first message of each server that has any, due or not.
pub fn first_of_each(client: &mut SpiClient<'_>) -> Vec<First> {
    FIRST_OF_EACH.with(|plan| {
        let rows = plan.rows(client, &[]);
        (0..rows.len())
            .filter_map(|row| first(&rows, row))
            .collect()
    })
}

/// The first message of a server that is of none of these owners.
pub fn first_of_others(
    client: &mut SpiClient<'_>,
    server: pg_sys::Oid,
    owners: &[pg_sys::Oid],
) -> Option<First> {
    let values = [Some(server.into()), owners.to_vec().into_datum()];
    FIRST_OF_OTHERS.with(|plan| {
        let rows = plan.rows(client, &values);
        (rows.len() > 0).then(|| first(&rows, 0)).flatten()
    })
}

/// Messages with a higher number than this that are due, in the order of their numbers.
pub fn recent(
    client: &mut SpiClient<'_>,
    above: i64,
    now: pg_sys::TimestampTz,
    limit: usize,
) -> Vec<Recent> {
    let values = [
        Some(above.into()),
        Some(now.into()),
        Some((limit as i64).into()),
    ];
    RECENT.with(|plan| {
        let rows = plan.rows(client, &values);
        let recent = |row| {
            Some(Recent {
                message_id: rows.get(row, 1)?,
                server: rows.get(row, 2)?,
                owner: rows.get(row, 3)?,
            })
        };
        (0..rows.len()).filter_map(recent).collect()
    })
}

/// When push_queue() was last called.
pub fn pushed_at(client: &mut SpiClient<'_>) -> Option<pg_sys::TimestampTz> {
    PUSHED.with(|plan| {
        let rows = plan.rows(client, &[]);
        let pushed_at = (rows.len() > 0).then(|| rows.get::<Timestamp>(0, 1));
        pushed_at.flatten().map(|moment| moment.0)
    })
}

/// Whether stop_delivery() was called.
pub fn is_stopped(client: &mut SpiClient<'_>) -> bool {
    STOPPED.with(|plan| plan.run(client, &[]) > 0)
}

/// Whether there is due mail that was in flight at a crash.
pub fn has_suspects(client: &mut SpiClient<'_>, now: pg_sys::TimestampTz) -> bool {
    SUSPECTS.with(|plan| {
        let rows = plan.rows(client, &[Some(now.into())]);
        rows.get(0, 1).unwrap_or_default()
    })
}

/// Since when the oldest mail of a server that is due now has waited.
pub fn oldest(
    client: &mut SpiClient<'_>,
    server: pg_sys::Oid,
    now: pg_sys::TimestampTz,
) -> Option<pg_sys::TimestampTz> {
    OLDEST.with(|plan| {
        let rows = plan.rows(client, &[Some(server.into()), Some(now.into())]);
        rows.get::<Timestamp>(0, 1).map(|moment| moment.0)
    })
}

/// Whether there is mail, claimed or not, that does not wait for an operator.
pub fn is_any(client: &mut SpiClient<'_>) -> bool {
    ANY.with(|plan| plan.rows(client, &[]).get(0, 1).unwrap_or_default())
}

fn first(rows: &crate::pg::query::Rows<'_>, row: usize) -> Option<First> {
    Some(First {
        server: rows.get(row, 1)?,
        next_attempt_at: rows.get::<Timestamp>(row, 2)?.0,
        owner: rows.get(row, 3)?,
    })
}
