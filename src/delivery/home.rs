//! Where a message was queued: a copy of the installation must not send it.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use crate::pg::installation;

thread_local! {
    static STAMP: OnceCell<String> = const { OnceCell::new() };
}

/// Names this database of this installation: the system identifier, the database's OID, the data directory's inode and
/// time of birth, the timeline. None of it changes while a backend writes.
pub fn stamp() -> String {
    STAMP.with(|stamp| stamp.get_or_init(make).clone())
}

fn make() -> String {
    let directory = fs::metadata(installation::data_directory()).ok();
    let inode = directory.as_ref().map_or(0, MetadataExt::ino);
    let birth = directory
        .and_then(|directory| directory.created().ok())
        .and_then(|birth| birth.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |birth| birth.as_nanos());
    format!(
        "{}/{}/{inode}:{birth}/{}/",
        installation::system_identifier(),
        installation::database(),
        installation::timeline(),
    )
}
