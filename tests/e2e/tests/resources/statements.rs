//! Statements that send mail: the access check inside them, read-only statements, triggers on many
//! rows.

use super::{HOST, obliging, open, open_count};
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Invariants, Open, Peer, Script, Session, closed_port, process};
use std::thread;

/// A failing or waiting look-up in the access list leaves no session in an intermediate state.
#[test]
fn an_access_look_up_that_fails_or_waits_leaves_nothing_behind() {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&["localhost"]);
    let wallet = Wallet::of(&authority);
    let client = authority.issue_client("the application").pem_with_key();
    wallet.add_with_mode("client.pem", &client, 0o600);
    let peer = Peer::start(
        Script::greeting()
            .answer(|_| b"250-peer\r\n250 STARTTLS\r\n".to_vec())
            .starttls(identity.server())
            .answer_all(|_| b"250 ok\r\n".to_vec()),
    );
    let database = Database::new();
    database.set(
        "utl_smtp.wallet_roots",
        &wallet.path().display().to_string(),
    );
    let mut session = database.role_for("localhost", peer.port());
    let mut owner = database.superuser();
    let invariants = Invariants::record(&mut session);
    let locator = wallet.locator();
    let connection = || Open::to("localhost", peer.port()).wallet(&locator);

    // STARTTLS asks whether the client's certificate may be shown: the session is taken out then.
    for (hindrance, sqlstate) in [
        ("ALTER TABLE utl_smtp.host_ace RENAME TO elsewhere", "42P01"),
        ("LOCK TABLE utl_smtp.host_ace", "55P03"),
    ] {
        let smtp = connection().open(&mut session).unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        owner.run(&format!("BEGIN; {hindrance}"));
        if sqlstate == "42P01" {
            owner.run("COMMIT");
        }
        session.run("SET lock_timeout = 300");
        smtp.starttls(&mut session).unwrap_err().expect(sqlstate);
        connection()
            .open(&mut session)
            .unwrap_err()
            .expect(sqlstate);
        session.run("RESET lock_timeout");
        assert_eq!(
            open_count(&mut session),
            0,
            "an interrupted call ends its session"
        );
        owner.run(match sqlstate {
            "42P01" => "ALTER TABLE utl_smtp.elsewhere RENAME TO host_ace",
            _ => "ROLLBACK",
        });
    }

    let smtp = connection().open(&mut session).unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.starttls(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    invariants.check(&mut session, &[]);
}

/// A revoked entry is refused at once, also in a transaction that began before.
#[test]
fn a_revocation_counts_inside_an_older_snapshot() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let mut owner = database.superuser();
    owner.run("CREATE TABLE witness AS SELECT 1; GRANT SELECT ON witness TO PUBLIC");
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let smtp = open(&mut session, &peer).unwrap();
    smtp.quit(&mut session).unwrap();
    owner.run("DELETE FROM utl_smtp.host_ace; DELETE FROM witness");
    let mut count = |table: &str| session.value::<i64>(&format!("SELECT count(*) FROM {table}"));
    assert_eq!(count("witness"), 1, "the snapshot is not an old one");
    // The view agrees with the look-up.
    assert_eq!(count("utl_smtp.user_host_aces"), 0);
    open(&mut session, &peer).unwrap_err().expect("42501");
    session.run("ROLLBACK");
}

#[test]
fn a_read_only_transaction_may_send() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    session.run("BEGIN READ ONLY");
    let smtp = open(&mut session, &peer).unwrap();
    smtp.mail(&mut session, "sender@example.test").unwrap();
    smtp.quit(&mut session).unwrap();
    session.run("COMMIT");
    assert_eq!(
        peer.finish().only().lines(),
        ["MAIL FROM:<sender@example.test>", "QUIT"]
    );
}

/// A table with two thousand rows and a trigger that sends mail to a dead server.
fn rows_with_trigger(session: &mut Session, exception: &str) {
    session.run(&format!(
        "CREATE TABLE row_of_many AS SELECT n, 0 AS touched FROM generate_series(1, 2000) AS n;
         CREATE FUNCTION mail_it() RETURNS trigger LANGUAGE plpgsql AS $body$
         BEGIN
             PERFORM utl_smtp.open_connection('{HOST}', {}, 60);
             RETURN NEW;
         {exception}
         END $body$;
         CREATE TRIGGER mail_it BEFORE UPDATE ON row_of_many FOR EACH ROW EXECUTE FUNCTION mail_it()",
        closed_port()
    ));
}

#[test]
fn a_trigger_for_each_row_ends_at_the_first_failure_or_catches_them_all() {
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    rows_with_trigger(&mut session, "");
    let failure = session
        .try_run("UPDATE row_of_many SET touched = 1")
        .unwrap_err();
    failure.expect("U9278");
    assert_eq!(
        session.value::<i64>("SELECT sum(touched) FROM row_of_many"),
        0
    );

    session.run("DROP TABLE row_of_many; DROP FUNCTION mail_it()");
    rows_with_trigger(
        &mut session,
        "EXCEPTION WHEN SQLSTATE 'U9278' THEN NEW.touched := NEW.touched + 1; RETURN NEW;",
    );
    session.run("UPDATE row_of_many SET touched = 1");
    assert_eq!(
        session.value::<i64>("SELECT sum(touched) FROM row_of_many"),
        4000
    );
    invariants.check(&mut session, &[]);

    // A cancel gets in between two rows, of which it would take minutes to see all.
    let pid = session.pid();
    let mut other = database.superuser();
    let updating = thread::spawn(move || {
        session.try_run("UPDATE row_of_many SET touched = 1 WHERE pg_sleep(0.1) IS NOT NULL")
    });
    let sleeps = format!("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {pid}");
    let sleeping = || other.value::<Option<bool>>(&sleeps) == Some(true);
    process::wait_until("the update is between two rows", sleeping);
    assert!(other.value::<bool>(&format!("SELECT pg_cancel_backend({pid})")));
    let outcome = process::join("the update", updating);
    outcome.unwrap_err().expect("57014");
}
