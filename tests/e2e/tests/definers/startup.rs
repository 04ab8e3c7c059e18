//! Start-up options of a connection versus the administrator's configuration.

use super::*;
use e2e::cluster::Cluster;
use e2e::{Failure, OwnCluster};

/// Settings of the administrator, and the values that a role would prefer.
const SETTINGS: [(&str, &str, &str); 6] = [
    ("max_connections", "2", "9"),
    ("min_tls_version", "TLSv1.3", "TLSv1.2"),
    ("wallet_path", "file:/srv/w", "x"),
    ("wallet_roots", "/srv/w", "/"),
    ("allow_cleartext_auth", "on", "off"),
    ("require_approved_sender", "on", "off"),
];

const LOAD: &str = "SELECT utl_smtp.close_all_connections()";

fn shown(session: &mut Session, setting: &str) -> String {
    session.value(&format!("SELECT current_setting('utl_smtp.{setting}')"))
}

#[track_caller]
fn refused(session: &mut Session) -> Failure {
    let failure = session.try_run(LOAD).unwrap_err().expect("42501");
    assert!(
        failure.message.contains("denied to set parameter"),
        "{failure}"
    );
    failure
}

#[test]
fn every_superuser_setting_is_tried_here() {
    let database = Database::new();
    let mut session = database.superuser();
    session.run(LOAD);
    let names: Vec<String> = session.value(
        "SELECT array_agg(substr(name, 10) ORDER BY name) FROM pg_settings
          WHERE name LIKE 'utl\\_smtp.%' AND context = 'superuser'",
    );
    let mut tried = SETTINGS.map(|(name, ..)| name);
    tried.sort_unstable();
    assert_eq!(names, tried);
}

#[test]
fn an_option_that_the_role_may_not_set_keeps_the_library_out() {
    let fixture = Fixture::new();
    let spellings = |name: &str, value: &str| {
        [
            format!("-c utl_smtp.{name}={value}"),
            format!("-c UTL_SMTP.{}={value}", name.to_uppercase()),
            format!("--utl_smtp.{}={value}", name.replace('_', "-")),
            format!("-c work_mem=4MB -cutl_smtp.{name}=nonsense"),
        ]
    };
    for (name, configured, wanted) in SETTINGS {
        fixture
            .database
            .set(&format!("utl_smtp.{name}"), configured);
        for options in spellings(name, wanted) {
            let mut session = fixture.database.connect_with(&fixture.caller, &options);
            let failure = refused(&mut session);
            assert!(failure.hint.contains("PGOPTIONS"), "{failure}");
            // Nor do another call, another function or a change of mind get past it.
            session.run(&format!("RESET utl_smtp.{name}"));
            session.run("DISCARD ALL");
            refused(&mut session);
            session
                .try_run("SELECT s.probe()")
                .unwrap_err()
                .expect("42501");
            session.run(&format!("SET utl_smtp.{name} = '{configured}'"));
            refused(&mut session);
        }
        let mut session = fixture.caller();
        session.run(LOAD);
        assert_eq!(shown(&mut session, name), configured);
    }
}

#[test]
fn settings_configured_for_a_role_apply() {
    let fixture = Fixture::new();
    let mut owner = fixture.database.superuser();
    owner.run(LOAD);
    owner.run(&format!(
        "ALTER ROLE {} SET utl_smtp.max_connections = 2",
        fixture.caller
    ));
    let mut session = fixture.caller();
    session.run(LOAD);
    assert_eq!(shown(&mut session, "max_connections"), "2");
    let options = "-c utl_smtp.max_connections=16";
    refused(&mut fixture.database.connect_with(&fixture.caller, options));
    // Options that every role may set are no obstacle.
    let options = "-c utl_smtp.trace=notice -c utl_smtp.default_timeout=5";
    let mut session = fixture.database.connect_with(&fixture.caller, options);
    session.run(LOAD);
    assert_eq!(shown(&mut session, "max_connections"), "2");
    assert_eq!(shown(&mut session, "trace"), "notice");
}

#[test]
fn a_role_that_may_set_a_setting_may_pass_it_as_an_option() {
    let fixture = Fixture::new();
    let options = "-c utl_smtp.max_connections=9";
    let superuser = &Cluster::shared().superuser;
    let mut session = fixture.database.connect_with(superuser, options);
    session.run(LOAD);
    assert_eq!(shown(&mut session, "max_connections"), "9");
    let version: i32 = session.value("SELECT current_setting('server_version_num')::integer");
    if version < 150_000 {
        return;
    }
    let caller = &fixture.caller;
    session.run(&format!(
        "GRANT SET ON PARAMETER utl_smtp.max_connections TO {caller}"
    ));
    let mut granted = fixture.database.connect_with(caller, options);
    granted.run(LOAD);
    assert_eq!(shown(&mut granted, "max_connections"), "9");
    session.run(&format!(
        "REVOKE SET ON PARAMETER utl_smtp.max_connections FROM {caller}"
    ));
    refused(&mut fixture.database.connect_with(caller, options));
}

/// The library is loaded with the session or with the server; no session starts.
#[test]
fn with_the_library_preloaded_the_connection_fails() {
    for preload in [
        "session_preload_libraries = 'utl_smtp'",
        "shared_preload_libraries = 'utl_smtp'",
    ] {
        let cluster = OwnCluster::start(&[preload, "utl_smtp.max_connections = 2"]);
        cluster.superuser().run("CREATE ROLE caller LOGIN");
        let connect = |options| cluster.try_connect_with("postgres", "caller", options);
        let mut session = connect("-c utl_smtp.trace=notice").unwrap();
        assert_eq!(shown(&mut session, "max_connections"), "2");
        let failure = connect("-c utl_smtp.max_connections=9").map(drop);
        failure.unwrap_err().expect("42501");
        let superuser = &cluster.superuser;
        let options = "-c utl_smtp.max_connections=9";
        let mut session = cluster
            .try_connect_with("postgres", superuser, options)
            .unwrap();
        assert_eq!(shown(&mut session, "max_connections"), "9");
    }
}
