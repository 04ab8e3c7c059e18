//! Database objects that a role creates to bypass the access control list.

use super::*;

/// A caller's schema, operators, temporary objects and settings.
#[test]
fn objects_of_the_caller_do_not_affect_the_look_up() {
    let database = Database::new();
    let role = database.role("app");
    let mut owner = database.superuser();
    owner.run(&format!(
        "GRANT CREATE, TEMP ON DATABASE {} TO {role}",
        database.name()
    ));
    entry(&mut owner, &role, "127.0.0.1", None, false);
    let mut app = database.connect(&role);
    let peer = listening();
    // Not by the driver, which would ask for types of the caller's making.
    let open_in_words = format!(
        "SELECT utl_smtp.open_connection('127.0.0.1', {}, 60)",
        peer.port()
    );
    let columns =
        "host text, lower_port integer, upper_port integer, ace_order integer, principal regrole,
                   privilege text, grant_type text, start_date timestamptz, end_date timestamptz";
    let values = format!("('127.0.0.1', NULL, NULL, 1, '{role}', 'smtp', 'GRANT', NULL, NULL)");
    app.run(&format!(
        "CREATE SCHEMA evil;
         CREATE TABLE evil.host_ace ({columns});
         INSERT INTO evil.host_ace VALUES {values};
         CREATE TEMP TABLE host_ace ({columns});
         INSERT INTO pg_temp.host_ace VALUES {values};
         CREATE FUNCTION evil.host_access(text[], integer, oid, text[]) RETURNS text LANGUAGE sql AS $$SELECT 'GRANT'$$;
         CREATE FUNCTION pg_temp.host_access(text[], integer, oid, text[]) RETURNS text LANGUAGE sql AS $$SELECT 'GRANT'$$;
         CREATE FUNCTION evil.is_equal(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$BEGIN RAISE EXCEPTION 'called'; END$$;
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.is_equal);
         CREATE FUNCTION evil.is_equal(oid, oid) RETURNS boolean LANGUAGE sql AS $$SELECT true$$;
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.is_equal);
         CREATE FUNCTION evil.pg_has_role(oid, oid, text) RETURNS boolean LANGUAGE sql AS $$SELECT true$$;
         CREATE FUNCTION evil.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS $$SELECT '*'::text$$;
         CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'epoch'::timestamptz$$;
         CREATE DOMAIN evil.text AS pg_catalog.text;
         CREATE TYPE evil.int4 AS (x integer)"
    ));
    for settings in [
        "SET search_path = evil, pg_temp, utl_smtp, pg_catalog",
        "SET search_path = pg_temp, evil",
        "SET search_path = ''",
        "SET row_security = off; SET transform_null_equals = on; SET array_nulls = off",
        "SET default_transaction_read_only = on; SET default_transaction_isolation = serializable",
        "SET enable_seqscan = off; SET enable_indexscan = off; SET plan_cache_mode = force_generic_plan",
        "SET IntervalStyle = iso_8601; SET DateStyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'",
    ] {
        app.run(settings);
        app.try_run(&open_in_words).unwrap_err().expect("42501");
    }
    app.run("RESET ALL; SET search_path = evil, pg_temp, pg_catalog");
    remove_all(&mut owner);
    app.try_run(&open_in_words).unwrap_err().expect("42501");
    entry(&mut owner, &role, "127.0.0.1", None, true);
    for row_security in ["on", "off"] {
        app.run(&format!("SET row_security = {row_security}"));
        app.run(&open_in_words);
    }
    for object in [
        "utl_smtp",
        "dbms_network_acl_admin",
        "xs_acl",
        "utl_tcp",
        "dbms_network_acl_utility",
    ] {
        let create =
            format!("CREATE FUNCTION {object}.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
        app.try_run(&create).unwrap_err().expect("42501");
    }
}

/// Row security and a trigger of the owner do not grant anything either.
#[test]
fn row_security_on_the_list_does_not_hide_a_denial() {
    let database = Database::new();
    let role = database.role("app");
    let mut owner = database.superuser();
    entry(&mut owner, &role, "127.0.0.1", None, false);
    entry(&mut owner, "PUBLIC", "*", None, true);
    owner.run(
        "ALTER TABLE utl_smtp.host_ace ENABLE ROW LEVEL SECURITY;
         CREATE POLICY grants_only ON utl_smtp.host_ace USING (grant_type = 'GRANT')",
    );
    let mut app = database.connect(&role);
    denied(&mut app, &listening());
}

#[test]
fn only_the_owner_can_change_the_list() {
    let database = Database::new();
    let role = database.role("app");
    database.superuser().run(&format!(
        "GRANT CREATE ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {} TO {role}",
        database.name()
    ));
    let mut app = database.connect(&role);
    app.run(
        "CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    );
    for table in [
        "host_ace",
        "host_ace_dump",
        "acl",
        "acl_ace",
        "acl_assignment",
    ] {
        for statement in [
            "SELECT FROM utl_smtp.$1",
            "COPY utl_smtp.$1 TO STDOUT",
            "INSERT INTO utl_smtp.$1 DEFAULT VALUES",
            "DELETE FROM utl_smtp.$1",
            "TRUNCATE utl_smtp.$1",
            "DO $$ BEGIN LOCK TABLE utl_smtp.$1; END $$",
            "ALTER TABLE utl_smtp.$1 ADD COLUMN x integer",
            "ALTER TABLE utl_smtp.$1 DISABLE TRIGGER ALL",
            "ALTER TABLE utl_smtp.$1 ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE utl_smtp.$1 OWNER TO CURRENT_USER",
            "DROP TABLE utl_smtp.$1 CASCADE",
            "CREATE TRIGGER t BEFORE INSERT ON utl_smtp.$1 FOR EACH ROW EXECUTE FUNCTION public.t()",
            "CREATE RULE r AS ON INSERT TO utl_smtp.$1 DO INSTEAD NOTHING",
            "CREATE POLICY p ON utl_smtp.$1 USING (true)",
            "CREATE INDEX ON utl_smtp.$1 ((1))",
            "CREATE TABLE public.child () INHERITS (utl_smtp.$1)",
            "COMMENT ON TABLE utl_smtp.$1 IS 'mine'",
        ] {
            let statement = statement.replace("$1", table);
            let failure = app.try_run(&statement).expect_err(&statement);
            assert_eq!(failure.sqlstate, "42501", "{statement}: {failure}");
        }
    }
    for statement in [
        "UPDATE utl_smtp.host_ace SET grant_type = 'GRANT'",
        "SELECT FROM utl_smtp.dba_host_aces",
        "UPDATE utl_smtp.user_host_aces SET status = 'GRANTED'",
        "GRANT SELECT ON utl_smtp.host_ace TO PUBLIC",
        "CREATE OR REPLACE VIEW utl_smtp.user_host_aces AS SELECT 1",
        "ALTER FUNCTION utl_smtp.host_access(text[], integer, oid, text[]) SECURITY INVOKER",
        "SELECT utl_smtp.host_access(ARRAY['*'], 25, 10, ARRAY['smtp'])",
        "DROP EXTENSION utl_smtp",
        "ALTER EXTENSION utl_smtp UPDATE",
    ] {
        let failure = app.try_run(statement).expect_err(statement);
        let refused = ["42501", "55000"].contains(&&*failure.sqlstate);
        assert!(refused, "{statement}: {failure}");
    }
}

/// Neither the rows nor the estimates of EXPLAIN depend on entries of others.
#[test]
fn the_view_of_own_entries_reveals_no_others() {
    let database = Database::new();
    let [app, other] = ["app", "other"].map(|name| database.role(name));
    let mut owner = database.superuser();
    entry(&mut owner, &app, "own.example.test", Some((25, 30)), true);
    entry(&mut owner, &app, "also.example.test", None, false);
    let queries = [
        "host > 'mail.t' AND host < 'mail.u'",
        "host = 'mail.top-secret.test'",
        "host LIKE 'mail.%'",
        "lower_port = 465",
        "privilege = 'smtp' AND host <> 'own.example.test'",
        "true",
    ]
    .map(|condition| format!("SELECT * FROM utl_smtp.user_host_aces WHERE {condition}"));
    let mut session = database.connect(&app);
    let mut seen = |owner: &mut Session| -> Vec<String> {
        owner.run("ANALYZE utl_smtp.host_ace");
        let explained = queries.iter().flat_map(|query| {
            [
                format!("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) {query}"),
                format!("EXPLAIN {query}"),
            ]
        });
        let mut lines = Vec::new();
        for statement in explained {
            let rows = session.query(&statement, &[]).unwrap();
            lines.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        let rows = session.query(&format!("SELECT x::text FROM ({}) AS x", queries[5]), &[]);
        lines.extend(rows.unwrap().iter().map(|row| row.get::<_, String>(0)));
        lines
    };
    let alone = seen(&mut owner);
    for expected in ["Rows Removed by Filter: 2", "also.example.test"] {
        let found = alone.iter().any(|line| line.contains(expected));
        assert!(found, "{expected}: {alone:#?}");
    }
    entry(
        &mut owner,
        &other,
        "mail.top-secret.test",
        Some((465, 465)),
        true,
    );
    for number in 0..500 {
        entry(
            &mut owner,
            &other,
            &format!("mail.host{number}.test"),
            None,
            true,
        );
    }
    for (found, alone) in seen(&mut owner).iter().zip(&alone) {
        assert_eq!(found, alone);
    }
}

/// PUBLIC may execute exactly what the documentation says.
#[test]
fn everybody_may_execute_what_is_documented_and_no_more() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## Who may execute what").unwrap();
    let mut blocks = section.split("```").skip(1).step_by(2);
    let mut block = || -> BTreeSet<String> {
        let lines = blocks.next().unwrap().lines().skip(1);
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let (everybody, owner_only) = (block(), block());
    let database = Database::new();
    let mut session = database.superuser();
    let mut functions = |condition: &str| -> BTreeSet<String> {
        let rows = session.query(
            &format!(
                "SELECT DISTINCT pronamespace::regnamespace || '.' || proname
                   FROM pg_proc
                   JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
                   JOIN pg_extension ON refobjid = pg_extension.oid AND extname = 'utl_smtp'
                  WHERE {condition} EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
                                             WHERE grantee = 0 AND privilege_type = 'EXECUTE')"
            ),
            &[],
        );
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(functions(""), everybody);
    assert_eq!(functions("NOT"), owner_only);
    // And really so, for a role that has nothing.
    let mut app = database.connect(&database.role("app"));
    for name in owner_only.iter().filter(|name| name.starts_with("dbms_")) {
        let check = format!(
            "SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc
              WHERE pronamespace::regnamespace || '.' || proname = '{name}'"
        );
        assert!(!app.value::<bool>(&check), "{name}");
    }
    let append = "SELECT dbms_network_acl_admin.append_host_ace('*', ace =>
                      dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'PUBLIC'))";
    app.try_run(append).unwrap_err().expect("42501");
}

/// Code of the role that somebody else runs cannot send mail.
#[test]
fn nothing_is_sent_in_a_security_restricted_operation() {
    let database = Database::new();
    let role = database.role("app");
    let mut owner = database.superuser();
    let peer = listening();
    entry(&mut owner, &role, "127.0.0.1", None, true);
    owner.run(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
    let mut app = database.connect(&role);
    app.run(&format!(
        "CREATE FUNCTION public.mails(x integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
         BEGIN
             IF current_setting('e2e.armed', true) = 'on' THEN
                 PERFORM utl_smtp.open_connection('127.0.0.1', {port}, 60);
             END IF;
             RETURN x;
         END $$;
         CREATE TABLE public.t (x integer);
         INSERT INTO public.t SELECT generate_series(1, 5);
         CREATE INDEX expression ON public.t (public.mails(x));
         CREATE MATERIALIZED VIEW public.v AS SELECT public.mails(x) FROM public.t WITH NO DATA;
         CREATE FUNCTION public.handle(h text) RETURNS integer LANGUAGE plpgsql AS $$
         BEGIN RETURN (utl_smtp.noop(h::utl_smtp.connection)).code; END $$",
        port = peer.port()
    ));
    for mut session in [owner, app] {
        session.run("SET e2e.armed = 'on'");
        for statement in [
            "REFRESH MATERIALIZED VIEW public.v",
            "ANALYZE public.t",
            "VACUUM FULL public.t",
            "REINDEX TABLE public.t",
            "REINDEX INDEX public.expression",
            "CLUSTER public.t USING expression",
            "CREATE INDEX ON public.t ((public.mails(x) + 1))",
        ] {
            let failure = session.try_run(statement).expect_err(statement);
            assert_eq!(failure.sqlstate, "42501", "{statement}: {failure}");
            assert!(
                failure.message.contains("security-restricted"),
                "{statement}: {failure}"
            );
        }
        session.run("SET e2e.armed = 'off'");
    }
    // Nor with a connection that is open already.
    let mut app = database.connect(&role);
    let smtp = open(&mut app, &peer);
    app.run(&format!(
        "CREATE MATERIALIZED VIEW public.w AS SELECT public.handle('{}') WITH NO DATA",
        smtp.handle
    ));
    for statement in [
        "REFRESH MATERIALIZED VIEW public.w".to_owned(),
        "CREATE MATERIALIZED VIEW public.x AS SELECT * FROM utl_smtp.wallet_certificates('system:')".to_owned(),
        format!("CREATE MATERIALIZED VIEW public.x AS SELECT utl_smtp.close_connection('{}') IS NULL", smtp.handle),
    ] {
        app.try_run(&statement).unwrap_err().expect("42501");
    }
    assert_eq!(smtp.quit(&mut app).unwrap().code, 221);
    assert_eq!(peer.finish().only().lines(), ["QUIT"]);
}

#[test]
fn planning_opens_nothing() {
    let database = Database::new();
    let mut session = database.superuser();
    let peer = listening();
    let open = format!("utl_smtp.open_connection('127.0.0.1', {}, 60)", peer.port());
    for statement in [
        format!("EXPLAIN SELECT {open}"),
        format!("EXPLAIN (VERBOSE) SELECT 1 WHERE ({open}) IS NOT NULL"),
        format!(
            "EXPLAIN SELECT * FROM utl_smtp.open_connection_reply('127.0.0.1', {})",
            peer.port()
        ),
        format!("EXPLAIN SELECT ({open}).host FROM generate_series(1, 3) WHERE ({open}).port = 25"),
        format!("PREPARE p AS SELECT {open}"),
        format!("CREATE VIEW public.opens AS SELECT {open} AS c"),
        "EXPLAIN SELECT * FROM public.opens WHERE c IS NULL".to_owned(),
        "SELECT count(*) FROM (SELECT c FROM public.opens OFFSET 1 LIMIT 0) AS none".to_owned(),
        format!("SELECT CASE WHEN false THEN ({open}).host END"),
    ] {
        session.run(&statement);
    }
    let lax: i64 = session.value(
        "SELECT count(*) FROM pg_proc
          WHERE pronamespace = 'utl_smtp'::regnamespace AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
            AND proname NOT IN ('canonical_host_pattern', 'canonical_address', 'canonical_sender')
            AND (provolatile <> 'v' OR proparallel <> 'u' OR proisstrict OR prosecdef OR proleakproof)",
    );
    assert_eq!(lax, 0);
    assert_eq!(peer.finish().accepted(), 0);
}

/// An ordinary trigger does not send mail again on a replica.
#[test]
fn triggers_in_an_apply_worker_send_no_mail() {
    let cluster = OwnCluster::start(&["wal_level = logical"]);
    let mut publisher = cluster.superuser();
    let (ordinary, always) = (listening(), listening());
    publisher.run("CREATE DATABASE subscriber");
    let mut subscriber = cluster.connect("subscriber", &cluster.superuser);
    subscriber.run("CREATE EXTENSION utl_smtp");
    let mails = |peer: &Peer, name: &str| {
        format!(
            "CREATE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 PERFORM utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', {}, 60));
                 RETURN NULL;
             END $$;
             CREATE TRIGGER {name} AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.{name}();",
            peer.port()
        )
    };
    for session in [&mut publisher, &mut subscriber] {
        session.run("CREATE TABLE public.t (x integer PRIMARY KEY)");
    }
    subscriber.run(&(mails(&ordinary, "ordinary") + &mails(&always, "always")));
    subscriber.run("ALTER TABLE public.t ENABLE ALWAYS TRIGGER always");
    publisher.run("CREATE PUBLICATION p FOR TABLE public.t");
    publisher.run("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    subscriber.run(&format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host={} port={} user={} dbname=postgres' PUBLICATION p
             WITH (create_slot = false, slot_name = 's', copy_data = false)",
        cluster.host, cluster.port, cluster.superuser
    ));
    publisher.run("INSERT INTO public.t VALUES (1)");
    // The trigger that does fire tells when the row has come.
    wait_until("the row comes", || always.accepted() > 0);
    subscriber.run("ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s");
    assert_eq!(ordinary.finish().accepted(), 0);
    assert_eq!(always.finish().accepted(), 1);
}

/// A dump restores the rows before the triggers.
#[test]
fn restoring_a_dump_sends_no_mail() {
    let (source, target) = (Database::new(), Database::empty(""));
    let mut session = source.superuser();
    let peer = listening();
    session.run(&format!(
        "CREATE TABLE public.t (x integer);
         INSERT INTO public.t SELECT generate_series(1, 3);
         CREATE FUNCTION public.mails() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', {}, 60)); RETURN NULL; END $$;
         CREATE TRIGGER mails AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.mails()",
        peer.port()
    ));
    let cluster = Cluster::shared();
    let script = r#"set -o pipefail; "$0/pg_dump" "$1" | "$0/psql" -X -q -v ON_ERROR_STOP=1 -d "$2" >/dev/null"#;
    let output = Command::new("bash")
        .args(["-c", script, &cluster.bin, source.name(), target.name()])
        .env("PGHOST", &cluster.host)
        .env("PGPORT", cluster.port.to_string())
        .env("PGUSER", &cluster.superuser)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut restored = target.superuser();
    assert_eq!(restored.value::<i64>("SELECT count(*) FROM public.t"), 3);
    assert_eq!(peer.accepted(), 0);
    // The trigger is there and works.
    restored.run("INSERT INTO public.t VALUES (4)");
    assert_eq!(peer.finish().accepted(), 1);
}
