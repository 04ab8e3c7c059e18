//! Peers that abuse STARTTLS and TLS: injected text, stalls, truncation, old protocols, tickets.

mod handshake;
mod starttls;
mod trust;

use e2e::certs::{Authority, Wallet};
use e2e::openssl::Workshop;
use e2e::process::NEVER;
use e2e::resolver::{Answer, Resolver};
use e2e::scene::{CLIENT, NAME, Scene, Stage, lasts};
use e2e::vigil::assert_over;
use e2e::{Failure, Open, OwnCluster, Peer, Script, Session, Smtp};
use rustls::crypto::ring::{self, kx_group};
use std::time::Duration;

const EHLO: &str = "EHLO client.example.test";
/// What a server offers that wants a password in clear.
const OFFERS_ALL: &str =
    "250-peer\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250-SIZE 99\r\n250 SMTPUTF8";

/// A peer that has greeted and offered STARTTLS.
fn offering() -> Script {
    Script::greeting().on("EHLO", "250-peer\r\n250 STARTTLS")
}

#[track_caller]
fn starttls_fails(stage: &mut Stage<'_>, smtp: &Smtp, sqlstate: &str) -> Failure {
    smtp.starttls(stage.session)
        .expect_err("starttls should fail")
        .expect(sqlstate)
}

/// The session is plain, is known to be, is in step, and gives no password away.
#[track_caller]
fn assert_plain_and_careful(stage: &mut Stage<'_>, smtp: &Smtp) {
    assert!(!stage.is_encrypted());
    for scheme in ["PLAIN LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let failure = smtp
            .auth(stage.session, "alice", "not-for-the-wire", scheme)
            .expect_err("a password without TLS")
            .expect("U4250");
        assert!(failure.hint.contains("Close the connection"), "{failure}");
        smtp.command(stage.session, "AUTH", Some(scheme))
            .expect_err("an exchange by hand")
            .expect("U4250");
    }
    assert_eq!(smtp.noop(stage.session).unwrap().text, "in step");
}

/// What fails here must do so at the deadline of so many seconds, not before it.
#[track_caller]
fn times_out(limit: i32, act: impl FnOnce() -> Failure) -> Failure {
    let failure = lasts(limit, act).expect("U9278");
    assert!(failure.message.contains("421"), "{failure}");
    assert!(failure.detail.contains("tx_timeout"), "{failure}");
    failure
}

/// Opened with this time limit, and EHLO said.
fn try_greet(stage: &mut Stage<'_>, limit: i32) -> Result<Smtp, Failure> {
    let smtp = stage.open().timeout(limit).open(stage.session)?;
    smtp.ehlo(stage.session, CLIENT)?;
    Ok(smtp)
}

/// A CA, `ca`, and a certificate of its for [`NAME`].
fn workshop(name: &str) -> Workshop {
    let workshop = Workshop::new();
    let curve = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
    workshop
        .key("ca", curve)
        .root("ca", "")
        .key(name, curve)
        .issue(name, "ca", NAME, "");
    workshop
}

fn open_tls(session: &mut Session, port: u16, wallet: &str) -> Result<Smtp, Failure> {
    Open::to("127.0.0.1", port)
        .wallet(wallet)
        .secure_host(NAME)
        .implicit_tls()
        .open(session)
}
