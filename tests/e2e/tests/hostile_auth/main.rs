//! AUTH against servers that lie and callers that forget TLS, and where secrets must not turn up.

mod exchange;
mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Cluster;
use e2e::own_cluster::is_root;
use e2e::scene::{CLIENT, NAME};
use e2e::{Database, Open, OwnCluster, Peer, Scene, Script, Vigil, process, vigil};
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
/// Those that show the secret to whoever listens.
const CLEARTEXT: [&str; 4] = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];

/// A scene in which every scheme may be used in clear.
fn cleartext_scene() -> Scene {
    let scene = Scene::new();
    scene.database.set("utl_smtp.allow_cleartext_auth", "on");
    let session = scene.database.connect(&scene.role);
    Scene { session, ..scene }
}

/// A server that offers these schemes.
fn offering(schemes: &str) -> Script {
    Script::greeting().on("EHLO", &format!("250-peer\r\n250 AUTH {schemes}"))
}

fn offering_all() -> Script {
    offering(&ALL.join(" "))
}

/// Answers so many lines, each by its first word or else with 250.
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
