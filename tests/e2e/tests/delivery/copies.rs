//! A copy never sends what its original has queued, and a standby that takes over does.

use super::installations::{Second, queue};
use super::processes::*;
use e2e::cluster::Session;
use e2e::process::wait_until;
use e2e::{OwnCluster, Peer, Script};

const NAMED: &str = "utl_smtp.home = 'berlin'";

/// A cluster with one message in its queue, which can't be sent.
fn original(settings: &[&str]) -> OwnCluster {
    let cluster = OwnCluster::start(settings);
    let mut session = create_database(&cluster, "postgres");
    session.run("SET synchronous_commit = on");
    session.run(SUBMIT);
    assert_eq!(queue(&mut session), ["1"]);
    cluster
}

/// The WARNING that messages are held.
fn warnings(second: &Second<'_>) -> Vec<String> {
    let log = second.log_text();
    let lines = log
        .lines()
        .filter(|line| line.contains("are held: this is a copy"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_restarted_or_moved_server_goes_on() {
    let cluster = original(&[PRELOAD]);
    let second = Second::of(&cluster, &cluster, "second", "");
    second.start();
    let mut session = second.session();
    session.run("SELECT utl_smtp.adopt_queue(false)");
    session.run(SUBMIT);
    assert_eq!(queue(&mut session), ["2"]);
    drop(session);
    second.stop("immediate");
    second.start();
    assert_eq!(queue(&mut second.session()), ["2"]);
    second.stop("fast");
    let there = cluster.directory().join("elsewhere");
    cluster.as_server(&format!(
        "mv {0} {1} && ln -s {1} {0}",
        second.data_directory,
        there.display(),
    ));
    second.start();
    assert_eq!(queue(&mut second.session()), ["2"]);
}

#[test]
fn a_base_backup_that_is_started_elsewhere_holds_what_its_original_has_queued() {
    for settings in [&[PRELOAD][..], &[], &[PRELOAD, NAMED]] {
        let cluster = original(settings);
        let second = Second::of(&cluster, &cluster, "second", "");
        second.start();
        let mut session = second.session();
        let peer = Peer::start(answering());
        session.run(&format!(
            "ALTER SERVER office OPTIONS (SET port '{}')",
            peer.port()
        ));
        assert_eq!(queue(&mut session), ["1 copy"]);
        assert_eq!(warnings(&second).len(), 1, "{}", second.log_text());
        let hint = "HINT:  SELECT utl_smtp.adopt_queue(true) in this database sends them, SELECT utl_smtp.adopt_queue(false) cancels them.";
        assert!(second.log_text().contains(hint));
        // What it queues itself is sent.
        session.run(SUBMIT);
        sent(&mut session, "2");
        assert_eq!(queue(&mut session), ["1 copy"]);
        assert_eq!(peer.finish().accepted(), 1);

        let peer = Peer::start(answering());
        session.run(&format!(
            "ALTER SERVER office OPTIONS (SET port '{}')",
            peer.port()
        ));
        assert_eq!(session.value::<i64>("SELECT utl_smtp.adopt_queue(true)"), 1);
        sent(&mut session, "1,2");
        assert_eq!(warnings(&second).len(), 1);
        assert_eq!(queue(&mut cluster.superuser()), ["1"]);
    }
}

/// A server that takes one message.
fn answering() -> Script {
    Script::greeting()
        .on("EHLO", "250 mail")
        .transaction()
        .quit()
}

/// Waits until these messages are sent.
#[track_caller]
fn sent(session: &mut Session, messages: &str) {
    let log = "SELECT coalesce(string_agg(message_id::text, ',' ORDER BY message_id), '') FROM utl_smtp.mail_log WHERE state = 'sent'";
    wait_until(format_args!("{messages} is sent"), || {
        session.value::<String>(log) == messages
    });
}

#[test]
fn a_promoted_standby_that_was_seen_goes_on() {
    let cluster = original(&[PRELOAD]);
    let standby = Second::of(&cluster, &cluster, "second", "-R");
    standby.start();
    let mut session = standby.session();
    await_launcher(&mut session);
    assert_eq!(workers(&mut session), []);
    let failure = session.try_run(SUBMIT).unwrap_err();
    failure.expect("25006");
    let mut primary = cluster.superuser();
    primary.run(SUBMIT);
    standby.catch_up(&mut primary);
    cluster.shut_down();
    // It stays what it was over restarts of the launcher.
    let pid = await_launcher(&mut session);
    terminate(&mut session, pid);
    await_launcher(&mut session);
    standby.promote();
    assert_eq!(queue(&mut session), ["1", "2"]);
    // The sequence may have jumped.
    let third: i64 = session.value(SUBMIT);
    let all = ["1".to_owned(), "2".to_owned(), third.to_string()];
    // So does a standby of it, with what all before it have queued, and the first one as a standby
    // of that.
    let next = Second::of(&cluster, &standby, "third", "-R");
    next.start();
    await_launcher(&mut next.session());
    next.catch_up(&mut session);
    drop(session);
    standby.stop("fast");
    next.promote();
    assert_eq!(queue(&mut next.session()), all);
    // The knowledge lasts.
    next.stop("fast");
    next.start();
    assert_eq!(queue(&mut next.session()), all);
    assert_eq!(warnings(&next), Vec::<String>::new());
}

#[test]
fn a_promoted_standby_that_nobody_has_seen_goes_on_by_its_name_only() {
    for (settings, expected) in [
        (&[][..], vec!["1 copy"]),
        (&[NAMED], vec!["1"]),
        (&[PRELOAD, NAMED, "hot_standby = off"], vec!["1"]),
        (&[PRELOAD, "hot_standby = off"], vec!["1 copy"]),
    ] {
        let cluster = original(settings);
        let standby = Second::of(&cluster, &cluster, "second", "-R");
        if settings.contains(&"hot_standby = off") {
            // Without pg_ctl, which would wait for a server that answers.
            cluster.as_server(&format!(
                "{}/pg_ctl -s start -W -D {} -l {} -o '-p {}' </dev/null",
                standby.bin, standby.data_directory, standby.log, standby.port
            ));
            wait_until("the standby has started", || {
                std::fs::read_to_string(&standby.log)
                    .is_ok_and(|log| log.contains("started streaming WAL"))
            });
        } else {
            standby.start();
        }
        standby.promote();
        wait_until("it is promoted", || {
            standby.try_connect("postgres", &standby.superuser).is_ok()
        });
        assert_eq!(queue(&mut standby.session()), expected, "{settings:?}");
    }
}

#[test]
fn another_name_makes_a_promoted_standby_a_copy() {
    let cluster = original(&[PRELOAD, NAMED]);
    let standby = Second::of(&cluster, &cluster, "second", "-R");
    standby.set(&["utl_smtp.home = 'test'"]);
    standby.start();
    await_launcher(&mut standby.session());
    standby.promote();
    assert_eq!(queue(&mut standby.session()), ["1 copy"]);
}

/// A restore leaves the same traces as a promotion where it has no target.
#[test]
fn a_restore_from_an_archive_holds_what_its_original_has_queued() {
    let target = "recovery_target_name = 'here'";
    for (settings, recovery, expected) in [
        (&[PRELOAD][..], "", vec!["1 copy", "2 copy"]),
        (&[PRELOAD], target, vec!["1 copy", "2 copy"]),
        (&[PRELOAD, NAMED], target, vec!["1 copy", "2 copy"]),
        (&[PRELOAD, NAMED], "", vec!["1", "2"]),
        (&[], "", vec!["1 copy", "2 copy"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        let archive = directory.path().display();
        let archiving = format!("archive_command = 'cp %p {archive}/%f'");
        let archived: Vec<&str> = ["archive_mode = on", &archiving]
            .iter()
            .chain(settings)
            .copied()
            .collect();
        let cluster = original(&archived);
        let second = Second::of(&cluster, &cluster, "second", "");
        let mut session = cluster.superuser();
        session.run("SET synchronous_commit = on");
        session.run(SUBMIT);
        session.run("SELECT pg_create_restore_point('here')");
        let segment: String = session.value("SELECT pg_walfile_name(pg_switch_wal())");
        wait_until("the log is archived", || {
            directory.path().join(&segment).exists()
        });
        second.set(&[
            &format!("restore_command = 'cp {archive}/%f %p'"),
            "archive_mode = off",
            "recovery_target_action = 'promote'",
            recovery,
        ]);
        second.touch("recovery.signal");
        second.start();
        let mut session = second.session();
        wait_until("the restore is over", || {
            !session.value::<bool>("SELECT pg_is_in_recovery()")
        });
        assert_eq!(queue(&mut session), expected, "{settings:?} {recovery}");
    }
}

#[test]
fn a_database_that_is_restored_from_a_dump_holds_what_was_in_it() {
    let cluster = original(&[]);
    cluster.superuser().run("CREATE DATABASE restored");
    let access = format!(
        "-h {} -p {} -U {}",
        cluster.host, cluster.port, cluster.superuser
    );
    cluster.as_server(&format!(
        "{0}/pg_dump {access} postgres | {0}/psql -X -q -v ON_ERROR_STOP=1 {access} restored",
        cluster.bin
    ));
    let mut session = cluster.connect("restored", &cluster.superuser);
    session.run("SELECT utl_smtp.start_delivery()");
    let held = "SELECT held_reason FROM utl_smtp.mail_queue";
    wait_until("it is held", || {
        session.value::<Option<String>>(held).as_deref() == Some("copy")
    });
    assert_eq!(
        session.value::<i64>("SELECT utl_smtp.adopt_queue(false)"),
        1
    );
    let state = "SELECT state FROM utl_smtp.mail_log";
    assert_eq!(session.value::<String>(state), "cancelled");
}
