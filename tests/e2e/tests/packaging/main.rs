//! The extension as an object of the database: who creates it and over what, what becomes of it when it is dropped,
//! dumped or upgraded, its signatures, and values of its types that it did not make.

mod creation;
mod departure;
mod plans;
mod signatures;
mod values;

use e2e::cluster::Cluster;
use e2e::{Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, vigil};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HOST: &str = "127.0.0.1";
const SCHEMAS: [&str; 5] = [
    "utl_smtp",
    "utl_tcp",
    "dbms_network_acl_admin",
    "dbms_network_acl_utility",
    "xs_acl",
];

fn obliging() -> Peer {
    Peer::start(Script::greeting().answer_all(|_| b"250 ok\r\n".to_vec()))
}
