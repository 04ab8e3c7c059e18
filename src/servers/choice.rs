//! Which mail server delivers what a recorded conversation with a host and port queues.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;
use smtp_core::host::Host;

use super::options::ServerOptions;
use super::{Server, WRAPPER, unknown};
use crate::errors::{Report, sqlstate};
use crate::pg::foreign::{self, quote_identifier};
use crate::pg::roles;
use crate::settings;

/// A server that there is.
struct Known {
    oid: pg_sys::Oid,
    name: String,
    host: Host,
    port: u16,
}

type Servers = Rc<Vec<Known>>;

thread_local! {
    /// The servers, and the state of the catalog that they were read from.
    static KNOWN: RefCell<Option<(u64, Servers)>> = const { RefCell::new(None) };
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    KNOWN.with(|_| ());
}

/// The server that `utl_smtp.delivery_server` names. Without that: of those that the role may use and whose host is this
/// one, the one with this port, else the only one.
pub fn for_delivery(host: &Host, port: u16, role: pg_sys::Oid) -> Result<Server, Report> {
    if let Some(name) = settings::delivery_server() {
        return Server::usable(&name, role);
    }
    let known = known()?;
    let of_host: Vec<&Known> = known.iter().filter(|server| server.host == *host).collect();
    let usable = of_host.iter().copied();
    let mut usable: Vec<&Known> = usable
        .filter(|server| foreign::has_usage(role, server.oid))
        .collect();
    if usable.iter().any(|server| server.port == port) {
        usable.retain(|server| server.port == port);
    }
    match usable.as_slice() {
        [server] => Server::of(server.oid)?.ok_or_else(|| unknown(&server.name)),
        [] => Err(none(host, port, &of_host, role)),
        several => Err(ambiguous(host, several)),
    }
}

/// All servers, read anew where the catalog has changed.
fn known() -> Result<Servers, Report> {
    let generation = foreign::generation();
    let current = KNOWN.with_borrow(|known| match known {
        Some((read, servers)) if *read == generation => Some(Rc::clone(servers)),
        _ => None,
    });
    if let Some(servers) = current {
        return Ok(servers);
    }
    let mut servers = Vec::new();
    for oid in foreign::servers_of(WRAPPER) {
        let found = foreign::server_of(oid);
        let found = found.map_err(|error| Report::encoding("server", error))?;
        // One with options of another version of the extension is found by its name only.
        if let Some(found) = found
            && let Ok((address, _)) = ServerOptions::parse(&found.options)
        {
            servers.push(Known {
                oid,
                name: found.name,
                host: address.host,
                port: address.port,
            });
        }
    }
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    let servers = Rc::new(servers);
    KNOWN.set(Some((generation, Rc::clone(&servers))));
    Ok(servers)
}

/// `others`: those that the role may not use.
fn none(host: &Host, port: u16, others: &[&Known], role: pg_sys::Oid) -> Report {
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

fn ambiguous(host: &Host, servers: &[&Known]) -> Report {
    let message = format!("several mail servers have host \"{host}\"");
    let choices = servers.iter().map(|server| {
        let name = server.name.replace('\'', "''");
        format!("SET utl_smtp.delivery_server = '{name}';")
    });
    let choices: Vec<String> = choices.collect();
    Report::new(sqlstate::AMBIGUOUS, message).hint(format!("Choose one: {}", choices.join(" or ")))
}
