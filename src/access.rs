//! Who may do what: the look-up in `utl_smtp.host_ace`, who may name which wallet, and where no network call is allowed
//! at all.
//!
//! The list belongs to the extension's owner and nobody else may read it. The look-up is the SQL function
//! `utl_smtp.host_access`, SECURITY DEFINER with a pinned search_path, called here by its OID, which needs no privilege
//! of the caller's: neither a search_path nor a temporary table of the caller can come between.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pgrx::{FromDatum, IntoDatum, pg_sys};
use smtp_core::host::{Host, candidates};

use crate::datum::Bytes;
use crate::errors::{Report, sqlstate};
use crate::settings;

/// What the list can allow.
#[derive(Clone, Copy)]
pub enum Privilege {
    /// To hold a conversation.
    Converse,
    /// To show the wallet's client certificate.
    UseClientCertificates,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Grant,
    Deny,
    NoEntry,
}

/// The current role, refused where sending mail would be somebody else's doing: under restrictions that PostgreSQL sets
/// while it runs untrusted code with another's rights, and in parallel workers, whose sessions would vanish.
pub fn caller() -> Result<pg_sys::Oid, Report> {
    let (role, context) = user_and_context();
    if context & pg_sys::SECURITY_RESTRICTED_OPERATION as i32 != 0 {
        let message = "cannot use utl_smtp within security-restricted operation";
        return Err(Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
    }
    // SAFETY: reads the backend's state.
    if unsafe { pg_sys::ParallelWorkerNumber } >= 0 {
        let message = "cannot use utl_smtp in a parallel worker";
        return Err(Report::new(sqlstate::INVALID_TRANSACTION_STATE, message)
            .hint("Leave functions that call utl_smtp PARALLEL UNSAFE, as they are by default."));
    }
    Ok(role)
}

/// Refuses a host and port that the current role may not talk to. No name is resolved before.
pub fn require(host: &Host, port: u16) -> Result<(), Report> {
    if is_superuser() || verdict(&candidates(host), port, Privilege::Converse) == Verdict::Grant {
        return Ok(());
    }
    Err(denied(host, port))
}

/// The refusal, which says nothing of why or of what there is.
pub fn denied(host: &Host, port: u16) -> Report {
    let message = "ORA-24247: network access denied by access control list (ACL)";
    let call = format!(
        "SELECT dbms_network_acl_admin.append_host_ace({}, {port}, {port}, \
         dbms_network_acl_admin.xs$ace_type(dbms_network_acl_admin.xs$name_list('smtp'), principal_name => {}))",
        quote(&host.to_string()),
        quote(&role_name(current_role())),
    );
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(format!(
        "To allow it, the owner of the extension runs: {call};"
    ))
}

/// The addresses of an allowed name that no entry for addresses denies. `*` says nothing here: it is the weaker
/// statement about the name itself.
pub fn not_denied(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if is_superuser() {
        return addresses;
    }
    let denied = |address: IpAddr, port: u16| {
        let mut patterns = candidates(&Host::Address(address.to_canonical()));
        patterns.retain(|pattern| pattern != "*");
        verdict(&patterns, port, Privilege::Converse) == Verdict::Deny
    };
    addresses
        .into_iter()
        .filter(|address| !denied(address.ip(), address.port()))
        .collect()
}

/// Whether the current role may show the wallet's client certificate to this host.
pub fn may_use_client_certificates(host: &Host, port: u16) -> bool {
    is_superuser()
        || verdict(&candidates(host), port, Privilege::UseClientCertificates) == Verdict::Grant
}

/// The directories that the current role may name wallets under; `None` is everywhere.
pub fn wallet_roots() -> Option<Vec<PathBuf>> {
    const PG_READ_SERVER_FILES: u32 = 4569;
    let everywhere = has_privileges_of(pg_sys::Oid::from(PG_READ_SERVER_FILES));
    (!everywhere).then(settings::wallet_roots)
}

/// Whether the current role may use what `role` opened.
pub fn has_privileges_of(role: pg_sys::Oid) -> bool {
    role_has_privileges_of(current_role(), role)
}

pub fn role_has_privileges_of(role: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    role == other || unsafe { pg_sys::has_privs_of_role(role, other) }
}

pub fn current_role() -> pg_sys::Oid {
    user_and_context().0
}

fn user_and_context() -> (pg_sys::Oid, i32) {
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads the backend's state into the two variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut role, &mut context) };
    (role, context)
}

fn is_superuser() -> bool {
    // SAFETY: a cached catalog look-up.
    unsafe { pg_sys::superuser() }
}

/// What the list says of the most specific pattern that it has an entry for. The first is the host itself and the one
/// most often listed; an address has forty more, each a descent of the index.
fn verdict(patterns: &[String], port: u16, privilege: Privilege) -> Verdict {
    let (host, others) = patterns.split_at(patterns.len().min(1));
    match look_up(host, port, privilege) {
        Verdict::NoEntry => look_up(others, port, privilege),
        verdict => verdict,
    }
}

fn look_up(patterns: &[String], port: u16, privilege: Privilege) -> Verdict {
    if patterns.is_empty() {
        return Verdict::NoEntry;
    }
    let privileges: Vec<&str> = match privilege {
        Privilege::Converse => vec!["connect", "smtp"],
        Privilege::UseClientCertificates => vec!["use_client_certificates"],
    };
    // SAFETY: the function takes these four and returns text or NULL, which OidFunctionCall refuses, so the call is
    // made by hand.
    let grant_type = unsafe {
        let function = look_up_function();
        let arguments = [
            patterns.to_vec().into_datum(),
            Some(pg_sys::Datum::from(i32::from(port))),
            Some(pg_sys::Datum::from(current_role())),
            privileges.into_datum(),
        ];
        call(function, &arguments)
    };
    match grant_type.as_deref() {
        Some(b"GRANT") => Verdict::Grant,
        Some(_) => Verdict::Deny,
        None => Verdict::NoEntry,
    }
}

/// The OID of `utl_smtp.host_access`. Kept, because finding it parses its signature; looked at again each time, because
/// the extension may have been dropped and made anew.
fn look_up_function() -> pg_sys::Oid {
    thread_local!(static KNOWN: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) });
    let exists = |oid: pg_sys::Oid| {
        // SAFETY: a catalog look-up; the name is null where there is no such function.
        oid != pg_sys::InvalidOid && unsafe { !pg_sys::get_func_name(oid).is_null() }
    };
    let known = KNOWN.get();
    if exists(known) {
        return known;
    }
    let signature =
        c"utl_smtp.host_access(pg_catalog.text[],pg_catalog.int4,pg_catalog.oid,pg_catalog.text[])";
    // SAFETY: a constant signature; without the function PostgreSQL's own error is raised.
    let found = unsafe {
        pgrx::direct_function_call::<pg_sys::Oid>(
            pg_sys::regprocedurein,
            &[Some(pg_sys::Datum::from(signature.as_ptr()))],
        )
    };
    KNOWN.set(found.unwrap_or(pg_sys::InvalidOid));
    KNOWN.get()
}

/// # Safety
/// `function` takes these arguments and returns text.
unsafe fn call(function: pg_sys::Oid, arguments: &[Option<pg_sys::Datum>; 4]) -> Option<Vec<u8>> {
    // SAFETY: the call information has room for the four arguments, which live until it returns.
    unsafe {
        let mut flinfo = pg_sys::FmgrInfo::default();
        pg_sys::fmgr_info(function, &mut flinfo);
        let size = std::mem::size_of::<pg_sys::FunctionCallInfoBaseData>()
            + arguments.len() * std::mem::size_of::<pg_sys::NullableDatum>();
        let fcinfo: pg_sys::FunctionCallInfo = pg_sys::palloc0(size).cast();
        (*fcinfo).flinfo = &mut flinfo;
        (*fcinfo).nargs = arguments.len() as i16;
        let slots = (*fcinfo).args.as_mut_slice(arguments.len());
        for (slot, argument) in slots.iter_mut().zip(arguments) {
            slot.value = argument.unwrap_or(pg_sys::Datum::null());
            slot.isnull = argument.is_none();
        }
        let function = flinfo.fn_addr?;
        // What it raises, a cancel for one, must unwind as it does from any other call.
        let result = pg_sys::ffi::pg_guard_ffi_boundary(|| function(fcinfo));
        Bytes::from_datum(result, (*fcinfo).isnull).map(|text| text.0.to_vec())
    }
}

fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: the name is a palloc'd C string, or null where the role is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() {
            return role.to_string();
        }
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
