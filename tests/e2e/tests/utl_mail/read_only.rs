//! Queries for messages only read, and read what their caller may.

use super::database;

const WRITERS: &str = "
    CREATE TABLE t (i integer);
    INSERT INTO t VALUES (1);
    CREATE SEQUENCE s;
    CREATE VIEW locking AS SELECT * FROM t FOR UPDATE;
    CREATE TABLE ruled (i integer);
    CREATE RULE instead AS ON INSERT TO ruled DO INSTEAD SELECT 1 AS i;
    CREATE RULE nothing AS ON DELETE TO ruled DO INSTEAD NOTHING;
    CREATE FUNCTION writes() RETURNS integer LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING i';
    CREATE FUNCTION writes_and_catches() RETURNS integer LANGUAGE plpgsql AS $$
        BEGIN
            BEGIN INSERT INTO t VALUES (2); EXCEPTION WHEN read_only_sql_transaction THEN NULL; END;
            INSERT INTO t VALUES (2);
            RETURN 1;
        END $$;
    CREATE FUNCTION opens_the_transaction() RETURNS integer LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM set_config('transaction_read_only', 'off', true);
            INSERT INTO t VALUES (2);
            RETURN 1;
        END $$;
    CREATE FUNCTION opens_it_within() RETURNS integer LANGUAGE plpgsql AS $$
        BEGIN
            BEGIN SET LOCAL transaction_read_only = off; EXCEPTION WHEN others THEN NULL; END;
            INSERT INTO t VALUES (2);
            RETURN 1;
        END $$;
    CREATE FUNCTION writes_when_planned() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM writes(); RETURN 1; END $$;
    CREATE TYPE secretive AS (i integer);
    CREATE FUNCTION writes_as_text(secretive) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN PERFORM writes(); RETURN 'x'; END $$;";

#[test]
fn a_query_that_writes_is_an_error() {
    let (_database, mut session) = database("");
    session.run(WRITERS);
    for query in [
        "INSERT INTO t VALUES (2)",
        "INSERT INTO t VALUES (2) RETURNING i",
        "UPDATE t SET i = 2 RETURNING i",
        "DELETE FROM t",
        "WITH w AS (INSERT INTO t VALUES (2) RETURNING i) SELECT * FROM w",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM (SELECT * FROM t FOR SHARE) AS q",
        "SELECT * FROM locking",
        "INSERT INTO ruled VALUES (1)",
        "DELETE FROM ruled",
        "SELECT writes()",
        "SELECT writes() FROM t WHERE false OR writes() > 0",
        "SELECT writes_and_catches()",
        "SELECT writes_when_planned()",
        "SELECT writes_as_text(ROW(1)::secretive)",
        "SELECT nextval('s')",
        "SELECT utl_mail.query_to_csv('SELECT writes()')",
    ] {
        for function in ["query_to_csv", "query_to_html"] {
            let sql = format!("SELECT utl_mail.{function}($q${query}$q$)");
            session.try_run(&sql).expect_err(query).expect("25006");
        }
    }
    let sql = "SELECT utl_mail.query_to_csv('SELECT opens_the_transaction()')";
    session.try_run(sql).unwrap_err();
    let sql = "SELECT utl_mail.query_to_csv('SELECT opens_it_within()')";
    session.try_run(sql).unwrap_err().expect("25006");
    let rows: i64 = session.value("SELECT count(*) FROM t");
    assert_eq!(rows, 1);
}

/// Afterwards the transaction is what it was, whichever way the query ended.
#[test]
fn the_transaction_goes_on_as_it_was() {
    let (_database, mut session) = database("");
    session.run(WRITERS);
    session.run(
        "BEGIN;
         INSERT INTO t SELECT length(utl_mail.query_to_csv('SELECT 1'));
         DO $$ BEGIN
             BEGIN PERFORM utl_mail.query_to_csv('SELECT writes()'); EXCEPTION WHEN read_only_sql_transaction THEN NULL; END;
             INSERT INTO t VALUES (3);
             BEGIN PERFORM utl_mail.query_to_html('SELECT 1 / 0'); EXCEPTION WHEN division_by_zero THEN NULL; END;
             INSERT INTO t VALUES (4);
         END $$;
         SAVEPOINT s",
    );
    session
        .try_run("SELECT utl_mail.query_to_csv('SELECT nothing')")
        .unwrap_err();
    session.run("ROLLBACK TO s; INSERT INTO t VALUES (5); COMMIT");
    let rows: i64 = session.value("SELECT count(*) FROM t");
    assert_eq!(rows, 5);

    session.run("BEGIN READ ONLY");
    session.run("SELECT utl_mail.query_to_csv('SELECT 1')");
    session
        .try_run("INSERT INTO t VALUES (6)")
        .unwrap_err()
        .expect("25006");
    session.run("ROLLBACK");

    // One within another leaves the outer one read-only.
    let sql =
        "SELECT utl_mail.query_to_csv('SELECT utl_mail.query_to_csv($$SELECT 1$$), writes()')";
    session.try_run(sql).unwrap_err().expect("25006");
}

/// Rows of its own transaction, none that another commits meanwhile.
#[test]
fn a_query_reads_by_the_snapshot_of_its_statement() {
    let (database, mut session) = database("");
    session.run("CREATE TABLE t (i integer)");
    session.run(
        "BEGIN;
         INSERT INTO t VALUES (1);
         DECLARE c CURSOR FOR SELECT utl_mail.query_to_csv('SELECT count(*) FROM t', false) FROM generate_series(1, 2)",
    );
    let mut other = database.superuser();
    assert_eq!(session.value::<String>("FETCH c"), "1\r\n");
    other.run("INSERT INTO t VALUES (2)");
    assert_eq!(session.value::<String>("FETCH c"), "1\r\n");
    let later: String =
        session.value("SELECT utl_mail.query_to_csv('SELECT count(*) FROM t', false)");
    assert_eq!(later, "2\r\n");
    session.run("COMMIT");
}

#[test]
fn a_query_has_the_rights_of_its_caller() {
    let (database, mut session) = database("");
    let (app, other) = (database.role("app"), database.role("other"));
    session.run(&format!(
        "CREATE TABLE public.secret AS SELECT 42 AS i;
         CREATE TABLE public.own (role text, i integer);
         INSERT INTO public.own VALUES ('{app}', 1), ('{other}', 2);
         ALTER TABLE public.own ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON public.own USING (role = current_user);
         GRANT SELECT ON public.own TO PUBLIC;
         CREATE FUNCTION public.report() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
             AS $$ SELECT utl_mail.query_to_csv('SELECT i, current_user = session_user FROM public.secret', false) $$"
    ));
    for role in [&app, &other] {
        let mut session = database.connect(role);
        let sql = "SELECT utl_mail.query_to_csv('SELECT i FROM public.secret')";
        session.try_run(sql).unwrap_err().expect("42501");
        let own: i32 = session.value("SELECT i FROM public.own");
        let sql = "SELECT utl_mail.query_to_csv('SELECT i FROM public.own', false)";
        assert_eq!(session.value::<String>(sql), format!("{own}\r\n"));
        assert_eq!(
            session.value::<String>("SELECT public.report()"),
            "42,f\r\n"
        );
    }
}

/// A time limit ends it as any query.
#[test]
fn a_query_can_be_cancelled() {
    let (_database, mut session) = database("");
    let sql = "SET LOCAL statement_timeout = '200ms';
               SELECT length(utl_mail.query_to_csv(
                   'SELECT i FROM generate_series(1, 1000000000) AS i WHERE i % 1000 = 0'))";
    session.try_run(sql).unwrap_err().expect("57014");
    session.run("CREATE TABLE t (i integer)");
}
