//! SQL with the rights of the role that owns the extension's tables, for what its callers may do only by its functions.
//!
//! Whoever calls judges the caller's rights before. The search path is pinned, so that no operator, function or table
//! of the caller's can take the place of one of PostgreSQL's.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiClient};

const SCHEMA: &CStr = c"utl_smtp";

/// The OID of a table of the extension; `None` where it has none of this name.
pub fn table(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: catalog look-ups by C strings.
    let table = unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (table != pg_sys::InvalidOid).then_some(table)
}

/// The role that owns a table; `None` where there is no such table.
fn owner(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let unused = pg_sys::Datum::null();
    // SAFETY: a look-up by OID; the tuple is copied from before it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache(cache, table.into(), unused, unused, unused);
        if tuple.is_null() {
            return None;
        }
        let class: *const pg_sys::FormData_pg_class = pg_sys::GETSTRUCT(tuple).cast();
        let owner = (*class).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// Runs SQL as the owner of the extension's table `message`; `None` where there is no such table. What is raised or
/// panics in here ends the (sub)transaction, which gives the role and the search path back.
pub fn with_owner_rights<T>(run: impl FnOnce(&mut SpiClient<'_>) -> T) -> Option<T> {
    let owner = owner(table(c"message")?)?;
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: as PostgreSQL does for the checks of foreign keys: the role for this call only, and a level of settings
    // that is given up after it.
    let level = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut role, &mut context);
        let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(owner, context | restricted as i32);
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        level
    };
    let result = Spi::connect_mut(run);
    // SAFETY: both were begun above.
    unsafe {
        pg_sys::AtEOXact_GUC(false, level);
        pg_sys::SetUserIdAndSecContext(role, context);
    }
    Some(result)
}
