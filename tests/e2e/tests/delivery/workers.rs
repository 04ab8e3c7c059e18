//! The launcher and the workers: when there are any, what makes them leave, and that they come back.

use super::processes::*;
use e2e::process::{self, wait_until};
use e2e::{OwnCluster, Session};

#[test]
fn the_first_message_starts_a_launcher_and_a_worker() {
    let cluster = OwnCluster::start(&[]);
    let mut session = create_database(&cluster, "postgres");
    let mut watcher = cluster.superuser();
    let state = "SELECT state FROM utl_smtp.delivery_status()";
    assert_eq!(launcher(&mut watcher), None);
    assert_eq!(watcher.value::<String>(state), "absent");
    session.run("BEGIN");
    session.run(SUBMIT);
    let launcher = await_launcher(&mut watcher);
    session.run("COMMIT");
    let worker = await_worker(&mut watcher, "postgres");
    wait_until("the worker works", || {
        watcher.value::<String>(state) == "running"
    });
    let pid = "SELECT pid FROM utl_smtp.delivery_status()";
    assert_eq!(watcher.value::<i32>(pid), worker);
    let name = "SELECT datname FROM pg_stat_activity WHERE backend_type = 'utl_smtp launcher'";
    assert_eq!(watcher.value::<Option<String>>(name), None);
    // Nothing is started twice.
    for _ in 0..20 {
        session.run(SUBMIT);
    }
    assert_eq!(await_launcher(&mut watcher), launcher);
    assert_eq!(workers(&mut watcher).len(), 1);
    assert_no_crash(&cluster);
}

#[test]
fn a_preloaded_launcher_is_there_from_the_start_and_sees_mail_of_before() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut session = create_database(&cluster, "postgres");
    await_launcher(&mut session);
    assert_eq!(workers(&mut session), []);
    session.run(SUBMIT);
    await_worker(&mut session, "postgres");
    drop(session);
    restart(&cluster, "fast");
    let mut session = cluster.superuser();
    await_launcher(&mut session);
    await_worker(&mut session, "postgres");
}

#[test]
fn after_a_restart_without_preload_the_next_message_starts_a_launcher() {
    let cluster = OwnCluster::start(&[]);
    let mut session = create_database(&cluster, "postgres");
    create_database(&cluster, "other").run(SUBMIT);
    await_worker(&mut session, "other");
    drop(session);
    restart(&cluster, "fast");
    let mut session = cluster.superuser();
    let state = "SELECT state FROM utl_smtp.delivery_status()";
    assert_eq!(session.value::<String>(state), "absent");
    session.run("SELECT utl_smtp.start_delivery()");
    // Mail of other databases is seen, too.
    await_worker(&mut session, "other");
    assert_eq!(session.value::<String>(state), "idle");
}

fn restart(cluster: &OwnCluster, mode: &str) {
    let data = &cluster.data_directory;
    let (bin, port, log) = (&cluster.bin, cluster.port, &cluster.log);
    cluster.as_server(&format!(
        "{bin}/pg_ctl restart -w -s -m {mode} -D {data} -l {log} -o '-p {port}' </dev/null"
    ));
}

/// A slot of max_worker_processes that is not given back would be missed after a few times.
#[test]
fn terminated_or_cancelled_processes_are_back_each_of_a_hundred_times() {
    let few = [
        "max_worker_processes = 3",
        "max_logical_replication_workers = 0",
    ];
    for preload in BOTH {
        let settings: Vec<&str> = few.iter().chain(preload).copied().collect();
        let cluster = OwnCluster::start(&settings);
        create_database(&cluster, "postgres").run(SUBMIT);
        let mut session = cluster.superuser();
        for round in 0..50 {
            let worker = await_worker(&mut session, "postgres");
            let launcher = await_launcher(&mut session);
            match round % 4 {
                0 => terminate(&mut session, worker),
                1 => terminate(&mut session, launcher),
                2 => {
                    process::signal(launcher, "TERM");
                    process::signal(worker, "TERM");
                    wait_until("both end", || {
                        !process::is_alive(launcher) && !process::is_alive(worker)
                    });
                }
                _ => {
                    for pid in [worker, launcher] {
                        let cancel = "SELECT pg_cancel_backend($1)";
                        session.execute(cancel, &[&pid]).unwrap();
                    }
                }
            }
            await_launcher(&mut session);
            await_worker(&mut session, "postgres");
        }
        assert_no_crash(&cluster);
    }
}

#[test]
fn a_crash_restart_brings_launcher_and_worker_back() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let mut session = create_database(&cluster, "postgres");
        session.run("SET synchronous_commit = on");
        session.run(SUBMIT);
        let worker = await_worker(&mut session, "postgres");
        let launcher = await_launcher(&mut session);
        process::signal(worker, "KILL");
        let connect = || cluster.try_connect("postgres", &cluster.superuser);
        wait_until("the server is back", || {
            !process::is_alive(launcher) && connect().is_ok()
        });
        let mut session = connect().unwrap();
        await_launcher(&mut session);
        await_worker(&mut session, "postgres");
        assert_eq!(
            session.value::<i64>("SELECT count(*) FROM utl_smtp.mail_queue"),
            1
        );
    }
}

/// Statements about a database that has a worker, by sessions that have not loaded the library. PostgreSQL itself gives up
/// after five seconds.
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
fn an_error_in_the_worker_ends_neither_it_nor_its_work() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut session = create_database(&cluster, "postgres");
    session.run(SUBMIT);
    let worker = await_worker(&mut session, "postgres");
    running(&mut session);
    let errors = || log_lines(&cluster, "lock timeout").len();
    let before = process::processor_time(worker);
    session.run("BEGIN; LOCK TABLE utl_smtp.message, utl_smtp.delivery_control");
    wait_until("the worker fails", || errors() > 0);
    let in_transaction = "SELECT xact_start IS NOT NULL FROM pg_stat_activity WHERE backend_type = 'utl_smtp delivery'";
    let mut watcher = cluster.connect("postgres", &cluster.superuser);
    wait_until("it waits outside of a transaction", || {
        !watcher.value::<bool>(in_transaction)
    });
    std::thread::sleep(std::time::Duration::from_secs(5));
    session.run("COMMIT");
    assert!(process::processor_time(worker) - before < std::time::Duration::from_secs(2));
    // The same error is not logged again and again.
    assert!(errors() < 10, "{} lines", errors());
    session.run("UPDATE utl_smtp.worker_state SET state = NULL");
    session.run("DELETE FROM utl_smtp.message");
    wait_until("it goes on", || {
        session.value::<Option<String>>("SELECT state FROM utl_smtp.worker_state")
            == Some("idle".into())
    });
    assert_eq!(worker_of(&mut session, "postgres"), Some(worker));
    let error = "SELECT last_error FROM utl_smtp.delivery_status()";
    assert!(session.value::<String>(error).contains("lock timeout"));
}

fn running(session: &mut Session) {
    wait_until("the worker works", || {
        let state = "SELECT state FROM utl_smtp.worker_state WHERE pid IS NOT NULL";
        session.query_opt(state, &[]).unwrap().is_some()
    });
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
    let warnings = log_lines(
        &cluster,
        "WARNING:  no mail of database \"postgres\" is sent",
    );
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("extension utl_smtp has version 0.0.1"));
    assert_eq!(
        log_lines(&cluster, "HINT:  ALTER EXTENSION utl_smtp UPDATE;").len(),
        1
    );
    session.run(&set(&version));
    await_worker(&mut session, "postgres");
    assert_eq!(log_lines(&cluster, "WARNING:  no mail").len(), 1);
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
        assert_eq!(worker_of(&mut session, "postgres"), None);
        await_worker(&mut session, "other");
        session.run("SELECT utl_smtp.start_delivery()");
        await_worker(&mut session, "postgres");
        assert_eq!(session.value::<i64>(open), 0);

        session.run("ALTER SYSTEM SET utl_smtp.deliver = off");
        session.run("SELECT pg_reload_conf()");
        for database in ["postgres", "other"] {
            await_no_worker(&mut session, database);
        }
        for session in [&mut session, &mut other] {
            wait_until("the pause is noted", || session.value::<i64>(open) == 1);
            session.run(SUBMIT);
            assert_eq!(session.value::<String>(state), "off");
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

#[test]
fn who_may_start_and_stop_delivery() {
    let database = e2e::Database::new();
    let role = database.role("app");
    let mut session = database.connect(&role);
    for call in ["utl_smtp.start_delivery()", "utl_smtp.stop_delivery()"] {
        let failure = session.try_run(&format!("SELECT {call}")).unwrap_err();
        failure.expect("42501");
        database
            .superuser()
            .run(&format!("GRANT EXECUTE ON FUNCTION {call} TO {role}"));
        session.run(&format!("SELECT {call}"));
        let failure = session
            .try_run(&format!("BEGIN READ ONLY; SELECT {call}"))
            .unwrap_err();
        failure.expect("25006");
        session.run("ROLLBACK");
    }
    let enabled = "SELECT enabled FROM utl_smtp.delivery_control";
    assert!(!database.superuser().value::<bool>(enabled));
}
