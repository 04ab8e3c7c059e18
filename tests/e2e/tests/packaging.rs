//! The extension as an object of the database: who creates it and over what, what becomes of it when it is dropped,
//! dumped or upgraded, and values of its types that it did not make.

use e2e::cluster::Cluster;
use e2e::{Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, vigil};
use std::process::{Command, Stdio};

const HOST: &str = "127.0.0.1";
const SCHEMAS: [&str; 5] = [
    "utl_smtp",
    "utl_tcp",
    "dbms_network_acl_admin",
    "dbms_network_acl_utility",
    "xs_acl",
];

fn obliging() -> Peer {
    Peer::start(Script::greeting().answer_all(|_| b"250 ok\r\n".to_vec()))
}

/// EXT-01
#[test]
fn only_a_superuser_creates_the_extension() {
    let database = Database::empty("");
    let role = database.role("owner");
    let mut superuser = database.superuser();
    superuser.run(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}",
        database.name()
    ));
    let row = superuser
        .query_one(
            "SELECT superuser, trusted, relocatable FROM pg_available_extension_versions
              WHERE name = 'utl_smtp' AND version = (
                  SELECT default_version FROM pg_available_extensions WHERE name = 'utl_smtp')",
            &[],
        )
        .unwrap();
    let flags: [bool; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(flags, [true, false, false]);
    let failure = database
        .connect(&role)
        .try_run("CREATE EXTENSION utl_smtp")
        .unwrap_err();
    failure.expect("42501");
}

/// EXT-02: a schema that is there already is somebody else's.
#[test]
fn no_schema_that_exists_is_taken_over() {
    for schema in SCHEMAS {
        let database = Database::empty("");
        let role = database.role("squatter");
        let mut session = database.superuser();
        session.run(&format!(
            "CREATE SCHEMA {schema} AUTHORIZATION {role};
             CREATE FUNCTION {schema}.noop(c text) RETURNS text LANGUAGE sql AS 'SELECT ''mine''';
             CREATE TABLE {schema}.host_ace (host text)"
        ));
        session
            .try_run("CREATE EXTENSION utl_smtp")
            .unwrap_err()
            .expect("42P06");
        let mut found: Vec<String> = Vec::new();
        for row in session
            .query("SELECT nspname::text FROM pg_namespace", &[])
            .unwrap()
        {
            found.push(row.get(0));
        }
        found.retain(|name| SCHEMAS.contains(&name.as_str()));
        assert_eq!(found, [schema]);
        let mine: String = session.value(&format!("SELECT {schema}.noop('')"));
        assert_eq!(mine, "mine");
        session.run(&format!("DROP SCHEMA {schema} CASCADE"));
    }
}

/// Objects that say so when they are used.
const TRAPS: &str = "
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.sprung(text) RETURNS boolean LANGUAGE plpgsql AS
    $body$ BEGIN RAISE EXCEPTION 'trap sprung by %', $1; END $body$;
CREATE FUNCTION trap.eq(text, text) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('=') $body$;
CREATE FUNCTION trap.eq(integer, integer) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('=') $body$;
CREATE FUNCTION trap.eq(oid, oid) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('=') $body$;
CREATE FUNCTION trap.eq(regrole, integer) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('=') $body$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.eq);
CREATE OPERATOR trap.<= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.eq);
CREATE OPERATOR trap.= (LEFTARG = regrole, RIGHTARG = integer, FUNCTION = trap.eq);
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS $body$ SELECT trap.sprung('lower')::text $body$;
CREATE FUNCTION trap.upper(text) RETURNS text LANGUAGE sql AS $body$ SELECT trap.sprung('upper')::text $body$;
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $body$ SELECT CASE WHEN trap.sprung('clock_timestamp') THEN now() END $body$;
CREATE FUNCTION trap.pg_has_role(oid, oid, text) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('role') $body$;
CREATE FUNCTION trap.pg_has_role(oid, regrole, text) RETURNS boolean LANGUAGE sql AS $body$ SELECT trap.sprung('role') $body$;
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $body$ SELECT trap.sprung('format')::text $body$;
CREATE TYPE trap.connection AS (a integer);
CREATE TABLE trap.host_ace (host pg_catalog.text);
CREATE TABLE trap.pg_roles (oid oid);";

/// EXT-02, ACL-26: neither at its creation nor later does it take anything from the search_path.
#[test]
fn objects_in_the_search_path_are_neither_used_nor_adopted() {
    let peer = obliging();
    let database = Database::empty("");
    let mut session = database.superuser();
    session.run(TRAPS);
    session.run(&format!(
        "ALTER DATABASE {} SET search_path = trap, pg_catalog, public",
        database.name()
    ));
    drop(session);
    let mut session = database.superuser();
    session
        .try_run("SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text")
        .unwrap_err()
        .expect("P0001");
    session.run("CREATE EXTENSION utl_smtp");
    let adopted: i64 = session.value(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend AS d
          WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
            AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\"
            AND (pg_catalog.pg_identify_object(d.classid, d.objid, 0)).schema OPERATOR(pg_catalog.~) '^trap$'",
    );
    assert_eq!(adopted, 0);
    let role = database.role("app");
    database.allow(&role, HOST, peer.port());
    let mut app = database.connect(&role);
    let smtp = Open::to(HOST, peer.port()).open(&mut app).unwrap();
    smtp.mail(&mut app, "sender@example.test").unwrap();
    smtp.quit(&mut app).unwrap();
    let mine = app
        .query("SELECT host, status FROM utl_smtp.user_host_aces", &[])
        .unwrap();
    assert!(!mine.is_empty());
}

/// EXT-03: the schemas have fixed names; whatever else is asked for is refused as a name, not run as SQL.
#[test]
fn a_schema_to_create_the_extension_in_is_refused_whatever_its_name() {
    let database = Database::empty("");
    let mut session = database.superuser();
    for name in [
        "plain",
        "o'brien",
        "back\\slash",
        "$$dollar$$",
        "$body$",
        "new\nline",
        "a\"\"b; DROP TABLE x",
    ] {
        session.run(&format!("CREATE SCHEMA \"{name}\""));
        let create = format!("CREATE EXTENSION utl_smtp SCHEMA \"{name}\"");
        session.try_run(&create).unwrap_err().expect("0A000");
    }
    session.run("CREATE EXTENSION utl_smtp");
}

/// EXT-03: the same characters in the name of a role, up to the call that the HINT of a refusal offers.
#[test]
fn the_call_that_a_refusal_offers_works_for_a_role_of_any_name() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    for (number, odd) in [
        "o'brien",
        "back\\slash",
        "$$ $body$",
        "new\nline",
        "a\"\"b",
        "UPPER",
    ]
    .iter()
    .enumerate()
    {
        let role = format!("{odd} {} {number}", database.name());
        session.run(&format!("CREATE ROLE \"{role}\"; SET ROLE \"{role}\""));
        let failure = Open::to(HOST, peer.port())
            .open(&mut session)
            .unwrap_err()
            .expect("42501");
        let start = failure.hint.find("SELECT").expect("a call");
        session.run("RESET ROLE");
        session.run(&failure.hint[start..]);
        session.run(&format!("SET ROLE \"{role}\""));
        let opened = Open::to(HOST, peer.port()).open(&mut session);
        session.run("RESET ROLE; SELECT utl_smtp.close_all_connections()");
        session.run(&format!("DROP ROLE \"{role}\""));
        opened.unwrap();
    }
}

/// EXT-05: without the functions a connection is out of reach, not dangling; with them it can be closed.
#[test]
fn dropping_the_extension_leaves_no_connection_that_could_be_misused() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    let before = vigil::descriptors(session.pid()).len();
    let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
    session.run("DROP EXTENSION utl_smtp CASCADE");
    let failure = smtp.noop(&mut session).unwrap_err();
    assert!(
        ["3F000", "42704", "42883"].contains(&failure.sqlstate.as_str()),
        "{failure}"
    );
    session.run("CREATE EXTENSION utl_smtp");
    assert_eq!(
        session.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        1
    );
    smtp.noop(&mut session).unwrap_err().expect("U9278");
    assert!(vigil::descriptors(session.pid()).len() <= before);
    peer.finish();

    // A role that may not talk to anybody finds nothing of the old list in the new one.
    let count: i64 = session.value("SELECT count(*) FROM utl_smtp.host_ace");
    assert_eq!(count, 0);
}

fn program(name: &str, arguments: &[&str]) {
    let cluster = Cluster::shared();
    let output = Command::new(format!("{}/{name}", cluster.bin))
        .args(["-h", &cluster.host, "-U", &cluster.superuser])
        .args(["-p", &cluster.port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
}

fn entries(session: &mut Session) -> Vec<String> {
    let sql = "SELECT ace::text FROM utl_smtp.dba_host_aces AS ace ORDER BY 1";
    session
        .query(sql, &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// EXT-06, LEAK-10
#[test]
fn a_dump_keeps_the_access_list_and_can_be_restored() {
    let database = Database::new();
    let restored = Database::empty("");
    let role = database.role("mailer");
    database.allow(&role, "mail.example.com", 25);
    database.allow(&role, "*.example.org", 587);
    let mut session = database.superuser();
    session.run(
        "SELECT dbms_network_acl_admin.append_host_ace('10.0.0.0/8', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => false, principal_name => 'PUBLIC'));
         CREATE TABLE kept (c utl_smtp.connection, r utl_smtp.replies);
         INSERT INTO kept VALUES (ROW('h', 25, NULL, 1, 0), ARRAY[ROW(250, 'ok')]::utl_smtp.reply[])",
    );
    // Entries of a role that is gone match nobody; they must not be in the way either.
    let gone = database.role("gone");
    database.allow(&gone, "mail.example.com", 25);
    let before: Vec<String> = entries(&mut session)
        .into_iter()
        .filter(|one| !one.contains("gone_"))
        .collect();
    assert_eq!(before.len(), 5);
    session.run(&format!("DROP ROLE {gone}"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump").display().to_string();
    program("pg_dump", &["-Fc", "-f", &file, database.name()]);
    program(
        "pg_restore",
        &["--exit-on-error", "-d", restored.name(), &file],
    );
    let mut session = restored.superuser();
    assert_eq!(entries(&mut session), before);
    assert_eq!(
        session.value::<String>("SELECT r[1]::text FROM kept"),
        "(250,ok)"
    );
    let mut app = restored.connect(&role);
    let mine: i64 = app
        .query_one("SELECT count(*) FROM utl_smtp.user_host_aces", &[])
        .unwrap()
        .get(0);
    assert!(mine > 0);
}

/// EXT-06
#[test]
fn pg_upgrade_finds_nothing_against_it() {
    let old = OwnCluster::start(&[]);
    let mut session = old.superuser();
    session.run(
        "CREATE ROLE mailer;
         SELECT dbms_network_acl_admin.append_host_ace('mail.example.com', ace =>
             dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'mailer'));
         CREATE TABLE kept (c utl_smtp.connection)",
    );
    drop(session);
    old.shut_down();
    let new = OwnCluster::start(&[]);
    new.shut_down();
    let (bin, from, to) = (&old.bin, &old.data_directory, &new.data_directory);
    let (old_port, new_port) = (old.port, new.port);
    new.as_server(&format!(
        "{bin}/pg_upgrade --check -b {bin} -B {bin} -d {from} -D {to} -U postgres -p {old_port} -P {new_port}"
    ));
}

/// EXT-07
#[test]
fn no_routine_may_be_run_at_the_planners_leisure_or_with_a_path_of_the_callers() {
    let database = Database::new();
    let mut session = database.superuser();
    let faults = session
        .query(
            "SELECT p.oid::regprocedure::text
               FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
               JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
               JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'utl_smtp'
              WHERE p.proleakproof OR p.proparallel = 's'
                 OR (l.lanname = 'c' AND p.pronamespace = 'utl_smtp'::regnamespace AND p.proname <> 'canonical_host_pattern'
                     AND (p.provolatile <> 'v' OR p.proisstrict OR p.proparallel <> 'u'))
                 OR (p.prosecdef AND NOT coalesce(array_to_string(p.proconfig, ',') LIKE '%search_path=pg_catalog, pg_temp%', false))",
            &[],
        )
        .unwrap();
    let faults: Vec<String> = faults.iter().map(|row| row.get(0)).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// EXT-08: a worker's session would vanish with it; so it doesn't begin, even when somebody marks it as safe.
#[test]
fn nothing_runs_in_a_parallel_worker() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    prefer_parallel(&mut session);
    let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        1
    );

    session.run("ALTER FUNCTION utl_smtp.connections() PARALLEL SAFE");
    session.run("ALTER FUNCTION utl_smtp.open_connection(text, integer, integer, text, text, boolean, text) PARALLEL SAFE");
    session.run("CREATE TABLE one_row AS SELECT 1 AS n");
    for call in [
        "SELECT count(*) FROM utl_smtp.connections()".to_owned(),
        format!(
            "SELECT utl_smtp.open_connection('{HOST}', {}) FROM one_row",
            peer.port()
        ),
    ] {
        let failure = session.try_run(&call).unwrap_err().expect("25000");
        assert!(failure.message.contains("parallel worker"), "{failure}");
    }
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    assert_eq!(peer.finish().accepted(), 1);
}

/// EXT-08: without a worker the plan runs in the session itself, where no snapshot may be taken.
#[test]
fn a_parallel_plan_without_workers_opens_as_any_other() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    database.superuser().run(
        "ALTER FUNCTION utl_smtp.open_connection(text, integer, integer, text, text, boolean, text) PARALLEL SAFE;
         CREATE TABLE one_row AS SELECT 1 AS n;
         GRANT SELECT ON one_row TO PUBLIC",
    );
    prefer_parallel(&mut session);
    session.run("SET max_parallel_workers = 0");
    let open = format!(
        "SELECT utl_smtp.open_connection('{HOST}', {}) FROM one_row",
        peer.port()
    );
    let plan = session.query(&format!("EXPLAIN {open}"), &[]).unwrap();
    assert!(plan[0].get::<_, String>(0).contains("Gather"));
    session.run(&open);
    let open: i64 = session.value("SELECT count(*) FROM utl_smtp.connections()");
    assert_eq!(open, 1);
}

/// A plan of a parallel worker for whatever may run in one.
fn prefer_parallel(session: &mut Session) {
    let version: i32 = session.value("SELECT current_setting('server_version_num')::integer");
    let setting = if version < 160_000 {
        "force_parallel_mode"
    } else {
        "debug_parallel_query"
    };
    session.run(&format!(
        "SET {setting} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0"
    ));
}

/// EXT-09: a value that was made up, is another session's or is old stands for nothing.
#[test]
fn a_forged_connection_is_one_that_never_opened() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let never = Smtp {
        handle: "(h,25,,1,0)".to_owned(),
    };
    let expected = never.noop(&mut session).unwrap_err().expect("U9278");
    let same = |failure: Failure| assert_eq!(failure, expected);

    let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
    let mut other = database.superuser();
    same(smtp.noop(&mut other).unwrap_err());

    // Only the handle counts, and it is not in the other fields.
    let number: i64 = session.value("SELECT handle FROM utl_smtp.connections()");
    let bare = Smtp {
        handle: format!("(,,,{number},)"),
    };
    assert_eq!(bare.noop(&mut session).unwrap().code, 250);
    for forged in [
        "(,,,,)",
        "(,,,0,0)",
        "(,,,-1,0)",
        "(,,,9223372036854775807,0)",
        "(,,,-9223372036854775808,0)",
    ] {
        let forged = Smtp {
            handle: forged.to_owned(),
        };
        same(forged.noop(&mut session).unwrap_err());
    }

    smtp.close_connection(&mut session).unwrap();
    same(smtp.noop(&mut session).unwrap_err());
    Open::to(HOST, peer.port()).open(&mut session).unwrap();
    same(smtp.noop(&mut session).unwrap_err());

    session.run("SET utl_smtp.raise_reply_errors = off");
    let guessed: i64 = session.value(
        "SELECT count(*) FROM generate_series(1, 1000000) AS n
          WHERE (utl_smtp.noop(ROW('', 25, 1, (random() * 9223372036854775000)::bigint, 0)::utl_smtp.connection)).code <> 421",
    );
    assert_eq!(guessed, 0);
    session.run("SELECT utl_smtp.close_all_connections()");
    let record = peer.finish();
    assert!(
        !record.conversations[1].heard(b"NOOP"),
        "a stale handle met a new socket"
    );
}

/// EXT-09
#[test]
fn handles_are_far_apart_in_every_backend() {
    let peer = obliging();
    let database = Database::new();
    let mut handles: Vec<i64> = Vec::new();
    for _ in 0..4 {
        let mut session = database.superuser();
        for _ in 0..50 {
            session.run(&format!(
                "SELECT utl_smtp.open_connection('{HOST}', {}, 10)",
                peer.port()
            ));
            handles.push(session.value("SELECT handle FROM utl_smtp.connections()"));
            session.run("SELECT utl_smtp.close_all_connections()");
        }
    }
    let rising = handles.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((60..140).contains(&rising), "{rising} of 199 steps go up");
    handles.sort_unstable();
    let closest = handles
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .min()
        .unwrap();
    assert!(closest > 1 << 32, "two handles are {closest} apart");
}

/// Values for each type of argument, in SQL.
fn values(kind: &str, port: u16) -> Vec<String> {
    let fixed: &[&str] = match kind {
        "text" => &[
            "''",
            "'127.0.0.1'",
            "'localhost'",
            "E'a\\r\\nb'",
            "repeat('x', 70000)",
            "'file:/etc/passwd'",
            "'*'",
            "'SCRAM-SHA-256'",
            "E'\\u00fc@\\u00fc.example'",
            "'<>'",
        ],
        "integer" => &["0", "-1", "25", "2147483647", "-2147483648", "65536"],
        "boolean" => &["true", "false"],
        "bytea" => &[
            "'\\x'",
            "'\\x00'",
            "'\\x0d0a2e0d0a'",
            "decode(repeat('ff', 9000), 'hex')",
        ],
        "utl_smtp.connection" => &[
            "ROW('h', 25, NULL, 1, 0)::utl_smtp.connection",
            "ROW(NULL, NULL, NULL, NULL, NULL)::utl_smtp.connection",
        ],
        "text[]" => &[
            "'{}'",
            "ARRAY['smtp', NULL]",
            "array_fill('x'::text, ARRAY[1000])",
        ],
        "timestamp with time zone" => &["now()", "'infinity'", "'-infinity'"],
        "oid" => &["0", "10", "4294967295"],
        _ => &[],
    };
    let mut all: Vec<String> = fixed
        .iter()
        .map(|value| format!("({value})::{kind}"))
        .collect();
    if kind == "integer" {
        all.push(port.to_string());
    }
    all.push(format!("NULL::{kind}"));
    all
}

/// EXT-11, in little: every function with odd arguments, by a role that may talk to nobody. No crash, no error of ours
/// that nobody foresaw, no packet.
#[test]
fn odd_calls_by_a_role_without_rights_come_to_nothing() {
    let peer = obliging();
    let database = Database::new();
    let role = database.role("nobody");
    let mut session = database.connect(&role);
    let functions = session
        .query(
            "SELECT format('%I.%I', n.nspname, p.proname),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, k) ORDER BY k)
               FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
              WHERE n.nspname = ANY ($1) AND p.prorettype <> 'trigger'::regtype
              ORDER BY 1, 2",
            &[&&SCHEMAS[..]],
        )
        .unwrap();
    assert!(functions.len() > 50);
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..25 {
        for function in &functions {
            let (name, types): (String, Vec<String>) = (function.get(0), function.get(1));
            let arguments: Vec<String> = types
                .iter()
                .map(|kind| {
                    let values = values(kind, peer.port());
                    values[random(values.len())].clone()
                })
                .collect();
            let sql = format!("SELECT * FROM {name}({})", arguments.join(", "));
            if let Err(failure) = session.try_run(&sql) {
                assert!(
                    !failure.sqlstate.is_empty(),
                    "{sql}: the backend is gone: {failure}"
                );
                assert!(!failure.sqlstate.starts_with("XX"), "{sql}: {failure}");
                *codes.entry(failure.sqlstate).or_default() += 1;
            }
        }
    }
    eprintln!("{codes:?}");
    assert!(codes["42501"] > 0 && codes["U9278"] > 0 && codes["22023"] > 0);
    assert_eq!(session.value::<i32>("SELECT 1"), 1);
    assert_eq!(peer.finish().accepted(), 0);
}
