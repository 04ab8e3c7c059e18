//! Oracle's routines.

use super::{arrived, assert_shows, database, postfix};
use e2e::mail::MailServer;
use e2e::{Database, Failure, Peer, Script};

#[test]
fn a_message_arrives_as_it_was_given() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    session.run(&format!(
        "SELECT utl_mail.send('\"Zoë, Ops\" <alice@example.test>', 'Bob <bob@example.test>; carol@example.test',
            bcc => 'alice@example.test', subject => 'Grüße', message => E'Zeile 1\n.\nこんにちは',
            priority => 1, replyto => '{reply_to}')"
    ));
    let seen = arrived("bob", &reply_to);
    assert_shows(
        &seen,
        &[
            "From: \"Zoë, Ops\" <alice@example.test>\n",
            "To: Bob <bob@example.test>, carol@example.test\n",
            "Bcc: None\n",
            "Subject: Grüße\n",
            "X-Priority: 1",
            &format!("Reply-To: {reply_to}\n"),
            "text/plain None None 'Zeile 1\\r\\n.\\r\\nこんにちは",
        ],
    );
    assert_eq!(arrived("alice", &reply_to), seen);
}

#[test]
fn attachments_arrive_as_they_were_given() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    session.run(&format!(
        "SELECT utl_mail.send_attach_raw('alice@example.test', 'bob@example.test', message => '<b>hi</b>',
            mime_type => 'text/html; charset=utf-8', attachment => '\\x00ff0d0a', att_inline => false,
            att_filename => 'Übersicht 1.bin', replyto => '{reply_to}')"
    ));
    let seen = arrived("bob", &reply_to);
    let file = "application/octet attachment Übersicht 1.bin b'\\x00\\xff\\r\\n'";
    assert_shows(&seen, &["text/html None None '<b>hi</b>", file]);

    session.run(&format!(
        "SELECT utl_mail.send_attach_varchar2('alice@example.test', 'carol@example.test', attachment => 'größer',
            att_mime_type => 'text/plain; charset=us-ascii', att_filename => 'list.txt', replyto => '{reply_to}')"
    ));
    let seen = arrived("carol", &reply_to);
    assert_shows(&seen, &["text/plain inline list.txt 'größer'"]);
}

/// Oracle's numbers, and nothing is sent.
#[test]
fn bad_arguments_are_refused_before_anything_is_sent() {
    let (_database, mut session) = database("127.0.0.1:1");
    for (arguments, sqlstate, message) in [
        ("NULL, 'bob@example.test'", "U9261", "ORA-29261"),
        ("'alice@example.test', NULL", "U9261", "ORA-29261"),
        ("'alice@example.test', 'no address'", "U9261", "ORA-29261"),
        (
            "'alice@example.test', 'bob@x.test>, <eve@x.test'",
            "U9261",
            "ORA-29261",
        ),
        (
            "'alice@example.test', 'bob@x.test', subject => E'a\\r\\nBcc: eve@x.test'",
            "U9261",
            "ORA-29261",
        ),
        (
            "'alice@example.test', 'bob@x.test', mime_type => E'text/plain\\r\\nX: y'",
            "U9261",
            "ORA-29261",
        ),
        (
            "'alice@example.test', 'bob@x.test', priority => 6",
            "22023",
            "ORA-44101",
        ),
    ] {
        let sql = format!("SELECT utl_mail.send({arguments})");
        let failure = session.try_run(&sql).expect_err(&sql).expect(sqlstate);
        assert!(failure.message.contains(message), "{failure}");
    }
    let sql = "SELECT utl_mail.send_attach_raw('alice@example.test', 'bob@example.test')";
    session.try_run(sql).unwrap_err().expect("22023");
}

/// The first host that can be reached gets the mail.
#[test]
fn hosts_are_tried_in_order() {
    let refusing = Peer::start(Script::new().send("421 not now\r\n").drain());
    let closed = e2e::closed_port();
    let hosts = format!(
        "127.0.0.1:{closed}, 127.0.0.1:{}, {}",
        refusing.port(),
        postfix()
    );
    let (database, mut session) = database(&hosts);
    let reply_to = format!("ops-{}@example.test", database.name());
    session.run(&format!(
        "SELECT utl_mail.send('alice@example.test', 'bob@example.test', replyto => '{reply_to}')"
    ));
    arrived("bob", &reply_to);
    session.run(&format!(
        "SET utl_mail.smtp_out_server = '127.0.0.1:{closed}'"
    ));
    let sql = "SELECT utl_mail.send('alice@example.test', 'bob@example.test')";
    session.try_run(sql).unwrap_err().expect("U9278");
}

/// As for open_connection.
#[test]
fn a_host_needs_an_entry_in_the_access_control_list() {
    let (database, _) = database("");
    let (app, port) = (database.role("app"), e2e::closed_port());
    let mut session = database.connect(&app);
    session.run(&format!(
        "SET utl_mail.smtp_out_server = '127.0.0.1:{port}'"
    ));
    let sql = "SELECT utl_mail.send('alice@example.test', 'bob@example.test')";
    let failure = session.try_run(sql).unwrap_err().expect("42501");
    assert!(failure.message.contains("ORA-24247"), "{failure}");
    database.allow(&app, "127.0.0.1", port);
    session.try_run(sql).unwrap_err().expect("U9278");
}

#[test]
fn a_server_that_is_an_object_logs_in() {
    let mail = MailServer::shared();
    let (database, mut session) = database("office");
    session.run(&format!(
        "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{}', port '{}', wallet_path '{}');
         CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (user '{}', password '{}')",
        mail.host, mail.submission, mail.wallet, mail.user, mail.password
    ));
    let reply_to = format!("ops-{}@example.test", database.name());
    session.run(&format!(
        "SELECT utl_mail.send('{}', 'bob@example.test', replyto => '{reply_to}')",
        mail.user
    ));
    arrived("bob", &reply_to);
    let open: i64 = session.value("SELECT count(*) FROM utl_smtp.connections()");
    assert_eq!(open, 0);
}

/// An error if nobody gets it, one WARNING if somebody does not.
#[test]
fn refused_recipients_are_named() {
    let (database, mut session) = database(&postfix());
    let reply_to = format!("ops-{}@example.test", database.name());
    let send = |to: &str| {
        format!("SELECT utl_mail.send('alice@example.test', '{to}', replyto => '{reply_to}')")
    };
    session.run(&send("bob@example.test, nobody@example.test"));
    arrived("bob", &reply_to);
    let warnings: Vec<_> = session
        .notices()
        .into_iter()
        .filter(|n| n.severity() == "WARNING")
        .collect();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(
        warning.detail().unwrap().contains("nobody@example.test"),
        "{warning:?}"
    );
    let failure: Failure = session
        .try_run(&send("nobody@example.test"))
        .unwrap_err()
        .expect("U9279");
    assert!(failure.message.contains("550"), "{failure}");
}

/// The setting of a caller does not lead another role's function to another server.
#[test]
fn a_callers_setting_does_not_count_in_a_definers_function() {
    let (database, mut session) = database(&postfix());
    let app = database.role("app");
    session.run(&format!(
        "ALTER DATABASE {} SET utl_mail.smtp_out_server = '{}';
         CREATE FUNCTION public.notify(replyto text) RETURNS void LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp
             AS $$ SELECT utl_mail.send('alice@example.test', 'bob@example.test', replyto => replyto) $$;
         GRANT EXECUTE ON FUNCTION public.notify(text) TO {app}",
        database.name(),
        postfix()
    ));
    let reply_to = format!("ops-{}@example.test", database.name());
    let stranger = Peer::start(Script::greeting().drain());
    let mut caller = database.connect(&app);
    caller.run(&format!(
        "SET utl_mail.smtp_out_server = '127.0.0.1:{}'",
        stranger.port()
    ));
    caller.run(&format!("SELECT public.notify('{reply_to}')"));
    arrived("bob", &reply_to);
    assert_eq!(stranger.accepted(), 0);
}

#[test]
fn without_a_server_the_hint_says_how_to_set_one() {
    let (_database, mut session) = database("");
    let sql = "SELECT utl_mail.send('alice@example.test', 'bob@example.test')";
    let failure = session.try_run(sql).unwrap_err().expect("22023");
    assert!(
        failure.hint.contains("utl_mail.smtp_out_server"),
        "{failure}"
    );
    session.run("SET utl_mail.smtp_out_server = 'localhost:0'");
    session.try_run(sql).unwrap_err().expect("22023");
}

/// orafce_mail makes a schema of this name, too.
#[test]
fn a_schema_that_is_there_is_not_taken_over() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("CREATE SCHEMA utl_mail");
    session
        .try_run("CREATE EXTENSION utl_mail")
        .unwrap_err()
        .expect("42P06");
}
