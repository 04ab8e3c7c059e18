//! Mail through the private Postfix as applications send it: ported Oracle blocks, triggers,
//! attachments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Database, MailServer, Open, Session, Smtp, closed_port};

/// A session of an unprivileged role that may connect to one port of the mail server.
fn app(database: &Database, port: u16) -> Session {
    database.role_for(&MailServer::shared().host, port)
}

/// Distinguishes the message from those of other tests.
fn mark(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// Runs everything up to the point where the submission port accepts mail.
fn submission(session: &mut Session) -> Smtp {
    let mail = MailServer::shared();
    let smtp = Open::to(&mail.host, mail.submission)
        .wallet(&format!("file:{}", mail.wallet))
        .open(session)
        .unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp.starttls(session).unwrap();
    smtp.ehlo(session, "client.example.test").unwrap();
    smtp.auth(session, &mail.user, &mail.password, "PLAIN")
        .unwrap();
    smtp
}

fn submission_database() -> (Database, Session) {
    let mail = MailServer::shared();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &mail.wallet);
    let session = app(&database, mail.submission);
    (database, session)
}

/// The block of Oracle's documentation, with PERFORM where PL/SQL has a bare call.
#[test]
fn the_classic_block_delivers_a_mail() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = app(&database, mail.plain);
    let mark = mark("classic");
    session.run(&format!(
        "DO $$
        DECLARE
            c utl_smtp.connection;
        BEGIN
            c := utl_smtp.open_connection('{host}', {port});
            PERFORM utl_smtp.helo(c, 'client.example.test');
            PERFORM utl_smtp.mail(c, 'sender@foo.test');
            PERFORM utl_smtp.rcpt(c, 'bob@example.test');
            PERFORM utl_smtp.open_data(c);
            PERFORM utl_smtp.write_data(c, 'From: \"Sender\" <sender@foo.test>' || utl_tcp.crlf());
            PERFORM utl_smtp.write_data(c, 'To: \"Recipient\" <bob@example.test>' || utl_tcp.crlf());
            PERFORM utl_smtp.write_data(c, 'Subject: {mark}' || utl_tcp.crlf());
            PERFORM utl_smtp.write_data(c, utl_tcp.crlf() || 'Hi! This is a test.');
            PERFORM utl_smtp.close_data(c);
            PERFORM utl_smtp.quit(c);
        EXCEPTION
            WHEN SQLSTATE 'U9278' OR SQLSTATE 'U9279' THEN
                PERFORM utl_smtp.quit(c);
                RAISE;
        END $$",
        host = mail.host,
        port = mail.plain,
    ));
    let message = mail.delivered("bob", &mark);
    assert!(
        message.header().contains("Return-Path: <sender@foo.test>"),
        "{}",
        message.header()
    );
    assert!(
        message
            .header()
            .contains("\nFrom: \"Sender\" <sender@foo.test>\n")
    );
    assert_eq!(message.body(), b"Hi! This is a test.\n");
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        0
    );
}

#[test]
fn each_scheme_that_the_server_offers_logs_in() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    let schemes = [
        ("PLAIN", &mail.password),
        ("LOGIN", &mail.password),
        ("CRAM-MD5", &mail.password),
        ("SCRAM-SHA-256", &mail.password),
        ("XOAUTH2", &mail.token),
        ("OAUTHBEARER", &mail.token),
    ];
    for (scheme, secret) in schemes {
        let smtp = Open::to(&mail.host, mail.submission)
            .wallet(&mail.wallet)
            .open(&mut session)
            .unwrap_or_else(|failure| panic!("{scheme}: {failure}"));
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        smtp.starttls(&mut session).unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        let reply = smtp
            .auth(&mut session, &mail.user, secret, scheme)
            .unwrap_or_else(|failure| panic!("{scheme}: {failure}"));
        assert_eq!(reply.code, 235, "{scheme}");
        let used = "SELECT auth_scheme || ' ' || authenticated_as FROM utl_smtp.connections()";
        assert_eq!(
            session.value::<String>(used),
            format!("{scheme} {}", mail.user)
        );
        smtp.quit(&mut session).unwrap();
    }
}

#[test]
fn a_wrong_password_is_a_permanent_error_and_the_session_goes_on() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    for scheme in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let smtp = Open::to(&mail.host, mail.submission)
            .wallet(&mail.wallet)
            .open(&mut session)
            .unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        smtp.starttls(&mut session).unwrap();
        smtp.ehlo(&mut session, "client.example.test").unwrap();
        let failure = smtp
            .auth(&mut session, &mail.user, "wrong-password", scheme)
            .unwrap_err();
        assert!(failure.expect("U9279").message.contains("535"), "{scheme}");
        assert_eq!(smtp.noop(&mut session).unwrap().code, 250, "{scheme}");
        smtp.quit(&mut session).unwrap();
    }
}

#[test]
fn an_authenticated_role_relays_over_implicit_tls() {
    let mail = MailServer::shared();
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", &mail.wallet);
    let mut session = app(&database, mail.implicit_tls);
    let mark = mark("implicit");
    let smtp = Open::to(&mail.host, mail.implicit_tls)
        .wallet(&mail.wallet)
        .implicit_tls()
        .secure_host(&mail.name)
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.auth(
        &mut session,
        &mail.user,
        &mail.password,
        "SCRAM-SHA-256 PLAIN",
    )
    .unwrap();
    smtp.mail(&mut session, &mail.user).unwrap();
    smtp.rcpt(&mut session, "someone@elsewhere.test").unwrap();
    smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\nrelayed\r\n"))
        .unwrap();
    smtp.quit(&mut session).unwrap();
    assert_eq!(mail.delivered("relayed", &mark).body(), b"relayed\n");
}

#[test]
fn japanese_subject_and_body_arrive_as_written() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    let mark = mark("japanese");
    let body = "こんにちは、世界。\r\n改行も点も:\r\n.\r\n..終わり\r\n";
    let smtp = submission(&mut session);
    smtp.mail(&mut session, &mail.user).unwrap();
    smtp.rcpt(&mut session, "<bob@example.test>").unwrap();
    smtp.open_data(&mut session).unwrap();
    let subject = format!("=?UTF-8?B?{}?=", STANDARD.encode("月次報告"));
    smtp.write_data(
        &mut session,
        &format!("Subject: {subject}\r\nX-Mark: {mark}\r\n"),
    )
    .unwrap();
    let mime = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n";
    smtp.write_data(&mut session, mime).unwrap();
    smtp.write_data(&mut session, body).unwrap();
    smtp.close_data(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    let message = mail.delivered("bob", &mark);
    assert!(message.header().contains(&format!("Subject: {subject}\n")));
    assert_eq!(message.body(), body.replace("\r\n", "\n").as_bytes());
}

/// SMTPUTF8: a non-ASCII local part, which Postfix offers to take.
#[test]
fn a_recipient_with_a_non_ascii_local_part_is_reached() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    let mark = mark("smtputf8");
    let smtp = submission(&mut session);
    smtp.mail(&mut session, "用户@example.test").unwrap();
    smtp.rcpt(&mut session, "用户@example.test").unwrap();
    smtp.data(&mut session, &format!("Subject: {mark}\r\n\r\n早\r\n"))
        .unwrap();
    smtp.quit(&mut session).unwrap();
    assert_eq!(mail.delivered("carol", &mark).body(), "早\n".as_bytes());
}

#[test]
fn html_mail_keeps_its_parts() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    let mark = mark("html");
    let body = "--b\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nplain ü\r\n\
                --b\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n\
                <p style=\"margin: 0\">\r\n.hidden &amp; <b>bold</b> ü</p>\r\n--b--\r\n";
    let header = format!(
        "Subject: {mark}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    );
    let smtp = submission(&mut session);
    smtp.mail(&mut session, &mail.user).unwrap();
    smtp.rcpt(&mut session, "bob@example.test").unwrap();
    smtp.data(&mut session, &(header + body)).unwrap();
    smtp.quit(&mut session).unwrap();
    let message = mail.delivered("bob", &mark);
    assert_eq!(message.body(), body.replace("\r\n", "\n").as_bytes());
}

/// A notification must not undo the work that it tells of: the handler swallows the mail's failure.
#[test]
fn a_trigger_mails_and_survives_a_dead_server() {
    let mail = MailServer::shared();
    let database = Database::new();
    let role = database.role("app");
    database.allow(&role, &mail.host, mail.plain);
    let dead = closed_port();
    database.allow(&role, &mail.host, dead);
    let mut owner = database.superuser();
    owner.run(&format!(
        "CREATE TABLE orders (note text, port integer);
         GRANT INSERT, SELECT ON orders TO {role};
         CREATE FUNCTION notify_by_mail() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             c utl_smtp.connection;
         BEGIN
             c := utl_smtp.open_connection('{host}', NEW.port, tx_timeout => 60);
             PERFORM utl_smtp.ehlo(c, 'client.example.test');
             PERFORM utl_smtp.mail(c, 'orders@foo.test');
             PERFORM utl_smtp.rcpt(c, 'bob@example.test');
             PERFORM utl_smtp.data(c, 'Subject: order' || utl_tcp.crlf() || utl_tcp.crlf() || NEW.note);
             PERFORM utl_smtp.quit(c);
             RETURN NEW;
         EXCEPTION
             WHEN SQLSTATE 'U9278' OR SQLSTATE 'U9279' THEN
                 BEGIN
                     PERFORM utl_smtp.quit(c);
                 EXCEPTION
                     WHEN SQLSTATE 'U9278' OR SQLSTATE 'U9279' THEN NULL;
                 END;
                 RAISE WARNING 'no mail: %', SQLERRM;
                 RETURN NEW;
         END $$;
         CREATE TRIGGER mail_order AFTER INSERT ON orders
             FOR EACH ROW EXECUTE FUNCTION notify_by_mail()",
        host = mail.host,
    ));
    let mut session = database.connect(&role);
    let mark = mark("trigger");
    session.run(&format!(
        "INSERT INTO orders VALUES ('{mark}', {})",
        mail.plain
    ));
    assert_eq!(
        mail.delivered("bob", &mark).body(),
        format!("{mark}\n").as_bytes()
    );

    session.run(&format!("INSERT INTO orders VALUES ('unsent', {dead})"));
    assert_eq!(
        session.notice_texts(),
        ["no mail: ORA-29278: SMTP transient error: 421 Service not available"]
    );
    assert_eq!(session.value::<i64>("SELECT count(*) FROM orders"), 2);
}

#[test]
fn an_unknown_recipient_is_a_permanent_error_in_the_servers_words() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = app(&database, mail.plain);
    let smtp = Open::to(&mail.host, mail.plain).open(&mut session).unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.mail(&mut session, "sender@foo.test").unwrap();
    let failure = smtp
        .rcpt(&mut session, "nobody@example.test")
        .unwrap_err()
        .expect("U9279");
    let start = "ORA-29279: SMTP permanent error: 550 5.1.1 <nobody@example.test>";
    assert!(failure.message.starts_with(start), "{failure}");
    let place = format!(
        "SMTP conversation with {}:{}, in reply to RCPT TO",
        mail.host, mail.plain
    );
    assert!(failure.context.contains(&place), "{failure}");

    let busy = smtp
        .rcpt(&mut session, "busy@example.test")
        .unwrap_err()
        .expect("U9278");
    assert!(busy.message.contains("450 4.2.1"), "{busy}");
    let full = smtp
        .rcpt(&mut session, "full@example.test")
        .unwrap_err()
        .expect("U9279");
    assert!(full.message.contains("552 5.2.2"), "{full}");
    let relay = smtp
        .rcpt(&mut session, "x@elsewhere.test")
        .unwrap_err()
        .expect("U9279");
    assert!(relay.message.contains("554 5.7.1"), "{relay}");
    assert_eq!(
        smtp.rcpt(&mut session, "bob@example.test").unwrap().code,
        250
    );
    smtp.quit(&mut session).unwrap();
}

/// With `raise_reply_errors` off the caller judges, as with Oracle's function forms.
#[test]
fn a_refusal_is_returned_if_raise_reply_errors_is_off() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = app(&database, mail.plain);
    session.run("SET utl_smtp.raise_reply_errors = off");
    let smtp = Open::to(&mail.host, mail.plain).open(&mut session).unwrap();
    assert_eq!(
        smtp.mail(&mut session, "sender@foo.test").unwrap().code,
        503
    );
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.mail(&mut session, "sender@foo.test").unwrap();
    let reply = smtp.rcpt(&mut session, "nobody@example.test").unwrap();
    assert_eq!(reply.code, 550);
    assert!(
        reply.text.starts_with("5.1.1 <nobody@example.test>"),
        "{reply:?}"
    );
    smtp.quit(&mut session).unwrap();
}

#[test]
fn a_dead_server_is_a_transient_error() {
    let database = Database::new();
    let port = closed_port();
    let mut session = database.role_for("127.0.0.1", port);
    let failure = Open::to("127.0.0.1", port)
        .open(&mut session)
        .unwrap_err()
        .expect("U9278");
    assert_eq!(
        failure.message,
        "ORA-29278: SMTP transient error: 421 Service not available"
    );
    assert!(
        failure.detail.to_lowercase().contains("connection refused"),
        "{failure}"
    );
    // Oracle's sample handlers call quit on the connection that never opened.
    let quit = "SELECT utl_smtp.quit(NULL::utl_smtp.connection)";
    session.try_run(quit).unwrap_err().expect("U9278");
    session.run("SELECT utl_smtp.close_connection(NULL::utl_smtp.connection)");
    let (smtp, reply) = Open::to("127.0.0.1", port)
        .open_reply(&mut session)
        .unwrap();
    assert!(smtp.is_none());
    assert_eq!(reply.code, 421);
}

/// 2 MB, as Oracle code sends attachments: base64, 76 characters a line, one call each.
#[test]
fn an_attachment_in_base64_lines_arrives_whole() {
    let (_database, mut session) = submission_database();
    let mark = mark("attachment");
    let content = noise(2_000_000);
    let lines = STANDARD.encode(&content);
    session.run("CREATE TEMP TABLE attachment (id serial, line text)");
    let lines: Vec<&str> = split(&lines, 76);
    let insert = "INSERT INTO attachment (line) SELECT unnest($1::text[])";
    session.execute(insert, &[&lines]).unwrap();
    let smtp = begin_attachment(&mut session, &mark, "base64");
    let send = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection, line || utl_tcp.crlf())
                  FROM (SELECT line FROM attachment ORDER BY id) AS ordered";
    session.execute(send, &[&smtp.handle]).unwrap();
    end_message(&mut session, &smtp);
    let message = MailServer::shared().delivered("carol", &mark);
    let mut arrived = message.body().to_vec();
    arrived.retain(|byte| *byte != b'\n');
    assert_eq!(STANDARD.decode(&arrived).unwrap(), content);
}

/// 2 MB through `write_raw_data`, in the pieces that Oracle's RAW forces on people. Lines of text,
/// since no server here takes lines without end; the pieces cut them, and their line ends,
/// anywhere.
#[test]
fn an_attachment_in_raw_pieces_arrives_whole() {
    let (_database, mut session) = submission_database();
    let mark = mark("raw");
    let encoded = STANDARD.encode(noise(1_500_000));
    let content: String = split(&encoded, 75)
        .iter()
        .map(|line| format!(".{line}\r\n"))
        .collect();
    let smtp = begin_attachment(&mut session, &mark, "8bit");
    for piece in content.as_bytes().chunks(24_000) {
        smtp.write_raw_data(&mut session, piece).unwrap();
    }
    end_message(&mut session, &smtp);
    let message = MailServer::shared().delivered("carol", &mark);
    assert!(
        message.body() == content.replace("\r\n", "\n").as_bytes(),
        "the body has changed"
    );
}

fn begin_attachment(session: &mut Session, mark: &str, encoding: &str) -> Smtp {
    let smtp = submission(session);
    smtp.mail(session, &MailServer::shared().user).unwrap();
    smtp.rcpt(session, "carol@example.test").unwrap();
    smtp.open_data(session).unwrap();
    let header = format!(
        "Subject: {mark}\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    smtp.write_data(session, &header).unwrap();
    smtp
}

fn end_message(session: &mut Session, smtp: &Smtp) {
    assert_eq!(smtp.close_data(session).unwrap().code, 250);
    smtp.quit(session).unwrap();
}

#[test]
fn a_message_over_the_size_limit_is_refused_by_the_server() {
    let mail = MailServer::shared();
    let (_database, mut session) = submission_database();
    let smtp = submission(&mut session);
    let size = format!("SIZE={}", mail.size_limit + 1);
    let failure = smtp
        .reply(&mut session, "mail", &[&mail.user, &size])
        .unwrap_err()
        .expect("U9279");
    assert!(failure.message.contains("552 5.3.4"), "{failure}");
    smtp.quit(&mut session).unwrap();
}

/// Bytes that look random and are the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// ASCII text in pieces of this length.
fn split(text: &str, length: usize) -> Vec<&str> {
    text.as_bytes()
        .chunks(length)
        .map(|piece| std::str::from_utf8(piece).unwrap())
        .collect()
}
