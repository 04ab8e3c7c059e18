//! Whose settings apply in a SECURITY DEFINER function.

use super::*;
use e2e::{Open, OwnCluster, Peer, Script};
use std::time::{Duration, Instant};

const OFF: &str = "SET utl_smtp.raise_reply_errors = off";

#[test]
fn what_the_caller_sets_does_not_count() {
    let fixture = Fixture::new();
    for loaded_before in [false, true] {
        for set in [
            OFF,
            "SELECT set_config('utl_smtp.raise_reply_errors', 'off', false)",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; SET utl_smtp.raise_reply_errors TO 'no'",
            "SET UTL_SMTP.RAISE_REPLY_ERRORS = 0",
        ] {
            let mut session = fixture.caller();
            if loaded_before {
                session.run("SELECT utl_smtp.close_all_connections()");
            }
            session.run(set);
            assert_eq!(said(&mut session, "probe"), "raised", "{set}");
            assert_eq!(own(&mut session), "returned", "{set}");
            assert_eq!(said(&mut session, "probe"), "raised", "{set}");
        }
        let mut session = fixture.caller();
        session.run(&format!("BEGIN; {}", OFF.replace("SET", "SET LOCAL")));
        if loaded_before {
            assert_eq!(own(&mut session), "returned");
        }
        assert_eq!(said(&mut session, "probe"), "raised");
        session.run("COMMIT");
        assert_eq!(own(&mut session), "raised");
    }
}

#[test]
fn start_up_options_of_the_caller_do_not_apply() {
    let fixture = Fixture::new();
    let options = "-c utl_smtp.raise_reply_errors=off";
    let mut session = fixture.database.connect_with(&fixture.caller, options);
    assert_eq!(said(&mut session, "probe"), "raised");
    assert_eq!(own(&mut session), "returned");
    session.run("SET utl_smtp.raise_reply_errors = on");
    assert_eq!(own(&mut session), "raised");
    // These go back to the option.
    for reset in [
        "RESET utl_smtp.raise_reply_errors",
        "RESET ALL",
        "DISCARD ALL",
    ] {
        session.run("SET utl_smtp.raise_reply_errors = on");
        session.run(reset);
        assert_eq!(own(&mut session), "returned", "{reset}");
        assert_eq!(said(&mut session, "probe"), "raised", "{reset}");
    }
}

#[test]
fn set_clauses_of_the_callers_function_do_not_apply() {
    let fixture = Fixture::new();
    let mut session = fixture.caller();
    session.run("SELECT utl_smtp.close_all_connections()");
    session.run(&format!(
        "CREATE FUNCTION s.through() RETURNS text LANGUAGE sql {OFF} AS 'SELECT s.probe()'"
    ));
    assert_eq!(said(&mut session, "through"), "raised");
    // The call that loads the library is no exception.
    let mut session = fixture.caller();
    assert_eq!(said(&mut session, "through"), "raised");
}

#[test]
fn a_function_obeys_its_own_settings() {
    let fixture = Fixture::new();
    let mut owner = fixture.database.superuser();
    owner.run(&format!(
        "CREATE FUNCTION s.sets() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             PERFORM set_config('utl_smtp.raise_reply_errors', 'off', true);
             RETURN 'returned ' || (utl_smtp.noop(NULL)).code;
         END $$;
         ALTER FUNCTION s.sets() OWNER TO {}",
        fixture.definer
    ));
    let mut session = fixture.caller();
    // PostgreSQL 14 does not tell who set a value before the library was loaded.
    if version(&mut session) < 150_000 {
        own(&mut session);
    }
    assert_eq!(said(&mut session, "judging"), "returned");
    session.run("SET utl_smtp.raise_reply_errors = on");
    assert_eq!(said(&mut session, "judging"), "returned");
    assert_eq!(said(&mut session, "sets"), "returned 421");
    assert_eq!(own(&mut session), "raised");
}

/// Each of nested functions has its own, also after the inner one has ended.
#[test]
fn nested_functions_have_separate_settings() {
    let fixture = Fixture::new();
    let inner = fixture.database.role("inner");
    let mut owner = fixture.database.superuser();
    fixture.probe(&mut owner, &inner, "inner", "");
    owner.run(&format!(
        "CREATE FUNCTION s.judge() RETURNS text LANGUAGE sql AS
             'SELECT (utl_smtp.noop(NULL)).code::text';
         CREATE FUNCTION s.outer() RETURNS text LANGUAGE sql SECURITY DEFINER {OFF} AS $$
             SELECT concat_ws(' ', s.judge(), s.inner(), s.judge(), s.probe())
         $$;
         ALTER FUNCTION s.outer() OWNER TO {}",
        fixture.definer
    ));
    let mut session = fixture.caller();
    assert_eq!(own(&mut session), "raised");
    assert_eq!(said(&mut session, "outer"), "421 raised 421 returned");
    assert_eq!(own(&mut session), "raised");
}

#[test]
fn a_setting_applies_to_roles_whose_privileges_its_setter_has() {
    let fixture = Fixture::new();
    let [member, login] = ["member", "login"].map(|name| fixture.database.role(name));
    let Fixture {
        definer, caller, ..
    } = &fixture;
    let mut owner = fixture.database.superuser();
    owner.run(&format!(
        "GRANT {definer} TO {member}; ALTER ROLE {login} NOINHERIT; GRANT {caller}, {definer} TO {login}"
    ));
    let mut session = fixture.database.connect(&member);
    session.run(OFF);
    assert_eq!(said(&mut session, "probe"), "returned");

    let mut session = fixture.database.connect(&login);
    session.run(&format!("SET ROLE {caller}"));
    session.run(OFF);
    assert_eq!(own(&mut session), "returned");
    assert_eq!(said(&mut session, "probe"), "raised");
    session.run(&format!("SET ROLE {definer}"));
    assert_eq!(own(&mut session), "raised");
    session.run(OFF);
    session.run(&format!("SET ROLE {caller}"));
    assert_eq!(own(&mut session), "raised");
    assert_eq!(said(&mut session, "probe"), "returned");

    let mut session = fixture.database.superuser();
    session.run(OFF);
    assert_eq!(said(&mut session, "probe"), "returned");
    session.run(&format!("SET SESSION AUTHORIZATION {caller}"));
    assert_eq!(own(&mut session), "returned");
    assert_eq!(said(&mut session, "probe"), "returned");
}

#[test]
fn the_setter_of_a_value_is_restored_with_it() {
    let fixture = Fixture::new();
    let mut session = fixture.database.superuser();
    session.run(OFF);
    session.run(&format!("SET ROLE {}", fixture.caller));
    session.run("BEGIN; SAVEPOINT a; SET LOCAL utl_smtp.raise_reply_errors = on; SAVEPOINT b");
    session.run(OFF);
    assert_eq!(said(&mut session, "probe"), "raised");
    session.run("ROLLBACK TO a");
    assert_eq!(said(&mut session, "probe"), "returned");
    session.run("COMMIT");
    session.run("RESET utl_smtp.raise_reply_errors");
    assert_eq!(said(&mut session, "probe"), "raised");
    assert_eq!(own(&mut session), "raised");
}

#[test]
fn configured_settings_apply_to_every_function() {
    let fixture = Fixture::new();
    let on = "SET utl_smtp.raise_reply_errors = on";
    fixture.database.set("utl_smtp.raise_reply_errors", "off");
    let mut session = fixture.caller();
    assert_eq!(said(&mut session, "probe"), "returned");
    // The caller's value is passed over, not the configured one.
    session.run(on);
    assert_eq!(said(&mut session, "probe"), "returned");
    assert_eq!(own(&mut session), "raised");
    let mut owner = fixture.database.superuser();
    owner.run(&format!("ALTER ROLE {} {on}", fixture.caller));
    let mut session = fixture.caller();
    assert_eq!(said(&mut session, "probe"), "raised");
    session.run(OFF);
    assert_eq!(said(&mut session, "probe"), "raised");
}

/// In a session that has loaded the library and one that has not, and with the library loaded by
/// the server.
#[test]
fn a_reload_changes_what_is_configured() {
    for preload in ["", "utl_smtp"] {
        let cluster = OwnCluster::start(&[
            &format!("shared_preload_libraries = '{preload}'"),
            "utl_smtp.raise_reply_errors = off",
        ]);
        let mut owner = cluster.superuser();
        owner.run(
            "CREATE ROLE definer; CREATE ROLE caller LOGIN;
             CREATE FUNCTION code() RETURNS text LANGUAGE sql SECURITY DEFINER
             AS 'SELECT (utl_smtp.noop(NULL)).code::text';
             ALTER FUNCTION code() OWNER TO definer; LOAD 'utl_smtp'",
        );
        let mut session = cluster.connect("postgres", "caller");
        session.run("SET utl_smtp.raise_reply_errors = on");
        let code = "SELECT code()";
        assert_eq!(session.value::<String>(code), "421");
        owner.run("ALTER SYSTEM SET utl_smtp.raise_reply_errors = on");
        assert_eq!(session.value::<String>(code), "421");
        owner.run("SELECT pg_reload_conf()");
        let end = Instant::now() + Duration::from_secs(60);
        while session.try_run(code).is_ok() {
            assert!(Instant::now() < end, "the reload does not arrive");
            std::thread::sleep(Duration::from_millis(10));
        }
        let options = "-c utl_smtp.raise_reply_errors=off";
        let mut session = cluster
            .try_connect_with("postgres", "caller", options)
            .unwrap();
        session.try_run(code).unwrap_err().expect("U9278");
        assert_eq!(own(&mut session), "returned");
    }
}

#[test]
fn the_time_limit_is_the_functions_own() {
    let fixture = Fixture::new();
    let mut owner = fixture.database.superuser();
    let silent = Script::new().hold();
    let late = Script::new().sleep(Duration::from_secs(2));
    let peer = Peer::start_each(vec![silent, late.then(Script::greeting()).drain()]);
    for role in [&fixture.definer, &fixture.caller] {
        fixture.database.allow(role, "127.0.0.1", peer.port());
    }
    owner.run(&format!(
        "CREATE FUNCTION s.opens() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             PERFORM utl_smtp.close_connection(utl_smtp.open_connection('127.0.0.1', {}));
             RETURN 'opened';
         END $$;
         ALTER FUNCTION s.opens() OWNER TO {}",
        peer.port(),
        fixture.definer
    ));
    let mut session = fixture.caller();
    session.run("SET utl_smtp.default_timeout = 1");
    let open = Open::to("127.0.0.1", peer.port()).timeout(None);
    open.open(&mut session).unwrap_err().expect("U9278");
    assert_eq!(said(&mut session, "opens"), "opened");
}

fn version(session: &mut Session) -> i32 {
    session.value("SELECT current_setting('server_version_num')::integer")
}

/// Parallel workers get the settings of their leader, and nothing is lost on the way.
#[test]
fn parallel_workers_inherit_the_settings() {
    let fixture = Fixture::new();
    let mut session = fixture.caller();
    let forced = match version(&mut session) {
        160_000.. => "debug_parallel_query",
        _ => "force_parallel_mode",
    };
    session.run("SELECT utl_smtp.close_all_connections()");
    session.run(OFF);
    session.run("SET utl_smtp.trace = notice; SET utl_smtp.default_timeout = 5");
    session.run(&format!("SET {forced} = on"));
    let seen = "SELECT current_setting('utl_smtp.raise_reply_errors') || current_setting('utl_smtp.trace')";
    assert_eq!(session.value::<String>(seen), "offnotice");
    session.run(&format!("SET {forced} = off"));
    assert_eq!(own(&mut session), "returned");
    assert_eq!(said(&mut session, "probe"), "raised");
}
