//! CREATE EXTENSION: who may run it, and existing objects.

use super::*;

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

/// An existing schema belongs to somebody else.
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

/// Objects that raise an error when they are used.
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

/// The extension uses nothing from the search_path, neither during creation nor later.
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

/// The schemas have fixed names. Any other name is refused as a name, not run as SQL.
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

/// The same characters in the name of a role, up to the call in the HINT of a refusal.
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
