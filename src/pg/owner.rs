//! SQL with the rights of the role that owns the extension's tables, for what its callers may do
//! only by its functions.
//!
//! Whoever calls judges the caller's rights before. The search path is pinned, so that no operator,
//! function or table of the caller's can take the place of one of PostgreSQL's.

use std::cell::Cell;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiClient};

use super::query::Rows;

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

/// Runs SQL as the owner of the extension's table `message`; `None` where there is no such table.
/// What is raised or panics in here ends the (sub)transaction, which gives the role and the search
/// path back.
pub fn with_owner_rights<T>(run: impl FnOnce(&mut SpiClient<'_>) -> T) -> Option<T> {
    as_owner(|| with_pinned_path(run))
}

/// The same for what is no SQL and looks up nothing by name.
pub fn as_owner<T>(run: impl FnOnce() -> T) -> Option<T> {
    let owner = owner(table(c"message")?)?;
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: as PostgreSQL does for the checks of foreign keys: the role for this call only.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut role, &mut context);
        let restricted = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(owner, context | restricted as i32);
    }
    let result = run();
    // SAFETY: as it was.
    unsafe { pg_sys::SetUserIdAndSecContext(role, context) };
    Some(result)
}

fn with_pinned_path<T>(run: impl FnOnce(&mut SpiClient<'_>) -> T) -> T {
    // SAFETY: a level of settings that is given up after the call.
    let level = unsafe {
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
    // SAFETY: it was begun above.
    unsafe { pg_sys::AtEOXact_GUC(false, level) };
    result
}

/// A statement that a backend parses once. It is planned anew where what it names has changed.
///
/// For a thread-local constant: it has no destructor, as PostgreSQL is gone by the time that one
/// would run.
pub struct Plan {
    text: &'static CStr,
    /// The types of its parameters.
    types: &'static [pg_sys::Oid],
    kept: Cell<Option<NonNull<pg_sys::_SPI_plan>>>,
}

impl Plan {
    /// All names in `text` are qualified.
    pub const fn new(text: &'static CStr, types: &'static [pg_sys::Oid]) -> Self {
        Self {
            text,
            types,
            kept: Cell::new(None),
        }
    }

    /// Runs it within [`with_owner_rights`]; returns how many rows it has written.
    pub fn run(&self, _: &mut SpiClient<'_>, values: &[Option<pg_sys::Datum>]) -> u64 {
        assert_eq!(values.len(), self.types.len());
        let plan = self.kept.get().unwrap_or_else(|| self.parse());
        let null = |value: &Option<pg_sys::Datum>| if value.is_none() { b'n' } else { b' ' };
        let nulls: Vec<c_char> = values.iter().map(|value| null(value) as c_char).collect();
        let datum = |value: &Option<pg_sys::Datum>| value.unwrap_or(pg_sys::Datum::null());
        let mut datums: Vec<pg_sys::Datum> = values.iter().map(datum).collect();
        // SAFETY: within SPI; there are as many values as parameters.
        unsafe {
            let (values, nulls) = (datums.as_mut_ptr(), nulls.as_ptr());
            let result = pg_sys::SPI_execute_plan(plan.as_ptr(), values, nulls, false, 0);
            check(result);
            pg_sys::SPI_processed
        }
    }

    /// The same for a statement with a result.
    pub fn rows<'a>(
        &self,
        client: &'a mut SpiClient<'_>,
        values: &[Option<pg_sys::Datum>],
    ) -> Rows<'a> {
        self.run(client, values);
        Rows::of_last(client)
    }

    fn parse(&self) -> NonNull<pg_sys::_SPI_plan> {
        let mut types = self.types.to_vec();
        // SAFETY: within SPI; the plan that is kept lives as long as the backend.
        let plan = unsafe {
            let count = types.len() as i32;
            let plan = pg_sys::SPI_prepare(self.text.as_ptr(), count, types.as_mut_ptr());
            check(pg_sys::SPI_result);
            let plan = NonNull::new(plan).expect("SPI says that there is a plan");
            check(pg_sys::SPI_keepplan(plan.as_ptr()));
            plan
        };
        self.kept.set(Some(plan));
        plan
    }
}

/// What a statement makes SPI refuse is a defect of the statement.
fn check(result: i32) {
    assert!(result >= 0, "SPI refuses a statement: {result}");
}
