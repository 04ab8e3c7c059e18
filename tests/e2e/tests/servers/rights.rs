//! Who may use a server: USAGE, the access control list of its owner, a DENY for the caller.

use super::*;

/// A server on a port that nobody listens on: a refused connection means that it may be used.
struct Fixture {
    database: Database,
    owner: String,
    app: String,
    port: u16,
}

impl Fixture {
    /// The owner may create servers, `app` may use the one there is.
    fn new() -> Self {
        let database = Database::new();
        let (owner, app) = (database.role("owner"), database.role("app"));
        let port = e2e::closed_port();
        database.superuser().run(&format!(
            "GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO {owner}"
        ));
        let port_text = port.to_string();
        let options = [
            ("host", "127.0.0.1"),
            ("port", &port_text),
            ("security", "none"),
        ];
        let mut session = database.connect(&owner);
        create(&mut session, "office", &options, &[]);
        session.run(&format!("GRANT USAGE ON FOREIGN SERVER office TO {app}"));
        Self {
            database,
            owner,
            app,
            port,
        }
    }

    fn attempt(&self, role: &str) -> Failure {
        connect(&mut self.database.connect(role), "office").unwrap_err()
    }

    fn entry(&self, role: &str, granted: bool) {
        let sql = "SELECT dbms_network_acl_admin.append_host_ace(host => '127.0.0.1',
                       ace => dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => $1, principal_name => $2))";
        let mut session = self.database.superuser();
        session.execute(sql, &[&granted, &role]).unwrap();
    }
}

#[test]
fn the_access_control_list_is_asked_for_the_owner() {
    let fixture = Fixture::new();
    for role in [&fixture.owner, &fixture.app] {
        let failure = fixture.attempt(role).expect("42501");
        assert!(failure.hint.contains(&fixture.owner), "{failure}");
    }
    fixture
        .database
        .allow(&fixture.owner, "127.0.0.1", fixture.port);
    for role in [&fixture.owner, &fixture.app] {
        fixture.attempt(role).expect("U9278");
    }
    // Without the server the role has no access.
    let direct = format!(
        "SELECT utl_smtp.open_connection('127.0.0.1', {})",
        fixture.port
    );
    let mut session = fixture.database.connect(&fixture.app);
    session.try_run(&direct).unwrap_err().expect("42501");
}

#[test]
fn a_deny_for_the_caller_refuses_what_the_owner_may() {
    let fixture = Fixture::new();
    fixture
        .database
        .allow(&fixture.owner, "127.0.0.1", fixture.port);
    fixture.entry(&fixture.app, false);
    let failure = fixture.attempt(&fixture.app).expect("42501");
    assert!(failure.message.contains("ORA-24247"), "{failure}");
    fixture.attempt(&fixture.owner).expect("U9278");
}

/// The name is allowed, one of its addresses is not.
#[test]
fn a_denied_address_is_denied_behind_a_name() {
    let fixture = Fixture::new();
    fixture
        .database
        .superuser()
        .run("ALTER SERVER office OPTIONS (SET host 'localhost')");
    fixture
        .database
        .allow(&fixture.owner, "localhost", fixture.port);
    fixture.attempt(&fixture.app).expect("U9278");
    for address in ["127.0.0.0/8", "::1"] {
        let sql = "SELECT dbms_network_acl_admin.append_host_ace(host => $1,
                       ace => dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => false, principal_name => $2))";
        let mut session = fixture.database.superuser();
        session.execute(sql, &[&address, &fixture.app]).unwrap();
    }
    fixture.attempt(&fixture.app).expect("42501");
    fixture.attempt(&fixture.owner).expect("U9278");
}

#[test]
fn a_superusers_server_needs_no_entry() {
    let fixture = Fixture::new();
    let superuser: String = fixture
        .database
        .superuser()
        .value("SELECT current_user::text");
    let sql = format!("ALTER SERVER office OWNER TO {superuser}");
    fixture.database.superuser().run(&sql);
    fixture.attempt(&fixture.app).expect("U9278");
}

#[test]
fn each_refusal_has_the_statement_that_helps() {
    let fixture = Fixture::new();
    fixture
        .database
        .allow(&fixture.owner, "127.0.0.1", fixture.port);
    let other = fixture.database.role("other");
    let failure = fixture.attempt(&other).expect("42501");
    let (_, statement) = failure.hint.split_once(": ").unwrap();
    fixture.database.connect(&fixture.owner).run(statement);
    fixture.attempt(&other).expect("U9278");

    let mut session = fixture.database.superuser();
    let failure = connect(&mut session, "Head Office")
        .unwrap_err()
        .expect("42704");
    let (_, statement) = failure.hint.split_once(": ").unwrap();
    session.run(statement);
    session.run("DROP SERVER \"Head Office\"");

    session.run("CREATE FOREIGN DATA WRAPPER other");
    session.run("CREATE SERVER elsewhere FOREIGN DATA WRAPPER other");
    connect(&mut session, "elsewhere")
        .unwrap_err()
        .expect("42809");
    session
        .try_run("SELECT utl_smtp.connect(NULL)")
        .unwrap_err()
        .expect("22023");
}

/// Oracle's credential object: who may use the server need not see the password.
#[test]
fn a_mapping_for_public_can_be_used_and_not_read() {
    let fixture = Fixture::new();
    fixture.database.connect(&fixture.owner).run(
        "CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (user 'app', password 'hunter2')",
    );
    let options = "SELECT umoptions::text FROM pg_user_mappings WHERE srvname = 'office'";
    let seen: Option<String> = fixture.database.connect(&fixture.app).value(options);
    assert_eq!(seen, None);
    let seen: Option<String> = fixture.database.connect(&fixture.owner).value(options);
    assert_eq!(seen.as_deref(), Some("{user=app,password=hunter2}"));
}

/// The owner of a server can't make the server's files readable to others, nor to himself.
#[test]
fn a_wallet_is_judged_by_the_rights_of_the_owner() {
    let fixture = Fixture::new();
    fixture
        .database
        .allow(&fixture.owner, "127.0.0.1", fixture.port);
    let mut owner = fixture.database.connect(&fixture.owner);
    owner.run("ALTER SERVER office OPTIONS (ADD wallet_path 'file:/etc/ssl')");
    fixture.attempt(&fixture.app).expect("42501");
    let superuser: String = fixture
        .database
        .superuser()
        .value("SELECT current_user::text");
    let sql = format!("ALTER SERVER office OWNER TO {superuser}");
    fixture.database.superuser().run(&sql);
    let failure = fixture.attempt(&fixture.app);
    assert_ne!(failure.sqlstate, "42501", "{failure}");
}
