//! The transaction of the caller.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Raises an error where the transaction may not write: because it is read-only, or the server is a standby. `command`
/// names what the caller wanted.
pub fn require_writable(command: &CStr) {
    // SAFETY: a C string; raises or returns.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(command.as_ptr());
    }
}

/// This moment, not the beginning of the transaction.
pub fn now() -> pg_sys::TimestampTz {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Whether a moment is one, and not `infinity` or `-infinity`.
pub fn is_finite(moment: pg_sys::TimestampTz) -> bool {
    !matches!(moment, i64::MAX | i64::MIN)
}
