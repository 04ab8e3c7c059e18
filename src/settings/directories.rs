//! The list of directories in `utl_smtp.wallet_roots`, read as PostgreSQL reads such lists.

use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pgrx::pg_guard;
use pgrx::pg_sys::{self, GucSource};

const SYNTAX: &CStr = c"List syntax is invalid.";
const RELATIVE: &CStr = c"Each directory must be an absolute path.";

/// The directories of a list, or what is wrong with it.
pub fn parse(list: &CStr) -> Result<Vec<PathBuf>, &'static CStr> {
    let mut names = std::ptr::null_mut();
    // SAFETY: PostgreSQL splits a copy. The names are C strings, copied before the list is freed.
    let (valid, directories) = unsafe {
        let copy = pg_sys::pstrdup(list.as_ptr());
        let valid = pg_sys::SplitDirectoriesString(copy, b',' as c_char, &mut names);
        let directories = strings(names);
        pg_sys::list_free_deep(names);
        pg_sys::pfree(copy.cast());
        (valid, directories)
    };
    if !valid {
        Err(SYNTAX)
    } else if !directories.iter().all(|path| path.is_absolute()) {
        Err(RELATIVE)
    } else {
        Ok(directories)
    }
}

/// # Safety
/// The list is PostgreSQL's, of C strings, or null.
unsafe fn strings(list: *const pg_sys::List) -> Vec<PathBuf> {
    // SAFETY: the list has as many elements as it says.
    unsafe {
        let Some(list) = list.as_ref() else {
            return Vec::new();
        };
        let length = usize::try_from(list.length).unwrap_or(0);
        std::slice::from_raw_parts(list.elements, length)
            .iter()
            .map(|cell| CStr::from_ptr(cell.ptr_value.cast::<c_char>()))
            .map(|name| PathBuf::from(OsStr::from_bytes(name.to_bytes())))
            .collect()
    }
}

/// Refuses a list that can't be read or that has a relative path.
#[pg_guard]
pub unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: GucSource::Type,
) -> bool {
    // SAFETY: the new value, a C string. PostgreSQL reads the detail and does not free it.
    unsafe {
        match parse(CStr::from_ptr(*value)) {
            Ok(_) => true,
            Err(detail) => {
                pg_sys::GUC_check_errdetail_string = detail.as_ptr().cast_mut();
                false
            }
        }
    }
}
