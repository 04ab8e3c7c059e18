//! Which installation queued a message, so that a copy of it never sends what it has queued.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use installation::{Evidence, History, Installation, Verdict};
use pgrx::spi::SpiClient;

use super::control::{one, run};
use super::shared;
use crate::pg::{cluster, notices};
use crate::settings;

/// The installation that this process runs in, as text, for `message.home`: four or five words, see
/// [`Installation`].
///
/// Only where the server does not recover: nothing is queued there.
pub fn stamp() -> String {
    this().to_string()
}

/// The installation that this process runs in.
fn this() -> Installation {
    static UNNAMED: OnceLock<Installation> = OnceLock::new();
    let unnamed = UNNAMED.get_or_init(|| Installation {
        system: cluster::system_identifier(),
        database: cluster::database().to_u32(),
        directory: cluster::data_directory_identity(),
        timeline: cluster::timeline().unwrap_or(0),
        name: String::new(),
    });
    Installation {
        name: settings::home(),
        ..unnamed.clone()
    }
}

/// Notes of which installations this one goes on with what they have queued. In the transaction in
/// which a worker begins: only as long as the server runs is it known whether it was a standby.
pub fn take_over(client: &mut SpiClient<'_>) {
    let this = this();
    let history = history(this.timeline);
    let evidence = Evidence {
        history: &history,
        was_standby: shared::attached()
            .is_some_and(|shared| shared.was_standby.load(Ordering::SeqCst)),
    };
    for other in others(client, &this.to_string()) {
        let verdict = other
            .parse()
            .map_or(Verdict::Copy, |queued_by| this.judge(&queued_by, &evidence));
        if verdict == Verdict::Promoted {
            adopt(client, &this.to_string(), &other);
        }
    }
}

/// The history file of a timeline. PostgreSQL keeps it for ever; the first timeline has none.
fn history(timeline: u32) -> History {
    let file = format!("pg_wal/{timeline:08X}.history");
    let text = std::fs::read(cluster::data_directory().join(file)).unwrap_or_default();
    History::parse(&String::from_utf8_lossy(&text))
}

/// The installations, as text, that have queued messages here or had adopted some, but for this one
/// and those that it has adopted.
fn others(client: &SpiClient<'_>, this: &str) -> Vec<String> {
    let others = "SELECT pg_catalog.array_agg(home) FROM \
        (SELECT home FROM utl_smtp.message UNION SELECT home FROM utl_smtp.adopted_home \
         EXCEPT (SELECT adopted FROM utl_smtp.adopted_home WHERE home = $1 UNION SELECT $1)) AS found";
    one::<Vec<String>>(client, others, &[this.into()]).unwrap_or_default()
}

/// This installation goes on with what another one has queued, and what that one had adopted.
fn adopt(client: &mut SpiClient<'_>, this: &str, other: &str) {
    let adopt = "INSERT INTO utl_smtp.adopted_home (home, adopted) \
        SELECT $1, $2 UNION SELECT $1, adopted FROM utl_smtp.adopted_home WHERE home = $2 AND adopted <> $1 \
        ON CONFLICT DO NOTHING";
    run(client, adopt, &[this.into(), other.into()]);
}

/// Holds what neither this installation nor one that it goes on for has queued. What was in flight
/// there keeps its lease: who adopts it has to know.
pub fn hold_copies(client: &mut SpiClient<'_>) {
    let hold = "UPDATE utl_smtp.message SET held_reason = 'copy' \
        WHERE home <> $1 AND held_reason IS NULL \
        AND home NOT IN (SELECT adopted FROM utl_smtp.adopted_home WHERE home = $1)";
    let count = run(client, hold, &[stamp().into()]);
    if count > 0 {
        let database = cluster::database_name();
        let message = format!(
            "{count} messages in the queue of database \"{database}\" are held: this is a copy of the installation that queued them"
        );
        let hint = "SELECT utl_smtp.adopt_queue(true) in this database sends them, SELECT utl_smtp.adopt_queue(false) cancels them.";
        notices::warn_with_hint(&message, hint);
    }
}
