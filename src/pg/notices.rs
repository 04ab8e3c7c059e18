//! Messages that are no errors: warnings, and the transcript of a conversation.
//!
//! At the end of each of them PostgreSQL looks for interrupts and may raise one. With pgrx's own
//! way to report that is a jump over every frame up to SQL: nothing is closed, and what is borrowed
//! stays borrowed. Here it is a panic, as from any other call of PostgreSQL's.

use std::ffi::{CString, c_char, c_int};
use std::ptr::null;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{PgLogLevel, pg_sys};

use super::encoding;

/// Sends a message with the SQLSTATE that PostgreSQL gives its level, which is below ERROR. The
/// server log gets neither the statement nor the context with it: both have the caller's literals,
/// passwords among them.
pub fn send(level: PgLogLevel, message: &str, detail: Option<&str>) {
    send_with_hint(level, message, detail, None);
}

fn send_with_hint(level: PgLogLevel, message: &str, detail: Option<&str>, hint: Option<&str>) {
    let message = c_string(message);
    let detail = detail.map(c_string);
    let hint = hint.map(c_string);
    // SAFETY: the strings outlive the call, which copies them. The closure owns nothing that a jump
    // would leave behind.
    unsafe {
        pg_guard_ffi_boundary(|| {
            if !errstart(level as c_int, null()) {
                return;
            }
            errmsg_internal(c"%s".as_ptr(), message.as_ptr());
            if let Some(detail) = &detail {
                pg_sys::errdetail_internal(c"%s".as_ptr(), detail.as_ptr());
            }
            if let Some(hint) = &hint {
                errhint(c"%s".as_ptr(), hint.as_ptr());
            }
            errhidestmt(true);
            errhidecontext(true);
            errfinish(c"utl_smtp".as_ptr(), 0, null());
        });
    }
}

/// A WARNING.
pub fn warn(message: &str, detail: Option<&str>) {
    send(PgLogLevel::WARNING, message, detail);
}

/// A WARNING with a HINT.
pub fn warn_with_hint(message: &str, hint: &str) {
    send_with_hint(PgLogLevel::WARNING, message, None, Some(hint));
}

/// In the database's encoding.
fn c_string(text: &str) -> CString {
    CString::new(encoding::for_message(text.to_owned())).unwrap_or_default()
}

// pgrx keeps these to itself.
unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errhidestmt(hide: bool) -> c_int;
    fn errhidecontext(hide: bool) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}
