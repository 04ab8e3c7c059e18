//! Mail servers as SQL objects: options, rights, and what `connect` says to a server.

mod connect;
mod credential;
mod options;
mod rights;
mod tokens;

use e2e::test_bed::{CLIENT, NAME, TestBed};
use e2e::{Database, Failure, Peer, Script, Session, Smtp};

/// Creates a server with these options, with a mapping for PUBLIC where there are options for one.
fn create(session: &mut Session, name: &str, server: &[(&str, &str)], mapping: &[(&str, &str)]) {
    session.run(&format!(
        "CREATE SERVER {name} FOREIGN DATA WRAPPER utl_smtp {}",
        list(server)
    ));
    if !mapping.is_empty() {
        session.run(&format!(
            "CREATE USER MAPPING FOR PUBLIC SERVER {name} {}",
            list(mapping)
        ));
    }
}

/// `OPTIONS (…)`
fn list(options: &[(&str, &str)]) -> String {
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| format!("{name} '{}'", value.replace('\'', "''")))
        .collect();
    format!("OPTIONS ({})", options.join(", "))
}

fn connect(session: &mut Session, name: &str) -> Result<Smtp, Failure> {
    let row = session.query_one("SELECT utl_smtp.connect($1)::text", &[&name])?;
    Ok(Smtp { handle: row.get(0) })
}
