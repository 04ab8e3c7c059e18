//! Connections, descriptors and memory of a backend, all independent of transactions.

mod lifetime;
mod limits;
mod memory;
mod panics;
mod standby;
mod statements;

use e2e::{Failure, Open, Peer, Script, Session, Smtp};

const HOST: &str = "127.0.0.1";

/// A peer that answers 250 to everything, on any number of connections.
fn obliging() -> Peer {
    Peer::start(Script::greeting().answer_all(|line| match line {
        "DATA" => b"354 go ahead\r\n".to_vec(),
        _ => b"250 ok\r\n".to_vec(),
    }))
}

fn open(session: &mut Session, peer: &Peer) -> Result<Smtp, Failure> {
    Open::to(HOST, peer.port()).open(session)
}

fn open_count(session: &mut Session) -> i64 {
    session.value("SELECT count(*) FROM utl_smtp.connections()")
}
