//! The octets of recorded messages: those of the immediate conversation, but for Date and
//! Message-ID put first.

use super::recorded::Recorder;
use e2e::{Failure, Open, Script, Session, Smtp, TestBed};

/// Messages as careless programs write them.
const MESSAGES: [&str; 16] = [
    "",
    "\n",
    "Subject: x\n\nlines of Unix\n\nmore",
    "Subject: x\r\n\r\nlines of SMTP\r\n",
    "Subject: x\r\rlines of old Macs\rmore\r",
    "Subject: x\n\rmixed\r\n\n\r",
    "Subject: x\r\n\r\n.profile\r\n..\r\n.\r\n...and on\r\n.",
    ".\r\n",
    ".first of all\r\n",
    "no header at all\r\n",
    "Subject: no empty line\r\nHello there,\r\nthis is text.\r\n",
    "a\n.\nb\n.\rc\r.\nd\r.\r\r\n.\r\r\ne",
    "Subject: Žluťoučký kůň\r\n\r\n8-bit\r\n",
    "\u{feff}Subject: x\r\n\r\nx",
    "Subject: a\r\n folded\r\n\tsubject\r\n\r\nx\r\n",
    "Subject: long\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
];

/// Writes a message in pieces of so many octets, between open_data and close_data.
fn write(session: &mut Session, smtp: &Smtp, message: &str, piece: usize) -> Result<(), Failure> {
    smtp.ehlo(session, "db.example.com")?;
    smtp.mail(session, "app@example.com")?;
    smtp.rcpt(session, "bob@example.com")?;
    smtp.open_data(session)?;
    for piece in message.as_bytes().chunks(piece) {
        smtp.write_raw_data(session, piece)?;
    }
    smtp.close_data(session)?;
    smtp.quit(session)?;
    Ok(())
}

/// The message that a server reads from what was sent.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

#[test]
fn recorded_octets_are_those_of_the_immediate_conversation() {
    let mut bed = TestBed::new();
    let mut recorder = Recorder::new();
    for message in MESSAGES {
        let script = Script::greeting()
            .on("EHLO", "250-peer\r\n250 8BITMIME")
            .transaction();
        let record = bed.play(script, |case| {
            let smtp = case.open().open(case.session).unwrap();
            write(case.session, &smtp, message, 3).unwrap();
        });
        let sent = unstuffed(&record.only().message());
        for piece in [1, 3, 1000] {
            let smtp = recorder.open();
            write(&mut recorder.session, &smtp, message, piece).unwrap();
        }
        let submit = "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], $1::text)";
        recorder.session.execute(submit, &[&message]).unwrap();
        for queued in recorder.queue() {
            assert_eq!(
                queued.message().escape_ascii().to_string(),
                sent.escape_ascii().to_string(),
                "{message:?}"
            );
            assert_eq!(queued.size, queued.content.len() as i64);
        }
        recorder
            .superuser
            .run("TRUNCATE utl_smtp.message, utl_smtp.message_recipient, utl_smtp.message_content");
    }
}

#[test]
fn date_and_message_id_are_added_where_they_are_missing() {
    let mut recorder = Recorder::new();
    for (sender, message, date, message_id) in [
        (
            "app@example.com",
            "Subject: x\n\nDate: y\nMessage-ID: <z>",
            true,
            true,
        ),
        (
            "app@example.com",
            "Date: y\nMESSAGE-id : <z>\n\nx",
            false,
            false,
        ),
        (
            "app@example.com",
            "Subject: x\n Date: y\nmessage-id:\n <z>\n\nx",
            true,
            false,
        ),
        ("app@example.com", "Resent-Date: y\n\nx", true, true),
        ("", "Date: y\n\nx", false, true),
        ("postmaster", "x", true, true),
    ] {
        let smtp = recorder.open();
        let session = &mut recorder.session;
        smtp.ehlo(session, "db.example.com").unwrap();
        smtp.mail(session, sender).unwrap();
        smtp.rcpt(session, "bob@example.com").unwrap();
        smtp.data(session, message).unwrap();
        let queued = recorder.only();
        let text = queued.text();
        let added = text
            .strip_suffix(&(message.replace('\n', "\r\n") + "\r\n"))
            .unwrap();
        assert_eq!(added.contains("Date: "), date, "{text}");
        assert_eq!(added.contains("Message-ID: <"), message_id, "{text}");
        let lines = usize::from(date) + usize::from(message_id);
        assert_eq!(added.matches("\r\n").count(), lines, "{text}");
        let domain = sender
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain);
        assert_eq!(
            added.contains(&format!("@{domain}>\r\n")),
            message_id,
            "{text}"
        );
        recorder.superuser.run("DELETE FROM utl_smtp.message");
    }
    // No two are equal.
    let different: bool = recorder.superuser.value(
        "SELECT count(DISTINCT id) = count(*) AND min(length(id)) = 32
         FROM (SELECT (regexp_match(convert_from(piece, 'UTF8'), 'Message-ID: <(.{32})@'))[1] AS id
               FROM utl_smtp.message_content) AS ids WHERE id IS NOT NULL",
    );
    assert!(different);
}

#[test]
fn subjects_are_decoded_for_those_who_watch() {
    let mut recorder = Recorder::new();
    for (field, subject) in [
        ("", None),
        ("Subject:\n", Some("")),
        ("SUBJECT: plain\n", Some("plain")),
        (
            "Subject: =?utf-8?B?R3LDvMOf?=\n =?utf-8?Q?e_an_alle?=\n",
            Some("Grüße an alle"),
        ),
        ("Subject: =?windows-1252?q?=80_100?=\n", Some("€ 100")),
        ("Subject: =?utf-8?q?a=00b=0Ac?=\n", Some("a b c")),
        ("Subject: one\nSubject: two\n", Some("one")),
    ] {
        let submit = "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], $1::text)";
        let message = format!("From: app@example.com\n{field}\nSubject: not this");
        recorder.session.execute(submit, &[&message]).unwrap();
        assert_eq!(recorder.only().subject.as_deref(), subject, "{field}");
        recorder.superuser.run("DELETE FROM utl_smtp.message");
    }
}

#[test]
fn text_of_another_encoding_is_queued_as_utf8() {
    let database = e2e::Database::empty("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let mut session = database.superuser();
    session.run(
        "CREATE EXTENSION utl_smtp; UPDATE utl_smtp.delivery_control SET enabled = false;
         CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'mail.example.test');
         SET utl_smtp.delivery = on_commit",
    );
    let smtp = Open::to("mail.example.test", 587)
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "db.example.com").unwrap();
    smtp.mail(&mut session, "app@example.com").unwrap();
    smtp.rcpt(&mut session, "bob@example.com").unwrap();
    smtp.data(
        &mut session,
        "Subject: =?utf-8?q?=E2=82=AC_f=C3=BCr?=\n\nGrüße",
    )
    .unwrap();
    let (subject, content): (String, Vec<u8>) = (
        session.value("SELECT subject FROM utl_smtp.message"),
        session.value("SELECT piece FROM utl_smtp.message_content"),
    );
    // LATIN1 has no euro sign.
    assert_eq!(subject, "? für");
    assert!(content.ends_with("\r\n\r\nGrüße\r\n".as_bytes()));
}

/// 100 MB in 100,000 pieces. The temporary file is gone then.
#[test]
fn a_large_message_costs_a_few_megabytes() {
    let mut recorder = Recorder::new();
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    // Whatever a backend needs once, it has now.
    smtp.data(session, "x").unwrap();
    recorder.address(&smtp).unwrap();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    session.run(
        "CREATE PROCEDURE pg_temp.write(c utl_smtp.connection) LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM utl_smtp.write_data(c, E'Subject: large\\n\\n');
             FOR i IN 1 .. 100000 LOOP
                 PERFORM utl_smtp.write_data(c, rpad(i::text, 998, '.') || E'\\r\\n');
             END LOOP;
         END $$",
    );
    let before = peak_memory(session);
    let call = "CALL pg_temp.write($1::text::utl_smtp.connection)";
    session.execute(call, &[&smtp.handle]).unwrap();
    assert_eq!(temporary_files(session), 1);
    smtp.close_data(session).unwrap();
    assert_eq!(temporary_files(session), 0);
    let grown = peak_memory(session) - before;
    assert!(grown < 8 * 1024, "{grown} kB");
    let whole: bool = recorder.superuser.value(
        "SELECT sum(octet_length(piece)) = max(m.size) AND max(octet_length(piece)) = 262144
                AND count(*) = max(piece_no) AND max(m.size) BETWEEN 100000000 AND 100001000
                AND max(m.subject) = 'large'
         FROM utl_smtp.message AS m JOIN utl_smtp.message_content USING (message_id) WHERE m.size > 10000",
    );
    assert!(whole);
    let unchanged: bool = recorder.superuser.value(
        "SELECT (SELECT md5(substr(content, octet_length(content) - 100000000 + 1))
                 FROM (SELECT string_agg(piece, '' ORDER BY piece_no) AS content FROM utl_smtp.message_content
                       GROUP BY message_id HAVING count(*) > 1) AS m)
              = (SELECT md5(string_agg(rpad(i::text, 998, '.') || E'\\r\\n', '' ORDER BY i))
                 FROM generate_series(1, 100000) AS i)",
    );
    assert!(unchanged);
}

#[test]
fn temporary_files_are_limited_and_leave_nothing() {
    let mut recorder = Recorder::new();
    recorder.database.set("temp_file_limit", "3MB");
    recorder.session = recorder.database.connect(&recorder.role);
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    let piece = "x".repeat(1 << 20);
    let written = (0..5).try_for_each(|_| smtp.write_data(session, &piece));
    written.unwrap_err().expect("53400");
    // A message with a hole must not be sent.
    smtp.close_data(session).unwrap_err().expect("U9278");
    assert_eq!(temporary_files(session), 0);
    assert_eq!(recorder.rows(), [0, 0, 0]);
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    (0..2).for_each(|_| smtp.write_data(session, &piece).unwrap());
    assert_eq!(temporary_files(session), 1);
    smtp.close_connection(session).unwrap();
    assert_eq!(temporary_files(session), 0);
}

/// The largest size that the backend's memory ever had, in kilobytes. Shared memory is a constant
/// part of it.
fn peak_memory(session: &Session) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Temporary files of this library that the backend has open.
fn temporary_files(session: &Session) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", session.pid())).unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().contains("pgsql_tmp/"))
        .count()
}
