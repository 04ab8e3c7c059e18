//! SQLsmith, a third-party generator of random queries, run by a role that may not connect to any
//! host.
//!
//! `UTL_SMTP_SQLSMITH` is the number of queries, `UTL_SMTP_SEED` the seed.

use e2e::cluster::Cluster;
use e2e::{Database, Peer, Script};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Stdio};

/// What SQLsmith sees instead of the catalog, which is where it picks by chance what it calls:
/// otherwise it would hardly ever come upon a function of ours. And operators that it does not know
/// how to use, of which most queries would die, are taken out of this database.
const SETUP: &str = "
CREATE SCHEMA sample;
CREATE VIEW sample.pg_proc AS
    SELECT * FROM pg_catalog.pg_proc
     WHERE pronamespace IN (SELECT oid FROM pg_namespace
                             WHERE nspname IN ('utl_smtp', 'utl_tcp', 'xs_acl', 'dbms_network_acl_admin',
                                               'dbms_network_acl_utility'))
       AND has_function_privilege(oid, 'EXECUTE')
        OR oid IN ('repeat(text,integer)'::regprocedure, 'upper(text)'::regprocedure, 'chr(integer)'::regprocedure,
                   'convert_to(text,name)'::regprocedure, 'int4mul'::regproc);
SET allow_system_table_mods = on;
DELETE FROM pg_catalog.pg_operator
 WHERE concat_ws(' ', oprleft::regtype, oprright::regtype) ~ '\\yany\\w*(range|compatible|array)';
RESET allow_system_table_mods;
CREATE TABLE arguments (c utl_smtp.connection, r utl_smtp.reply, t text, b bytea, i integer, f boolean);
GRANT USAGE ON SCHEMA sample TO PUBLIC;
GRANT SELECT ON sample.pg_proc TO PUBLIC;
GRANT ALL ON arguments TO PUBLIC";

/// No crash, no error of ours that nobody foresaw, no packet.
#[test]
fn random_queries_by_a_role_without_rights_come_to_nothing() {
    let peer = Peer::start(Script::greeting().drain());
    let database = Database::new();
    let role = database.role("nobody");
    let mut owner = database.superuser();
    owner.run(SETUP);
    owner.run(&format!(
        "INSERT INTO arguments
             SELECT ROW(t, i, NULL, i, 0)::utl_smtp.connection, ROW(i, t)::utl_smtp.reply, t, convert_to(t, 'UTF8'), i, f
               FROM unnest(ARRAY['127.0.0.1', '', E'\\r\\n', 'NOOP', NULL, repeat('x', 2000), 'bücher']) AS t,
                    unnest(ARRAY[{}, 0, -1, NULL]) AS i, unnest(ARRAY[true, NULL]) AS f;
         ALTER ROLE {role} SET search_path = sample, pg_catalog, public;
         ALTER ROLE {role} SET statement_timeout = '1s';
         ALTER ROLE {role} SET log_error_verbosity = verbose;
         ALTER ROLE {role} SET track_functions = 'all'",
        peer.port()
    ));
    let log = &Cluster::shared().log;
    let offset = std::fs::metadata(log).unwrap().len();
    let said = smith(&database, &role);
    assert!(said.contains("Generating indexes...done"), "{said}");

    let called: i64 = owner.value(
        "SELECT count(*) FROM pg_stat_user_functions
          WHERE schemaname IN ('utl_smtp', 'utl_tcp', 'xs_acl', 'dbms_network_acl_admin', 'dbms_network_acl_utility')",
    );
    eprintln!("{called} functions were called");
    assert!(called > 25, "only {called} functions were called\n{said}");
    check_log(log, offset, database.name());
    assert_eq!(peer.finish().accepted(), 0);
}

/// What SQLsmith says; each of its queries is rolled back, or fails.
fn smith(database: &Database, role: &str) -> String {
    let given = |variable: &str, default: &str| {
        std::env::var(variable).unwrap_or_else(|_| default.to_owned())
    };
    let cluster = Cluster::shared();
    let (host, port, name) = (&cluster.host, cluster.port, database.name());
    let output = Command::new("sqlsmith")
        .arg(format!(
            "--target=host={host} port={port} user={role} dbname={name}"
        ))
        .arg(format!("--seed={}", given("UTL_SMTP_SEED", "20260101")))
        .arg(format!(
            "--max-queries={}",
            given("UTL_SMTP_SQLSMITH", "3000")
        ))
        .arg("--exclude-catalog")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("sqlsmith: {error}"));
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// No backend has crashed, and no internal error came from a line of Rust.
fn check_log(log: &str, offset: u64, database: &str) {
    let mut file = std::fs::File::open(log).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for word in ["terminated by signal", "PANIC", "leaked"] {
        assert!(!text.contains(word), "in the server log: {word}");
    }
    let mut last = "";
    let mut ours = 0;
    let of_database = format!("@{database} ");
    for line in text.lines().filter(|line| line.contains(&of_database)) {
        if line.contains("ERROR: ") {
            last = line;
        } else if line.contains("LOCATION: ") && line.contains(".rs:") {
            assert!(!last.contains("ERROR:  XX"), "{last}\n{line}");
            ours += 1;
        }
    }
    eprintln!("{ours} errors of ours");
    assert!(ours > 10, "only {ours} errors of ours were logged");
}
