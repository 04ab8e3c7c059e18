//! What operators do with the queue and the log.

use super::watching::{ONE, TWO, count, message, states};
use e2e::process::wait_until;
use e2e::rows::{Fixture, column};

#[test]
fn cancel_takes_what_waits_and_leaves_what_is_being_sent() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in 1..=3 {
        fixture.queue(&message(id, &app, TWO));
    }
    fixture.defer(1, 1, "450 4.2.1 busy");
    fixture.defer(2, 2, "450 later");
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp() WHERE message_id = 2;
         UPDATE utl_smtp.message SET held_reason = 'crashed' WHERE message_id = 3",
    );
    let mut session = fixture.database.connect(&app);
    for (id, waiting) in [(1, 2), (2, 1), (3, 2), (1, 0), (3, 0), (2, 0)] {
        let cancelled: i32 = session.value(&format!("SELECT utl_smtp.cancel({id})"));
        assert_eq!(cancelled, waiting, "{id}");
    }
    assert_eq!(states(&mut session), ["2.1 sending"]);
    let log = column(
        &mut session,
        "SELECT concat_ws(' ', message_id, recipient_no, recipient, state, server, owner, sender, subject, size,
                          attempts, last_reply, remote)
         FROM utl_smtp.mail_log WHERE finished_at BETWEEN submitted_at AND clock_timestamp() ORDER BY 1",
    );
    let row = |id: i32, no: i32, name: &str, attempts: i32, more: &str| {
        format!(
            "{id} {no} {name}@example.com cancelled office {app} app@example.com Secret subject 1000 {attempts} \
             cancelled by {app}{more}"
        )
    };
    assert_eq!(
        log,
        [
            row(1, 1, "bob", 1, "; the last attempt: 450 4.2.1 busy"),
            row(1, 2, "carol", 0, ""),
            row(2, 2, "carol", 1, "; the last attempt: 450 later"),
            row(3, 1, "bob", 0, ""),
            row(3, 2, "carol", 0, ""),
        ]
    );
    // Nothing is left of the cancelled messages.
    for table in ["message", "message_recipient", "message_content"] {
        let left = column(
            &mut fixture.superuser,
            &format!("SELECT DISTINCT message_id::text FROM utl_smtp.{table}"),
        );
        assert_eq!(left, ["2"], "{table}");
    }
}

/// Cancelling thousands one by one takes no longer where more of them wait.
#[test]
fn cancel_and_retry_read_one_message_of_a_long_queue() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, TWO));
    fixture.defer(1, 1, "450 4.2.1 busy");
    for table in ["message", "message_recipient"] {
        fixture.superuser.run(&format!(
            "INSERT INTO utl_smtp.{table}
             SELECT (jsonb_populate_record(r, jsonb_build_object('message_id', 1 + i))).*
               FROM utl_smtp.{table} AS r, generate_series(1, 5000) AS i
              WHERE r.message_id = 1;
             ANALYZE utl_smtp.{table}"
        ));
    }
    for call in ["retry(7)", "cancel(7)"] {
        fixture.superuser.run("BEGIN");
        let recipients: i32 = fixture.superuser.value(&format!("SELECT utl_smtp.{call}"));
        let read: i64 = fixture.superuser.value(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
              WHERE schemaname = 'utl_smtp' AND relname LIKE 'message%'",
        );
        fixture.superuser.run("COMMIT");
        assert!(
            recipients > 0 && read < 100,
            "{call}: {recipients} recipients, {read} rows read"
        );
    }
}

/// A message that is claimed while `cancel` waits for it is the worker's.
#[test]
fn cancel_looks_at_a_message_when_it_has_locked_it() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, ONE));
    let mut session = fixture.database.connect(&app);
    let pid = session.pid();
    fixture.superuser.run(
        "BEGIN; UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp() WHERE message_id = 1",
    );
    let cancelled = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| session.value::<i32>("SELECT utl_smtp.cancel(1)"));
        let mut observer = fixture.database.superuser();
        wait_until("cancel waits for the message", || {
            observer.value::<bool>(&format!(
                "SELECT coalesce(wait_event_type = 'Lock', false) FROM pg_stat_activity WHERE pid = {pid}"
            ))
        });
        fixture.superuser.run("COMMIT");
        waiting.join().unwrap()
    });
    assert_eq!(cancelled, 0);
    assert_eq!(states(&mut fixture.superuser), ["1.1 sending"]);
}

#[test]
fn a_message_of_another_role_can_not_be_told_from_none() {
    let mut fixture = Fixture::new();
    let [app, eve] = ["app", "eve"].map(|name| fixture.database.role(name));
    fixture.queue(&message(1, &app, ONE));
    fixture.log(2, &app, "sent", "now()", "250 ok");
    let mut session = fixture.database.connect(&eve);
    for routine in ["cancel", "retry"] {
        let mut refusal = |id: i64| {
            let call = format!("SELECT utl_smtp.{routine}({id})");
            let failure = session.try_run(&call).unwrap_err().expect("42501");
            format!("{failure}").replace(&format!("message {id}"), "message")
        };
        let none = refusal(99);
        assert!(none.contains("utl_smtp.mail_queue"), "{none}");
        assert_eq!(refusal(1), none);
        assert_eq!(refusal(2), none);
    }
    for routine in ["cancel", "retry"] {
        let call = format!("SELECT utl_smtp.{routine}(NULL)");
        session.try_run(&call).unwrap_err().expect("22023");
    }
    assert_eq!(states(&mut fixture.superuser), ["1.1 queued"]);
    // The owner of a final message may ask, and so may a superuser for anybody's.
    let mut own = fixture.database.connect(&app);
    assert_eq!(own.value::<i32>("SELECT utl_smtp.cancel(2)"), 0);
    assert_eq!(
        fixture.superuser.value::<i32>("SELECT utl_smtp.cancel(1)"),
        1
    );
}

#[test]
fn retry_makes_deferred_recipients_due_and_frees_what_crashes_held() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in 1..=4 {
        fixture.queue(&message(id, &app, TWO));
    }
    fixture.defer(1, 1, "450 later");
    fixture.defer(2, 1, "450 later");
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET held_reason = 'crashed', crashes = 3 WHERE message_id = 2;
         UPDATE utl_smtp.message SET held_reason = 'copy' WHERE message_id = 3;
         UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp() WHERE message_id = 4",
    );
    let mut session = fixture.database.connect(&app);
    for (id, retried) in [(1, 1), (2, 2), (3, 0), (4, 0)] {
        let count: i32 = session.value(&format!("SELECT utl_smtp.retry({id})"));
        assert_eq!(count, retried, "{id}");
    }
    let due: i64 = fixture.superuser.value(
        "SELECT count(*) FROM utl_smtp.message JOIN utl_smtp.message_recipient AS r USING (message_id)
         WHERE message_id < 3 AND message.next_attempt_at <= clock_timestamp()
           AND r.next_attempt_at <= clock_timestamp()",
    );
    assert_eq!(due, 4);
    let held = column(
        &mut fixture.superuser,
        "SELECT message_id || coalesce(held_reason, '') || crashes FROM utl_smtp.message ORDER BY 1",
    );
    assert_eq!(held, ["10", "22", "3copy0", "40"]);
}

#[test]
fn push_queue_is_for_those_who_are_granted_it_and_makes_deferred_mail_due() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, TWO));
    fixture.defer(1, 1, "450 later");
    let mut session = fixture.database.connect(&app);
    for call in [
        "push_queue()",
        "adopt_queue(true)",
        "purge(now())",
        "suppress('bob@example.com')",
        "unsuppress('bob@example.com')",
        "approve_sender('public', '*')",
        "revoke_sender('public', '*')",
    ] {
        let call = format!("SELECT utl_smtp.{call}");
        session.try_run(&call).unwrap_err().expect("42501");
    }
    fixture.superuser.run(&format!(
        "GRANT EXECUTE ON FUNCTION utl_smtp.push_queue() TO {app}"
    ));
    session.run("SELECT utl_smtp.push_queue()");
    let due: i64 = session.value(
        "SELECT count(*) FROM utl_smtp.mail_queue WHERE next_attempt_at <= clock_timestamp()",
    );
    assert_eq!(due, 2);
    // What has failed since waits as ever.
    fixture.defer(1, 1, "450 later");
    let due: i64 = session.value(
        "SELECT count(*) FROM utl_smtp.mail_queue WHERE next_attempt_at <= clock_timestamp()",
    );
    assert_eq!(due, 1);
    assert_eq!(states(&mut session), ["1.1 deferred", "1.2 queued"]);
}

/// A worker claims pushed mail before its own time has come.
#[test]
fn a_pushed_recipient_that_is_claimed_is_being_sent() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, ONE));
    fixture.defer(1, 1, "450 later");
    fixture.superuser.run(
        "SELECT utl_smtp.push_queue();
         UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp()",
    );
    assert_eq!(states(&mut fixture.superuser), ["1.1 sending"]);
    assert_eq!(
        fixture.superuser.value::<i32>("SELECT utl_smtp.cancel(1)"),
        0
    );
}

#[test]
fn operators_functions_write_only_where_writing_is_allowed() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(1, &app, ONE));
    for call in [
        "cancel(1)",
        "retry(1)",
        "push_queue()",
        "adopt_queue(true)",
        "purge(now())",
        "suppress('bob@example.com')",
        "unsuppress('bob@example.com')",
    ] {
        let session = &mut fixture.superuser;
        session.run("BEGIN READ ONLY");
        let call = format!("SELECT utl_smtp.{call}");
        session.try_run(&call).unwrap_err().expect("25006");
        session.run("ROLLBACK");
        // The owner's code runs it in a restricted operation, as anybody might make it.
        let view = format!("CREATE MATERIALIZED VIEW restricted AS {call} IS NULL AS x");
        let failure = session.try_run(&view).unwrap_err().expect("42501");
        assert!(failure.message.contains("restricted"), "{failure}");
    }
    // To read needs neither.
    fixture.superuser.run(
        "BEGIN READ ONLY; SELECT FROM utl_smtp.mail_queue, utl_smtp.mail_log, utl_smtp.server_status,
             utl_smtp.delivery_status(), utl_smtp.delivery_stats();
         SELECT utl_smtp.is_suppressed('bob@example.com'); COMMIT",
    );
    assert_eq!(states(&mut fixture.superuser), ["1.1 queued"]);
}

#[test]
fn adopting_binds_owners_and_servers_by_name_and_sends_what_a_copy_holds() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    for id in 1..=4 {
        fixture.queue_from("1 1 1-1 1", &message(id, &app, TWO));
    }
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET owner = 1, server = 1, held_reason = 'copy', due_at = '2020-01-01';
         UPDATE utl_smtp.message SET owner_name = 'nobody here', server_name = 'no server' WHERE message_id = 2;
         UPDATE utl_smtp.message SET lease = 7, last_attempt_at = clock_timestamp(), held_reason = NULL
         WHERE message_id > 2;
         UPDATE utl_smtp.message SET at_most_once = true WHERE message_id = 4",
    );
    let adopted: i64 = fixture.superuser.value("SELECT utl_smtp.adopt_queue(true)");
    assert_eq!(adopted, 6);
    let rows = column(
        &mut fixture.superuser,
        &format!(
            "SELECT concat_ws(' ', message_id, owner = '{app}'::regrole::oid, owner = 0, server_name, lease, held_reason,
                              due_at > now() - interval '1 hour')
             FROM utl_smtp.message ORDER BY message_id"
        ),
    );
    assert_eq!(
        rows,
        ["1 t f office t", "2 f t no server t", "3 t f office t"]
    );
    // It may have arrived where the copy comes from.
    let doubt = column(
        &mut fixture.superuser,
        "SELECT concat_ws(' ', recipient_no, attempts, left(last_reply, 15)) FROM utl_smtp.mail_queue
         WHERE message_id = 3 ORDER BY 1",
    );
    assert_eq!(doubt, ["1 1 outcome unknown", "2 1 outcome unknown"]);
    let unknown: i64 = fixture
        .superuser
        .value("SELECT count(*) FROM utl_smtp.mail_log WHERE message_id = 4 AND state = 'unknown'");
    assert_eq!(unknown, 2);
    // They are this installation's now.
    let again: i64 = fixture
        .superuser
        .value("SELECT utl_smtp.adopt_queue(false)");
    assert_eq!(again, 0);
    let mut session = fixture.database.connect(&app);
    assert_eq!(count(&mut session, "mail_queue"), 4);
}

#[test]
fn refusing_to_adopt_cancels_what_a_copy_holds_and_nothing_else() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue_from("1 1 1-1 1", &message(1, &app, ONE));
    fixture.superuser.run("SELECT utl_smtp.adopt_queue(true)");
    fixture.queue_from("1 1 1-1 1", &message(2, &app, TWO));
    // One that a failover left to this installation.
    fixture.superuser.run(
        "INSERT INTO utl_smtp.adopted_home SELECT home, '1 1 1-1 2' FROM utl_smtp.message WHERE message_id = 1",
    );
    fixture.queue_from("1 1 1-1 2", &message(3, &app, ONE));
    fixture.superuser.run(
        "UPDATE utl_smtp.message SET held_reason = 'copy', lease = 3, last_attempt_at = clock_timestamp()
         WHERE message_id = 2",
    );
    fixture
        .superuser
        .try_run("SELECT utl_smtp.adopt_queue(NULL)")
        .unwrap_err()
        .expect("22023");
    let cancelled: i64 = fixture
        .superuser
        .value("SELECT utl_smtp.adopt_queue(false)");
    assert_eq!(cancelled, 2);
    assert_eq!(states(&mut fixture.superuser), ["1.1 queued", "3.1 queued"]);
    assert_eq!(
        column(
            &mut fixture.superuser,
            "SELECT message_id || ' ' || state || ' ' || last_reply FROM utl_smtp.mail_log"
        ),
        vec!["2 cancelled cancelled in a copy by postgres"; 2]
    );
    assert_eq!(count(&mut fixture.superuser, "message_content"), 2);
}

#[test]
fn purge_deletes_the_older_part_of_the_log() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    fixture.queue(&message(9, &app, ONE));
    for (id, finished) in [
        (1, "now() - interval '3 days'"),
        (2, "now() - interval '1 hour'"),
    ] {
        fixture.log(id, &app, "sent", finished, "250 ok");
    }
    let session = &mut fixture.superuser;
    let purged: i64 = session.value("SELECT utl_smtp.purge(now() - interval '1 day')");
    assert_eq!(purged, 1);
    assert_eq!(
        column(session, "SELECT message_id::text FROM utl_smtp.mail_log"),
        ["2"]
    );
    session
        .try_run("SELECT utl_smtp.purge(NULL)")
        .unwrap_err()
        .expect("22023");
    assert_eq!(states(session), ["9.1 queued"]);
}
