//! What the worker of a database may do: is there an extension, of the library's version; is
//! delivery stopped, or off; whose mail does the queue hold. Each function runs within a
//! transaction of the worker's.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

use super::home;
use crate::pg::cluster;
use crate::settings;

/// The version of the library, as the extension has it.
pub const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// Whether a version of the extension is newer than the library.
pub fn is_newer(version: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u32>> {
        version
            .split('.')
            .map(|number| number.parse().ok())
            .collect()
    };
    numbers(version) > numbers(LIBRARY)
}

/// Why nothing is sent.
pub enum Refusal {
    /// The database has no extension.
    Absent,
    /// The extension of this database has this version, which is not the library's.
    Outdated { database: String, version: String },
    /// `stop_delivery()` was called.
    Stopped,
    /// `utl_smtp.deliver` is off.
    Off,
}

/// Whether mail may be sent.
pub fn look() -> Result<(), Refusal> {
    Spi::connect(|client| {
        let version = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'utl_smtp'";
        match one::<String>(client, version, &[]) {
            None => return Err(Refusal::Absent),
            Some(version) if version != LIBRARY => {
                let database = cluster::database_name();
                return Err(Refusal::Outdated { database, version });
            }
            Some(_) => {}
        }
        if !settings::deliver() {
            return Err(Refusal::Off);
        }
        let enabled = "SELECT enabled FROM utl_smtp.delivery_control";
        match one::<bool>(client, enabled, &[]) {
            Some(false) => Err(Refusal::Stopped),
            _ => Ok(()),
        }
    })
}

/// Whether mail may still be sent. Shows what the worker does in `worker_state`, if that has
/// changed.
pub fn look_again(activity: Option<Activity>, failure: Option<&str>) -> Result<(), Refusal> {
    let may_send = look();
    Spi::connect_mut(|client| {
        match may_send {
            Ok(()) => {}
            Err(Refusal::Stopped | Refusal::Off) => begin_pause(client),
            Err(Refusal::Absent | Refusal::Outdated { .. }) => return,
        }
        if let Some(activity) = activity {
            let shown = "UPDATE utl_smtp.worker_state \
                SET pid = pg_catalog.pg_backend_pid(), state = $1, since = pg_catalog.clock_timestamp()";
            run(client, shown, &[activity.name().into()]);
        }
        if let Some(failure) = failure {
            let shown = "UPDATE utl_smtp.worker_state SET last_error = $1";
            run(client, shown, &[failure.into()]);
        }
    });
    may_send
}

/// What a worker does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Running,
    Idle,
}

impl Activity {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
        }
    }
}

/// What a worker does first: it sees whose mail the queue holds, and notes whether mail ages.
/// Whether mail may be sent.
///
/// Operators may start or stop delivery just now. What is noted wrongly by that is put right at
/// the next look, or by the worker that they have asked for.
///
/// It does not write to `delivery_control`: whoever has called `push_queue()` in a transaction that
/// is open has locked the row.
pub fn begin() -> Result<(), Refusal> {
    let may_send = look();
    if let Err(Refusal::Absent | Refusal::Outdated { .. }) = may_send {
        return may_send;
    }
    Spi::connect_mut(|client| {
        home::take_over(client);
        match may_send {
            Ok(()) => {
                home::hold_copies(client);
                end_pause(client);
            }
            Err(_) => begin_pause(client),
        }
    });
    may_send
}

/// From now on mail does not age: delivery is stopped or off.
pub fn begin_pause(client: &mut SpiClient<'_>) {
    let begin = "INSERT INTO utl_smtp.delivery_pause (server, began_at) \
        SELECT 0, pg_catalog.clock_timestamp() WHERE NOT EXISTS \
            (SELECT FROM utl_smtp.delivery_pause WHERE server = 0 AND ended_at IS NULL)";
    run(client, begin, &[]);
}

/// From now on mail ages. Pauses that no message has seen are forgotten.
pub fn end_pause(client: &mut SpiClient<'_>) {
    let end = "UPDATE utl_smtp.delivery_pause SET ended_at = pg_catalog.clock_timestamp() \
        WHERE server = 0 AND ended_at IS NULL";
    run(client, end, &[]);
    let forget = "DELETE FROM utl_smtp.delivery_pause AS pause WHERE ended_at IS NOT NULL AND NOT EXISTS \
        (SELECT FROM utl_smtp.message WHERE message.due_at < pause.ended_at)";
    run(client, forget, &[]);
}

/// Whether there is no mail, and no transaction that may have queued some: the table is not locked
/// for writing.
pub fn is_deserted() -> bool {
    Spi::connect(|client| {
        let busy = "SELECT EXISTS (SELECT FROM utl_smtp.message WHERE held_reason IS NULL) OR EXISTS \
            (SELECT FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_database AS d ON d.oid = l.database \
             WHERE l.relation = 'utl_smtp.message'::pg_catalog.regclass AND l.mode = 'RowExclusiveLock' \
             AND d.datname = pg_catalog.current_database() \
             AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid())";
        !one::<bool>(client, busy, &[]).unwrap_or(false)
    })
}

/// The first value of a query's first row; `None` where there is none, or it is NULL.
pub fn one<T: FromDatum + IntoDatum>(
    client: &SpiClient<'_>,
    query: &str,
    values: &[DatumWithOid<'_>],
) -> Option<T> {
    let rows = client.select(query, Some(1), values);
    let rows = rows.unwrap_or_else(|error| panic!("{error}"));
    match rows.is_empty() {
        true => None,
        false => rows
            .first()
            .get_one()
            .unwrap_or_else(|error| panic!("{error}")),
    }
}

/// Runs a statement; returns how many rows it has changed.
pub fn run(client: &mut SpiClient<'_>, statement: &str, values: &[DatumWithOid<'_>]) -> usize {
    let rows = client.update(statement, None, values);
    rows.unwrap_or_else(|error| panic!("{error}")).len()
}
