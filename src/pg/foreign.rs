//! Foreign servers and user mappings, as the catalogs hold them.

use std::ffi::{CStr, CString, c_char};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgrx::pg_sys;
use zeroize::Zeroizing;

use super::datum::TextArray;
use super::encoding::{self, EncodingError};

/// Names and values. A value may be a secret.
pub type Options = Vec<(String, Zeroizing<String>)>;

/// A row of `pg_foreign_server`.
pub struct Server {
    pub oid: pg_sys::Oid,
    pub name: String,
    pub owner: pg_sys::Oid,
    /// The name of its foreign-data wrapper.
    pub wrapper: String,
    pub options: Options,
}

/// A row of `pg_user_mapping`.
pub struct Mapping {
    pub oid: pg_sys::Oid,
    pub options: Options,
}

/// The OID of the server of this name; `None` where there is none.
pub fn server_named(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(encoding::from_utf8(name).into_owned()).unwrap_or_default();
    // SAFETY: a C string, and a cached catalog look-up.
    let oid = unsafe { pg_sys::get_foreign_server_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The server with this OID; `None` where there is none.
pub fn server_of(oid: pg_sys::Oid) -> Result<Option<Server>, EncodingError> {
    let missing_ok = pg_sys::FSV_MISSING_OK as u16;
    // SAFETY: a catalog look-up whose result is palloc'd.
    unsafe { described(pg_sys::GetForeignServerExtended(oid, missing_ok)) }
}

/// # Safety
/// `server` was just read from the catalog, or is null.
unsafe fn described(server: *const pg_sys::ForeignServer) -> Result<Option<Server>, EncodingError> {
    // SAFETY: as the caller promises; the wrapper of a server exists.
    unsafe {
        let Some(server) = server.as_ref() else {
            return Ok(None);
        };
        let wrapper = pg_sys::GetForeignDataWrapper(server.fdwid);
        Ok(Some(Server {
            oid: server.serverid,
            name: text(server.servername)?,
            owner: server.owner,
            wrapper: text((*wrapper).fdwname)?,
            options: options(server.options)?,
        }))
    }
}

/// The OIDs of the servers of a foreign-data wrapper.
pub fn servers_of(wrapper: &str) -> Vec<pg_sys::Oid> {
    let wrapper = CString::new(wrapper).unwrap_or_default();
    let mode = pg_sys::AccessShareLock as i32;
    let mut servers = Vec::new();
    // SAFETY: a scan of a catalog as PostgreSQL makes them, whose rows are what they say.
    unsafe {
        let wrapper = pg_sys::get_foreign_data_wrapper_oid(wrapper.as_ptr(), true);
        let catalog = pg_sys::table_open(pg_sys::ForeignServerRelationId, mode);
        let scan = pg_sys::systable_beginscan(
            catalog,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        while let Some(row) = pg_sys::systable_getnext(scan).as_mut() {
            let server: *const pg_sys::FormData_pg_foreign_server = pg_sys::GETSTRUCT(row).cast();
            if (*server).srvfdw == wrapper {
                servers.push((*server).oid);
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, mode);
    }
    servers
}

/// A number that is another one once a server or a wrapper may have changed.
pub fn generation() -> u64 {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        let caches = [
            pg_sys::SysCacheIdentifier::FOREIGNSERVEROID,
            pg_sys::SysCacheIdentifier::FOREIGNDATAWRAPPEROID,
        ];
        for cache in caches {
            // SAFETY: the callback is a static function that neither raises nor allocates.
            unsafe {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(changed), 0.into());
            }
        }
    }
    GENERATION.load(Ordering::Relaxed)
}

/// A number that is another one once a server, a wrapper or a user mapping may have changed.
pub fn generation_with_mappings() -> u64 {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGOID;
        // SAFETY: the callback is a static function that neither raises nor allocates.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(mapping_changed), 0.into());
        }
    }
    generation().wrapping_add(MAPPINGS.load(Ordering::Relaxed))
}

static MAPPINGS: AtomicU64 = AtomicU64::new(0);

unsafe extern "C-unwind" fn mapping_changed(_: pg_sys::Datum, _: i32, _: u32) {
    MAPPINGS.fetch_add(1, Ordering::Relaxed);
}

static GENERATION: AtomicU64 = AtomicU64::new(0);

unsafe extern "C-unwind" fn changed(_: pg_sys::Datum, _: i32, _: u32) {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The mapping of a role for a server, else that of PUBLIC; `None` where there is neither.
pub fn mapping(role: pg_sys::Oid, server: pg_sys::Oid) -> Result<Option<Mapping>, EncodingError> {
    let exists = |role: pg_sys::Oid| {
        let (role, server) = (role.into(), server.into());
        let unused = pg_sys::Datum::null();
        let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as i32;
        // SAFETY: the keys of this cache are two OIDs.
        unsafe { pg_sys::SearchSysCacheExists(cache, role, server, unused, unused) }
    };
    if !exists(role) && !exists(pg_sys::InvalidOid) {
        return Ok(None);
    }
    // SAFETY: a catalog look-up that finds one of the two; the result is palloc'd.
    unsafe {
        let mapping = &*pg_sys::GetUserMapping(role, server);
        Ok(Some(Mapping {
            oid: mapping.umid,
            options: options(mapping.options)?,
        }))
    }
}

/// Whether a role has USAGE on a server.
pub fn has_usage(role: pg_sys::Oid, server: pg_sys::Oid) -> bool {
    let usage = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: a catalog look-up.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let result = pg_sys::pg_foreign_server_aclcheck(server, role, usage);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let result = pg_sys::object_aclcheck(pg_sys::ForeignServerRelationId, server, role, usage);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// An identifier, with quotes where SQL needs them.
pub fn quote_identifier(name: &str) -> String {
    let Ok(name) = CString::new(encoding::from_utf8(name).into_owned()) else {
        return String::new();
    };
    // SAFETY: a C string; the result is that string or a palloc'd one.
    unsafe { text(pg_sys::quote_identifier(name.as_ptr())).unwrap_or_default() }
}

/// The options that PostgreSQL calls a validator with: texts such as `host=mail.example.com`.
pub fn given_options(array: TextArray<'_>) -> Result<Options, EncodingError> {
    let texts = array.elements().into_iter().flatten();
    texts
        .map(|text| {
            let text = encoding::to_str(text.get())?;
            let (name, value) = text.split_once('=').unwrap_or((&text, ""));
            Ok((name.to_owned(), Zeroizing::new(value.to_owned())))
        })
        .collect()
}

/// Copies a list of options, and wipes the copy that the look-up made.
///
/// # Safety
/// `list` is a list of options just read from a catalog, or null.
unsafe fn options(list: *mut pg_sys::List) -> Result<Options, EncodingError> {
    let mut options = Options::new();
    // SAFETY: as the caller promises: the elements are DefElems, their strings in memory of this
    // list's own.
    unsafe {
        let Some(list) = list.as_ref() else {
            return Ok(options);
        };
        for cell in slice::from_raw_parts(list.elements, list.length as usize) {
            let option: *mut pg_sys::DefElem = cell.ptr_value.cast();
            let mut value = Zeroizing::default();
            if !(*option).arg.is_null() {
                let string = pg_sys::defGetString(option);
                value = Zeroizing::new(text(string)?);
                string.write_bytes(0, CStr::from_ptr(string).count_bytes());
            }
            options.push((text((*option).defname)?, value));
        }
    }
    Ok(options)
}

/// # Safety
/// `string` is a C string in the database's encoding.
unsafe fn text(string: *const c_char) -> Result<String, EncodingError> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { CStr::from_ptr(string) }.to_bytes();
    encoding::to_str(bytes).map(std::borrow::Cow::into_owned)
}
