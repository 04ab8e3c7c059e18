//! Attacks on STARTTLS and TLS: injected text, stalls, truncation, old protocols, tickets.

mod handshake;
mod starttls;
mod trust;

use e2e::certs::{Authority, Wallet};
use e2e::invariants::assert_over;
use e2e::openssl::OpensslFixtures;
use e2e::process::NEVER;
use e2e::resolver::{Answer, Resolver};
use e2e::test_bed::{CLIENT, Case, NAME, TestBed, lasts};
use e2e::{Failure, Open, OwnCluster, Peer, Script, Session, Smtp};
use rustls::crypto::ring::{self, kx_group};
use std::time::Duration;

const EHLO: &str = "EHLO client.example.test";
/// The capabilities of a server that wants a password without TLS.
const OFFERS_ALL: &str =
    "250-peer\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-SIZE 99\r\n250 SMTPUTF8";

/// A peer that has sent its greeting and offered STARTTLS.
fn offering() -> Script {
    Script::greeting().on("EHLO", "250-peer\r\n250 STARTTLS")
}

#[track_caller]
fn starttls_fails(case: &mut Case<'_>, smtp: &Smtp, sqlstate: &str) -> Failure {
    smtp.starttls(case.session)
        .expect_err("starttls should fail")
        .expect(sqlstate)
}

/// Asserts that the session is plain and listed so, is in step, and does not reveal a password.
#[track_caller]
fn assert_plain_and_careful(case: &mut Case<'_>, smtp: &Smtp) {
    assert!(!case.is_encrypted());
    for scheme in ["PLAIN LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let failure = smtp
            .auth(case.session, "alice", "not-for-the-wire", scheme)
            .expect_err("a password without TLS")
            .expect("U4250");
        assert!(failure.hint.contains("Close the connection"), "{failure}");
        smtp.command(case.session, "AUTH", Some(scheme))
            .expect_err("an exchange by hand")
            .expect("U4250");
    }
    assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
}

/// Asserts that the call fails at the deadline of this many seconds, not before it.
#[track_caller]
fn times_out(limit: i32, act: impl FnOnce() -> Failure) -> Failure {
    let failure = lasts(limit, act).expect("U9278");
    assert!(failure.message.contains("421"), "{failure}");
    assert!(failure.detail.contains("tx_timeout"), "{failure}");
    failure
}

/// Opens a connection with this time limit and sends EHLO.
fn try_greet(case: &mut Case<'_>, limit: i32) -> Result<Smtp, Failure> {
    let smtp = case.open().timeout(limit).open(case.session)?;
    smtp.ehlo(case.session, CLIENT)?;
    Ok(smtp)
}

/// A CA `ca` and its certificate for [`NAME`].
fn openssl(name: &str) -> OpensslFixtures {
    let openssl = OpensslFixtures::new();
    let curve = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    openssl
        .key("ca", curve)
        .root("ca", "")
        .key(name, curve)
        .issue(name, "ca", NAME, "");
    openssl
}

fn open_tls(session: &mut Session, port: u16, wallet: &str) -> Result<Smtp, Failure> {
    Open::to("127.0.0.1", port)
        .wallet(wallet)
        .secure_host(NAME)
        .implicit_tls()
        .open(session)
}
