//! Raising an error with any SQLSTATE and a line of CONTEXT.
//!
//! pgrx only raises SQLSTATEs of a closed list, so ours travel on `error_context_stack`: [`raise`]
//! pushes a static callback and panics with pgrx's report; when pgrx hands that to `errfinish`, the
//! callback sets the SQLSTATE and adds the line of CONTEXT. PostgreSQL restores the stack when the
//! error is caught. The panic must not be caught in Rust on the way.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

use super::encoding;

/// out_of_memory
pub const OUT_OF_MEMORY: &[u8; 5] = b"53200";

/// An error as PostgreSQL reports it.
pub struct Error {
    pub code: &'static [u8; 5],
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub context: Option<String>,
}

/// Raises an error. Nothing runs behind it but destructors.
pub fn raise(error: Error) -> ! {
    let context = error
        .context
        .map(encoding::for_message)
        .and_then(|text| CString::new(text).ok());
    PENDING.set(Some((encode(error.code), context)));
    let mut report = ErrorReport::new(
        PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
        encoding::for_message(error.message),
        "utl_smtp",
    );
    if let Some(detail) = error.detail {
        report = report.set_detail(encoding::for_message(detail));
    }
    if let Some(hint) = error.hint {
        report = report.set_hint(encoding::for_message(hint));
    }
    push_callback();
    report.report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// `MAKE_SQLSTATE`: six bits a character.
pub const fn encode(code: &[u8; 5]) -> c_int {
    let mut value = 0;
    let mut index = 0;
    while index < code.len() {
        value |= (((code[index] - b'0') & 0x3f) as c_int) << (6 * index);
        index += 1;
    }
    value
}

thread_local! {
    /// What the callback is to add to the error that is being raised.
    static PENDING: RefCell<Option<(c_int, Option<CString>)>> = const { RefCell::new(None) };
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    PENDING.with(|_| ());
}

/// Forgets what an error that was caught in Rust had still to add.
pub fn forget() {
    PENDING.take();
}

/// The stack holds a pointer to it for as long as the error is on its way, so it lives for ever.
struct Callback(std::cell::UnsafeCell<pg_sys::ErrorContextCallback>);

// SAFETY: a backend has one thread that runs PostgreSQL's code, and only that one touches it.
unsafe impl Sync for Callback {}

static CALLBACK: Callback = Callback(std::cell::UnsafeCell::new(pg_sys::ErrorContextCallback {
    previous: std::ptr::null_mut(),
    callback: None,
    arg: std::ptr::null_mut(),
}));

fn push_callback() {
    let callback = CALLBACK.0.get();
    // SAFETY: the static is valid for ever and not on the stack yet: every error that pushed it has
    // left, and PostgreSQL restored the stack when it did.
    unsafe {
        (*callback).previous = pg_sys::error_context_stack;
        (*callback).callback = Some(add_to_error);
        pg_sys::error_context_stack = callback;
    }
}

/// Called by `errfinish` for the error that [`raise`] raised, and for no other: what it adds is
/// taken once.
unsafe extern "C-unwind" fn add_to_error(_: *mut c_void) {
    unsafe extern "C-unwind" {
        fn errcode(sqlerrcode: c_int) -> c_int;
        fn errcontext_msg(format: *const c_char, ...) -> c_int;
    }
    let Some((code, context)) = PENDING.take() else {
        return;
    };
    // SAFETY: within errfinish both may be called; the format has one string, which is copied.
    unsafe {
        errcode(code);
        if let Some(context) = &context {
            errcontext_msg(c"%s".as_ptr(), context.as_ptr());
        }
    }
}
