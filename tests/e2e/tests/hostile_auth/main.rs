//! AUTH with lying servers and callers that forget TLS, and where secrets must not appear.

mod exchange;
mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Cluster;
use e2e::own_cluster::is_root;
use e2e::test_bed::{CLIENT, NAME};
use e2e::{Database, Invariants, Open, OwnCluster, Peer, Script, TestBed, invariants, process};
use std::fmt::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const USER: &str = "alice@example.test";
const ALL: [&str; 7] = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-256",
    "XOAUTH2",
    "OAUTHBEARER",
    "EXTERNAL",
];
/// The schemes that reveal the secret to eavesdroppers.
const CLEARTEXT: [&str; 4] = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];

/// A test bed that allows every scheme without TLS.
fn cleartext_bed() -> TestBed {
    let bed = TestBed::new();
    bed.database.set("utl_smtp.allow_cleartext_auth", "on");
    let session = bed.database.connect(&bed.role);
    TestBed { session, ..bed }
}

/// A server that offers these schemes.
fn offering(schemes: &str) -> Script {
    Script::greeting().on("EHLO", &format!("250-peer\r\n250 AUTH {schemes}"))
}

fn offering_all() -> Script {
    offering(&ALL.join(" "))
}

/// Answers this many lines, each by its first word or with 250.
fn answering(lines: usize, answer: fn(&str) -> &'static str) -> Script {
    (0..lines).fold(Script::new(), |script, _| {
        script.answer(move |line| format!("{}\r\n", answer(line)).into_bytes())
    })
}

fn refusing_auth(line: &str) -> &'static str {
    match line.split(' ').next() {
        Some("AUTH") => "535 5.7.8 no",
        Some("QUIT") => "221 bye",
        _ => "250 ok",
    }
}
