//! AUTH against servers that lie and callers that forget TLS, and where secrets must not turn up.

mod exchange;
mod secrets;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Cluster;
use e2e::own_cluster::is_root;
use e2e::scene::{CLIENT, NAME};
use e2e::{Database, Open, OwnCluster, Peer, Scene, Script, Vigil, vigil};
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

/// LEAK-10
#[test]
fn a_dump_brings_the_access_list_along() {
    let database = Database::new();
    let (app, gone) = (database.role("app"), database.role("gone"));
    let peer = Peer::start(Script::greeting().quit());
    database.allow(&app, "127.0.0.1", peer.port());
    let mut source = database.superuser();
    source.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('*.example.test', 25, 587,
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'PUBLIC',
                 start_date => '2020-01-01 00:00+00', end_date => '2100-01-01 00:00+00'));
         SELECT dbms_network_acl_admin.append_host_ace('10.0.0.0/8', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], false, principal_name => '{app}'));
         SELECT dbms_network_acl_admin.create_acl('mail.xml', 'it''s mail', '{app}', true, 'connect');
         SELECT dbms_network_acl_admin.assign_acl('mail.xml', 'bücher.example.test', 25);
         SELECT dbms_network_acl_admin.append_host_ace('gone.example.test', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{gone}'));
         DROP ROLE {gone}"
    ));
    let entries = "SELECT string_agg(to_json(a)::text, E'\\n' ORDER BY to_json(a)::text)
                     FROM utl_smtp.host_ace AS a WHERE host <> 'gone.example.test'";
    let lists = "SELECT dbms_network_acl_admin.check_privilege('mail.xml', current_setting('e2e.app'), 'connect')";
    let copy = Database::empty("");
    restore(&database, &copy);
    let mut target = copy.superuser();
    assert_eq!(
        target.value::<String>(entries),
        source.value::<String>(entries)
    );
    let gone = "SELECT count(*) FROM utl_smtp.host_ace WHERE host = 'gone.example.test'";
    assert_eq!(
        (source.value::<i64>(gone), target.value::<i64>(gone)),
        (1, 0)
    );
    target.run(&format!("SET e2e.app = '{app}'"));
    assert_eq!(target.value::<i32>(lists), 1);
    // They are in force.
    let mut session = copy.connect(&app);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.quit(&mut session).unwrap();
    let denied = Open::to("10.1.2.3", 25).open(&mut session).unwrap_err();
    denied.expect("42501");
    peer.finish();
}
