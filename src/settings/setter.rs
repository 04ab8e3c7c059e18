//! Who set the value of a setting, from PostgreSQL's own record of it.

use std::ffi::CStr;
#[cfg(feature = "pg14")]
use std::ffi::c_void;
use std::ptr::NonNull;

use pgrx::pg_sys::{self, GucContext, GucSource, config_generic};

use crate::pg::roles;

/// Where a value comes from.
#[derive(Clone, Copy)]
pub enum Setter {
    /// The configuration of the server, the database or the session's role, or the built-in
    /// default.
    Configuration,
    /// A role: by SET, set_config(), the header of a function, or the start-up options of its
    /// connection.
    Role(pg_sys::Oid),
}

impl Setter {
    /// Whether the value counts for the current role: its setter has the current role's privileges.
    pub fn counts(self) -> bool {
        match self {
            Self::Configuration => true,
            Self::Role(role) => roles::has_privileges_of(role, roles::current()),
        }
    }

    fn of(source: GucSource::Type, role: impl FnOnce() -> pg_sys::Oid) -> Self {
        if source == GucSource::PGC_S_CLIENT || source >= GucSource::PGC_S_INTERACTIVE {
            Self::Role(role())
        } else {
            Self::Configuration
        }
    }
}

/// Whether a superuser set a value that has this context.
pub fn is_superusers(context: GucContext::Type) -> bool {
    !matches!(context, GucContext::PGC_USERSET | GucContext::PGC_BACKEND)
}

/// PostgreSQL's record of a setting or of a placeholder. Records of settings are never freed.
pub fn find(name: &CStr) -> Option<NonNull<config_generic>> {
    // SAFETY: the array has as many entries as PostgreSQL says, each with a name.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let record = unsafe {
        let count = usize::try_from(pg_sys::GetNumConfigOptions()).unwrap_or(0);
        let records = std::slice::from_raw_parts(pg_sys::get_guc_variables(), count);
        records.iter().copied().find(|record| {
            let found = CStr::from_ptr((**record).name);
            found.to_bytes().eq_ignore_ascii_case(name.to_bytes())
        })?
    };
    // SAFETY: a look-up that creates nothing and raises nothing.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let record = unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) };
    NonNull::new(record)
}

/// From 15 on PostgreSQL keeps the role itself, stacks and restores it with the value, and hands it
/// on when a setting replaces its placeholder.
#[cfg(not(feature = "pg14"))]
mod kept {
    use super::*;

    pub fn of_value(record: &config_generic) -> Setter {
        Setter::of(record.source, || record.srole)
    }

    pub fn of_reset_value(record: &config_generic) -> Setter {
        Setter::of(record.reset_source, || record.reset_srole)
    }
}

/// Before 15 a check hook keeps the role as the "extra" of the value, which PostgreSQL stacks and
/// restores with it.
#[cfg(feature = "pg14")]
mod kept {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    unsafe extern "C" {
        fn malloc(size: usize) -> *mut c_void;
    }

    /// Whether the settings are being defined, which checks the values of their placeholders.
    static DEFINING: AtomicBool = AtomicBool::new(false);

    pub fn while_defining(define: impl FnOnce()) {
        DEFINING.store(true, Ordering::Relaxed);
        define();
        DEFINING.store(false, Ordering::Relaxed);
    }

    pub fn of_value(record: &config_generic) -> Setter {
        Setter::of(record.source, || role(record.scontext, record.extra))
    }

    pub fn of_reset_value(record: &config_generic, extra: *mut c_void) -> Setter {
        Setter::of(record.reset_source, || role(record.reset_scontext, extra))
    }

    fn role(context: GucContext::Type, extra: *mut c_void) -> pg_sys::Oid {
        if is_superusers(context) {
            return pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID);
        }
        // SAFETY: what `keep` allocated, for a value that it was called with.
        unsafe { *extra.cast() }
    }

    /// The check hook, for a setting of any type. PostgreSQL frees what it allocates.
    pub unsafe extern "C-unwind" fn keep<T>(
        _value: *mut T,
        extra: *mut *mut c_void,
        source: GucSource::Type,
    ) -> bool {
        // Nothing says who set a placeholder. It was not the function that is running, as far as
        // can be told.
        let role = match (DEFINING.load(Ordering::Relaxed), source) {
            (false, _) => roles::current(),
            // SAFETY: reads the backend's state.
            (true, GucSource::PGC_S_CLIENT) => unsafe { pg_sys::GetSessionUserId() },
            // SAFETY: as above.
            (true, GucSource::PGC_S_SESSION) => unsafe { pg_sys::GetOuterUserId() },
            (true, _) => pg_sys::InvalidOid,
        };
        // SAFETY: malloc as PostgreSQL asks, and room for the role.
        unsafe {
            let kept = malloc(size_of::<pg_sys::Oid>()).cast::<pg_sys::Oid>();
            if kept.is_null() {
                return false;
            }
            kept.write(role);
            *extra = kept.cast();
        }
        true
    }
}

pub use kept::*;
