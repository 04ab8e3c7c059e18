//! Which installation queued a message, so that a copy of it never sends what it has queued.

use std::sync::OnceLock;

use installation::Installation;

use crate::pg::cluster;
use crate::settings;

/// The installation that this process runs in, as text, for `message.home`: four or five words, see [`Installation`].
///
/// Only where the server does not recover: nothing is queued there.
pub fn stamp() -> String {
    this().to_string()
}

/// The installation that this process runs in.
pub fn this() -> Installation {
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
