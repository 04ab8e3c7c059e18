//! Recorded conversations: the answers, the errors, the choice of the server, and who may do what.

use super::recorded::{HOST, PORT, Recorder};
use e2e::{Failure, Open};

pub const NOWHERE: &str = "nowhere.example.test";

#[test]
fn a_committed_conversation_is_a_message_in_the_queue() {
    let mut recorder = Recorder::new();
    let smtp = recorder.open();
    let session = &mut recorder.session;
    smtp.ehlo(session, "db.example.com").unwrap();
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "db.example.com").unwrap();
    smtp.auth(session, "mailer", "sesame", "PLAIN").unwrap();
    smtp.reply(
        session,
        "mail",
        &[&"<app@example.com>", &"BODY=8BITMIME SIZE=1"],
    )
    .unwrap();
    smtp.reply(session, "rcpt", &[&"bob@example.com", &"NOTIFY=NEVER"])
        .unwrap();
    smtp.rcpt(session, "carol@EXAMPLE.com").unwrap();
    smtp.rcpt(session, "carol@example.COM").unwrap();
    let message = "From: app@example.com\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n\n.profile";
    let reply = smtp.data(session, message).unwrap();
    assert_eq!(reply.code, 250);
    smtp.quit(session).unwrap();
    assert_eq!(session.notice_texts(), [""; 0]);

    let queued = recorder.only();
    assert_eq!(reply.text, format!("2.0.0 Ok: queued as {}", queued.id));
    assert_eq!(queued.server, "office");
    assert_eq!(queued.owner, recorder.role);
    assert_eq!(queued.sender, "app@example.com");
    assert_eq!(
        queued.recipients,
        ["bob@example.com NOTIFY=NEVER", "carol@EXAMPLE.com"]
    );
    assert_eq!(queued.subject.as_deref(), Some("Grüße"));
    assert_eq!(queued.size, queued.content.len() as i64);
    // The size that was declared would be wrong by the fields that were added.
    assert_eq!(
        queued.parameters,
        format!("BODY=8BITMIME SIZE={}", queued.size)
    );
    let domain = format!("@example.com>\r\n{}", message.replace('\n', "\r\n"));
    assert!(
        queued.text().ends_with(&(domain + "\r\n")),
        "{}",
        queued.text()
    );
    let due: bool = recorder.superuser.value(
        "SELECT bool_and(m.submitted_at = m.due_at AND m.next_attempt_at = m.due_at
                    AND r.next_attempt_at = m.due_at AND m.due_at BETWEEN now() - interval '1 hour' AND now()
                    AND m.lease IS NULL AND m.held_reason IS NULL AND NOT m.at_most_once AND r.attempts = 0)
         FROM utl_smtp.message AS m JOIN utl_smtp.message_recipient AS r USING (message_id)",
    );
    assert!(due);
}

#[test]
fn each_call_is_answered_as_a_server_would() {
    let mut recorder = Recorder::new();
    let (_, reply) = Open::to(HOST, PORT)
        .open_reply(&mut recorder.session)
        .unwrap();
    assert_eq!(reply.code, 220);
    let smtp = recorder.open();
    let session = &mut recorder.session;
    let offered = |replies: Vec<e2e::Reply>| {
        assert!(replies.iter().all(|reply| reply.code == 250));
        let lines: Vec<String> = replies
            .into_iter()
            .skip(1)
            .map(|reply| reply.text)
            .collect();
        lines.join(", ")
    };
    let auth = "AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN XOAUTH2 OAUTHBEARER EXTERNAL";
    let always = "8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES";
    let greeted = smtp.ehlo(session, "db.example.com").unwrap();
    assert_eq!(offered(greeted), format!("{always}, STARTTLS, {auth}"));
    assert_eq!(smtp.starttls(session).unwrap().code, 220);
    let greeted = smtp.ehlo(session, "db.example.com").unwrap();
    assert_eq!(offered(greeted), format!("{always}, {auth}"));
    for scheme in auth.split(' ').skip(1) {
        assert_eq!(smtp.auth(session, "mailer", "x", scheme).unwrap().code, 235);
    }
    for (command, code) in [
        ("AUTH PLAIN AG1haWxlcgB4", 235),
        ("AUTH LOGIN", 334),
        ("bWFpbGVy", 334),
        ("eA==", 235),
        ("NOOP", 250),
        ("MAIL FROM:<app@example.com>", 250),
        ("RCPT TO:<bob@example.com>", 250),
        ("RSET", 250),
    ] {
        let reply = smtp.command(session, command, None).unwrap();
        assert_eq!(reply.code, code, "{command}");
    }
    for command in ["EXPN list", "ETRN x", "XCLIENT NAME=x", "nonsense"] {
        let failure = smtp.command(session, command, None).unwrap_err();
        assert!(
            failure.expect("U9279").message.contains(" 502 "),
            "{command}"
        );
    }
    assert_eq!(smtp.reply(session, "vrfy", &[&"bob"]).unwrap().code, 252);
    assert_eq!(smtp.replies(session, "help", &[]).unwrap()[0].code, 214);
    assert_eq!(smtp.noop(session).unwrap().code, 250);
    assert_eq!(smtp.rset(session).unwrap().code, 250);
    assert_eq!(smtp.mail(session, "app@example.com").unwrap().code, 250);
    assert_eq!(smtp.rcpt(session, "bob@example.com").unwrap().code, 250);
    assert_eq!(smtp.open_data(session).unwrap().code, 354);
    smtp.write_data(session, "x").unwrap();
    assert_eq!(smtp.close_data(session).unwrap().code, 250);
    assert_eq!(smtp.quit(session).unwrap().code, 221);
    smtp.noop(session).unwrap_err().expect("U9278");
}

#[test]
fn calls_out_of_order_are_answered_by_503() {
    let mut recorder = Recorder::new();
    let smtp = recorder.open();
    let session = &mut recorder.session;
    let refused = |result: Result<e2e::Reply, Failure>| {
        let failure = result.unwrap_err().expect("U9279");
        assert!(failure.message.contains(" 503 5.5.1 "), "{failure}");
    };
    refused(smtp.mail(session, "app@example.com"));
    smtp.helo(session, "db.example.com").unwrap();
    refused(smtp.rcpt(session, "bob@example.com"));
    refused(smtp.open_data(session));
    smtp.mail(session, "app@example.com").unwrap();
    refused(smtp.mail(session, "app@example.com"));
    refused(smtp.data(session, "x"));
    session.run("SET utl_smtp.raise_reply_errors = off");
    assert_eq!(smtp.mail(session, "app@example.com").unwrap().code, 503);
    assert_eq!(smtp.data(session, "x").unwrap().code, 503);
    assert_eq!(recorder.rows(), [0, 0, 0]);
}

#[test]
fn arguments_and_the_order_of_calls_are_judged_as_in_a_live_conversation() {
    let mut recorder = Recorder::new();
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    for port in [0, 65_536] {
        let open = "SELECT utl_smtp.open_connection($1, $2)";
        let failure: Failure = session.query_one(open, &[&HOST, &port]).unwrap_err().into();
        failure.expect("22023");
    }
    smtp.mail(session, "a@example.com\r\nRCPT TO:<eve@example.com>")
        .unwrap_err()
        .expect("22023");
    smtp.rcpt(session, "not one address")
        .unwrap_err()
        .expect("22023");
    smtp.reply(session, "data", &[&None::<&str>])
        .unwrap_err()
        .expect("22023");
    smtp.auth(session, "mailer", "x", "NTLM")
        .unwrap_err()
        .expect("U4249");
    // Without STARTTLS the password would be seen.
    smtp.auth(session, "mailer", "x", "PLAIN")
        .unwrap_err()
        .expect("U4250");
    smtp.command(session, "QUIT", None)
        .unwrap_err()
        .expect("U9277");
    smtp.write_data(session, "x").unwrap_err().expect("U9277");
    smtp.close_data(session).unwrap_err().expect("U9277");
    smtp.open_data(session).unwrap();
    smtp.noop(session).unwrap_err().expect("U9277");
    smtp.write_raw_data(session, b"a\0b")
        .unwrap_err()
        .expect("22023");
    smtp.write_data(session, "Subject: whole\n").unwrap();
    smtp.close_data(session).unwrap();
    assert_eq!(recorder.only().message(), b"Subject: whole\r\n");
}

#[test]
fn a_server_without_tls_is_recorded_without_it() {
    let mut recorder = Recorder::with(", port '25', security 'none'");
    let session = &mut recorder.session;
    let implicit = Open::to(HOST, 25).implicit_tls();
    let failure = implicit.open(session).unwrap_err().expect("U9279");
    assert!(failure.message.contains(": 502 "), "{failure}");
    let (none, reply) = implicit.open_reply(session).unwrap();
    assert!(none.is_none());
    assert_eq!(reply.code, 502);
    let smtp = Open::to(HOST, 25).open(session).unwrap();
    let offered = smtp.ehlo(session, "db.example.com").unwrap();
    assert!(offered.iter().all(|line| line.text != "STARTTLS"));
    let failure = smtp.starttls(session).unwrap_err().expect("U9279");
    assert!(failure.message.contains(": 502 "), "{failure}");
    recorder.address(&smtp).unwrap();
    smtp.data(&mut recorder.session, "x").unwrap();
    assert_eq!(recorder.only().message(), b"x\r\n");
}

#[test]
fn messages_over_the_size_of_the_server_are_refused() {
    let mut recorder = Recorder::with(", max_message_size '2000'");
    let smtp = recorder.open();
    let session = &mut recorder.session;
    let offered = smtp.ehlo(session, "db.example.com").unwrap();
    assert!(offered.iter().any(|line| line.text == "SIZE 2000"));
    let too_large = |failure: Failure| {
        let failure = failure.expect("U9279");
        assert!(failure.message.contains(": 552 5.3.4 "), "{failure}");
    };
    let declared = smtp.reply(session, "mail", &[&"app@example.com", &"SIZE=2001"]);
    too_large(declared.unwrap_err());
    let size = |octets: usize| "x".repeat(octets);
    recorder.address(&smtp).unwrap();
    too_large(smtp.data(&mut recorder.session, &size(2000)).unwrap_err());
    recorder.address(&smtp).unwrap();
    smtp.data(&mut recorder.session, &size(1500)).unwrap();
    let session = &mut recorder.session;
    let submit =
        "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], $1::text)";
    let failure: Failure = session.execute(submit, &[&size(2000)]).unwrap_err().into();
    too_large(failure);
    session.execute(submit, &[&size(1500)]).unwrap();
    assert_eq!(recorder.rows(), [2, 2, 2]);
}

#[test]
fn connect_records_too() {
    let mut recorder = Recorder::new();
    let session = &mut recorder.session;
    session.run("SELECT utl_smtp.connect('office')");
    let shown: String = session.value(
        "SELECT concat_ws(' ', host, address, port, phase, tls_version, authenticated_as, server, delivery,
                          messages_sent, (s.c).host)
         FROM utl_smtp.connections() AS s",
    );
    assert_eq!(
        shown,
        format!("{HOST} {PORT} ready mailer office on_commit 0 {HOST}")
    );
    session.run(
        "DO $$
         DECLARE c utl_smtp.connection := (SELECT s.c FROM utl_smtp.connections() AS s);
         BEGIN
             PERFORM utl_smtp.mail(c, 'app@example.com');
             PERFORM utl_smtp.rcpt(c, 'bob@example.com');
             PERFORM utl_smtp.data(c, 'x');
         END $$",
    );
    let sent: i64 = session.value("SELECT messages_sent FROM utl_smtp.connections()");
    assert_eq!(sent, 1);
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        1
    );
    session
        .try_run("SELECT utl_smtp.connect('missing')")
        .unwrap_err()
        .expect("42704");
    assert_eq!(recorder.only().message(), b"x\r\n");
}

#[test]
fn nothing_is_recorded_where_nothing_can_be_written() {
    let mut recorder = Recorder::new();
    let smtp = recorder.addressed();
    let session = &mut recorder.session;
    smtp.open_data(session).unwrap();
    smtp.write_data(session, "Subject: once\n").unwrap();
    session.run("BEGIN READ ONLY");
    smtp.close_data(session).unwrap_err().expect("25006");
    session.run("ROLLBACK");
    // The conversation is as it was.
    smtp.close_data(session).unwrap();
    for sql in [
        "SELECT utl_smtp.connect('office')",
        "SELECT utl_smtp.open_connection('mail.example.test', 587)",
        "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], 'x')",
    ] {
        session.run("BEGIN READ ONLY");
        session.try_run(sql).unwrap_err().expect("25006");
        session.run("ROLLBACK");
    }
    assert_eq!(recorder.only().message(), b"Subject: once\r\n");
    // What a materialized view runs for its owner may not send mail.
    let superuser = &mut recorder.superuser;
    let view = "CREATE MATERIALIZED VIEW v AS
        SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@example.com'], 'x')";
    superuser.try_run(view).unwrap_err().expect("42501");
}

#[test]
fn a_connection_is_for_the_role_that_opened_it() {
    let mut recorder = Recorder::new();
    let other = recorder.database.role("other");
    recorder.superuser.run(&format!(
        "ALTER ROLE {} SUPERUSER; CREATE FUNCTION as_other(c utl_smtp.connection) RETURNS void
         LANGUAGE sql SECURITY DEFINER AS 'SELECT utl_smtp.noop(c)';
         ALTER FUNCTION as_other(utl_smtp.connection) OWNER TO {other}",
        recorder.role
    ));
    let smtp = recorder.open();
    smtp.noop(&mut recorder.session).unwrap();
    let call = "SELECT as_other($1::text::utl_smtp.connection)";
    let failure = recorder.session.execute(call, &[&smtp.handle]).unwrap_err();
    Failure::from(failure).expect("42501");
}

#[test]
fn recorded_connections_count_for_max_connections() {
    let mut recorder = Recorder::new();
    recorder.database.set("utl_smtp.max_connections", "2");
    recorder.session = recorder.database.connect(&recorder.role);
    recorder.open();
    recorder.open();
    let failure = Open::to(HOST, PORT)
        .open(&mut recorder.session)
        .unwrap_err();
    failure.expect("54000");
}

/// A caller can't have another role's function queue its mail.
#[test]
fn a_callers_setting_ends_at_another_roles_function() {
    let mut recorder = Recorder::new();
    let definer = recorder.database.role("definer");
    let superuser = &mut recorder.superuser;
    superuser.run(&format!(
        "LOAD 'utl_smtp';
         CREATE FUNCTION shown() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             PERFORM utl_smtp.open_connection('127.0.0.1', 1);
             RETURN (SELECT delivery || ' ' || server FROM utl_smtp.connections());
         EXCEPTION WHEN OTHERS THEN
             RETURN SQLSTATE;
         END $$;
         CREATE FUNCTION always() RETURNS text LANGUAGE sql SECURITY DEFINER
             SET utl_smtp.delivery = on_commit SET utl_smtp.delivery_server = office
             AS 'SELECT (_.c).host || '' '' || delivery FROM (SELECT utl_smtp.connect(''office'')) AS _ (c),
                        utl_smtp.connections() AS s';
         ALTER FUNCTION shown() OWNER TO {definer}; ALTER FUNCTION always() OWNER TO {definer};
         GRANT USAGE ON FOREIGN SERVER office TO {definer}"
    ));
    superuser.run(&format!(
        "ALTER DATABASE {} RESET utl_smtp.delivery",
        recorder.database.name()
    ));
    let mut session = recorder.database.connect(&recorder.role);
    session.run("SELECT utl_smtp.close_all_connections()");
    session.run("SET utl_smtp.delivery = on_commit; SET utl_smtp.delivery_server = office");
    let own: String = session.value(
        "SELECT delivery FROM (SELECT utl_smtp.open_connection('127.0.0.1', 1)) AS _, utl_smtp.connections()",
    );
    assert_eq!(own, "on_commit");
    // It would connect at once, which its owner may not.
    assert_eq!(session.value::<String>("SELECT shown()"), "42501");
    assert_eq!(
        session.value::<String>("SELECT always()"),
        format!("{HOST} on_commit")
    );
}

#[test]
fn a_whole_message_is_one_in_the_queue_however_many_recipients_it_has() {
    let mut recorder = Recorder::new();
    let smtp = recorder.open();
    let session = &mut recorder.session;
    smtp.ehlo(session, "db.example.com").unwrap();
    let recipients: Vec<String> = (0..150).map(|n| format!("r{n}@example.com")).collect();
    let mut named: Vec<&str> = recipients.iter().map(String::as_str).collect();
    named.push("jürgen@example.com");
    let rows = smtp
        .send_message(session, "app@example.com", &named, "Subject: all\n\nx")
        .unwrap();
    assert_eq!(rows.len(), 151);
    let queued = recorder.only();
    let text = format!("2.0.0 Ok: queued as {}", queued.id);
    assert!(
        rows.iter()
            .all(|(_, reply)| reply.code == 250 && reply.text == text)
    );
    assert_eq!(queued.parameters, "SMTPUTF8");
    let recipients: Vec<&str> = queued.recipients.iter().map(String::as_str).collect();
    assert_eq!(recipients, named);
    assert_eq!(queued.message(), b"Subject: all\r\n\r\nx\r\n");
}

#[test]
fn utl_mail_queues_where_delivery_is_on_commit() {
    let mut recorder = Recorder::new();
    recorder.superuser.run("CREATE EXTENSION utl_mail");
    let session = &mut recorder.session;
    for server in ["office", "no.example.test, mail.example.test:25"] {
        session.run(&format!("SET utl_mail.smtp_out_server = '{server}'"));
        session.run(
            "SELECT utl_mail.send('app@example.com', 'bob@example.com', bcc => 'eve@example.com',
                                  subject => 'Grüße', message => 'x')",
        );
        let id: i64 = session.value(
            "SELECT utl_mail.send_message('app@example.com', 'bob@example.com', 'two', 'x')",
        );
        assert!(id > 0);
    }
    session.run("SET utl_mail.smtp_out_server = 'no.example.test'");
    let send = "SELECT utl_mail.send('app@example.com', 'bob@example.com', message => 'x')";
    session.try_run(send).unwrap_err().expect("42704");
    let queue = recorder.queue();
    assert_eq!(queue.len(), 4);
    assert_eq!(queue[0].subject.as_deref(), Some("Grüße"));
    assert_eq!(queue[0].recipients, ["bob@example.com", "eve@example.com"]);
    // The message had both fields, which stay the only ones.
    for field in ["Date: ", "Message-ID: "] {
        assert_eq!(queue[0].text().matches(field).count(), 1);
    }
}
