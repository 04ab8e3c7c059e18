//! What `utl_smtp.host_ace` and `dbms_network_acl_utility` need to know of hosts.

use host_acl::HostPattern;
use pgrx::prelude::*;

use super::admit;
use super::arguments::required;
use crate::access::list;
use crate::errors::{OfArgument, Report, hints};
use crate::pg::datum::{Bytes, Text};
use crate::pg::result_set::ResultSet;
use crate::pg::roles;

/// `utl_smtp.canonical_host_pattern`: the one spelling under which the list keeps a host.
#[pg_extern(sql = false)]
fn canonical_host_pattern(host: Option<Bytes<'_>>) -> Text {
    Text(
        pattern("host", host)
            .unwrap_or_else(|report| report.raise())
            .to_string(),
    )
}

/// `utl_smtp.host_access`: the look-up of open_connection, for tests and for an administrator.
#[pg_extern(sql = false)]
fn host_access(
    candidates: Option<Vec<Option<String>>>,
    port: Option<i32>,
    role: Option<pg_sys::Oid>,
    privileges: Option<Vec<Option<String>>>,
) -> Option<Text> {
    let privileges = privileges?;
    let privileges: Vec<&str> = privileges.iter().flatten().map(String::as_str).collect();
    let port = u16::try_from(port?).ok()?;
    let verdict = list::look_up(role?, candidates?.into_iter().flatten(), port, &privileges)?;
    Some(Text(verdict.to_string()))
}

/// An entry that concerns the current role.
type Row = (
    name!(host, Text),
    name!(lower_port, Option<i32>),
    name!(upper_port, Option<i32>),
    name!(ace_order, i32),
    name!(privilege, Text),
    name!(grant_type, Text),
);

/// `utl_smtp.host_ace_applicable`: what `utl_smtp.user_host_aces` is made of. Anybody may call it:
/// it returns what concerns the current role and nothing else.
#[pg_extern(sql = false)]
fn host_ace_applicable() -> ResultSet<Row> {
    let entries = list::applicable(roles::current());
    let row = |entry: list::Applicable| {
        let (lower_port, upper_port) = entry.ports.unzip();
        (
            Text(entry.host),
            lower_port,
            upper_port,
            entry.order,
            Text(entry.privilege),
            Text(entry.grant_type.to_string()),
        )
    };
    ResultSet(entries.into_iter().map(row).collect())
}

/// `dbms_network_acl_utility.domains`
#[pg_extern(sql = false)]
fn domains(host: Option<Bytes<'_>>) -> Option<Vec<String>> {
    host.map(|_| host_acl::domains(&pattern("host", host).unwrap_or_else(|report| report.raise())))
}

/// `dbms_network_acl_utility.domain_level`
#[pg_extern(sql = false)]
fn domain_level(host: Option<Bytes<'_>>) -> Option<i32> {
    host?;
    level(host_acl::domain_level(
        &pattern("host", host).unwrap_or_else(|report| report.raise()),
    ))
}

/// `dbms_network_acl_utility.equals_host`
#[pg_extern(sql = false)]
fn equals_host(host1: Option<Bytes<'_>>, host2: Option<Bytes<'_>>) -> Option<i32> {
    host1.and(host2)?;
    let (one, other) = both(("host1", host1), ("host2", host2));
    Some(i32::from(host_acl::equals_host(&one, &other)))
}

/// `dbms_network_acl_utility.contains_host`
#[pg_extern(sql = false)]
fn contains_host(host: Option<Bytes<'_>>, domain: Option<Bytes<'_>>) -> Option<i32> {
    host.and(domain)?;
    let (host, domain) = both(("host", host), ("domain", domain));
    level(host_acl::contains_host(&host, &domain))
}

type Named<'a> = (&'static str, Option<Bytes<'a>>);

fn both(one: Named<'_>, other: Named<'_>) -> (HostPattern, HostPattern) {
    let parsed = pattern(one.0, one.1).and_then(|first| Ok((first, pattern(other.0, other.1)?)));
    parsed.unwrap_or_else(|report| report.raise())
}

fn pattern(argument: &'static str, text: Option<Bytes<'_>>) -> Result<HostPattern, Report> {
    admit()?;
    HostPattern::parse(&required(argument, text)?)
        .of_argument(argument)
        .map_err(|report| report.hint(hints::HOST_PATTERN))
}

fn level(level: Option<u32>) -> Option<i32> {
    level.and_then(|level| i32::try_from(level).ok())
}
