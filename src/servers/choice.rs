//! Which mail server delivers what a recorded conversation with a host and port queues.

use std::sync::Arc;

use pgrx::pg_sys;
use smtp_core::host::Host;

use super::{Server, WRAPPER, cache};
use crate::errors::{Report, sqlstate};
use crate::pg::foreign::{self, quote_identifier};
use crate::pg::roles;
use crate::settings;

/// The server that `utl_smtp.delivery_server` names. Without that: of those that the role may use
/// and whose host is this one, the one with this port, else the only one.
pub fn for_delivery(host: &Host, port: u16, role: pg_sys::Oid) -> Result<Arc<Server>, Report> {
    if let Some(name) = settings::delivery_server() {
        return Server::usable(&name, role);
    }
    let servers = cache::all()?;
    let of_host = servers.iter().filter(|server| server.address.host == *host);
    let (mut usable, others): (Vec<_>, Vec<_>) =
        of_host.partition(|server| foreign::has_usage(role, server.oid));
    let has_port = |server: &Arc<Server>| server.address.port == port;
    if usable.iter().any(|server| has_port(server)) {
        usable.retain(|server| has_port(server));
    }
    match usable.as_slice() {
        [server] => Ok(Arc::clone(server)),
        [] => Err(none(host, port, &others, role)),
        several => Err(ambiguous(host, several)),
    }
}

/// `others`: those that the role may not use.
fn none(host: &Host, port: u16, others: &[&Arc<Server>], role: pg_sys::Oid) -> Report {
    let message = format!("there is no mail server with host \"{host}\" to deliver by");
    let create = format!(
        "Create one: CREATE SERVER mail FOREIGN DATA WRAPPER {WRAPPER} OPTIONS (host '{host}', port '{port}');"
    );
    let grants = others.iter().map(|server| {
        format!(
            " Or its owner runs: GRANT USAGE ON FOREIGN SERVER {} TO {};",
            quote_identifier(&server.name),
            quote_identifier(&roles::name(role)),
        )
    });
    Report::new(sqlstate::UNDEFINED_OBJECT, message)
        .detail("utl_smtp.delivery is on_commit, so mail is queued for a mail server that CREATE SERVER makes.")
        .hint(create + &grants.collect::<String>())
}

fn ambiguous(host: &Host, servers: &[&Arc<Server>]) -> Report {
    let message = format!("several mail servers have host \"{host}\"");
    let mut names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    names.sort_unstable();
    let choices = names.into_iter().map(|name| {
        let name = name.replace('\'', "''");
        format!("SET utl_smtp.delivery_server = '{name}';")
    });
    let choices: Vec<String> = choices.collect();
    Report::new(sqlstate::AMBIGUOUS, message).hint(format!("Choose one: {}", choices.join(" or ")))
}
