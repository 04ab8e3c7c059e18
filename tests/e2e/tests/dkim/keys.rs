//! Keys: which are taken, where they are kept, and that nobody sees them.

use e2e::cluster::Cluster;
use e2e::invariants::{Invariants, no_secret};

use super::*;

#[test]
fn a_key_is_replaced_and_dropped() {
    let database = Database::new();
    let mut session = database.superuser();
    let keys = [key(ED25519), key(ED25519)];
    set_key(&mut session, "Example.TEST.", "S", &keys[0]).unwrap();
    let first = record(&mut session, "example.test", "s").unwrap();
    assert!(first.starts_with("v=DKIM1; k=ed25519; p="), "{first}");
    set_key(&mut session, "example.test", "s", &keys[1]).unwrap();
    assert_ne!(record(&mut session, "example.test", "s").unwrap(), first);
    set_key(&mut session, "b\u{fc}cher.example", "s", &keys[1]).unwrap();
    let names: String = session.value(
        "SELECT string_agg(selector || '.' || domain, ' ' ORDER BY domain) FROM utl_smtp.dkim_key",
    );
    assert_eq!(names, "s.example.test s.xn--bcher-kva.example");

    session.run("SELECT utl_smtp.drop_dkim_key('EXAMPLE.test', 's')");
    for call in ["drop_dkim_key", "dkim_record"] {
        let failure = session.try_run(&format!("SELECT utl_smtp.{call}('example.test', 's')"));
        let failure = failure.unwrap_err().expect("42704");
        assert!(
            failure.hint.contains("set_dkim_key('example.test', 's'"),
            "{failure}"
        );
    }
    session.run("SELECT utl_smtp.drop_dkim_key('b\u{fc}cher.example', 's')");
}

#[test]
fn a_key_lives_and_dies_with_its_transaction() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run("BEGIN");
    set_key(&mut session, "example.test", "s", &key(ED25519)).unwrap();
    record(&mut session, "example.test", "s").unwrap();
    session.run("ROLLBACK");
    record(&mut session, "example.test", "s")
        .unwrap_err()
        .expect("42704");
}

#[test]
fn keys_that_can_not_sign_are_refused() {
    let database = Database::new();
    let mut session = database.superuser();
    let openssl = OpensslFixtures::new();
    openssl
        .key("dkim", RSA)
        .run("pkcs8 -topk8 -in dkim.key -out encrypted -passout pass:x");
    for (pem, detail) in [
        (key("-algorithm RSA -pkeyopt rsa_keygen_bits:1024"), "2048"),
        (
            key("-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
            "neither an RSA nor an Ed25519",
        ),
        (openssl.read("encrypted"), "encrypted"),
        ("hunter22".to_owned(), "no private key"),
        (String::new(), "no private key"),
        (
            openssl.read("dkim.key").replacen("MII", "MIJ", 1),
            "damaged",
        ),
        ("x".repeat(100_000), "allowed are"),
    ] {
        let failure = set_key(&mut session, "example.test", "s", &pem)
            .unwrap_err()
            .expect("22023");
        assert!(failure.message.contains("\"private_key\""), "{failure}");
        assert!(failure.detail.contains(detail), "{failure}");
    }
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.dkim_key"),
        0
    );
}

#[test]
fn names_that_dns_can_not_have_are_refused() {
    let database = Database::new();
    let mut session = database.superuser();
    let (key, long) = (key(ED25519), "s.".repeat(124) + "s");
    for (domain, selector, argument) in [
        ("", "s", "domain"),
        ("joe@example.test", "s", "domain"),
        ("example.test; d=evil.test", "s", "domain"),
        ("example.test", "", "selector"),
        ("example.test", "a b", "selector"),
        ("example.test", "s\r\nBcc: x", "selector"),
        ("example.test", &long, "selector"),
    ] {
        let failure = set_key(&mut session, domain, selector, &key)
            .unwrap_err()
            .expect("22023");
        assert!(
            failure.message.contains(&format!("\"{argument}\"")),
            "{failure}"
        );
    }
    for call in [
        "set_dkim_key(NULL, 's', 'x')",
        "set_dkim_key('example.test', NULL, 'x')",
        "set_dkim_key('example.test', 's', NULL)",
        "drop_dkim_key(NULL, 's')",
        "dkim_record('example.test', NULL)",
        "dkim_sign(NULL, 'example.test')",
        "dkim_sign('x', NULL)",
    ] {
        let failure = session
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err();
        assert!(
            failure.expect("22023").message.contains("must not be null"),
            "{call}"
        );
    }
}

/// Whoever may write the table can write anything.
#[test]
fn a_row_that_makes_no_sense_is_an_error_that_names_it() {
    let mut domain = Domain::new();
    let session = &mut domain.session;
    session.run("UPDATE utl_smtp.dkim_key SET private_key = 'hunter22' WHERE selector = 'two'");
    for failure in [
        sign(session, b"From: joe@example.test\r\n", "example.test").unwrap_err(),
        record(session, "example.test", "two").unwrap_err(),
    ] {
        let failure = failure.expect("55000");
        assert!(
            failure.message.contains("two._domainkey.example.test"),
            "{failure}"
        );
        no_secret(&failure.to_string(), &["hunter22"], "an error");
    }
}

#[test]
fn a_key_is_in_no_error_no_log_and_no_view() {
    let database = Database::new();
    let mut session = database.superuser();
    let pem = key(RSA);
    // The third line has nothing that other keys have.
    let secret = pem.lines().nth(3).unwrap().to_owned();
    let damaged = pem.replacen("MII", "MIJ", 1);
    session.run("SET log_min_messages = debug5; SET client_min_messages = debug1");
    // What the first calls allocate for good is no leak.
    set_key(&mut session, "example.test", "s", &pem).unwrap();
    sign(&mut session, b"From: joe@example.test\r\n", "example.test").unwrap();
    let invariants = Invariants::record(&mut session);
    let mut failures = vec![
        set_key(&mut session, "example.test", "s", &damaged).unwrap_err(),
        set_key(&mut session, "example.test", "a b", &pem).unwrap_err(),
    ];
    session.run("BEGIN READ ONLY");
    failures.push(set_key(&mut session, "example.test", "s", &pem).unwrap_err());
    session.run("ROLLBACK");
    let app = database.role("app");
    session.run(&format!(
        "GRANT EXECUTE ON FUNCTION utl_smtp.set_dkim_key(text, text, text) TO {app}; SET ROLE {app}"
    ));
    failures.push(set_key(&mut session, "example.test", "s", &pem).unwrap_err());
    session.run("RESET ROLE");
    set_key(&mut session, "example.test", "s", &pem).unwrap();
    sign(&mut session, b"From: joe@example.test\r\n", "example.test").unwrap();
    failures.push(sign(&mut session, b"x", "example.test").unwrap_err());
    for failure in failures {
        no_secret(&failure.to_string(), &[&secret], "an error");
    }
    let mut reader = database.superuser();
    let views: Vec<String> = reader.value(
        "SELECT array_agg(format('%I.%I', schemaname, viewname)) FROM pg_views WHERE schemaname = 'utl_smtp'",
    );
    for view in views {
        let text: Option<String> =
            reader.value(&format!("SELECT string_agg(v::text, ' ') FROM {view} AS v"));
        no_secret(&text.unwrap_or_default(), &[&secret], &view);
    }
    session.run("RESET client_min_messages; RESET log_min_messages");
    invariants.check(&mut session, &[&secret]);
}

#[test]
fn keys_are_in_a_dump() {
    let (mut domain, restored) = (Domain::new(), Database::empty(""));
    let records = domain.records();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    Cluster::shared().program("pg_dump", &["-Fc", "-f", &file, domain.database.name()]);
    Cluster::shared().program(
        "pg_restore",
        &["--exit-on-error", "-d", restored.name(), &file],
    );
    domain.session = restored.superuser();
    assert_eq!(domain.records(), records);
}
