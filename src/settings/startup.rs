//! Start-up options must not hide what the administrator configured.
//!
//! Before the library is loaded, PostgreSQL lets the start-up options of a connection (`PGOPTIONS`)
//! replace the value of a setting that it doesn't know yet. When the library defines the setting,
//! PostgreSQL drops the option of a role that may not set it. The configured value is gone by then,
//! and the built-in default would apply.

use std::ffi::CStr;

#[cfg(not(feature = "pg14"))]
use pgrx::pg_sys;
use pgrx::pg_sys::{GucSource, config_generic};

use super::setter;
use crate::errors::{Report, sqlstate};

/// Fails if the session's start-up options have one of these settings, which its role may not set.
pub fn check(names: &[&'static CStr]) -> Result<(), Report> {
    match names.iter().find(|name| is_hidden(name)) {
        Some(name) => Err(refused(&name.to_string_lossy())),
        None => Ok(()),
    }
}

fn is_hidden(name: &CStr) -> bool {
    let Some(record) = setter::find(name) else {
        return false;
    };
    // SAFETY: PostgreSQL's record of the placeholder.
    let placeholder = unsafe { record.as_ref() };
    placeholder.reset_source == GucSource::PGC_S_CLIENT && !may_set(name, placeholder)
}

/// Whether PostgreSQL will accept the start-up option when the setting is defined.
fn may_set(_name: &CStr, placeholder: &config_generic) -> bool {
    if setter::is_superusers(placeholder.reset_scontext) {
        return true;
    }
    #[cfg(feature = "pg14")]
    return false;
    // SAFETY: a catalog look-up, in a transaction.
    #[cfg(not(feature = "pg14"))]
    unsafe {
        pg_sys::IsTransactionState()
            && pg_sys::pg_parameter_aclcheck(
                _name.as_ptr(),
                placeholder.reset_srole,
                pg_sys::ACL_SET as pg_sys::AclMode,
            ) == pg_sys::AclResult::ACLCHECK_OK
    }
}

fn refused(name: &str) -> Report {
    let message = format!("permission denied to set parameter \"{name}\"");
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
        .detail("The start-up options of this connection set it, which hides the configured value.")
        .hint(format!(
            "Connect without \"{name}\" in the start-up options (PGOPTIONS, options)."
        ))
}
