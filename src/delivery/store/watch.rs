//! What may be seen of the queue, the log and the worker. Rows that a reader may not see are left
//! out here, below any plan of his.

use pgrx::{IntoDatum, pg_sys};

use super::sql::{BEING_SENT, CONTROL, PUSHED, boolean, bound, cluster, cluster_prefix, oid, text};
use crate::pg::query::Parameter;
use crate::pg::roles;
use crate::pg::row_set::OwnersRows;
use crate::settings;

/// Members see statistics of everybody.
const PG_READ_ALL_STATS: u32 = 3375;

/// The version of the library, which the extension must have.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The codes of a reply `text`, which name nobody; NULL where it has none.
fn codes(text: &str) -> String {
    format!(
        "pg_catalog.substring({text}, '^[2-5][0-9][0-9](?:[ -][245][.][0-9]{{1,3}}[.][0-9]{{1,3}})?(?![0-9])')"
    )
}

/// `$1` to `$3`: the reader, whether he sees everything, and whether he sees what names nobody.
fn reader(role: pg_sys::Oid) -> Vec<Parameter> {
    let superuser = roles::is_superuser(role);
    let statistics = roles::has_privileges_of(role, pg_sys::Oid::from(PG_READ_ALL_STATS));
    vec![oid(role), boolean(superuser), boolean(statistics)]
}

/// Whether the reader may see all columns of a row. Never NULL.
const READABLE: &str =
    "($2 OR coalesce(pg_catalog.pg_has_role($1, bound.role_oid, 'USAGE'), false))";

/// `mail_queue`, of one message or all.
pub fn queue(role: pg_sys::Oid, message_id: Option<i64>) -> OwnersRows {
    let messages = bound(
        "utl_smtp.message",
        "row.*",
        "pg_catalog.starts_with(row.home, $4)",
    );
    let reply = codes("r.last_reply");
    let query = format!(
        "SELECT m.message_id, r.recipient_no,
                CASE WHEN m.readable THEN r.recipient END,
                CASE WHEN m.held_reason IS NOT NULL THEN 'held'
                     WHEN {BEING_SENT} THEN 'sending'
                     WHEN r.attempts > 0 THEN 'deferred'
                     ELSE 'queued' END,
                m.held_reason, m.current_server_name, m.role_name,
                CASE WHEN m.readable THEN m.sender END,
                CASE WHEN m.readable THEN m.subject END,
                m.size, m.submitted_at, r.attempts, r.last_attempt_at,
                CASE WHEN m.held_reason IS NOT NULL THEN NULL
                     WHEN {PUSHED} THEN least(control.pushed_at, r.next_attempt_at)
                     ELSE r.next_attempt_at END,
                CASE WHEN m.readable THEN r.last_reply ELSE {reply} END
         FROM (SELECT bound.*, {READABLE} AS readable FROM {messages} AS bound) AS m
         JOIN utl_smtp.message_recipient AS r ON r.message_id = m.message_id
         {CONTROL}
         WHERE (m.readable OR $3) AND ($5 IS NULL OR m.message_id = $5)"
    );
    let mut parameters = reader(role);
    parameters.push(text(&cluster_prefix()));
    parameters.push((pg_sys::INT8OID, message_id.into_datum()));
    OwnersRows::new(&query, parameters)
}

/// `mail_log`, of one message or all, of what became final from one moment to another or ever.
pub fn log(
    role: pg_sys::Oid,
    message_id: Option<i64>,
    finished: [Option<pg_sys::TimestampTz>; 2],
) -> OwnersRows {
    let rows = bound("utl_smtp.delivery_log", "row.*", "row.cluster = $4");
    let reply = codes("l.last_reply");
    let query = format!(
        "SELECT l.message_id, l.recipient_no,
                CASE WHEN l.readable THEN l.recipient END,
                l.state, l.current_server_name, l.role_name,
                CASE WHEN l.readable THEN l.sender END,
                CASE WHEN l.readable THEN l.subject END,
                l.size, l.submitted_at, l.attempts, l.finished_at,
                CASE WHEN l.readable THEN l.last_reply ELSE {reply} END,
                l.remote
         FROM (SELECT bound.*, {READABLE} AS readable FROM {rows} AS bound) AS l
         WHERE (l.readable OR $3)
           AND ($5 IS NULL OR l.message_id = $5)
           AND ($6 IS NULL OR l.finished_at >= $6)
           AND ($7 IS NULL OR l.finished_at <= $7)"
    );
    let mut parameters = reader(role);
    parameters.push(cluster());
    parameters.push((pg_sys::INT8OID, message_id.into_datum()));
    parameters.extend(finished.map(|moment| (pg_sys::TIMESTAMPTZOID, moment.into_datum())));
    OwnersRows::new(&query, parameters)
}

/// `delivery_stats`
pub fn statistics(role: pg_sys::Oid, since: pg_sys::TimestampTz) -> OwnersRows {
    let rows = bound("utl_smtp.delivery_log", "row.*", "row.cluster = $4");
    let seconds = "EXTRACT(epoch FROM bound.finished_at - bound.submitted_at)::pg_catalog.float8";
    let quantile = |part: &str| {
        format!(
            "pg_catalog.percentile_cont({part}) WITHIN GROUP (ORDER BY {seconds}) FILTER (WHERE bound.state = 'sent')"
        )
    };
    let (median, p95) = (quantile("0.5"), quantile("0.95"));
    let count = |state: &str| format!("pg_catalog.count(*) FILTER (WHERE bound.state = '{state}')");
    let counts = ["sent", "failed", "suppressed", "expired"]
        .map(count)
        .join(", ");
    let query = format!(
        "SELECT pg_catalog.date_trunc('hour', bound.finished_at), bound.current_server_name,
                {counts},
                pg_catalog.sum(bound.attempts)::bigint,
                coalesce(pg_catalog.sum(bound.size) FILTER (WHERE bound.state = 'sent'), 0)::bigint,
                {median}, {p95}
         FROM {rows} AS bound
         WHERE bound.finished_at >= $5 AND ({READABLE} OR $3)
         GROUP BY 1, 2
         ORDER BY 1, 2"
    );
    let mut parameters = reader(role);
    parameters.push(cluster());
    parameters.push((pg_sys::TIMESTAMPTZOID, Some(since.into())));
    OwnersRows::new(&query, parameters)
}

/// The process of this database's worker, and whether there is a launcher.
const PROCESSES: &str =
    "(SELECT pg_catalog.max(pid) FILTER (WHERE backend_type = 'utl_smtp delivery' AND datid = my_database.oid) AS worker,
             pg_catalog.max(backend_start) FILTER (WHERE backend_type = 'utl_smtp delivery' AND datid = my_database.oid)
                 AS worker_start,
             coalesce(pg_catalog.bool_or(backend_type = 'utl_smtp launcher'), false) AS launched
      FROM pg_catalog.pg_stat_activity,
           (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS my_database)";

/// `server_status`
pub fn servers(role: pg_sys::Oid) -> OwnersRows {
    // Counted before servers are looked for: there are few of them.
    let waiting = bound(
        "(SELECT m.server, m.server_name, 0::pg_catalog.oid AS owner, ''::text AS owner_name,
                 pg_catalog.starts_with(m.home, $2) AS here, pg_catalog.count(*) AS recipients
          FROM utl_smtp.message AS m
          JOIN utl_smtp.message_recipient AS r ON r.message_id = m.message_id
          WHERE m.held_reason IS NULL
          GROUP BY 1, 2, 5)",
        "row.recipients",
        "row.here",
    );
    let query = format!(
        "SELECT s.srvname::text,
                CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_options_to_table(s.srvoptions)
                                  WHERE option_name = 'paused' AND option_value IN ('true', 'on', 'yes', '1'))
                     THEN 'paused'
                     WHEN state.now IS NOT NULL THEN state.now
                     ELSE 'ok' END,
                state.until,
                coalesce(queue.waiting, 0),
                CASE WHEN process.worker IS NULL THEN 0 ELSE coalesce(state.connections, 0) END,
                state.last_error, state.last_error_at
         FROM pg_catalog.pg_foreign_server AS s
         JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'utl_smtp'
         CROSS JOIN {PROCESSES} AS process
         LEFT JOIN (SELECT server, connections, last_error, last_error_at,
                           CASE WHEN until > pg_catalog.clock_timestamp() THEN state END AS now,
                           CASE WHEN until > pg_catalog.clock_timestamp() THEN until END AS until
                    FROM utl_smtp.server_state) AS state ON state.server = s.oid
         LEFT JOIN (SELECT m.server_oid, pg_catalog.sum(m.recipients)::bigint AS waiting
                    FROM {waiting} AS m
                    GROUP BY m.server_oid) AS queue ON queue.server_oid = s.oid
         WHERE pg_catalog.has_server_privilege($1, s.oid, 'USAGE')"
    );
    OwnersRows::new(&query, vec![oid(role), text(&cluster_prefix())])
}

/// `delivery_status`. What the worker has counted is shown where it is a minute old or less, else
/// it is counted now.
pub fn status(role: pg_sys::Oid) -> OwnersRows {
    let query = format!(
        "SELECT pg_catalog.current_database()::text,
                process.worker,
                CASE WHEN NOT $5 THEN 'off'
                     WHEN extension.version IS DISTINCT FROM $4 THEN 'outdated'
                     WHEN NOT control.enabled THEN 'stopped'
                     WHEN process.worker IS NOT NULL THEN coalesce(own.state, 'running')
                     WHEN process.launched THEN 'idle'
                     ELSE 'absent' END,
                CASE WHEN pause.began_at IS NOT NULL THEN pause.began_at
                     WHEN process.worker IS NOT NULL THEN coalesce(own.since, process.worker_start) END,
                coalesce(own.connections, 0),
                counted.numbers[1], counted.numbers[2], counted.numbers[3],
                CASE WHEN $2 OR $3 THEN said.last_error END
         FROM {PROCESSES} AS process
         LEFT JOIN utl_smtp.worker_state AS said ON true
         LEFT JOIN utl_smtp.worker_state AS own ON own.pid = process.worker
         LEFT JOIN utl_smtp.delivery_control AS control ON true
         LEFT JOIN (SELECT extversion AS version FROM pg_catalog.pg_extension WHERE extname = 'utl_smtp') AS extension
                ON true
         LEFT JOIN (SELECT pg_catalog.max(began_at) AS began_at FROM utl_smtp.delivery_pause
                    WHERE server = 0 AND ended_at IS NULL) AS pause ON true
         CROSS JOIN LATERAL (
             SELECT CASE WHEN said.counted_at > pg_catalog.clock_timestamp() - INTERVAL '1 minute'
                         THEN ARRAY[said.queued, said.deferred, said.held]
                         ELSE {COUNTS} END AS numbers) AS counted
         LIMIT 1"
    );
    let mut parameters = reader(role);
    parameters.push(text(VERSION));
    parameters.push(boolean(settings::deliver()));
    OwnersRows::new(&query, parameters)
}

/// The recipients that are queued, deferred and held, as an array. Those in flight count as what
/// they were before.
pub const COUNTS: &str =
    "(SELECT ARRAY[pg_catalog.count(*) FILTER (WHERE m.held_reason IS NULL AND r.attempts = 0),
                   pg_catalog.count(*) FILTER (WHERE m.held_reason IS NULL AND r.attempts > 0),
                   pg_catalog.count(*) FILTER (WHERE m.held_reason IS NOT NULL)]
      FROM utl_smtp.message AS m
      JOIN utl_smtp.message_recipient AS r ON r.message_id = m.message_id)";
