//! Its routines in the planner and in parallel workers.

use super::*;

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
                 OR (l.lanname = 'c' AND p.pronamespace = 'utl_smtp'::regnamespace AND p.proname NOT LIKE 'canonical\\_%'
                     AND (p.provolatile <> 'v' OR p.proisstrict OR p.proparallel <> 'u'))
                 OR (p.prosecdef AND NOT coalesce(array_to_string(p.proconfig, ',') LIKE '%search_path=pg_catalog, pg_temp%', false))",
            &[],
        )
        .unwrap();
    let faults: Vec<String> = faults.iter().map(|row| row.get(0)).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// A connection opened in a worker would be lost with it, so opening is refused even in a function
/// marked parallel safe.
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

/// Without workers the plan runs in the session itself, where no snapshot may be taken.
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

/// Forces a parallel plan wherever one is possible.
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
