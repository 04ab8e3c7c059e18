//! Which role may talk to which host, and which wallets it may name. Every question names its
//! principal.
//!
//! The access control list belongs to the extension's owner and nobody else may read it; [`list`]
//! does.

pub mod list;
pub mod senders;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use host_acl::{GrantType, candidates};
use pgrx::pg_sys;
use smtp_core::host::Host;

use crate::errors::{Report, sqlstate};
use crate::pg::roles;
use crate::settings;

/// What the list can allow.
#[derive(Clone, Copy)]
pub enum Privilege {
    /// To hold a conversation.
    Converse,
    /// To ask a token endpoint for access tokens.
    FetchTokens,
    /// To show the wallet's client certificate.
    UseClientCertificates,
}

impl Privilege {
    /// The names in the list, each of which is enough.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Converse => &["connect", "smtp"],
            Self::FetchTokens => &["connect", "http"],
            Self::UseClientCertificates => &["use_client_certificates"],
        }
    }
}

/// Refuses a host and port that the role may not talk to. No name is resolved before.
pub fn require(
    role: pg_sys::Oid,
    host: &Host,
    port: u16,
    privilege: Privilege,
) -> Result<(), Report> {
    if roles::is_superuser(role)
        || verdict(role, candidates(host), port, privilege) == Some(GrantType::Grant)
    {
        return Ok(());
    }
    Err(denied(role, host, port, privilege))
}

/// Refuses a host and port that an entry denies the role, for calls that another role's entries
/// allow.
pub fn require_not_denied(
    role: pg_sys::Oid,
    host: &Host,
    port: u16,
    privilege: Privilege,
) -> Result<(), Report> {
    if roles::is_superuser(role)
        || verdict(role, candidates(host), port, privilege) != Some(GrantType::Deny)
    {
        return Ok(());
    }
    Err(denied(role, host, port, privilege))
}

/// The refusal. It reveals neither which entry decided nor whether any exists.
pub fn denied(role: pg_sys::Oid, host: &Host, port: u16, privilege: Privilege) -> Report {
    let message = "ORA-24247: network access denied by access control list (ACL)";
    let call = format!(
        "SELECT dbms_network_acl_admin.append_host_ace({}, {port}, {port}, \
         dbms_network_acl_admin.xs$ace_type(dbms_network_acl_admin.xs$name_list('{}'), principal_name => {}))",
        quote(&host.to_string()),
        privilege.names().last().unwrap_or(&""),
        quote(&roles::name(role)),
    );
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).hint(format!(
        "To allow it, the owner of the extension runs: {call};"
    ))
}

/// The addresses of an allowed name that no entry for addresses denies. An entry for `*` does not
/// count here: it is weaker than the one that allows the name.
pub fn not_denied(
    role: pg_sys::Oid,
    addresses: Vec<SocketAddr>,
    privilege: Privilege,
) -> Vec<SocketAddr> {
    if roles::is_superuser(role) {
        return addresses;
    }
    let denied = |address: IpAddr, port: u16| {
        let patterns = candidates(&Host::Address(address.to_canonical()));
        let patterns = patterns.filter(|pattern| pattern != "*");
        verdict(role, patterns, port, privilege) == Some(GrantType::Deny)
    };
    addresses
        .into_iter()
        .filter(|address| !denied(address.ip(), address.port()))
        .collect()
}

/// Whether there is an entry that denies the role any host or address, so that [`not_denied`] may
/// leave out some.
pub fn may_be_denied_addresses(role: pg_sys::Oid, privilege: Privilege) -> bool {
    let denies = |entry: list::Applicable| {
        entry.grant_type == GrantType::Deny && privilege.names().contains(&&*entry.privilege)
    };
    !roles::is_superuser(role) && list::applicable(role).into_iter().any(denies)
}

/// Whether the role may show the wallet's client certificate to this host.
pub fn may_use_client_certificates(role: pg_sys::Oid, host: &Host, port: u16) -> bool {
    let privilege = Privilege::UseClientCertificates;
    roles::is_superuser(role)
        || verdict(role, candidates(host), port, privilege) == Some(GrantType::Grant)
}

/// The directories that the role may name wallets under; `None` is everywhere.
pub fn wallet_roots(role: pg_sys::Oid) -> Option<Vec<PathBuf>> {
    const PG_READ_SERVER_FILES: u32 = 4569;
    let everywhere = roles::has_privileges_of(role, pg_sys::Oid::from(PG_READ_SERVER_FILES));
    (!everywhere).then(settings::wallet_roots)
}

/// Whether the list grants or denies; `None` where no entry applies.
fn verdict(
    role: pg_sys::Oid,
    patterns: impl Iterator<Item = String>,
    port: u16,
    privilege: Privilege,
) -> Option<GrantType> {
    list::look_up(role, patterns, port, privilege.names())
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
