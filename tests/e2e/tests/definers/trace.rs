//! Who can see a conversation, and what its transcript puts into the server log.

use super::*;
use e2e::test_bed::TestBed;
use e2e::{Peer, Script};

const SECRET: &str = "S3cretPW-literal";

/// A function that relies on errors ending it, with a server that does not support STARTTLS.
#[test]
fn a_caller_neither_sees_nor_steers_the_conversation_of_a_function() {
    let fixture = Fixture::new();
    let script = || {
        Script::greeting()
            .on("EHLO", "250-peer\r\n250 STARTTLS")
            .on("STARTTLS", "454 TLS not available")
            .drain()
    };
    let ways = [
        (
            "",
            "SET utl_smtp.raise_reply_errors = off; SET utl_smtp.trace = notice",
        ),
        (
            "-c utl_smtp.raise_reply_errors=off -c utl_smtp.trace=notice",
            "SELECT 1",
        ),
    ];
    let peer = Peer::start(script());
    let mut owner = fixture.database.superuser();
    fixture
        .database
        .allow(&fixture.definer, "127.0.0.1", peer.port());
    owner.run(&format!(
        "CREATE FUNCTION s.alert() RETURNS text LANGUAGE plpgsql SECURITY DEFINER
         SET search_path = pg_catalog, pg_temp AS $$
         DECLARE c utl_smtp.connection := utl_smtp.open_connection('127.0.0.1', {}, 10);
         BEGIN
             PERFORM utl_smtp.ehlo(c, 'client.example.test');
             PERFORM utl_smtp.starttls(c);
             PERFORM utl_smtp.mail(c, 'app@example.test');
             PERFORM utl_smtp.rcpt(c, 'secret-recipient@example.test');
             RETURN 'sent';
         END $$;
         ALTER FUNCTION s.alert() OWNER TO {}",
        peer.port(),
        fixture.definer
    ));
    for (options, set) in ways {
        let mut session = fixture.database.connect_with(&fixture.caller, options);
        session.run(set);
        let failure = session.try_run("SELECT s.alert()").unwrap_err();
        assert!(failure.expect("U9278").message.contains("454"));
        assert_eq!(session.notice_texts(), [""; 0]);
    }
    // The function's own trace is seen, for it is the function's to show.
    owner.run("ALTER FUNCTION s.alert() SET utl_smtp.trace = notice");
    let mut session = fixture.caller();
    session.run("SELECT utl_smtp.close_all_connections()");
    session
        .try_run("SELECT s.alert()")
        .unwrap_err()
        .expect("U9278");
    let notices = session.notice_texts();
    assert!(
        notices.iter().any(|line| line == "C: STARTTLS"),
        "{notices:?}"
    );
    drop(session);
    for conversation in peer.finish().conversations {
        assert!(!conversation.heard(b"MAIL"));
    }
}

/// From a statement and from PL/pgSQL, with passwords as literals.
#[test]
fn the_log_gets_the_transcript_without_statements_and_passwords() {
    for level in ["warning", "debug5"] {
        let mut bed = TestBed::new();
        bed.database.set("log_min_messages", level);
        bed.database.set("utl_smtp.allow_cleartext_auth", "on");
        bed.session = bed.database.connect(&bed.role);
        for block in [false, true] {
            let script = Script::greeting()
                .on("EHLO", "250-peer\r\n250 AUTH LOGIN PLAIN")
                .on("AUTH PLAIN", "235 welcome")
                .quit();
            bed.play_each(vec![script], &[SECRET], |case| {
                case.session.run("SET utl_smtp.trace = log");
                let smtp = case.greet();
                let auth = format!(
                    "utl_smtp.auth('{}', 'bob', '{SECRET}', 'PLAIN')",
                    smtp.handle
                );
                case.session.run(&match block {
                    true => format!("DO $$ BEGIN PERFORM {auth}; END $$"),
                    false => format!("SELECT {auth}"),
                });
                smtp.quit(case.session).unwrap();
            });
        }
    }
}

/// Notices and warnings may be logged as well; their context goes only to the client.
#[test]
fn what_is_logged_of_notices_and_warnings_has_no_literals() {
    let mut bed = TestBed::new();
    for (setting, value) in [
        ("log_min_messages", "notice"),
        ("log_min_error_statement", "notice"),
        ("log_statement", "none"),
    ] {
        bed.database.set(setting, value);
    }
    bed.session = bed.database.connect(&bed.role);
    let script = Script::greeting()
        .on("EHLO", "250 peer")
        .message("250 ok")
        .quit();
    let begin = std::fs::metadata(&e2e::cluster::Cluster::shared().log)
        .unwrap()
        .len();
    bed.play(script, |case| {
        case.session.run("SET utl_smtp.trace = notice");
        let smtp = case.greet();
        case.session.run(&format!(
            "DO $$ BEGIN PERFORM utl_smtp.data('{}', 'Größe {SECRET}'); END $$",
            smtp.handle
        ));
        let notices = case.session.notices();
        let context = notices.last().and_then(|notice| notice.where_());
        assert!(context.is_some_and(|context| context.contains(SECRET)));
        smtp.quit(case.session).unwrap();
    });
    let log = std::fs::read(&e2e::cluster::Cluster::shared().log).unwrap();
    let log = String::from_utf8_lossy(&log[usize::try_from(begin).unwrap()..]).into_owned();
    assert!(
        log.contains("WARNING:  the message has 8-bit characters"),
        "{log}"
    );
    assert!(log.contains("NOTICE:  C: DATA"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}
