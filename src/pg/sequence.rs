//! Sequences.

use pgrx::{direct_function_call, pg_sys};

/// The next number of a sequence, by the right of the current role.
pub fn next(sequence: pg_sys::Oid) -> i64 {
    // SAFETY: nextval takes the OID of a sequence, and never returns NULL.
    unsafe { direct_function_call(pg_sys::nextval_oid, &[Some(sequence.into())]) }
        .expect("a sequence has a next number")
}
