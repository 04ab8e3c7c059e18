//! What the worker does to the log and to deferred mail at its leisure, or because it was told to.

use super::processes::{await_looks, await_worker};
use super::sending::Bed;
use e2e::process::{wait_for_work, wait_until};
use e2e::rows::column;
use e2e::{Action, Recorder, Step};

/// Rows of the log that are deleted in one transaction, at most.
const BATCH: i64 = 10_000;
/// Rows of the log that are older than a day.
const OLD: i64 = 2 * BATCH + 5_000;

/// Changes settings of a running cluster.
fn set(bed: &mut Bed, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        bed.session
            .run(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    }
    bed.session.run("SELECT pg_reload_conf()");
}

fn old_rows(bed: &mut Bed) -> i64 {
    bed.session.value(
        "SELECT count(*) FROM utl_smtp.delivery_log WHERE finished_at < now() - interval '1 day'",
    )
}

/// Fills the log, and lets each statement that deletes from it note how many rows it has deleted
/// and in which transaction.
fn fill_log(bed: &mut Bed) {
    bed.session.run(&format!(
        "INSERT INTO utl_smtp.delivery_log (message_id, recipient_no, recipient, state, server, server_name, owner,
             owner_name, sender, size, submitted_at, attempts, finished_at)
         SELECT -n, 1, 'bob@example.com', 'sent', 0, 'office', 10, 'postgres', 'app@example.com', 1,
                now() - interval '2 days', 1, now() - interval '2 days' + n * interval '1 ms'
         FROM generate_series(1, {OLD}) AS n;
         CREATE TABLE public.deleted (transaction xid DEFAULT pg_catalog.pg_current_xact_id()::xid, count bigint, newest timestamptz);
         CREATE FUNCTION public.note_deleted() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO public.deleted (count, newest) SELECT count(*), max(finished_at) FROM gone; RETURN NULL; END';
         CREATE TRIGGER note_deleted AFTER DELETE ON utl_smtp.delivery_log REFERENCING OLD TABLE AS gone
             FOR EACH STATEMENT EXECUTE FUNCTION public.note_deleted()"
    ));
}

#[test]
fn the_log_is_trimmed_in_batches_while_no_mail_is_due() {
    let mut bed = Bed::with(&["utl_smtp.log_retention = 0"]);
    let [free, busy] = [Recorder::start(), Recorder::start()];
    bed.server("free", free.port(), "");
    bed.server("busy", busy.port(), "");
    fill_log(&mut bed);
    // It is kept for ever.
    let first = bed.submit_one("free");
    bed.assert_sent(first);
    await_looks(&mut bed.session);
    assert_eq!(old_rows(&mut bed), OLD);

    // It is kept while there is mail to be sent.
    busy.hold(Step::Dot);
    let held = bed.submit_one("busy");
    busy.await_held(Step::Dot, 1);
    set(&mut bed, &[("utl_smtp.log_retention", "86400")]);
    let second = bed.submit_one("free");
    bed.assert_sent(second);
    await_looks(&mut bed.session);
    assert_eq!(old_rows(&mut bed), OLD);

    busy.go();
    bed.assert_sent(held);
    wait_for_work("the old rows go", || old_rows(&mut bed));
    let deleted = "SELECT count::text FROM public.deleted WHERE count > 0 ORDER BY newest";
    let batches = column(&mut bed.session, deleted);
    assert_eq!(batches, ["10000", "10000", "5000"]);
    let transactions =
        "SELECT count(DISTINCT transaction::text) FROM public.deleted WHERE count > 0";
    assert_eq!(bed.session.value::<i64>(transactions), 3);
    // What is not so old is still there.
    for id in [first, second, held] {
        assert_eq!(bed.log(id).len(), 1);
    }
}

/// Deferred mail goes at once, also that of a server that is backed off, and `push_queue` itself
/// writes one row however much there is.
#[test]
fn push_queue_sends_what_is_deferred_and_forgets_back_offs() {
    // More than the worker makes due in one transaction.
    const COUNT: i64 = 1_200;
    let mut bed = Bed::with(&[
        "utl_smtp.retry_minimum = 3600",
        "utl_smtp.retry_maximum = 3600",
    ]);
    let [later, barred] = [Recorder::start(), Recorder::start()];
    later.play(|point| match point.step {
        Step::Rcpt => Action::reply("450 4.2.0 later"),
        _ => Action::Go,
    });
    bed.server("later", later.port(), "");
    bed.server("barred", barred.port(), ", paused 'true'");
    // A server whose owner may not connect to it is backed off for an hour.
    let waiting = bed.submit_one("barred");
    bed.session.run(
        "CREATE ROLE keeper; GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO keeper;
         ALTER SERVER barred OWNER TO keeper; ALTER SERVER barred OPTIONS (SET paused 'false')",
    );
    bed.session.run(&format!(
        "SELECT utl_smtp.submit('later', n || '@example.com', ARRAY['bob@example.com'], 'x'::text)
         FROM generate_series(1, {COUNT}) AS n"
    ));
    let deferred = "SELECT count(*) FROM utl_smtp.mail_queue
                    WHERE state = 'deferred' AND next_attempt_at > now() + interval '30 minutes'";
    wait_for_work("all is deferred", || {
        COUNT - bed.session.value::<i64>(deferred)
    });
    bed.await_server("barred", "backed off");
    later.go();
    bed.session.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', {0}, {0}, dbms_network_acl_admin.xs$ace_type(
             dbms_network_acl_admin.xs$name_list('connect', 'smtp'), principal_name => 'keeper'))",
        barred.port()
    ));
    // Neither has got anything by what was done so far.
    await_looks(&mut bed.session);
    assert_eq!(bed.session.value::<i64>(deferred), COUNT);
    assert_eq!(bed.server_state("barred").0, "backed off");

    // A session of its own, as what earlier statements have read may still be counted.
    let mut operator = bed.cluster.superuser();
    operator.run("BEGIN; SELECT utl_smtp.push_queue()");
    let written =
        "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_xact_all_tables
                   WHERE schemaname = 'utl_smtp'";
    assert_eq!(operator.value::<i64>(written), 1);
    let read =
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_all_tables
                WHERE schemaname = 'utl_smtp'";
    let read: i64 = operator.value(read);
    assert!(read < 10, "{read} rows were read");
    operator.run("COMMIT");
    let left = "SELECT count(*) FROM utl_smtp.mail_queue";
    wait_for_work("all is sent", || bed.session.value(left));
    let attempts = "SELECT count(*) FROM utl_smtp.mail_log WHERE server = 'later' AND state = 'sent' AND attempts = 2";
    assert_eq!(bed.session.value::<i64>(attempts), COUNT);
    assert_eq!(later.copies().len() as i64, COUNT);
    bed.assert_sent(waiting);
    assert_eq!(barred.copies().len(), 1);
}

/// A call counts for what had failed before it.
#[test]
fn what_fails_after_push_queue_waits_as_ever() {
    let mut bed = Bed::with(&[
        "utl_smtp.retry_minimum = 3600",
        "utl_smtp.retry_maximum = 3600",
    ]);
    let later = Recorder::start();
    later.play(|point| match point.step {
        Step::Rcpt => Action::reply("450 4.2.0 later"),
        _ => Action::Go,
    });
    bed.server("later", later.port(), "");
    let id = bed.submit_one("later");
    for attempts in 1..=2 {
        wait_until(format_args!("attempt {attempts} has failed"), || {
            bed.session.value(&format!(
                "SELECT state = 'deferred' AND attempts = {attempts} AND next_attempt_at > now() + interval '30 minutes'
                 FROM utl_smtp.mail_queue"
            ))
        });
        if attempts == 1 {
            bed.session.run("SELECT utl_smtp.push_queue()");
        }
    }
    await_looks(&mut bed.session);
    assert_eq!(later.reached(Step::Rcpt), 2);
    // A worker that begins does not push it once more.
    let worker = await_worker(&mut bed.session, "postgres");
    super::processes::terminate(&mut bed.session, worker);
    await_looks(&mut bed.session);
    assert_eq!(later.reached(Step::Rcpt), 2);
    later.go();
    bed.session.run("SELECT utl_smtp.push_queue()");
    assert_eq!(bed.assert_sent(id).attempts, 3);
}
