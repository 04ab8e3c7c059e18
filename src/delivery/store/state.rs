//! What the worker shows to others, and what it reads of the log when it begins.

use std::time::Duration;

use pgrx::spi::SpiClient;
use pgrx::{IntoDatum, pg_sys};

use super::claim::moment;
use super::sql::texts;
use crate::pg::datum::Text;
use crate::pg::owner::Plan;

/// What is shown of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    pub server: pg_sys::Oid,
    pub state: &'static str,
    pub until: Option<pg_sys::TimestampTz>,
    pub connections: i32,
    pub last_error: Option<(String, pg_sys::TimestampTz)>,
}

/// How many recipients wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub queued: i64,
    pub deferred: i64,
    pub held: i64,
}

thread_local! {
    static SHOW: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.server_state AS s (server, state, until, connections, last_error, last_error_at)
              SELECT v.* FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),
                                         pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6))
                              AS v (server, state, until, connections, last_error, last_error_at)
              ON CONFLICT (server) DO UPDATE SET
                  state = excluded.state, until = excluded.until, connections = excluded.connections,
                  last_error = coalesce(excluded.last_error, s.last_error),
                  last_error_at = coalesce(excluded.last_error_at, s.last_error_at)",
            &[
                pg_sys::OIDARRAYOID,
                pg_sys::TEXTARRAYOID,
                pg_sys::TIMESTAMPTZARRAYOID,
                pg_sys::INT4ARRAYOID,
                pg_sys::TEXTARRAYOID,
                pg_sys::TIMESTAMPTZARRAYOID,
            ],
        )
    };
    static BEGIN: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.server_state AS s SET state = 'ok', until = NULL, connections = 0
              WHERE s.state <> 'ok' OR s.until IS NOT NULL OR s.connections <> 0",
            &[],
        )
    };
    static BEGIN_COUNTS: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.worker_state AS w
              SET connections = 0, queued = NULL, deferred = NULL, held = NULL, counted_at = NULL
              WHERE w.connections <> 0 OR w.counted_at IS NOT NULL",
            &[],
        )
    };
    static FORGET: Plan = const {
        Plan::new(
            c"DELETE FROM utl_smtp.server_state AS s
              WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server AS f WHERE f.oid = s.server)",
            &[],
        )
    };
    static COUNTS: Plan = const {
        Plan::new(
            // Without a join of all: there may be millions, of which few are held.
            c"WITH every AS (
                  SELECT pg_catalog.count(*) FILTER (WHERE r.attempts = 0) AS queued,
                         pg_catalog.count(*) FILTER (WHERE r.attempts > 0) AS deferred
                  FROM utl_smtp.message_recipient AS r),
              held AS (
                  SELECT pg_catalog.count(*) FILTER (WHERE r.attempts = 0) AS queued,
                         pg_catalog.count(*) FILTER (WHERE r.attempts > 0) AS deferred
                  FROM utl_smtp.message AS m JOIN utl_smtp.message_recipient AS r ON r.message_id = m.message_id
                  WHERE m.held_reason IS NOT NULL)
              SELECT every.queued - held.queued, every.deferred - held.deferred, held.queued + held.deferred
              FROM every CROSS JOIN held",
            &[],
        )
    };
    static SHOW_COUNTS: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.worker_state
              SET connections = $1, queued = $2, deferred = $3, held = $4, counted_at = $5",
            &[
                pg_sys::INT4OID,
                pg_sys::INT8OID,
                pg_sys::INT8OID,
                pg_sys::INT8OID,
                pg_sys::TIMESTAMPTZOID,
            ],
        )
    };
    static SENT: Plan = const {
        Plan::new(
            c"SELECT minute.age, pg_catalog.count(*)
              FROM utl_smtp.delivery_log AS l
              CROSS JOIN LATERAL (SELECT greatest(0, extract(epoch FROM $2 - l.finished_at)::bigint / 60) AS age) AS minute
              WHERE l.finished_at > $2 - interval '1 day' AND l.server = $1 AND l.remote IS NOT NULL
              GROUP BY minute.age",
            &[pg_sys::OIDOID, pg_sys::TIMESTAMPTZOID],
        )
    };
}

/// Takes back what an earlier worker has shown.
pub fn begin(client: &mut SpiClient<'_>) {
    BEGIN.with(|plan| plan.run(client, &[]));
    BEGIN_COUNTS.with(|plan| plan.run(client, &[]));
    FORGET.with(|plan| plan.run(client, &[]));
}

/// Shows what has changed.
pub fn show(client: &mut SpiClient<'_>, states: &[ServerState]) {
    // Mail of no server at all was written by hand, and an OID of 0 would be passed as NULL.
    let is_shown = |state: &&ServerState| state.server != pg_sys::InvalidOid;
    let states: Vec<&ServerState> = states.iter().filter(is_shown).collect();
    if states.is_empty() {
        return;
    }
    let errors = || states.iter().map(|state| state.last_error.as_ref());
    let servers: Vec<pg_sys::Oid> = states.iter().map(|state| state.server).collect();
    let untils: Vec<_> = states.iter().map(|state| state.until.map(moment)).collect();
    let connections: Vec<i32> = states.iter().map(|state| state.connections).collect();
    let texts_of_errors: Vec<_> = errors()
        .map(|error| error.map(|(text, _)| Text(text.clone())))
        .collect();
    let times: Vec<_> = errors()
        .map(|error| error.map(|(_, at)| moment(*at)))
        .collect();
    let values = [
        servers.into_datum(),
        texts(states.iter().map(|state| state.state)),
        untils.into_datum(),
        connections.into_datum(),
        texts_of_errors.into_datum(),
        times.into_datum(),
    ];
    SHOW.with(|plan| plan.run(client, &values));
}

impl Counts {
    /// Whether it takes long to count them.
    pub fn are_many(&self) -> bool {
        const MANY: i64 = 10_000;
        self.queued + self.deferred + self.held >= MANY
    }
}

/// Counts the recipients that wait.
pub fn count(client: &mut SpiClient<'_>) -> Counts {
    COUNTS.with(|plan| {
        let rows = plan.rows(client, &[]);
        let count = |column| rows.get(0, column).unwrap_or_default();
        Counts {
            queued: count(1),
            deferred: count(2),
            held: count(3),
        }
    })
}

/// Shows how many connections there are, and how many recipients waited at a moment; where that is
/// not shown, whoever wants to know counts them.
pub fn show_counts(
    client: &mut SpiClient<'_>,
    connections: usize,
    counts: Option<(Counts, pg_sys::TimestampTz)>,
) {
    let values = [
        Some((connections as i32).into()),
        counts.map(|(counts, _)| counts.queued.into()),
        counts.map(|(counts, _)| counts.deferred.into()),
        counts.map(|(counts, _)| counts.held.into()),
        counts.map(|(_, at)| at.into()),
    ];
    SHOW_COUNTS.with(|plan| plan.run(client, &values));
}

/// How long ago how many recipients were sent to by a server, within the last day.
pub fn sent(
    client: &mut SpiClient<'_>,
    server: pg_sys::Oid,
    now: pg_sys::TimestampTz,
) -> Vec<(Duration, u32)> {
    SENT.with(|plan| {
        let rows = plan.rows(client, &[Some(server.into()), Some(now.into())]);
        let sent = |row| {
            let minutes = u64::try_from(rows.get::<i64>(row, 1)?).ok()?;
            let count = u32::try_from(rows.get::<i64>(row, 2)?).unwrap_or(u32::MAX);
            Some((Duration::from_secs(60 * minutes), count))
        };
        (0..rows.len()).filter_map(sent).collect()
    })
}
