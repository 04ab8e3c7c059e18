//! What tells this installation of PostgreSQL, and this database in it, from others.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pgrx::pg_sys;

/// Given by initdb; copies of the data directory have the same.
pub fn system_identifier() -> u64 {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

pub fn database() -> pg_sys::Oid {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::MyDatabaseId }
}

pub fn data_directory() -> PathBuf {
    // SAFETY: a C string that lives as long as the process.
    let path = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

/// The timeline that this server writes. Not to be asked during recovery.
#[cfg(not(feature = "pg14"))]
pub fn timeline() -> u32 {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::GetWALInsertionTimeLine() }
}

/// The same, as the control file has it since the last checkpoint.
#[cfg(feature = "pg14")]
pub fn timeline() -> u32 {
    let mut valid = false;
    // SAFETY: the result is palloc'd.
    unsafe {
        let control = pg_sys::get_controlfile(pg_sys::DataDir, &mut valid);
        let timeline = (*control).checkPointCopy.ThisTimeLineID;
        pg_sys::pfree(control.cast());
        timeline
    }
}
