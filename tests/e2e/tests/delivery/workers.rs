//! The launcher and the workers: when they run, and that they come back.

use super::processes::*;
use e2e::process::{self, BOUND, wait_for_work, wait_until};
use e2e::{OwnCluster, Session, Sink};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
    wait_until("there is no mail in this one", || {
        session.value::<String>(state) == "idle"
    });
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
fn terminated_or_cancelled_processes_are_back_each_of_fifty_times_with_preload() {
    are_back_each_time(BOTH[0]);
}

#[test]
fn terminated_or_cancelled_processes_are_back_each_of_fifty_times_without_preload() {
    are_back_each_time(BOTH[1]);
}

/// A hundred times in all.
fn are_back_each_time(preload: &[&str]) {
    let few = [
        "max_worker_processes = 3",
        "max_logical_replication_workers = 0",
    ];
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

#[test]
fn an_error_in_the_worker_ends_neither_it_nor_its_work() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let mut session = create_database(&cluster, "postgres");
    session.run(SUBMIT);
    let worker = await_sender(&mut session);
    let errors = || log_lines(&cluster, "lock timeout").len();
    let before = process::processor_time(worker);
    session.run("BEGIN; LOCK TABLE utl_smtp.message, utl_smtp.delivery_control");
    wait_until("the worker fails", || errors() > 0);
    let in_transaction = "SELECT xact_start IS NOT NULL FROM pg_stat_activity WHERE backend_type = 'utl_smtp delivery'";
    let mut watcher = cluster.connect("postgres", &cluster.superuser);
    wait_until("it waits outside of a transaction", || {
        !watcher.value::<bool>(in_transaction)
    });
    std::thread::sleep(Duration::from_secs(5));
    session.run("COMMIT");
    assert!(process::processor_time(worker) - before < Duration::from_secs(2));
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

/// A worker that looks for mail once a second would send a quarter of it within a quarter of a
/// second.
#[test]
fn a_commit_wakes_the_worker() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let sink = Sink::start("");
        let mut session = create_database(&cluster, "postgres");
        session.run(&to(sink.port()));
        session.run(SUBMIT);
        sent(&mut session, 1);
        let mut count = 1;
        const MAILS: usize = 40;
        // Again where a busy machine was late: one that looks does not get there by chance.
        wait_until("most mails are prompt", || {
            let mut prompt = 0;
            for _ in 0..MAILS {
                count += 1;
                session.run("BEGIN");
                session.run(SUBMIT);
                // Not in step with the looks.
                std::thread::sleep(Duration::from_millis(37 * count as u64 % 1000));
                session.run("COMMIT");
                let began = Instant::now();
                while sink.messages().len() < count {
                    assert!(began.elapsed() < BOUND);
                    std::thread::sleep(Duration::from_millis(1));
                }
                prompt += usize::from(began.elapsed() < Duration::from_millis(250));
            }
            prompt > MAILS * 6 / 10
        });
    }
}

/// Lets the mail server `office` be at this port.
pub fn to(port: u16) -> String {
    format!("ALTER SERVER office OPTIONS (SET port '{port}')")
}

/// Waits until so many messages are sent.
#[track_caller]
fn sent(session: &mut Session, count: i64) {
    wait_for_work(format_args!("{count} messages are sent"), || {
        let sent = "SELECT count(*) FROM utl_smtp.mail_log WHERE state = 'sent'";
        count - session.value::<i64>(sent)
    });
}

/// COMMIT PREPARED of another session wakes nobody, and the worker must not have left before.
#[test]
fn mail_of_a_prepared_transaction_is_sent_when_it_is_committed() {
    for settings in BOTH {
        let prepared = ["max_prepared_transactions = 2"];
        let settings: Vec<&str> = prepared.iter().chain(settings).copied().collect();
        let cluster = OwnCluster::start(&settings);
        let sink = Sink::start("");
        let mut session = create_database(&cluster, "postgres");
        session.run(&to(sink.port()));
        session.run("BEGIN");
        session.run(SUBMIT);
        session.run("PREPARE TRANSACTION 'mail'");
        drop(session);
        let mut session = cluster.superuser();
        let worker = await_worker(&mut session, "postgres");
        // A new worker that has no mail leaves at once, were it not for the transaction.
        terminate(&mut session, worker);
        let worker = await_sender(&mut session);
        session.run("COMMIT PREPARED 'mail'");
        sent(&mut session, 1);
        assert_eq!(worker_of(&mut session, "postgres"), Some(worker));
    }
}

#[test]
fn databases_take_turns_where_there_are_fewer_slots_than_databases() {
    let cluster = OwnCluster::start(&[
        PRELOAD,
        "max_worker_processes = 2",
        "max_logical_replication_workers = 0",
    ]);
    let sink = Sink::start("");
    let mut sessions: Vec<Session> = ["first", "second", "third"]
        .into_iter()
        .map(|name| {
            let mut session = create_database(&cluster, name);
            session.run(SUBMIT);
            session
        })
        .collect();
    for session in &mut sessions {
        session.run(&to(sink.port()));
        session.run("SELECT utl_smtp.push_queue()");
    }
    for session in &mut sessions {
        sent(session, 1);
    }
    let warnings = log_lines(&cluster, "WARNING:  databases with queued mail take turns");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}

#[test]
fn who_queues_mail_is_told_that_no_worker_can_be_started() {
    let cluster = OwnCluster::start(&["max_worker_processes = 0"]);
    let mut session = create_database(&cluster, "postgres");
    session.run(SUBMIT);
    assert_eq!(
        session.notice_texts(),
        ["queued mail is not sent: all slots for background workers are taken"]
    );
    assert!(
        session.notices()[0]
            .hint()
            .unwrap()
            .starts_with("Raise max_worker_processes")
    );
    let sink = Sink::start("");
    session.run(&format!(
        "SELECT utl_smtp.open_connection('127.0.0.1', {}, 10)",
        sink.port()
    ));
}

/// A database's settings are meant for its users.
#[test]
fn no_setting_of_a_database_or_a_role_changes_a_worker() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let sink = Sink::start("");
    let mut session = create_database(&cluster, "postgres");
    session.run(&to(sink.port()));
    for object in ["DATABASE postgres", "ROLE postgres", "ROLE ALL"] {
        for setting in [
            "synchronous_commit = off",
            "default_transaction_read_only = on",
            "default_transaction_isolation = serializable",
            "default_transaction_deferrable = on",
            "statement_timeout = 1",
            "lock_timeout = 1",
            "idle_in_transaction_session_timeout = 1",
            "search_path = evil, public",
            "row_security = on",
            "session_replication_role = replica",
            "standard_conforming_strings = off",
            "datestyle = 'sql, dmy'",
            "intervalstyle = sql_standard",
            "bytea_output = escape",
            "client_encoding = latin1",
            "enable_indexscan = off",
        ] {
            session.run(&format!("ALTER {object} SET {setting}"));
        }
    }
    session.run(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 1/0; SELECT NULL::timestamptz $$",
    );
    session.run(SUBMIT);
    sent(&mut session, 1);
    assert_eq!(log_lines(&cluster, "ERROR"), Vec::<String>::new());
    assert_eq!(log_lines(&cluster, "WARNING"), Vec::<String>::new());
    session.run("SET default_transaction_read_only = off; DROP SCHEMA evil CASCADE");
}

#[test]
fn an_idle_worker_costs_two_looks_a_second_and_writes_nothing() {
    let cluster = OwnCluster::start(&[PRELOAD, "autovacuum = off"]);
    let sink = Sink::start("");
    let mut session = create_database(&cluster, "postgres");
    session.run(&to(sink.port()));
    session.run(SUBMIT);
    sent(&mut session, 1);
    wait_until("the worker is idle", || {
        let idle = "SELECT state = 'idle' FROM utl_smtp.worker_state";
        session.value::<Option<bool>>(idle) == Some(true)
    });
    let worker = worker_of(&mut session, "postgres").unwrap();
    let launcher = await_launcher(&mut session);
    session.run("CHECKPOINT");
    let written = "SELECT pg_current_wal_insert_lsn()::text || ' ' || pg_current_snapshot()::text";
    // A running server writes a line about itself now and then.
    let quiet = (0..5).any(|_| {
        let before: String = session.value(written);
        let (began, sleeps) = (Instant::now(), [worker, launcher].map(process::sleeps));
        std::thread::sleep(Duration::from_secs(8));
        let seconds = began.elapsed().as_secs_f64();
        let [worker, launcher] = [(worker, sleeps[0]), (launcher, sleeps[1])]
            .map(|(pid, before)| (process::sleeps(pid) - before) as f64 / seconds);
        println!("sleeps a second: {worker} {launcher}");
        worker < 2.5 && launcher < 0.5 && session.value::<String>(written) == before
    });
    assert!(quiet);
}

/// Autovacuum goes by these numbers.
#[test]
fn statistics_and_activity_show_what_a_worker_does() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let sink = Sink::start("");
    let mut session = create_database(&cluster, "postgres");
    session.run(&to(sink.port()));
    for _ in 0..10 {
        session.run(SUBMIT);
    }
    sent(&mut session, 10);
    wait_until("the worker's writes are counted", || {
        session.value::<i64>(
            "SELECT n_tup_del FROM pg_stat_user_tables WHERE relid = 'utl_smtp.message'::regclass",
        ) == 10
    });
    let row = session
        .query_one(
            "SELECT state, query, application_name, datname::text, usename::text FROM pg_stat_activity WHERE backend_type = 'utl_smtp delivery'",
            &[],
        )
        .unwrap();
    let texts: Vec<String> = (0..5).map(|column| row.get(column)).collect();
    assert_eq!(
        texts[1..],
        [
            "delivering mail",
            "utl_smtp delivery",
            "postgres",
            "postgres"
        ]
    );
}

fn message_id(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message).into_owned();
    let field = text.lines().find(|line| line.starts_with("Message-ID: "));
    field.map(str::to_owned)
}

/// Each commit wakes the worker, and each is a PANIC if that fails.
#[test]
fn commits_while_workers_come_and_go_lose_nothing() {
    for settings in BOTH {
        let cluster = OwnCluster::start(settings);
        let sink = Sink::start("");
        create_database(&cluster, "postgres").run(&to(sink.port()));
        const EACH: i64 = 40;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut session = cluster.superuser();
                        for _ in 0..EACH {
                            session.run(SUBMIT);
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    })
                })
                .collect();
            let mut session = cluster.superuser();
            while threads.iter().any(|thread| !thread.is_finished()) {
                session.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'utl_smtp %'");
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let mut session = cluster.superuser();
        sent(&mut session, 4 * EACH);
        // Some may be there twice, or in part: of conversations that did not end within a second.
        let messages = sink.messages();
        let ids: BTreeSet<String> = messages.iter().filter_map(|m| message_id(m)).collect();
        assert_eq!(ids.len() as i64, 4 * EACH);
        assert_no_crash(&cluster);
    }
}
