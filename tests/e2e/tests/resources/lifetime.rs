//! Lifetime of a connection: it survives rollbacks and resets, ends with its backend, and exists in
//! no other process.

use super::{HOST, obliging, open, open_count};
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Invariants, Open, Peer, Script, invariants, process};

#[test]
fn a_connection_out_of_scope_is_listed_and_can_be_closed() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let invariants = Invariants::record(&mut session);
    session.run(&format!(
        "DO $$ DECLARE c utl_smtp.connection;
         BEGIN FOR i IN 1..3 LOOP c := utl_smtp.open_connection('{HOST}', {}, 60); END LOOP; END $$",
        peer.port()
    ));
    assert_eq!(open_count(&mut session), 3);
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        3
    );
    assert_eq!(open_count(&mut session), 0);
    invariants.check(&mut session, &[]);
    assert_eq!(peer.finish().accepted(), 3);
}

/// Mail cannot be unsent, so a rollback does not affect the conversation.
#[test]
fn sessions_survive_rollbacks() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    session.run("BEGIN");
    let first = open(&mut session, &peer).unwrap();
    session.run("SAVEPOINT inner_one");
    let second = open(&mut session, &peer).unwrap();
    session.run("ROLLBACK TO inner_one");
    assert_eq!(second.noop(&mut session).unwrap().code, 250);
    session.try_run("SELECT 1 / 0").unwrap_err();
    session.run("ROLLBACK");
    assert_eq!(first.noop(&mut session).unwrap().code, 250);
    assert_eq!(open_count(&mut session), 2);

    // Raised by the extension itself, but about nothing that was sent.
    first
        .mail(&mut session, "a\r\nb@example.test")
        .unwrap_err()
        .expect("22023");
    assert_eq!(first.noop(&mut session).unwrap().code, 250);

    // In the data phase it stays there.
    first.open_data(&mut session).unwrap();
    session.run("BEGIN");
    first.write_data(&mut session, "one line\r\n").unwrap();
    session.run("ROLLBACK");
    first.noop(&mut session).unwrap_err().expect("U9277");
    first.write_data(&mut session, "another line\r\n").unwrap();
    session.run("SELECT utl_smtp.close_all_connections()");
    let record = peer.finish();
    assert!(record.conversations.iter().all(|one| !one.heard(b"RSET")));
}

/// DISCARD ALL does not affect connections; their owner stays.
#[test]
fn discard_all_leaves_connections_to_the_role_that_opened_them() {
    let peer = obliging();
    let database = Database::new();
    let (one, other) = (database.role("one"), database.role("other"));
    database.allow(&one, HOST, peer.port());
    let mut session = database.superuser();
    session.run(&format!("SET SESSION AUTHORIZATION {one}"));
    let smtp = open(&mut session, &peer).unwrap();
    session.run("DISCARD ALL");
    session.run(&format!("SET SESSION AUTHORIZATION {other}"));
    smtp.noop(&mut session).unwrap_err().expect("42501");
    assert_eq!(open_count(&mut session), 0);
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        0
    );
    session.run(&format!("SET SESSION AUTHORIZATION {one}"));
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    session.run("SELECT utl_smtp.close_all_connections(); RESET SESSION AUTHORIZATION");
}

/// A backend's exit closes its connections, with and without TLS.
#[test]
fn a_backend_that_ends_closes_its_connections() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let plain = obliging();
    let tls = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .answer_all(|_| b"250 ok\r\n".to_vec()),
    );
    let database = Database::new();
    let mut session = database.superuser();
    let mut observer = database.superuser();
    let invariants = Invariants::record(&mut observer);
    let locator = wallet.locator();
    for _ in 0..5 {
        open(&mut session, &plain).unwrap();
        Open::to("localhost", tls.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut session)
            .unwrap();
    }
    let pid = session.pid();
    drop(session);
    process::wait_until("the backend ends", || !process::is_alive(pid));
    invariants.check(&mut observer, &[]);
    assert_eq!(plain.finish().accepted(), 5);
    assert_eq!(tls.finish().accepted(), 5);
}

#[test]
fn a_peer_that_goes_away_while_idle_is_noticed_by_the_next_command() {
    let greeted = || Script::greeting().await_release();
    let ways: [(&str, Script); 3] = [
        ("half-closed", greeted().close_notify().drain()),
        ("closed", greeted().cut()),
        ("reset", greeted().reset()),
    ];
    let database = Database::new();
    let mut session = database.superuser();
    for (way, script) in ways {
        let peer = Peer::start(script);
        let invariants = Invariants::record(&mut session);
        let smtp = open(&mut session, &peer).unwrap();
        peer.release_and_arrive();
        let failure = smtp.noop(&mut session).unwrap_err().expect("U9278");
        assert!(failure.message.contains("421"), "{way}: {failure}");
        invariants::assert_over(&mut session, &smtp);
        invariants.check(&mut session, &[]);
        peer.finish();
    }
}

fn sockets(pid: i32) -> Vec<String> {
    let mut open = invariants::descriptors(pid);
    open.retain(|one| one.starts_with("socket"));
    open
}

#[test]
fn a_program_that_the_backend_starts_inherits_no_connection() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    let before = sockets(session.pid());
    open(&mut session, &peer).unwrap();
    let mut ours = sockets(session.pid());
    ours.retain(|one| !before.contains(one));
    assert_eq!(ours.len(), 1, "before {before:?}, then {ours:?}");
    session.run("CREATE TEMP TABLE inherited (target text)");
    session.run("COPY inherited FROM PROGRAM 'readlink /proc/self/fd/* || true'");
    let inherited: Vec<String> = session
        .query("SELECT target FROM inherited", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(!inherited.is_empty());
    assert!(!inherited.contains(&ours[0]), "{inherited:?}");
    session.run("SELECT utl_smtp.close_all_connections()");
}
