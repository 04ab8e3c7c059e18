//! The mail servers of this database as this backend has read them, for as long as the catalog does
//! not change.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use pgrx::pg_sys;

use super::{Server, WRAPPER};
use crate::errors::Report;
use crate::pg::foreign;

/// All servers whose options can be read, in the order of their OIDs.
type Servers = Rc<Vec<Arc<Server>>>;

thread_local! {
    /// The servers, and the state of the catalog that they were read from.
    static SERVERS: RefCell<Option<(u64, Servers)>> = const { RefCell::new(None) };
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    SERVERS.with(|_| ());
}

/// All servers. One with options of another version of the extension is none of them.
pub fn all() -> Result<Servers, Report> {
    let generation = foreign::generation();
    let current = SERVERS.with_borrow(|servers| match servers {
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
        if let Some(Ok(server)) = found.map(Server::read) {
            servers.push(Arc::new(server));
        }
    }
    servers.sort_by_key(|server| server.oid.to_u32());
    let servers = Rc::new(servers);
    SERVERS.set(Some((generation, Rc::clone(&servers))));
    Ok(servers)
}

/// The server with this OID, if it is one of them.
pub fn of(oid: pg_sys::Oid) -> Result<Option<Arc<Server>>, Report> {
    let servers = all()?;
    let found = servers.binary_search_by_key(&oid.to_u32(), |server| server.oid.to_u32());
    Ok(found.ok().map(|index| Arc::clone(&servers[index])))
}
