//! The extension as a database object: CREATE, DROP, dump and upgrade, its signatures, and foreign
//! values of its types.

mod creation;
mod lifecycle;
mod plans;
mod signatures;
mod values;

use e2e::cluster::Cluster;
use e2e::{Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, invariants};
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
