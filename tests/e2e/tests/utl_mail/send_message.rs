//! `utl_mail.send_message`: what arrives, and what is refused.

use super::{arrived, assert_shows, database, postfix};
use e2e::{Database, Failure, Session, Sink};

#[test]
fn text_html_an_image_and_files_arrive_in_their_places() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    let id: Option<i64> = session.value(&format!(
        "SELECT utl_mail.send_message('\"Zoë, Ops\" <alice@example.test>', 'Bob <bob@example.test>', 'Grüße',
            message => 'Zeile 1', html => '<p><img src=\"cid:logo\"> Zeile 1</p>',
            attachments => ARRAY[
                ROW('Übersicht, 1.csv', 'text/csv; charset=utf-8', convert_to(E'größe\\r\\n', 'UTF8'), NULL),
                ROW('logo.png', 'image/png', '\\x89504e470d0a', 'logo'),
                ROW('data.bin', NULL, '\\x00ff0a', NULL)]::utl_mail.attachment[],
            cc => 'carol@example.test', bcc => 'alice@example.test', replyto => '{reply_to}', priority => 1,
            headers => ARRAY['X-Report: naïve 7', 'Auto-Submitted: auto-generated'])"
    ));
    assert_eq!(id, None, "it was sent at once");
    let seen = arrived("bob", &reply_to);
    assert_shows(
        &seen,
        &[
            "From: \"Zoë, Ops\" <alice@example.test>\n",
            "To: Bob <bob@example.test>\n",
            "Cc: carol@example.test\n",
            "Bcc: None\n",
            "Subject: Grüße\n",
            "X-Priority: 1",
            &format!("Reply-To: {reply_to}\n"),
            "X-Report: naïve 7\n",
            "Auto-Submitted: auto-generated\n",
            "at /mixed/alternative text/plain None",
            "text/plain None None 'Zeile 1",
            "at /mixed/alternative/related text/html None",
            "text/html None None '<p><img src=\"cid:logo\"> Zeile 1</p>",
            "at /mixed/alternative/related image/png <logo>",
            "image/png inline logo.png b'\\x89PNG\\r\\n'",
            "at /mixed text/csv None [('charset', 'utf-8')",
            "text/csv attachment Übersicht, 1.csv 'größe\\r\\n'",
            "application/octet-stream attachment data.bin b'\\x00\\xff\\n'",
        ],
    );
    assert_eq!(arrived("carol", &reply_to), seen);
    assert_eq!(arrived("alice", &reply_to), seen);
}

#[test]
fn what_is_left_out_is_not_in_the_message() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    let mut send = |arguments: &str| {
        session.run(&format!(
            "SELECT utl_mail.send_message('alice@example.test', {arguments}, replyto => '{reply_to}')"
        ));
    };
    send("'bob@example.test', 'only html', html => '<b>hi</b>'");
    let seen = arrived("bob", &reply_to);
    assert_shows(
        &seen,
        &[
            "Subject: only html\n",
            "X-Priority: 3",
            "text/html None None '<b>hi</b>",
        ],
    );
    assert!(
        !seen.contains("text/plain") && !seen.contains("\nat "),
        "{seen}"
    );

    send(
        "NULL, NULL, bcc => 'carol@example.test', priority => NULL, headers => '{}', attachments => '{}'",
    );
    let seen = arrived("carol", &reply_to);
    assert_shows(
        &seen,
        &[
            "To: None\n",
            "Subject: None\n",
            "X-Priority: None\n",
            "text/plain None None ''",
        ],
    );
}

/// 300 recipients, each with a name that no list may be cut at, and words that are longer than a
/// line.
#[test]
fn long_headers_are_folded_and_come_back() {
    let sink = Sink::start("");
    let (_database, mut session) = database(&format!("127.0.0.1:{}", sink.port()));
    session.run(
        "SELECT utl_mail.send_message('alice@example.test',
            (SELECT string_agg(format('\"Nr. %s, größer\" <r%s@example.test>', i, i), ', ') FROM generate_series(1, 300) i),
            repeat('x', 3000), message => repeat('y', 3000), headers => ARRAY['X-Report: ' || repeat('漢', 900)])",
    );
    // A hundred recipients each.
    let messages = sink.messages();
    assert_eq!(messages.len(), 3);
    let message = &messages[0];
    for line in message.split(|octet| *octet == b'\n') {
        assert!(line.len() <= 998, "{}", line.len());
    }
    let seen = super::judge::read(message);
    assert_shows(
        &seen,
        &[
            "\"Nr. 1, größer\" <r1@example.test>, \"Nr. 2, größer\" <r2@example.test>",
            "\"Nr. 300, größer\" <r300@example.test>\n",
            &format!("Subject: {}\n", "x".repeat(3000)),
            &format!("X-Report: {}\n", "漢".repeat(900)),
            &format!("'{}", "y".repeat(3000)),
        ],
    );
}

/// Nothing is sent: to connect would be another error.
#[track_caller]
fn assert_refused(session: &mut Session, arguments: &str, argument: &str, detail: &str) {
    let sql = format!("SELECT utl_mail.send_message({arguments})");
    let failure: Failure = session.try_run(&sql).expect_err(&sql).expect("22023");
    assert!(
        failure.message.contains(&format!("\"{argument}\"")),
        "{sql}: {failure}"
    );
    assert!(failure.detail.contains(detail), "{sql}: {failure}");
}

#[test]
fn arguments_that_no_message_can_have_are_named() {
    let (_database, mut session) = database("127.0.0.1:1");
    let to = "'alice@example.test', 'bob@example.test'";
    let file = |fields: &str| {
        format!("{to}, 's', attachments => ARRAY[ROW({fields})::utl_mail.attachment]")
    };
    let extra = |field: &str| format!("{to}, 's', headers => ARRAY['X-A: 1', E'{field}']");
    for (arguments, argument, detail) in [
        (
            "NULL, 'bob@example.test', 's'",
            "sender",
            "Nothing is given",
        ),
        (
            "'a@x.test, b@x.test', 'bob@example.test', 's'",
            "sender",
            "2 addresses",
        ),
        (
            "'alice@example.test', NULL, 's'",
            "recipients",
            "Nothing is given",
        ),
        (
            "'alice@example.test', 'no address', 's'",
            "recipients",
            "Address 1",
        ),
        (
            "'alice@example.test', 'bob@x.test>, <eve@x.test', 's'",
            "recipients",
            "Address 1",
        ),
        (
            "'alice@example.test', E'bob@x.test\\r\\nBcc: eve@x.test', 's'",
            "recipients",
            "carriage return",
        ),
        (
            &format!("{to}, E'a\\r\\nBcc: eve@x.test'"),
            "subject",
            "carriage return",
        ),
        (&format!("{to}, 's', cc => 'c'"), "cc", "Address 1"),
        (
            &format!("{to}, 's', bcc => 'c@x.test, d'"),
            "bcc",
            "Address 2",
        ),
        (
            &format!("{to}, 's', replyto => E'\\n'"),
            "replyto",
            "line feed",
        ),
        (
            &format!("{to}, 's', priority => 0"),
            "priority",
            "Not between 1 and 5",
        ),
        (
            &format!("{to}, 's', headers => ARRAY[NULL]"),
            "headers",
            "Element 1: it is NULL",
        ),
        (&extra("no colon"), "headers", "Element 2: no colon"),
        (
            &extra("X-A : 1"),
            "headers",
            "Element 2: name of a header field: a space",
        ),
        (
            &extra(": 1"),
            "headers",
            "Element 2: name of a header field: nothing",
        ),
        (
            &extra("Bcc: eve@x.test"),
            "headers",
            "Element 2: name of a header field: reserved",
        ),
        (&extra("subject: s"), "headers", "reserved"),
        (&extra("FROM: eve@x.test"), "headers", "reserved"),
        (&extra("Content-Type: text/html"), "headers", "reserved"),
        (&extra("MIME-Version: 1.0"), "headers", "reserved"),
        (
            &extra("X-B: 1\\r\\nBcc: eve@x.test"),
            "headers",
            "carriage return",
        ),
        (&extra("X-B\\nBcc: eve@x.test"), "headers", "line feed"),
        (
            &file("'f', 'text/plain', NULL, NULL"),
            "attachments",
            "Element 1: its content is NULL",
        ),
        (
            &file("'f', 'plain', '', NULL"),
            "attachments",
            "Element 1: content type",
        ),
        (
            &file("'f', 'message/rfc822', '', NULL"),
            "attachments",
            "multipart and message",
        ),
        (
            &file("'f', E'text/plain\\r\\nX: y', '', NULL"),
            "attachments",
            "carriage return",
        ),
        (
            &file("E'f\\n', 'text/plain', '', NULL"),
            "attachments",
            "file name: a line feed",
        ),
        (
            &file("'f', 'image/png', '', '<a> <b>'"),
            "attachments",
            "Element 1: content id",
        ),
        (
            &format!("{to}, 's', attachments => ARRAY[NULL::utl_mail.attachment]"),
            "attachments",
            "Element 1: it is NULL",
        ),
        (
            &format!(
                "{to}, 's', attachments => array_fill(ROW('f', NULL, '', 'id')::utl_mail.attachment, ARRAY[2])"
            ),
            "attachments",
            "Content id: given more than once",
        ),
        (
            &format!("{to}, 's', headers => ARRAY['References: <a>', 'references: <b>']"),
            "headers",
            "given more than once",
        ),
        (
            &format!("{to}, repeat('s', 1048577)"),
            "subject",
            "1048577 octets",
        ),
        (
            &format!("{to}, 's', headers => array_fill(repeat('x', 999), ARRAY[1050])"),
            "headers",
            "1048950 octets",
        ),
    ] {
        assert_refused(&mut session, arguments, argument, detail);
    }
}

/// Text of any database encoding becomes UTF-8.
#[test]
fn a_message_from_a_latin1_database_arrives() {
    let database = Database::empty("ENCODING 'LATIN1' LOCALE 'C'");
    let mut session = database.superuser();
    session.run("CREATE EXTENSION utl_mail CASCADE");
    session.run(&format!("SET utl_mail.smtp_out_server = '{}'", postfix()));
    let reply_to = format!("ops-{}@example.test", database.name());
    session.run(&format!(
        "SELECT utl_mail.send_message('alice@example.test', 'bob@example.test', 'Grüße', html => utl_mail.query_to_html(
            $$ VALUES ('größer & <kleiner>') $$, 'Übersicht'), replyto => '{reply_to}', headers => ARRAY['X-Report: ä'],
            attachments => ARRAY[ROW('ü.csv', NULL, convert_to(utl_mail.query_to_csv($$ VALUES ('ö') $$, false), 'UTF8'),
                NULL)::utl_mail.attachment])"
    ));
    let seen = arrived("bob", &reply_to);
    assert_shows(
        &seen,
        &[
            "Subject: Grüße\n",
            "X-Report: ä\n",
            ">Übersicht</caption>",
            ">größer &amp; &lt;kleiner&gt;</td>",
            "attachment ü.csv b'\\xc3\\xb6\\r\\n'",
        ],
    );
}
