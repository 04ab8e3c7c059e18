//! DROP EXTENSION, dumps, restores and upgrades.

use super::*;

/// Without the functions a connection is unreachable, but not leaked: once they are back it can be
/// closed.
#[test]
fn dropping_the_extension_leaves_no_connection_that_could_be_misused() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    let before = invariants::descriptors(session.pid()).len();
    let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
    session.run("DROP EXTENSION utl_smtp CASCADE");
    let failure = smtp.noop(&mut session).unwrap_err();
    assert!(
        ["3F000", "42704", "42883"].contains(&failure.sqlstate.as_str()),
        "{failure}"
    );
    session.run("CREATE EXTENSION utl_smtp");
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        1
    );
    smtp.noop(&mut session).unwrap_err().expect("U9278");
    assert!(invariants::descriptors(session.pid()).len() <= before);
    peer.finish();

    // A role that may not talk to anybody finds nothing of the old list in the new one.
    let count: i64 = session.value("SELECT count(*) FROM utl_smtp.host_ace");
    assert_eq!(count, 0);
}

/// The result types are looked up after the reply has arrived; they may be dropped by then.
#[test]
fn dropping_the_extension_under_a_call_is_a_plain_error() {
    let greeting = "220 peer.example.test ESMTP\r\n";
    let waits = |reply: &str| {
        let script = Script::new().await_release().send(greeting);
        match reply {
            "" => script,
            reply => Script::greeting().line().await_release().send(reply),
        }
    };
    for (call, reply) in [
        ("open_connection('{host}', {port}, 60)", ""),
        ("open_connection_reply('{host}', {port}, 60)", ""),
        ("noop({c})", "250 ok\r\n"),
        (
            "ehlo({c}, 'client.example.test')",
            "250 peer.example.test\r\n",
        ),
        ("help({c})", "214 no help\r\n"),
    ] {
        let peer = Peer::start(waits(reply));
        let database = Database::new();
        let mut session = database.superuser();
        let mut owner = database.superuser();
        let c = match reply {
            "" => String::new(),
            _ => {
                Open::to(HOST, peer.port())
                    .timeout(60)
                    .open(&mut session)
                    .unwrap()
                    .handle
            }
        };
        let call = call
            .replace("{host}", HOST)
            .replace("{port}", &peer.port().to_string())
            .replace("{c}", &format!("'{c}'"));
        let waiting = format!(
            "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = {}",
            session.pid()
        );
        let outcome = std::thread::scope(|scope| {
            let running = scope.spawn(|| session.try_run(&format!("SELECT utl_smtp.{call}")));
            let end = Instant::now() + Duration::from_secs(60);
            while owner.value::<Option<bool>>(&waiting) != Some(true) {
                assert!(
                    Instant::now() < end && !running.is_finished(),
                    "{call}: no wait"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
            owner.run("DROP EXTENSION utl_smtp");
            peer.release();
            running.join().unwrap()
        });
        let failure = outcome.expect_err(&call);
        assert_eq!(failure.sqlstate, "42704", "{call}: {failure}");
        assert_eq!(session.value::<i32>("SELECT 1"), 1);
    }
}

fn program(name: &str, arguments: &[&str]) {
    Cluster::shared().program(name, arguments);
}

fn entries(session: &mut Session) -> Vec<String> {
    let sql = "SELECT ace::text FROM utl_smtp.dba_host_aces AS ace ORDER BY 1";
    session
        .query(sql, &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[test]
fn a_dump_keeps_the_access_list_and_can_be_restored() {
    let database = Database::new();
    let restored = Database::empty("");
    let role = database.role("mailer");
    database.allow(&role, "mail.example.com", 25);
    database.allow(&role, "*.example.org", 587);
    let mut session = database.superuser();
    session.run(
        "SELECT dbms_network_acl_admin.append_host_ace('10.0.0.0/8', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => false, principal_name => 'PUBLIC'));
         CREATE TABLE kept (c utl_smtp.connection, r utl_smtp.replies);
         INSERT INTO kept VALUES (ROW('h', 25, NULL, 1, 0), ARRAY[ROW(250, 'ok')]::utl_smtp.reply[])",
    );
    // Entries of a role that is gone match nobody; they must not be in the way either.
    let gone = database.role("gone");
    database.allow(&gone, "mail.example.com", 25);
    let before: Vec<String> = entries(&mut session)
        .into_iter()
        .filter(|one| !one.contains("gone_"))
        .collect();
    assert_eq!(before.len(), 5);
    session.run(&format!("DROP ROLE {gone}"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    program("pg_dump", &["-Fc", "-f", &file, database.name()]);
    program(
        "pg_restore",
        &["--exit-on-error", "-d", restored.name(), &file],
    );
    let mut session = restored.superuser();
    assert_eq!(entries(&mut session), before);
    assert_eq!(
        session.value::<String>("SELECT r[1]::text FROM kept"),
        "(250,ok)"
    );
    let mut app = restored.connect(&role);
    let mine: i64 = app
        .query_one("SELECT count(*) FROM utl_smtp.user_host_aces", &[])
        .unwrap()
        .get(0);
    assert!(mine > 0);
}

/// Creates entries of every kind for two roles and PUBLIC, in host_ace and in a named list.
fn fill(session: &mut Session, roles: [&str; 2]) {
    for role in roles {
        session.run(&format!(
            "SELECT dbms_network_acl_admin.append_host_ace('mail.example.test', 25, 587,
                 dbms_network_acl_admin.xs$ace_type(ARRAY['smtp', 'use_client_certificates'],
                     principal_name => '{role}', start_date => '2020-01-01', end_date => '2120-01-01'));
             SELECT dbms_network_acl_admin.create_acl('{role}.xml', 'for mail', '{role}', true, 'connect');
             SELECT dbms_network_acl_admin.add_privilege('{role}.xml', 'public', false, 'resolve')"
        ));
    }
    session.run(&format!(
        "SELECT dbms_network_acl_admin.assign_acl('{}.xml', '192.0.2.*', 25, 25);
         SELECT dbms_network_acl_admin.append_host_ace('*.example.test', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['connect'], granted => false, principal_name => 'PUBLIC'))",
        roles[1]
    ));
}

/// The rows of all tables of the list, except those of `but`.
fn rows(session: &mut Session, but: &str) -> Vec<String> {
    let sql = format!(
        "SELECT row FROM (
             SELECT 'host_ace ' || e::text, e.principal::text FROM utl_smtp.host_ace AS e
             UNION ALL SELECT 'acl ' || e::text, 'none' FROM utl_smtp.acl AS e
             UNION ALL SELECT 'acl_ace ' || e::text, e.principal::text FROM utl_smtp.acl_ace AS e
             UNION ALL SELECT 'acl_assignment ' || e::text, 'none' FROM utl_smtp.acl_assignment AS e
         ) AS rows (row, principal) WHERE principal <> '{but}' ORDER BY 1"
    );
    let rows = session.query(&sql, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_role_missing_at_the_restore_loses_its_own_entries_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    for (dump, restore) in [
        (vec!["-Fc"], vec!["--exit-on-error"]),
        (vec!["-Fc"], vec!["--single-transaction"]),
        (vec!["-Fc", "--inserts"], vec!["--exit-on-error"]),
        (vec!["-Fc", "--column-inserts"], vec!["--exit-on-error"]),
        (vec!["-Fd"], vec!["--exit-on-error", "--jobs=4"]),
    ] {
        let database = Database::new();
        let restored = Database::empty("");
        let [kept, missing] = ["kept", "missing"].map(|name| database.role(name));
        let mut session = database.superuser();
        fill(&mut session, [&missing, &kept]);
        // A role goes by its name at the time of the dump.
        let renamed = format!("Renamed \"{kept}\"");
        let quoted = format!("\"{}\"", renamed.replace('"', "\"\""));
        session.run(&format!("ALTER ROLE {kept} RENAME TO {quoted}"));
        let all = rows(&mut session, "");
        let before = rows(&mut session, &missing);
        assert_eq!(before.len(), 11, "{before:#?}");
        assert!(before.iter().any(|row| row.contains("Renamed")));

        let file = format!("{file}{}", database.name());
        program(
            "pg_dump",
            &[&dump[..], &["-f", &file, database.name()]].concat(),
        );
        session.run(&format!("ALTER ROLE {missing} RENAME TO {missing}_gone"));
        program(
            "pg_restore",
            &[&restore[..], &["-d", restored.name(), &file]].concat(),
        );
        let mut target = restored.superuser();
        assert_eq!(rows(&mut target, ""), before, "{dump:?} {restore:?}");

        // Its entries wait for the role, with a warning at each attempt, and through another dump.
        target.run("SELECT utl_smtp.host_ace_restore()");
        let warning = format!(
            "role \"{missing}\" does not exist, its access control entries are not restored: 3"
        );
        let said = target.notice_texts();
        assert!(said.contains(&warning), "{dump:?} {restore:?}: {said:?}");
        let again = Database::empty("");
        let second = format!("{file}.again");
        program("pg_dump", &["-Fc", "-f", &second, restored.name()]);
        program(
            "pg_restore",
            &["--exit-on-error", "-d", again.name(), &second],
        );
        session.run(&format!("ALTER ROLE {missing}_gone RENAME TO {missing}"));
        for database in [&restored, &again] {
            let mut target = database.superuser();
            target.run("SELECT utl_smtp.host_ace_restore()");
            assert_eq!(rows(&mut target, ""), all, "{dump:?} {restore:?}");
            let left: i64 = target.value("SELECT count(*) FROM utl_smtp.host_ace_dump");
            assert_eq!(left, 0, "{dump:?} {restore:?}");
        }
        session.run(&format!("ALTER ROLE {quoted} RENAME TO {kept}"));
    }
}

/// `--disable-triggers` leaves the entries where they were dumped to, and nobody is allowed
/// anything meanwhile.
#[test]
fn entries_restored_without_triggers_are_taken_over_by_a_call() {
    let (database, restored) = (Database::new(), Database::new());
    let [one, other] = ["one", "other"].map(|name| database.role(name));
    let mut session = database.superuser();
    fill(&mut session, [&one, &other]);
    let before = rows(&mut session, "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    program("pg_dump", &["-Fc", "-f", &file, database.name()]);
    let into = [
        "--exit-on-error",
        "--data-only",
        "--disable-triggers",
        "-d",
        restored.name(),
        &file,
    ];
    program("pg_restore", &into);
    let mut session = restored.superuser();
    let early: i64 = session.value("SELECT count(*) FROM utl_smtp.host_ace");
    assert_eq!(early, 0);
    session.run("SELECT utl_smtp.host_ace_restore()");
    assert_eq!(rows(&mut session, ""), before);
}

/// It has the rows of the tables themselves.
#[test]
fn a_dump_of_the_first_version_can_be_restored() {
    let (database, restored) = (Database::empty(""), Database::empty(""));
    let [one, other] = ["one", "other"].map(|name| database.role(name));
    let mut session = database.superuser();
    session.run("CREATE EXTENSION utl_smtp VERSION '0.1.0'");
    fill(&mut session, [&one, &other]);
    let before = rows(&mut session, "");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    program("pg_dump", &["-Fc", "-f", &file, database.name()]);
    program(
        "pg_restore",
        &["--exit-on-error", "-d", restored.name(), &file],
    );
    assert_eq!(rows(&mut restored.superuser(), ""), before);
}

#[test]
fn pg_upgrade_accepts_the_extension() {
    let old = OwnCluster::start(&[]);
    let mut session = old.superuser();
    session.run(
        "CREATE ROLE mailer;
         SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'mailer'));
         CREATE TABLE kept (c utl_smtp.connection)",
    );
    drop(session);
    old.shut_down();
    let new = OwnCluster::start(&[]);
    new.shut_down();
    let (bin, from, to) = (&old.bin, &old.data_directory, &new.data_directory);
    let (old_port, new_port) = (old.port, new.port);
    new.as_server(&format!(
        "{bin}/pg_upgrade --check -b {bin} -B {bin} -d {from} -D {to} -U postgres -p {old_port} -P {new_port}"
    ));
}
