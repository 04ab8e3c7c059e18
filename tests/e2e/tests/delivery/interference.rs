//! Sessions, operators and other databases that come between a worker and its mail.

use super::kills::{self, Kill, await_empty_queue, create_server, submit};
use super::processes::{PRELOAD, assert_no_crash, await_worker, log_lines, worker_of};
use e2e::process::{wait_for_work, wait_until};
use e2e::recorder::Copy;
use e2e::{Action, OwnCluster, Recorder, Session, Step};
use std::collections::HashSet;
use std::time::SystemTime;

/// Two databases have mail for one server, and operators push it meanwhile.
#[test]
fn workers_and_operators_at_once_send_everything_once() {
    const EACH: usize = 500;
    let cluster = OwnCluster::start(&[PRELOAD]);
    let recorder = Recorder::start();
    let mut first = cluster.superuser();
    first.run("CREATE DATABASE second");
    let mut second = cluster.connect("second", &cluster.superuser);
    second.run("CREATE EXTENSION utl_smtp");
    for session in [&mut first, &mut second] {
        create_server(session, "office", &recorder);
        let database: String = session.value("SELECT current_database()::text");
        session.run(&format!(
            "SELECT utl_smtp.submit('office', '{database}-' || n || '@example.com', ARRAY['bob@example.com'], 'x')
             FROM generate_series(1, {EACH}) AS n"
        ));
    }
    for session in [&mut first, &mut second] {
        wait_for_work("everything is sent", || {
            session.run(
                "SELECT utl_smtp.push_queue(); SELECT utl_smtp.retry(message_id) FROM utl_smtp.mail_queue",
            );
            session.value("SELECT count(*) FROM utl_smtp.mail_queue")
        });
        let sent: i64 = session
            .value("SELECT count(*) FROM utl_smtp.mail_log WHERE state = 'sent' AND attempts = 1");
        assert_eq!(sent as usize, EACH);
    }
    let copies = recorder.copies();
    let senders: HashSet<&str> = copies.iter().map(|copy| &*copy.sender).collect();
    assert_eq!((copies.len(), senders.len()), (2 * EACH, 2 * EACH));
    assert_no_crash(&cluster);
}

/// Calling `retry` or `cancel` for a message that they leave as it is does not keep the worker from
/// sending it or from recording the result, however long the caller's transaction lasts.
#[test]
fn operators_lock_only_what_they_change() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    recorder.hold(Step::Dot);
    session.run("SELECT utl_smtp.stop_delivery()");
    let id: i64 = session.value(&submit("office", "app@example.com"));
    let mut operator = cluster.superuser();
    operator.run("BEGIN");
    let mut do_nothing = |call: &str| {
        let recipients: i32 = operator.value(&format!("SELECT utl_smtp.{call}({id})"));
        assert_eq!(recipients, 0, "{call}");
    };
    do_nothing("retry");
    session.run("SELECT utl_smtp.start_delivery()");
    recorder.await_held(Step::Dot, 1);
    do_nothing("retry");
    do_nothing("cancel");
    recorder.go();
    await_empty_queue(&mut session);
    operator.run("COMMIT");
    let sent = "SELECT state || attempts FROM utl_smtp.mail_log";
    assert_eq!(session.value::<String>(sent), "sent1");
    assert_no_crash(&cluster);
}

/// While a transaction holds rows that `cancel` or `unsuppress` has locked, all other mail is sent,
/// and nothing is sent twice.
#[test]
fn a_transaction_that_stays_open_stops_no_mail_of_others() {
    let cluster = OwnCluster::start(&[PRELOAD, "utl_smtp.soft_bounce_limit = 5"]);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    recorder.hold(Step::Dot);
    session.run(
        "INSERT INTO utl_smtp.soft_bounce VALUES ('bob@example.com', 1, clock_timestamp());
         SELECT utl_smtp.suppress('eve@example.com');
         SELECT utl_smtp.stop_delivery()",
    );
    let mail = |session: &mut Session, sender: &str, recipients: &str| -> i64 {
        session.value(&format!(
            "SELECT utl_smtp.submit('office', '{sender}@example.com', '{{{recipients}}}', 'x')"
        ))
    };
    let unsent = mail(&mut session, "unsent", "bob@example.com");
    let halfway = mail(&mut session, "halfway", "bob@example.com,late@example.com");
    session.run(
        "UPDATE utl_smtp.message_recipient SET next_attempt_at = 'infinity' WHERE recipient LIKE 'late%'",
    );
    let mut operator = cluster.superuser();
    operator.run("BEGIN");
    let mut cancel = |id: i64| {
        let cancelled: i32 = operator.value(&format!("SELECT utl_smtp.cancel({id})"));
        assert_eq!(cancelled, 1);
    };
    cancel(unsent);
    session.run("SELECT utl_smtp.start_delivery()");
    recorder.await_held(Step::Dot, 1);
    cancel(halfway);
    operator.run("SELECT utl_smtp.unsuppress('eve@example.com')");

    recorder.play(|point| match (point.step, &*point.sender) {
        (Step::Rcpt, "full@example.com") => Action::reply("550 5.2.2 full"),
        _ => Action::Go,
    });
    for sender in ["sent", "full"] {
        mail(&mut session, sender, "bob@example.com");
    }
    mail(&mut session, "suppressed", "eve@example.com");
    mail(&mut session, "other", "late@example.com");
    let results = "SELECT string_agg(concat_ws(' ', sender, state), ', ' ORDER BY sender) FROM utl_smtp.mail_log";
    wait_until("all other mail is over", || {
        session.value::<i64>("SELECT count(*) FROM utl_smtp.mail_log") == 4
    });
    assert_eq!(
        session.value::<String>(results),
        "full@example.com failed, other@example.com sent, sent@example.com sent, suppressed@example.com suppressed"
    );
    assert_eq!(log_lines(&cluster, "lock timeout"), Vec::<String>::new());

    operator.run("COMMIT");
    await_empty_queue(&mut session);
    assert_eq!(recorder.copies_from("halfway@example.com").len(), 1);
    assert_eq!(recorder.copies_from("unsent@example.com").len(), 0);
    let halfway = format!(
        "SELECT string_agg(concat_ws(' ', recipient, state), ', ' ORDER BY recipient) FROM utl_smtp.mail_log WHERE message_id = {halfway}"
    );
    let halfway: String = session.value(&halfway);
    assert_eq!(halfway, "bob@example.com sent, late@example.com cancelled");
    assert_no_crash(&cluster);
}

/// A transaction that has called `push_queue()` and stays open keeps no worker from starting.
#[test]
fn a_worker_starts_while_a_push_is_not_committed() {
    let cluster = OwnCluster::start(&[PRELOAD]);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    let mut operator = cluster.superuser();
    operator.run("BEGIN; SELECT utl_smtp.push_queue()");
    session.run(&submit("office", "app@example.com"));
    await_empty_queue(&mut session);
    operator.run("COMMIT");
    assert_eq!(recorder.copies().len(), 1);
    assert_eq!(log_lines(&cluster, "lock timeout"), Vec::<String>::new());
}

/// A transaction that began before others is committed after they are sent, and so is
/// one that was prepared before a crash.
#[test]
fn mail_that_is_committed_late_is_sent() {
    let settings = [&kills::DURABLE[..], &["max_prepared_transactions = 2"]];
    let cluster = OwnCluster::start(&settings.concat());
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    session.run("BEGIN");
    session.run(&submit("office", "prepared@example.com"));
    session.run("PREPARE TRANSACTION 'mail'");
    let mut late = kills::connect(&cluster);
    late.run("BEGIN");
    late.run(&submit("office", "late@example.com"));
    // More than a worker that was woken looks back.
    session.run(
        "SELECT utl_smtp.submit('office', n || '@example.com', ARRAY['bob@example.com'], 'x')
         FROM generate_series(1, 300) AS n",
    );
    await_empty_queue(&mut session);
    assert_eq!(recorder.copies().len(), 300);
    let committed = SystemTime::now();
    late.run("COMMIT");
    wait_until("it is sent", || {
        !recorder.copies_from("late@example.com").is_empty()
    });
    let copies = recorder.copies_from("late@example.com");
    assert!(copies[0].at >= committed);
    await_empty_queue(&mut session);

    Kill::Immediate.strike(&cluster);
    let mut session = kills::connect(&cluster);
    assert_eq!(recorder.copies_from("prepared@example.com").len(), 0);
    session.run("COMMIT PREPARED 'mail'");
    wait_until("it is sent", || {
        !recorder.copies_from("prepared@example.com").is_empty()
    });
    await_empty_queue(&mut session);
    assert_eq!(recorder.copies().len(), 302);
}

/// Rows are deleted and changed while their messages are in flight, and the tables emptied.
#[test]
fn rows_that_are_taken_away_from_the_worker_do_not_stop_it() {
    let cluster = OwnCluster::start(&[PRELOAD, "utl_smtp.retry_minimum = 1"]);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    recorder.hold(Step::Dot);
    let changes = [
        "DELETE FROM utl_smtp.message WHERE message_id = $1",
        "DELETE FROM utl_smtp.message_recipient WHERE message_id = $1",
        "DELETE FROM utl_smtp.message_content WHERE message_id = $1",
        "UPDATE utl_smtp.message_recipient SET recipient = 'eve@example.com', recipient_no = 9 WHERE message_id = $1",
        "UPDATE utl_smtp.message SET lease = NULL, next_attempt_at = 'infinity' WHERE message_id = $1",
        "UPDATE utl_smtp.message SET message_id = -$1 WHERE message_id = $1",
        "UPDATE utl_smtp.message SET held_reason = 'mine' WHERE message_id = $1",
    ];
    let ids: Vec<i64> = (0..changes.len())
        .map(|number| session.value(&submit("office", &format!("{number}@example.com"))))
        .collect();
    recorder.await_held(Step::Dot, changes.len());
    let worker = await_worker(&mut session, "postgres");
    for (change, id) in changes.iter().zip(&ids) {
        assert_eq!(session.execute(*change, &[id]).unwrap(), 1, "{change}");
    }
    recorder.go();
    assert_flows(&mut session, &recorder, "after-changes@example.com");

    // A large message is read while it is sent.
    recorder.hold(Step::Body);
    session.run(
        "SELECT utl_smtp.submit('office', 'large@example.com', ARRAY['bob@example.com'], repeat(repeat('x', 78) || E'\r\n', 100000))",
    );
    recorder.await_held(Step::Body, 1);
    session.run("TRUNCATE utl_smtp.message, utl_smtp.message_recipient, utl_smtp.message_content");
    recorder.go();
    assert_flows(&mut session, &recorder, "after-truncate@example.com");
    assert_eq!(recorder.copies_from("large@example.com").len(), 0);
    assert_eq!(worker_of(&mut session, "postgres"), Some(worker));
    for text in ["ERROR", "WARNING"] {
        let lines = log_lines(&cluster, text);
        assert!(lines.len() < 5, "{lines:#?}");
    }
    assert_no_crash(&cluster);
}

#[track_caller]
fn assert_flows(session: &mut Session, recorder: &Recorder, sender: &str) {
    session.run(&submit("office", sender));
    wait_until(format_args!("{sender} is sent"), || {
        let log = "SELECT state FROM utl_smtp.mail_log WHERE sender = $1";
        session.query_opt(log, &[&sender]).unwrap().is_some()
    });
    let copies: Vec<Copy> = recorder.copies_from(sender);
    assert_eq!(copies.len(), 1);
}

/// The server can't be used by an owner of mail for a while.
#[test]
fn mail_of_an_owner_waits_while_he_may_not_use_its_server() {
    let cluster = OwnCluster::start(&[PRELOAD, "utl_smtp.retry_minimum = 1"]);
    let recorder = Recorder::start();
    let mut session = cluster.superuser();
    create_server(&mut session, "office", &recorder);
    recorder.play(|point| match point.step {
        Step::Mail if point.sender.starts_with("stop") => Action::Hold,
        _ => Action::Go,
    });
    session.run("CREATE ROLE app; GRANT USAGE ON FOREIGN SERVER office TO app");
    session.run("BEGIN; SET LOCAL ROLE app");
    session.run(&submit("office", "app@example.com"));
    session.run("RESET ROLE; REVOKE USAGE ON FOREIGN SERVER office FROM app; COMMIT");
    session.run(&submit("office", "other@example.com"));
    wait_until("mail of others is sent", || {
        !recorder.copies_from("other@example.com").is_empty()
    });
    wait_until("the worker says why", || {
        !log_lines(&cluster, "permission denied for foreign server office").is_empty()
    });
    let waits =
        "SELECT state || attempts FROM utl_smtp.mail_queue WHERE sender = 'app@example.com'";
    assert_eq!(session.value::<String>(waits), "queued0");
    session.run("GRANT USAGE ON FOREIGN SERVER office TO app");
    await_empty_queue(&mut session);
    let sent = "SELECT state || attempts FROM utl_smtp.mail_log WHERE sender = 'app@example.com'";
    assert_eq!(session.value::<String>(sent), "sent1");
    assert_no_crash(&cluster);
}
