//! A message exists if and only if the transaction of its end is committed, and it is whole.

use super::recorded::{HOST, PORT, Recorder};
use e2e::{Failure, Open, OwnCluster};

const SUBMIT: &str = "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], 'Subject: submitted')";

/// Queues a message with this subject, over a connection of its own.
const SEND: &str = "
CREATE PROCEDURE pg_temp.send(subject text) LANGUAGE plpgsql AS $$
DECLARE c utl_smtp.connection := utl_smtp.connect('office');
BEGIN
    PERFORM utl_smtp.mail(c, 'app@example.com');
    PERFORM utl_smtp.rcpt(c, 'bob@example.com');
    PERFORM utl_smtp.data(c, 'Subject: ' || subject);
    PERFORM utl_smtp.quit(c);
END $$";

fn subjects(recorder: &mut Recorder) -> Vec<String> {
    let queue = recorder.queue().into_iter();
    queue.filter_map(|queued| queued.subject).collect()
}

#[test]
fn what_is_rolled_back_never_existed() {
    let mut recorder = Recorder::new();
    let session = &mut recorder.session;
    session.run(SEND);
    session.run(&format!(
        "BEGIN; {SUBMIT}; CALL pg_temp.send('rolled back'); ROLLBACK"
    ));
    session.run(
        "BEGIN;
         CALL pg_temp.send('before');
         SAVEPOINT s;
         CALL pg_temp.send('in the savepoint');
         ROLLBACK TO s;
         CALL pg_temp.send('after');
         SAVEPOINT t;
         CALL pg_temp.send('released');
         RELEASE t;
         COMMIT",
    );
    session.run(
        "DO $$
         BEGIN
             BEGIN
                 CALL pg_temp.send('in the block');
                 RAISE division_by_zero;
             EXCEPTION WHEN division_by_zero THEN
                 CALL pg_temp.send('in the handler');
             END;
         END $$",
    );
    let expected = ["before", "after", "released", "in the handler"];
    assert_eq!(subjects(&mut recorder), expected);
    assert_eq!(recorder.rows(), [4, 4, 4]);
}

/// Only the end of a message is a part of a transaction; what was written before is state of the
/// session.
#[test]
fn what_was_written_in_a_block_that_was_rolled_back_stays_in_the_message() {
    let mut recorder = Recorder::new();
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    smtp.write_data(session, "Subject: whole\n\nfirst\n")
        .unwrap();
    let block = "
        CREATE PROCEDURE pg_temp.write(c utl_smtp.connection) LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM utl_smtp.write_data(c, E'second\\n');
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END $$";
    session.run(block);
    let call = "CALL pg_temp.write($1::text::utl_smtp.connection)";
    session.execute(call, &[&smtp.handle]).unwrap();
    session.run("BEGIN");
    smtp.write_data(session, "third\n").unwrap();
    session.run("ROLLBACK");
    smtp.close_data(session).unwrap();
    assert_eq!(
        recorder.only().message(),
        b"Subject: whole\r\n\r\nfirst\r\nsecond\r\nthird\r\n"
    );
}

#[test]
fn a_conversation_lives_over_transactions() {
    let mut recorder = Recorder::new();
    recorder.session.run("BEGIN");
    let smtp = recorder.addressed();
    recorder.session.run("ROLLBACK; BEGIN");
    let session = &mut recorder.session;
    smtp.data(session, "Subject: rolled back").unwrap();
    session.run("ROLLBACK");
    // The server has taken it, as far as the conversation goes.
    smtp.open_data(session).unwrap_err().expect("U9279");
    recorder.address(&smtp).unwrap();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    session.run("BEGIN");
    smtp.write_data(session, "Subject: ").unwrap();
    session.run("COMMIT; BEGIN");
    smtp.write_data(session, "in pieces").unwrap();
    session.run("COMMIT");
    smtp.close_data(session).unwrap();
    assert_eq!(subjects(&mut recorder), ["in pieces"]);
}

#[test]
fn a_message_without_its_end_never_was() {
    let mut recorder = Recorder::new();
    let left = recorder.addressed();
    left.open_data(&mut recorder.session).unwrap();
    left.write_data(&mut recorder.session, "Subject: left")
        .unwrap();
    let closed = recorder.addressed();
    closed.open_data(&mut recorder.session).unwrap();
    closed
        .write_data(&mut recorder.session, "Subject: closed")
        .unwrap();
    closed.close_connection(&mut recorder.session).unwrap();
    let reset = recorder.addressed();
    reset.rset(&mut recorder.session).unwrap();
    reset
        .open_data(&mut recorder.session)
        .unwrap_err()
        .expect("U9279");
    recorder.session = recorder.database.connect(&recorder.role);
    assert_eq!(recorder.rows(), [0, 0, 0]);
}

#[test]
fn a_prepared_transaction_queues_when_it_is_committed() {
    let cluster = OwnCluster::start(&["max_prepared_transactions = 2"]);
    let mut session = cluster.superuser();
    session.run(
        "UPDATE utl_smtp.delivery_control SET enabled = false;
         CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'mail.example.test');
         SET utl_smtp.delivery = on_commit",
    );
    let smtp = Open::to(HOST, PORT).open(&mut session).unwrap();
    smtp.ehlo(&mut session, "db.example.com").unwrap();
    let mut send = |name: &str| -> Result<(), Failure> {
        session.run("BEGIN");
        smtp.mail(&mut session, "app@example.com")?;
        smtp.rcpt(&mut session, "bob@example.com")?;
        smtp.data(&mut session, &format!("Subject: {name}"))?;
        session.try_run(&format!("PREPARE TRANSACTION '{name}'"))
    };
    send("one").unwrap();
    send("two").unwrap();
    let mut other = cluster.superuser();
    let queued = "SELECT coalesce(string_agg(subject, ','), '') FROM utl_smtp.message";
    assert_eq!(other.value::<String>(queued), "");
    other.run("COMMIT PREPARED 'two'");
    other.run("ROLLBACK PREPARED 'one'");
    assert_eq!(other.value::<String>(queued), "two");
}

#[test]
fn submit_queues_a_whole_message() {
    let mut recorder = Recorder::new();
    let session = &mut recorder.session;
    session.run("RESET utl_smtp.delivery");
    let later: i64 = session.value(
        "SELECT utl_smtp.submit('office', '', ARRAY['bob@example.com', 'bob@EXAMPLE.com', 'carol@example.com'],
             convert_to(E'Subject: one\\n\\n.', 'UTF8'), send_at => '2100-01-01', at_most_once => true)",
    );
    let past: i64 = session.value(
        "SELECT utl_smtp.submit(server => 'office', sender => 'app@example.com', recipients => '{bob@example.com}'::text[],
                                message => 'Subject: two'::text, send_at => now() - interval '1 day')",
    );
    let queue = recorder.queue();
    assert_eq!([queue[0].id, queue[1].id], [later, past]);
    assert_eq!(
        queue[0].recipients,
        ["bob@example.com", "carol@example.com"]
    );
    assert_eq!(queue[0].message(), b"Subject: one\r\n\r\n.\r\n");
    let due: bool = recorder.superuser.value(
        "SELECT bool_and(CASE m.subject WHEN 'one' THEN m.at_most_once AND m.due_at = '2100-01-01'
                                             ELSE NOT m.at_most_once AND m.due_at = m.submitted_at END
                         AND m.next_attempt_at = m.due_at AND r.next_attempt_at = m.due_at
                         AND m.submitted_at > now() - interval '1 hour')
         FROM utl_smtp.message AS m JOIN utl_smtp.message_recipient AS r USING (message_id)",
    );
    assert!(due);
}

#[test]
fn submit_refuses_what_is_no_message() {
    let mut recorder = Recorder::new();
    let session = &mut recorder.session;
    let mail = "'office', 'app@example.com', ARRAY['bob@example.com'], 'x'";
    for (arguments, sqlstate) in [
        (
            "NULL, 'app@example.com', ARRAY['bob@example.com'], 'x'",
            "22023",
        ),
        ("'office', NULL, ARRAY['bob@example.com'], 'x'", "22023"),
        ("'office', 'app@example.com', NULL, 'x'", "22023"),
        ("'office', 'app@example.com', ARRAY[]::text[], 'x'", "22023"),
        (
            "'office', 'app@example.com', ARRAY['bob@example.com', NULL], 'x'",
            "22023",
        ),
        (
            "'office', 'app@example.com', ARRAY['bob@example.com, eve@example.com'], 'x'",
            "22023",
        ),
        (
            "'office', 'a@example.com> SIZE=1', ARRAY['bob@example.com'], 'x'",
            "22023",
        ),
        (
            "'office', 'app@example.com', ARRAY['bob@example.com'], NULL::text",
            "22023",
        ),
        (
            "'office', 'app@example.com', ARRAY['bob@example.com'], '\\x00'::bytea",
            "22023",
        ),
        (
            "'missing', 'app@example.com', ARRAY['bob@example.com'], 'x'",
            "42704",
        ),
        (&format!("{mail}, 'infinity'"), "22023"),
        (&format!("{mail}, '-infinity'"), "22023"),
    ] {
        let failure = session.try_run(&format!("SELECT utl_smtp.submit({arguments})"));
        let failure = failure.unwrap_err();
        assert_eq!(failure.sqlstate, sqlstate, "{arguments}: {failure}");
    }
    session.run(&format!("SELECT utl_smtp.submit({mail}, NULL, NULL)"));
    recorder.superuser.run(&format!(
        "REVOKE USAGE ON FOREIGN SERVER office FROM {}",
        recorder.role
    ));
    recorder
        .session
        .try_run(SUBMIT)
        .unwrap_err()
        .expect("42501");
    assert_eq!(recorder.rows(), [1, 1, 1]);
}
