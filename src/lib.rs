//! Oracle's UTL_SMTP for PostgreSQL: the face of [`smtp_core`] and [`smtp_client`] towards the
//! server.
//!
//! This crate knows PostgreSQL and nothing of SMTP's bytes: it reads arguments, decides who may
//! talk to whom, lends the transport a way to wait that answers to interrupts, keeps the open
//! sessions, and turns what went wrong into errors. The SQL side, with every signature, default and
//! comment, is in `sql/install/`.

mod access;
mod api;
mod conversation;
mod delivery;
mod errors;
mod pg;
mod servers;
mod settings;

use pgrx::prelude::*;
use std::ffi::CStr;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a NUL in the version"),
    };

// With a bare `version`, the macro of pgrx 0.18.1 sets the name instead.
::pgrx::pg_module_magic!(name = c"utl_smtp", version = VERSION);

// A panic must unwind into an ERROR. Where it aborts, one failed assertion restarts the whole
// cluster.
#[cfg(not(panic = "unwind"))]
compile_error!("utl_smtp needs panic = \"unwind\"");

/// Called when the library is loaded, perhaps in the postmaster: settings only, nothing random,
/// nothing of TLS.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::memory::prepare(|| {
        conversation::registry::prepare();
        conversation::token_cache::prepare();
        conversation::wallet_cache::prepare();
        servers::cache::prepare();
    });
    settings::register();
    delivery::prepare();
}
