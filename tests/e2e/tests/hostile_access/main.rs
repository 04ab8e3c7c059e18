//! Roles that try to reach forbidden hosts: the access control list with real roles, names,
//! addresses and an untrusted resolver.

mod hosts;
mod names;
mod objects;
mod races;
mod roles;

use e2e::certs::{Authority, Wallet};
use e2e::cluster::Cluster;
use e2e::ports::FullBacklog;
use e2e::process::{LIMITS, wait_until};
use e2e::resolver::{Answer, Resolver};
use e2e::test_bed::{CLIENT, NAME, lasts};
use e2e::{Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, closed_port};
use std::collections::BTreeSet;
use std::process::Command;

/// The result of connecting to a host and port without a server: a refused connection means access
/// was granted.
fn verdict(session: &mut Session, host: &str, port: u16) -> Result<(), String> {
    match Open::to(host, port).open(session) {
        Ok(smtp) => {
            smtp.close_connection(session).unwrap();
            Ok(())
        }
        Err(failure) if failure.sqlstate == "U9278" => Ok(()),
        Err(failure) => Err(failure.sqlstate),
    }
}

const DENIED: Result<(), &str> = Err("42501");
const INVALID: Result<(), &str> = Err("22023");

#[track_caller]
fn assert_verdict(session: &mut Session, host: &str, port: u16, expected: Result<(), &str>) {
    let found = verdict(session, host, port);
    assert_eq!(
        found.as_ref().map_err(String::as_str).copied(),
        expected,
        "{host:?} port {port}"
    );
}

/// Grants or denies the role a host, on these ports or on all.
fn entry(session: &mut Session, role: &str, host: &str, ports: Option<(i32, i32)>, granted: bool) {
    let sql = "SELECT dbms_network_acl_admin.append_host_ace(
                   host => $1, lower_port => $2, upper_port => $3,
                   ace => dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => $4, principal_name => $5))";
    let (lower, upper) = ports.unzip();
    session
        .execute(sql, &[&host, &lower, &upper, &granted, &role])
        .unwrap_or_else(|error| panic!("{host}: {}", Failure::from(error)));
}

fn remove_all(session: &mut Session) {
    session.run("DELETE FROM utl_smtp.host_ace");
}

/// A peer that greets every client and accepts everything.
fn listening() -> Peer {
    listening_on("127.0.0.1:0")
}

fn listening_on(address: &str) -> Peer {
    let script = (0..20).fold(Script::greeting(), |script, _| {
        script.answer(|line| match line.split(' ').next() {
            Some("QUIT") => b"221 bye\r\n".to_vec(),
            _ => b"250 ok\r\n".to_vec(),
        })
    });
    Peer::listen(address, vec![script])
}

#[track_caller]
fn open(session: &mut Session, peer: &Peer) -> Smtp {
    Open::to("127.0.0.1", peer.port())
        .open(session)
        .unwrap_or_else(|failure| panic!("{failure}"))
}

#[track_caller]
fn denied(session: &mut Session, peer: &Peer) {
    let refused = Open::to("127.0.0.1", peer.port()).open(session);
    refused.unwrap_err().expect("42501");
}
