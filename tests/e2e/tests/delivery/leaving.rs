//! What makes a worker leave, and what does not have to wait for it.

use super::processes::*;
use super::workers::to;
use e2e::process::wait_until;
use e2e::{OwnCluster, Peer, Script, Sink};

/// Statements about a database that has a worker, by sessions that have not loaded the library.
/// PostgreSQL itself gives up after five seconds.
#[test]
fn no_statement_about_a_database_waits_for_its_worker() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let tablespace = cluster.directory().join("space");
        cluster.as_server(&format!("mkdir {}", tablespace.display()));
        cluster.superuser().run(&format!(
            "CREATE TABLESPACE space LOCATION '{}'",
            tablespace.display()
        ));
        let mut watcher = cluster.superuser();
        create_database(&cluster, "first").run(SUBMIT);
        create_database(&cluster, "bystander").run(SUBMIT);
        let mut before = |database| {
            await_worker(&mut watcher, database);
            cluster.connect("postgres", &cluster.superuser)
        };
        before("first").run("CREATE DATABASE copy TEMPLATE first");
        before("first").run("ALTER DATABASE first SET TABLESPACE space");
        before("first").run("ALTER DATABASE first RENAME TO second");
        before("second").run("CREATE DATABASE unconcerned; ");
        before("second").run("DROP DATABASE unconcerned");
        before("second").run("DROP DATABASE second");
        let dropped = "SELECT count(*) FROM pg_database WHERE datname IN ('first', 'second')";
        assert_eq!(before("bystander").value::<i64>(dropped), 0);
        before("bystander").run("DROP DATABASE bystander WITH (FORCE)");
        assert_no_crash(&cluster);
    }
}

/// Every CREATE DATABASE copies template1.
#[test]
fn a_template_with_the_extension_has_no_worker() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut template = cluster.connect("template1", &cluster.superuser);
    template.run("CREATE EXTENSION utl_smtp");
    template.run(&office(e2e::closed_port()));
    template.run(SUBMIT);
    drop(template);
    let mut session = cluster.superuser();
    session.run("CREATE DATABASE fresh");
    await_launcher(&mut session);
    // What it has inherited is held, what it queues itself is not.
    let mut fresh = cluster.connect("fresh", &cluster.superuser);
    fresh.run(SUBMIT);
    await_worker(&mut session, "fresh");
    wait_until("the copied message is held", || {
        let held = "SELECT string_agg(message_id || coalesce(held_reason, ''), ' ' ORDER BY message_id) FROM utl_smtp.message";
        fresh.value::<String>(held) == "1copy 2"
    });
    assert_eq!(worker_of(&mut session, "template1"), None);
}

#[test]
fn a_worker_leaves_with_the_extension_and_comes_back_with_it() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let mut session = create_database(&cluster, "postgres");
        for _ in 0..3 {
            session.run(SUBMIT);
            await_worker(&mut session, "postgres");
            session.run("DROP EXTENSION utl_smtp CASCADE");
            // Something else of that name is not the extension.
            session.run("CREATE SCHEMA utl_smtp; CREATE TABLE utl_smtp.message (x integer)");
            await_no_worker(&mut session, "postgres");
            session.run("DROP SCHEMA utl_smtp CASCADE; CREATE EXTENSION utl_smtp");
            session.run(&office(e2e::closed_port()));
        }
        assert_eq!(
            log_lines(&cluster, "WARNING:  no mail"),
            Vec::<String>::new()
        );
        assert_no_crash(&cluster);
    }
}

#[test]
fn a_database_whose_extension_has_another_version_rests() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut session = create_database(&cluster, "postgres");
    session.run(SUBMIT);
    await_worker(&mut session, "postgres");
    let version: String =
        session.value("SELECT extversion FROM pg_extension WHERE extname = 'utl_smtp'");
    let set = |version: &str| {
        format!("UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'utl_smtp'")
    };
    session.run(&set("0.0.1"));
    await_no_worker(&mut session, "postgres");
    let state = "SELECT state FROM utl_smtp.delivery_status()";
    assert_eq!(session.value::<String>(state), "outdated");
    for _ in 0..5 {
        session.run(SUBMIT);
    }
    let warnings = || {
        log_lines(
            &cluster,
            "WARNING:  no mail of database \"postgres\" is sent: extension utl_smtp has version",
        )
    };
    let hints = |hint| log_lines(&cluster, &format!("HINT:  {hint}")).len();
    let (older, newer) = (
        "ALTER EXTENSION utl_smtp UPDATE;",
        "Where utl_smtp is in shared_preload_libraries, restart the server.",
    );
    assert_eq!(warnings().len(), 1, "{:#?}", warnings());
    assert!(warnings()[0].contains("version 0.0.1,"));
    assert_eq!((hints(older), hints(newer)), (1, 0));
    // It was updated, and the server has not been restarted since a newer library was installed.
    session.run(&set("1000.0.0"));
    wait_until("the other version is named", || hints(newer) == 1);
    session.run(&set(&version));
    await_sender(&mut session);
    assert_eq!(warnings().len(), 2, "{:#?}", warnings());
    session.run(&set("0.0.1"));
    await_no_worker(&mut session, "postgres");
    assert_eq!((hints(older), hints(newer)), (2, 1));
}

#[test]
fn delivery_is_stopped_for_a_database_and_for_the_cluster() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let mut session = create_database(&cluster, "postgres");
        let mut other = create_database(&cluster, "other");
        other.run(SUBMIT);
        session.run(SUBMIT);
        await_worker(&mut session, "postgres");
        await_worker(&mut session, "other");
        let state = "SELECT state FROM utl_smtp.delivery_status()";
        let open = "SELECT count(*) FROM utl_smtp.delivery_pause WHERE ended_at IS NULL";

        session.run("SELECT utl_smtp.stop_delivery()");
        assert_eq!(session.value::<String>(state), "stopped");
        await_no_worker(&mut session, "postgres");
        assert_eq!(session.value::<i64>(open), 1);
        session.run(SUBMIT);
        assert_eq!(log_lines(&cluster, "ERROR"), Vec::<String>::new());
        await_no_worker(&mut session, "postgres");
        await_worker(&mut session, "other");
        session.run("SELECT utl_smtp.start_delivery()");
        // One that is only seen may be about to note that mail does not age.
        await_sender(&mut session);
        assert_eq!(session.value::<i64>(open), 0);

        session.run("ALTER SYSTEM SET utl_smtp.deliver = off");
        session.run("SELECT pg_reload_conf()");
        for database in ["postgres", "other"] {
            await_no_worker(&mut session, database);
        }
        for session in [&mut session, &mut other] {
            wait_until("the pause is noted", || session.value::<i64>(open) == 1);
            session.run(SUBMIT);
            wait_until("the session has read the configuration", || {
                session.value::<String>(state) == "off"
            });
        }
        session.run("SELECT utl_smtp.start_delivery()");
        assert_eq!(session.value::<i64>(open), 1);
        session.run("ALTER SYSTEM RESET utl_smtp.deliver");
        session.run("SELECT pg_reload_conf()");
        for database in ["postgres", "other"] {
            await_worker(&mut session, database);
        }
        wait_until("mail ages again", || session.value::<i64>(open) == 0);
    }
}

/// Every point at which a worker can wait for a mail server.
fn waiting() -> Vec<(&'static str, Script)> {
    let hello = || Script::greeting().on("EHLO", "250 mail");
    let data = || {
        hello()
            .on("MAIL FROM", "250 ok")
            .on("RCPT TO", "250 ok")
            .on("DATA", "354 go on")
    };
    vec![
        ("the greeting", Script::new().hold()),
        ("EHLO", Script::greeting().line().hold()),
        ("MAIL", hello().line().hold()),
        (
            "DATA",
            hello()
                .on("MAIL FROM", "250 ok")
                .on("RCPT TO", "250 ok")
                .line()
                .hold(),
        ),
        ("the final dot", data().body().hold()),
    ]
}

#[test]
fn nothing_waits_for_a_worker_that_waits_for_a_mail_server() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        for (point, script) in waiting() {
            println!("waits for {point}");
            let peer = Peer::start_each(vec![script; 40]);
            let mut session = create_database(&cluster, "busy");
            session.run(&to(peer.port()));
            session.run(SUBMIT);
            peer.await_hold();
            let mut watcher = cluster.connect("postgres", &cluster.superuser);
            let waits = "SELECT xact_start IS NULL AND backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE backend_type = 'utl_smtp delivery' AND datname = 'busy'";
            wait_until("no transaction is open", || watcher.value::<bool>(waits));
            let locks = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE backend_type = 'utl_smtp delivery' AND datname = 'busy' AND locktype <> 'advisory'";
            wait_until("it holds no lock", || watcher.value::<i64>(locks) == 0);
            // In its own database, which it need not leave.
            session.run("ALTER TABLE utl_smtp.message ADD COLUMN x integer; ALTER TABLE utl_smtp.message DROP COLUMN x");
            drop(session);
            for statement in [
                "CREATE DATABASE unconcerned",
                "DROP DATABASE unconcerned",
                "CREATE DATABASE copy TEMPLATE busy",
                "DROP DATABASE copy",
                "ALTER DATABASE busy RENAME TO renamed",
                "DROP DATABASE renamed",
            ] {
                cluster
                    .connect("postgres", &cluster.superuser)
                    .run(statement);
            }
        }
        let mut session = create_database(&cluster, "postgres");
        let peer = Peer::start_each(vec![waiting().remove(4).1; 4]);
        session.run(&to(peer.port()));
        session.run(SUBMIT);
        peer.await_hold();
        session.run("DROP EXTENSION utl_smtp CASCADE");
        await_no_worker(&mut session, "postgres");
        drop(session);
        assert_no_crash(&cluster);
        cluster.shut_down();
    }
}

/// The worker has taken over a message; the commit that says so waits for a standby that never
/// comes.
#[test]
fn a_shutdown_does_not_wait_for_a_worker_that_waits_for_a_standby() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let sink = Sink::start("");
        let mut session = create_database(&cluster, "postgres");
        session.run(&to(sink.port()));
        session.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        session.run("SELECT pg_reload_conf()");
        session.run("SET synchronous_commit = local");
        session.run(SUBMIT);
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'utl_smtp delivery'";
        wait_until("it waits", || session.value::<i64>(waits) == 1);
        let worker = worker_of(&mut session, "postgres").unwrap();
        terminate(&mut session, worker);
        wait_until("the next one waits", || session.value::<i64>(waits) == 1);
        drop(session);
        cluster.shut_down();
        assert_no_crash(&cluster);
    }
}
