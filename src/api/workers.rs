//! Starting and stopping delivery in a database.

use std::ffi::CStr;

use pgrx::prelude::*;

use super::caller;
use crate::delivery::store::operate;
use crate::errors::Report;
use crate::pg::transaction;

/// `utl_smtp.start_delivery`
#[pg_extern(sql = false)]
fn start_delivery() {
    change(c"start_delivery()", operate::start);
}

/// `utl_smtp.stop_delivery`
#[pg_extern(sql = false)]
fn stop_delivery() {
    change(c"stop_delivery()", operate::stop);
}

fn change(call: &CStr, change: fn() -> Result<(), Report>) {
    let changed = caller().and_then(|_| {
        transaction::require_writable(call);
        change()
    });
    changed.unwrap_or_else(|report| report.raise());
}
