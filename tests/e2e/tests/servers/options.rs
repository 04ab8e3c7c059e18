//! The validator: what it takes, what it refuses, and what it says.

use super::*;

const SERVER: [(&str, &str); 19] = [
    ("host", "mail.example.com"),
    ("port", "587"),
    ("security", "starttls"),
    ("secure_host", "*.example.com"),
    ("wallet_path", "file:/etc/wallet"),
    ("helo", "app.example.com"),
    ("timeout", "30"),
    ("schemes", "SCRAM-SHA-256 PLAIN"),
    ("token_endpoint", "https://login.example.com/token"),
    ("client_auth", "basic"),
    ("token_wallet_path", "system:"),
    ("paused", "true"),
    ("fallback", "other"),
    ("max_connections", "5"),
    ("max_messages_per_connection", "50"),
    ("max_recipients_per_message", "50"),
    ("max_messages_per_minute", "30"),
    ("max_recipients_per_day", "10000"),
    ("max_message_size", "1000000"),
];

#[test]
fn every_option_of_a_server_is_taken() {
    let database = Database::new();
    let mut session = database.superuser();
    create(&mut session, "office", &SERVER, &[]);
    let stored: i64 = session.value(
        "SELECT cardinality(srvoptions)::bigint FROM pg_foreign_server WHERE srvname = 'office'",
    );
    assert_eq!(stored, SERVER.len() as i64);
}

#[test]
fn a_bad_value_is_refused_when_created_and_when_altered() {
    let database = Database::new();
    let mut session = database.superuser();
    create(&mut session, "office", &[("host", "mail.example.com")], &[]);
    for (name, value, hint) in [
        ("port", "0", "from 1 to 65535"),
        ("port", "65536", "from 1 to 65535"),
        ("port", "smtp", "from 1 to 65535"),
        ("security", "ssl", "starttls, tls, none"),
        ("secure_host", "two words", "certificate"),
        ("wallet_path", "relative", "file:/directory"),
        ("helo", "two words", "machine's name"),
        ("timeout", "0", "from 1"),
        ("timeout", "-1", "from 1"),
        ("timeout", "2147483648", "to 2147483647"),
        ("schemes", "ROT13", "all_schemes"),
        ("schemes", "", "all_schemes"),
        ("paused", "perhaps", "true, false"),
        ("max_connections", "many", "from 1"),
        ("max_message_size", "0", "from 1"),
        ("token_wallet_path", "relative", "file:/directory"),
        ("client_auth", "jwt", "post, basic"),
        (
            "token_endpoint",
            "http://login.example.com/token",
            "https://",
        ),
        (
            "token_endpoint",
            "https://u:p@login.example.com/",
            "https://",
        ),
        ("token_endpoint", "login.example.com", "https://"),
    ] {
        let given = list(&[("host", "mail.example.com"), (name, value)]);
        let created = format!("CREATE SERVER other FOREIGN DATA WRAPPER utl_smtp {given}");
        let altered = format!("ALTER SERVER office OPTIONS (ADD {name} '{value}')");
        for sql in [created, altered] {
            let failure = session.try_run(&sql).expect_err(&sql).expect("22023");
            assert!(failure.message.contains(name), "{failure}");
            assert!(failure.hint.contains(hint), "{failure}");
        }
    }
    let control = "CREATE SERVER other FOREIGN DATA WRAPPER utl_smtp OPTIONS (host E'a\\nb')";
    session.try_run(control).unwrap_err().expect("22023");
}

#[test]
fn an_unknown_option_is_refused_with_the_known_ones() {
    let database = Database::new();
    let mut session = database.superuser();
    create(&mut session, "office", &[("host", "mail.example.com")], &[]);
    for (sql, known) in [
        ("ALTER SERVER office OPTIONS (ADD hots 'x')", "host, port"),
        (
            "CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (host 'x')",
            "user, password",
        ),
        (
            "ALTER FOREIGN DATA WRAPPER utl_smtp OPTIONS (ADD host 'x')",
            "no valid options",
        ),
    ] {
        let failure = session.try_run(sql).expect_err(sql).expect("HV00D");
        assert!(failure.hint.contains(known), "{failure}");
    }
}

#[test]
fn a_server_has_a_host_and_options_that_fit_together() {
    let database = Database::new();
    let mut session = database.superuser();
    for (options, about) in [
        (&[("port", "25")][..], "host"),
        (&[("host", "a"), ("client_auth", "post")], "client_auth"),
        (
            &[
                ("host", "a"),
                ("security", "none"),
                ("token_endpoint", "https://b/c"),
            ],
            "token_endpoint",
        ),
    ] {
        let sql = format!(
            "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp {}",
            list(options)
        );
        let failure = session.try_run(&sql).expect_err(&sql).expect("22023");
        assert!(failure.message.contains(about), "{failure}");
    }
    create(&mut session, "office", &[("host", "mail.example.com")], &[]);
    let dropped = session.try_run("ALTER SERVER office OPTIONS (DROP host)");
    dropped.unwrap_err().expect("22023");
}

/// A mapping's value is never repeated.
#[test]
fn a_mapping_is_checked_without_a_word_of_its_values() {
    const SECRET: &str = "hunter2-hunter2";
    let database = Database::new();
    let mut session = database.superuser();
    create(&mut session, "office", &[("host", "mail.example.com")], &[]);
    let of =
        |options: &str| format!("CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS ({options})");
    for options in [
        format!("user E'{SECRET}\\n'"),
        format!("password E'{SECRET}\\r'"),
        format!("client_secret E'{SECRET}\\t'"),
        format!("refresh_token E'{SECRET}\\x01'"),
        format!("grant_type '{SECRET}'"),
        format!("client_key '{SECRET}'"),
        format!("client_secret '{SECRET}', client_key 'a', client_certificate 'b'"),
        format!("client_key '{SECRET}', client_certificate '{SECRET}'"),
        format!("service_account '{SECRET}'"),
        format!("service_account '{{\"private_key\": \"{SECRET}\"}}'"),
        format!("grant_type 'jwt_bearer', password '{SECRET}'"),
        format!("parameters '{SECRET}'"),
        format!("parameters 'a={SECRET}&a={SECRET}'"),
        format!("grant_type 'refresh_token', password '{SECRET}'"),
    ] {
        let failure = session
            .try_run(&of(&options))
            .expect_err(&options)
            .expect("22023");
        assert!(!failure.to_string().contains(SECRET), "{failure}");
    }
    // A mapping may be empty.
    session.run("CREATE USER MAPPING FOR PUBLIC SERVER office");
}

#[test]
fn there_are_no_foreign_tables() {
    let database = Database::new();
    let mut session = database.superuser();
    create(&mut session, "office", &[("host", "mail.example.com")], &[]);
    for sql in [
        "CREATE FOREIGN TABLE letters (body text) SERVER office",
        "CREATE FOREIGN TABLE letters (body text) SERVER office OPTIONS (host 'x')",
    ] {
        session.try_run(sql).expect_err(sql).expect("HV00D");
    }
}
