//! What tells this installation of PostgreSQL from another one, and from a copy of itself.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use pgrx::pg_sys;

/// The number that initdb gave to the cluster. Physical copies have the same.
pub fn system_identifier() -> u64 {
    // SAFETY: reads the control file's copy in shared memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// The OID of the database that this process is connected to.
pub fn database() -> pg_sys::Oid {
    // SAFETY: set before any code of the library runs.
    unsafe { pg_sys::MyDatabaseId }
}

/// Its name. In a transaction.
pub fn database_name() -> String {
    // SAFETY: a catalog look-up; the name is a palloc'd C string, or null.
    unsafe {
        let name = pg_sys::get_database_name(database());
        if name.is_null() {
            return database().to_string();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the server recovers: it is a standby, or replays its log after a crash or from an
/// archive.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The timeline that the server writes; `None` while it recovers.
pub fn timeline() -> Option<u32> {
    if in_recovery() {
        return None;
    }
    // SAFETY: the server does not recover. On 14 `RecoveryInProgress` has set the variable then.
    #[cfg(feature = "pg14")]
    return Some(unsafe { pg_sys::ThisTimeLineID });
    // SAFETY: the server does not recover.
    #[cfg(not(feature = "pg14"))]
    Some(unsafe { pg_sys::GetWALInsertionTimeLine() })
}

/// The data directory.
pub fn data_directory() -> &'static Path {
    // SAFETY: a C string that is set when the postmaster starts, and never changed.
    let directory = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    Path::new(std::ffi::OsStr::from_bytes(directory.to_bytes()))
}

/// The identity of the data directory: its inode and, where the file system keeps it, its time of
/// birth in nanoseconds since 1970. It survives a restart and a move of the disk, and a copy of the
/// files has another one.
pub fn data_directory_identity() -> (u64, u128) {
    let Ok(metadata) = std::fs::metadata(data_directory()) else {
        return (0, 0);
    };
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    (metadata.ino(), born.map_or(0, |born| born.as_nanos()))
}
