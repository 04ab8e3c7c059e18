//! Pieces of statements that several are made of, and values for them.
//!
//! No backslash in any: a caller may have set standard_conforming_strings to off.

use pgrx::spi::SpiClient;
use pgrx::{IntoDatum, pg_sys};

use crate::errors::Report;
use crate::pg::cluster;
use crate::pg::datum::{Text, text_datum};
use crate::pg::owner::with_owner_rights;
use crate::pg::query::Parameter;

/// Whether a recipient `r` of a message `m` is in the hands of a worker: it was due when the
/// message was claimed. Never NULL.
pub const BEING_SENT: &str = "(m.lease IS NOT NULL
      AND (r.next_attempt_at <= m.last_attempt_at
           OR coalesce(r.attempts > 0 AND r.last_attempt_at < control.pushed_at
                       AND control.pushed_at <= m.last_attempt_at, false)))";

/// Whether push_queue() has made a recipient due that it found deferred. Never NULL.
pub const PUSHED: &str =
    "(r.attempts > 0 AND coalesce(r.last_attempt_at < control.pushed_at, false))";

/// The one row that operators and the worker share.
pub const CONTROL: &str =
    "LEFT JOIN (SELECT pushed_at FROM utl_smtp.delivery_control LIMIT 1) AS control ON true";

/// The roles and servers that rows mean: by their OIDs in the cluster that those are of, else by
/// their names. `here` says whether it is this one. The columns are role_oid, role_name,
/// server_oid, server_name; an OID is NULL where there is no such role or server.
pub fn bound(rows: &str, columns: &str, here: &str) -> String {
    let server = "(SELECT s.oid, s.srvname
                   FROM pg_catalog.pg_foreign_server AS s
                   JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
                   WHERE w.fdwname = 'utl_smtp')";
    let c = "COLLATE pg_catalog.\"C\"";
    format!(
        "(SELECT {columns},
                 coalesce(own_role.oid, named_role.oid) AS role_oid,
                 coalesce(own_role.rolname::text, row.owner_name) AS role_name,
                 coalesce(own_server.oid, named_server.oid) AS server_oid,
                 coalesce(own_server.srvname::text, row.server_name) AS current_server_name
          FROM {rows} AS row
          LEFT JOIN pg_catalog.pg_roles AS own_role ON own_role.oid = row.owner AND {here}
          LEFT JOIN pg_catalog.pg_roles AS named_role
                 ON named_role.rolname::text {c} = row.owner_name {c} AND NOT {here}
          LEFT JOIN {server} AS own_server ON own_server.oid = row.server AND {here}
          LEFT JOIN {server} AS named_server
                 ON named_server.srvname::text {c} = row.server_name {c} AND NOT {here})"
    )
}

pub fn text(value: &str) -> Parameter {
    (pg_sys::TEXTOID, Some(text_datum(value)))
}

pub fn boolean(value: bool) -> Parameter {
    (pg_sys::BOOLOID, Some(value.into()))
}

pub fn bigint(value: i64) -> Parameter {
    (pg_sys::INT8OID, Some(value.into()))
}

pub fn oid(value: pg_sys::Oid) -> Parameter {
    (pg_sys::OIDOID, Some(value.into()))
}

/// The cluster that OIDs of the log are of.
pub fn cluster() -> Parameter {
    bigint(cluster::system_identifier() as i64)
}

/// How `message.home` begins in all databases of this cluster.
pub fn cluster_prefix() -> String {
    format!("{} ", cluster::system_identifier())
}

/// An array.
pub fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Option<pg_sys::Datum> {
    let values: Vec<Text> = values.map(|value| Text(value.to_owned())).collect();
    values.into_datum()
}

/// An array.
pub fn bigints(values: impl Iterator<Item = i64>) -> Option<pg_sys::Datum> {
    values.collect::<Vec<_>>().into_datum()
}

/// Runs statements with the rights of the tables' owner.
pub fn in_queue<T>(run: impl FnOnce(&mut SpiClient<'_>) -> T) -> Result<T, Report> {
    with_owner_rights(run).ok_or_else(Report::queue_missing)
}
