//! The attachments of `utl_mail.send_message` as arrays of any origin, and what they cost.

use super::{arrived, assert_shows, database, postfix};
use e2e::{Peer, Script, invariants};
use std::thread;

/// Stored and compressed values, PL/pgSQL's expanded arrays, records of PL/pgSQL's variables.
#[test]
fn attachments_arrive_wherever_the_array_comes_from() {
    let (database, mut session) = database(&postfix());
    session.run(
        "CREATE TABLE stored (files utl_mail.attachment[]);
         INSERT INTO stored SELECT ARRAY[
             ROW('a.bin', NULL, convert_to(repeat('compressible ', 100000), 'UTF8'), NULL),
             ROW('b.bin', NULL, decode(string_agg(md5(i::text), ''), 'hex'), NULL)]::utl_mail.attachment[]
             FROM generate_series(1, 30000) AS i;
         CREATE FUNCTION stored_then_more(reply_to text) RETURNS void LANGUAGE plpgsql AS $$
             DECLARE files utl_mail.attachment[]; file utl_mail.attachment;
             BEGIN
                 SELECT s.files INTO files FROM stored AS s;
                 file.filename := 'c.txt';
                 file.mime_type := 'text/plain';
                 file.content := 'c';
                 files[3] := file;
                 files := files || file;
                 PERFORM utl_mail.send_message('alice@example.test', 'carol@example.test', 's', attachments => files,
                     replyto => reply_to);
                 files[2].filename := 'other.bin';
                 files := files[2:2];
                 PERFORM utl_mail.send_message('alice@example.test', 'alice@example.test', 's', attachments => files,
                     replyto => reply_to);
             END $$",
    );
    let reply_to = format!("ops-{}@example.test", database.name());
    let digest: String = session.value("SELECT md5(files[2].content) FROM stored");
    let compressible: String = session.value("SELECT md5(files[1].content) FROM stored");
    let a = format!("attachment a.bin (1300000, '{compressible}')");
    let b = format!("(480000, '{digest}')");

    session.run(&format!(
        "SELECT utl_mail.send_message('alice@example.test', 'bob@example.test', 's', attachments => files,
            replyto => '{reply_to}') FROM stored"
    ));
    assert_shows(
        &arrived("bob", &reply_to),
        &[&a, &format!("attachment b.bin {b}")],
    );

    session.run(&format!("SELECT stored_then_more('{reply_to}')"));
    let seen = arrived("carol", &reply_to);
    assert_shows(&seen, &[&a, &format!("attachment b.bin {b}")]);
    assert_eq!(
        seen.matches("text/plain attachment c.txt 'c'").count(),
        2,
        "{seen}"
    );
    let seen = arrived("alice", &reply_to);
    assert_shows(&seen, &[&format!("attachment other.bin {b}")]);
    assert!(!seen.contains("a.bin"), "{seen}");
}

/// Its attributes are read by their numbers.
#[test]
fn an_altered_type_is_refused() {
    let (_database, mut session) = database("127.0.0.1:1");
    let sql = "SELECT utl_mail.send_message('alice@example.test', 'bob@example.test', 's',
        attachments => array_fill(NULL::utl_mail.attachment, ARRAY[1]))";
    session.try_run(sql).unwrap_err().expect("22023");
    session.run("ALTER TYPE utl_mail.attachment DROP ATTRIBUTE content");
    let failure = session.try_run(sql).unwrap_err().expect("42804");
    assert!(failure.message.contains("utl_mail.attachment"), "{failure}");
}

/// The message as it is sent is the only thing that is as large as the attachment, and base64 makes
/// it 1.37 times that.
#[test]
fn a_large_attachment_takes_less_than_one_and_a_half_times_its_size() {
    const SIZE: u64 = 64 << 20;
    // Both wait before they greet, the first for what is there without the message.
    let before = Peer::start(Script::new().await_release().cut());
    let greeting = Script::new().await_release().send("220 peer\r\n");
    let while_sending = Peer::start(greeting.on("EHLO", "250 peer").transaction());
    let (_database, mut session) = database(&format!("127.0.0.1:{}", while_sending.port()));
    session.run(&format!(
        "CREATE TABLE files AS SELECT ARRAY[
             ROW('f', NULL, convert_to(repeat('x', {SIZE}), 'UTF8'), NULL)::utl_mail.attachment] AS files"
    ));
    let sql = format!(
        "DO $$ DECLARE files utl_mail.attachment[]; id bigint; r record; BEGIN
             SELECT f.files INTO files FROM files AS f;
             id := length(files[1].content);
             r := utl_smtp.open_connection_reply('127.0.0.1', {}, 60);
             id := utl_mail.send_message('alice@example.test', 'bob@example.test', 's', attachments => files); END $$",
        before.port()
    );
    let pid = session.pid();
    let used = |peer: &Peer| {
        peer.await_hold();
        let used = invariants::anonymous_memory(pid) << 10;
        peer.release();
        used
    };
    let (without, with) = thread::scope(|scope| {
        scope.spawn(|| session.run(&sql));
        (used(&before), used(&while_sending))
    });
    let grown = with.saturating_sub(without);
    assert!(grown < SIZE * 3 / 2, "{} MiB", grown >> 20);
    assert!(grown > SIZE, "it was not measured: {} MiB", grown >> 20);
    assert!(while_sending.finish().only().message().len() as u64 > SIZE);
}
