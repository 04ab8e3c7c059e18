//! Who may do what: the look-up in `utl_smtp.host_ace`, who may name which wallet, and where no network call is allowed
//! at all.
//!
//! The list belongs to the extension's owner and nobody else may read it; [`host_ace`] does.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pgrx::pg_sys;
use smtp_core::host::{Host, candidates};

use crate::errors::{Report, sqlstate};
use crate::host_ace::{self, GrantType, Question};
use crate::settings;

/// What the list can allow.
#[derive(Clone, Copy)]
pub enum Privilege {
    /// To hold a conversation.
    Converse,
    /// To show the wallet's client certificate.
    UseClientCertificates,
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
    if is_superuser()
        || verdict(candidates(host), port, Privilege::Converse) == Some(GrantType::Grant)
    {
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
        let patterns = candidates(&Host::Address(address.to_canonical()));
        let patterns = patterns.filter(|pattern| pattern != "*");
        verdict(patterns, port, Privilege::Converse) == Some(GrantType::Deny)
    };
    addresses
        .into_iter()
        .filter(|address| !denied(address.ip(), address.port()))
        .collect()
}

/// Whether the current role may show the wallet's client certificate to this host.
pub fn may_use_client_certificates(host: &Host, port: u16) -> bool {
    is_superuser()
        || verdict(candidates(host), port, Privilege::UseClientCertificates)
            == Some(GrantType::Grant)
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

/// Whether the list grants or denies; `None` where it says nothing.
fn verdict(
    patterns: impl Iterator<Item = String>,
    port: u16,
    privilege: Privilege,
) -> Option<GrantType> {
    let privileges: &[&str] = match privilege {
        Privilege::Converse => &["connect", "smtp"],
        Privilege::UseClientCertificates => &["use_client_certificates"],
    };
    let role = current_role();
    host_ace::look_up(
        patterns,
        &Question {
            port,
            role,
            privileges,
        },
    )
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
