//! What it costs that much mail waits.

use super::processes::workers;
use super::sending::Bed;
use e2e::Recorder;
use e2e::invariants::anonymous_memory;
use e2e::process::wait_for_work;

const LONG: i64 = 3000;

/// Entries of the index of due messages that were read.
fn entries_read(bed: &mut Bed) -> i64 {
    bed.session.value(
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = 'utl_smtp' AND indexrelname = 'message_due'",
    )
}

/// Waits until the worker has told of so many messages that it has sent.
fn await_deleted(bed: &mut Bed, messages: i64) {
    let deleted = "SELECT n_tup_del FROM pg_stat_user_tables WHERE schemaname = 'utl_smtp' AND relname = 'message'";
    wait_for_work(format_args!("{messages} messages are deleted"), || {
        messages - bed.session.value::<i64>(deleted)
    });
}

/// Queues a message for a server, and copies of it.
fn fill(bed: &mut Bed, server: &str) {
    bed.session.run("BEGIN");
    let message_id = bed.submit_one(server);
    for table in ["message", "message_recipient", "message_content"] {
        bed.session.run(&format!(
            "INSERT INTO utl_smtp.{table}
             SELECT (jsonb_populate_record(r, jsonb_build_object('message_id', {message_id} + i))).*
               FROM utl_smtp.{table} AS r, generate_series(1, {LONG} - 1) AS i
              WHERE r.message_id = {message_id}"
        ));
    }
    bed.session.run(&format!(
        "SELECT setval('utl_smtp.message_id', {message_id} + {LONG}); COMMIT"
    ));
}

/// New mail is found, and sent, without a look at all that waits.
#[test]
fn new_mail_costs_the_same_however_much_waits() {
    let recorder = Recorder::start();
    let mut bed = Bed::new();
    bed.server("office", recorder.port(), "");
    bed.server("paused", recorder.port(), ", paused 'true'");
    fill(&mut bed, "paused");
    for _ in 0..10 {
        let message_id = bed.submit_one("office");
        bed.assert_sent(message_id);
    }
    await_deleted(&mut bed, 10);
    let read = entries_read(&mut bed);
    assert!(read < LONG, "{read} entries read");
}

/// Mail is claimed without a look at all that is behind it.
#[test]
fn each_message_of_a_long_queue_is_looked_at_about_once() {
    let recorder = Recorder::start();
    let mut bed = Bed::new();
    bed.server("office", recorder.port(), "");
    fill(&mut bed, "office");
    await_deleted(&mut bed, LONG);
    let read = entries_read(&mut bed);
    assert!(read < 3 * LONG, "{read} entries read");
}

/// The memory of a worker comes back to what it was, and a large message passes in pieces.
#[test]
fn the_worker_does_not_grow_with_what_it_sends() {
    const MEBIBYTE: u64 = 1024;
    const LARGE: usize = 64 * 1024 * 1024;
    let recorder = Recorder::start();
    let mut bed = Bed::new();
    bed.server("office", recorder.port(), "");
    let mut sent = 0;
    let mut send_many = |bed: &mut Bed| {
        fill(bed, "office");
        sent += LONG;
        await_deleted(bed, sent);
        anonymous_memory(workers(&mut bed.session)[0].pid)
    };
    let begun = send_many(&mut bed);
    for _ in 0..3 {
        let grown = send_many(&mut bed).saturating_sub(begun);
        assert!(grown < 4 * MEBIBYTE, "grown by {grown} kB");
    }
    let pid = workers(&mut bed.session)[0].pid;
    let before = anonymous_memory(pid);
    bed.session.run(&format!(
        "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'],
                                repeat(repeat('x', 78) || E'\r\n', {LARGE} / 80))"
    ));
    let heard = recorder.octets();
    let mut most = before;
    let is_waiting = "SELECT EXISTS (SELECT FROM utl_smtp.message)";
    wait_for_work("the large message is sent", || {
        most = most.max(anonymous_memory(pid));
        match bed.session.value::<bool>(is_waiting) {
            true => LARGE.saturating_sub(recorder.octets() - heard).max(1) as i64,
            false => 0,
        }
    });
    let grown = most - before;
    assert!(grown < 16 * MEBIBYTE, "grown by {grown} kB");
}
