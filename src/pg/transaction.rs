//! The transaction of the caller, and its end, for what must happen only when it is committed.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pgrx::pg_sys::{self, XactEvent};

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is committed, and others see what it did. Or it is prepared: another session commits it,
    /// perhaps.
    Committed,
    Aborted,
}

/// Has a function called at the end of each transaction of this process. It must neither panic nor
/// raise, nor allocate memory: after a commit that takes the whole cluster down. Only the first
/// call counts; there is one such function.
pub fn at_each_end(call: fn(Ending)) {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.swap(true, Ordering::Relaxed) {
        return;
    }
    CALL.store(call as usize, Ordering::Relaxed);
    // SAFETY: the callback is a static function. It stays registered: to take it out costs more
    // than to leave it.
    unsafe { pg_sys::RegisterXactCallback(Some(ended), std::ptr::null_mut()) };
}

static CALL: AtomicUsize = AtomicUsize::new(0);

/// Without pgrx's guard, which may allocate.
unsafe extern "C-unwind" fn ended(event: XactEvent::Type, _: *mut c_void) {
    let ending = match event {
        XactEvent::XACT_EVENT_COMMIT | XactEvent::XACT_EVENT_PREPARE => Ending::Committed,
        XactEvent::XACT_EVENT_ABORT => Ending::Aborted,
        _ => return,
    };
    // SAFETY: it was stored as such a function, before this one was registered.
    let call: fn(Ending) = unsafe { std::mem::transmute(CALL.load(Ordering::Relaxed)) };
    call(ending);
}

/// Whether the transaction may only read. On a standby every one is so.
pub fn is_read_only() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactReadOnly }
}

/// Raises an error where the transaction may not write: because it is read-only, or the server is a
/// standby. `command` names what the caller wanted.
pub fn require_writable(command: &CStr) {
    // SAFETY: a C string; raises or returns.
    unsafe { pg_sys::PreventCommandIfReadOnly(command.as_ptr()) };
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
