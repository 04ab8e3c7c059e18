//! Roles: who is calling, and whose privileges a role has.

use std::ffi::CStr;

use pgrx::pg_sys;

/// The current role, and the restrictions that PostgreSQL sets while it runs code with another's
/// rights.
pub fn current_with_context() -> (pg_sys::Oid, u32) {
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads the backend's state into the two variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut role, &mut context) };
    (role, context as u32)
}

/// The current role.
pub fn current() -> pg_sys::Oid {
    current_with_context().0
}

/// Whether `role` has the privileges of `other`: by being it, by membership, or as a superuser.
pub fn has_privileges_of(role: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    // SAFETY: a cached catalog look-up.
    role == other || unsafe { pg_sys::has_privs_of_role(role, other) }
}

pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: a cached catalog look-up.
    unsafe { pg_sys::superuser_arg(role) }
}

pub fn exists(role: pg_sys::Oid) -> bool {
    let unused = pg_sys::Datum::null();
    let cache = pg_sys::SysCacheIdentifier::AUTHOID as i32;
    // SAFETY: the key of this cache is an OID.
    unsafe { pg_sys::SearchSysCacheExists(cache, role.into(), unused, unused, unused) }
}

/// The role's name, or its OID where the role is gone.
pub fn name(role: pg_sys::Oid) -> String {
    // SAFETY: the name is a palloc'd C string, or null.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_string();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}
