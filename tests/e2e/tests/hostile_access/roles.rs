//! Whose entry applies, and when.

use super::*;

#[test]
fn at_first_nobody_but_the_superuser_may_talk_to_anybody() {
    let database = Database::new();
    let peer = listening();
    let mut app = database.connect(&database.role("app"));
    denied(&mut app, &peer);
    let reply = Open::to("127.0.0.1", peer.port()).open_reply(&mut app);
    reply.map(drop).unwrap_err().expect("42501");
    app.run("SET utl_smtp.raise_reply_errors = off");
    denied(&mut app, &peer);
    let mut superuser = database.superuser();
    open(&mut superuser, &peer).quit(&mut superuser).unwrap();
    assert_eq!(peer.finish().accepted(), 1);
}

#[test]
fn membership_counts_and_roles_are_identified_by_oid() {
    let database = Database::new();
    let roles = ["mailers", "member", "noinherit", "nobody"].map(|name| database.role(name));
    let [mailers, member, noinherit, nobody] = &roles;
    let mut owner = database.superuser();
    owner.run(&format!(
        "GRANT {mailers} TO {member}, {noinherit}; ALTER ROLE {noinherit} NOINHERIT"
    ));
    // A role created NOINHERIT holds its memberships so from PostgreSQL 16 on.
    let version: i32 = owner.value("SELECT current_setting('server_version_num')::integer");
    if version >= 160_000 {
        owner.run(&format!(
            "GRANT {mailers} TO {noinherit} WITH INHERIT FALSE"
        ));
    }
    let peer = listening();
    entry(&mut owner, mailers, "127.0.0.1", None, true);
    for role in [mailers, member] {
        let mut session = database.connect(role);
        open(&mut session, &peer).quit(&mut session).unwrap();
    }
    for role in [noinherit, nobody] {
        denied(&mut database.connect(role), &peer);
    }
    let mut session = database.connect(noinherit);
    session.run(&format!("SET ROLE {mailers}"));
    open(&mut session, &peer).quit(&mut session).unwrap();

    let renamed = format!("{mailers}_renamed");
    owner.run(&format!(
        "ALTER ROLE {mailers} RENAME TO {renamed}; CREATE ROLE {mailers} LOGIN"
    ));
    denied(&mut database.connect(mailers), &peer);
    let mut session = database.connect(&renamed);
    open(&mut session, &peer).quit(&mut session).unwrap();
    drop(session);

    owner.run(&format!("DROP ROLE {renamed}; CREATE ROLE {renamed} LOGIN"));
    denied(&mut database.connect(&renamed), &peer);
    denied(&mut database.connect(member), &peer);
    owner.run(&format!("DROP ROLE {renamed}"));

    entry(&mut owner, "PUBLIC", "127.0.0.1", None, true);
    let mut session = database.connect(nobody);
    open(&mut session, &peer).quit(&mut session).unwrap();
}

#[test]
fn the_current_role_decides() {
    let database = Database::new();
    let [login, mailer, other] = ["login", "mailer", "other"].map(|name| database.role(name));
    let mut owner = database.superuser();
    owner.run(&format!(
        "ALTER ROLE {login} NOINHERIT; GRANT {mailer}, {other} TO {login}"
    ));
    let peer = listening();
    entry(&mut owner, &mailer, "127.0.0.1", None, true);

    // From the superuser's session, who may become anybody.
    for become_it in ["SET ROLE", "SET SESSION AUTHORIZATION"] {
        owner.run(&format!("{become_it} {mailer}"));
        open(&mut owner, &peer).quit(&mut owner).unwrap();
        owner.run(&format!("RESET ROLE; {become_it} {other}"));
        if become_it == "SET ROLE" {
            denied(&mut owner, &peer);
        }
        owner.run("RESET ROLE; RESET SESSION AUTHORIZATION");
    }
    owner.run(&format!("SET SESSION AUTHORIZATION {other}"));
    denied(&mut owner, &peer);
    owner.run("RESET SESSION AUTHORIZATION");
    owner.run(&format!("BEGIN; SET LOCAL ROLE {other}"));
    denied(&mut owner, &peer);
    owner.run("ROLLBACK");
    open(&mut owner, &peer).quit(&mut owner).unwrap();

    let mut session = database.connect(&login);
    if owner.value::<i32>("SELECT current_setting('server_version_num')::integer") < 160_000 {
        denied(&mut session, &peer);
    }
    session.run(&format!("BEGIN; SET LOCAL ROLE {mailer}"));
    open(&mut session, &peer).quit(&mut session).unwrap();
    session.run(&format!("SAVEPOINT s; SET LOCAL ROLE {other}"));
    denied(&mut session, &peer);
    session.run(&format!("ROLLBACK TO s; SET LOCAL ROLE {mailer}"));
    open(&mut session, &peer).quit(&mut session).unwrap();
    session.run(&format!("COMMIT; SET ROLE {other}"));
    denied(&mut session, &peer);
}

#[test]
fn a_security_definer_function_uses_its_owners_entry() {
    let database = Database::new();
    let [allowed, nobody] = ["allowed", "nobody"].map(|name| database.role(name));
    let mut owner = database.superuser();
    let peer = listening();
    entry(&mut owner, &allowed, "127.0.0.1", None, true);
    for (name, security) in [("lends", "SECURITY DEFINER"), ("keeps", "SECURITY INVOKER")] {
        owner.run(&format!(
            "CREATE FUNCTION public.{name}(port integer) RETURNS integer LANGUAGE plpgsql {security} AS $$
             BEGIN RETURN (utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', port, 60))).code; END $$;
             ALTER FUNCTION public.{name}(integer) OWNER TO {allowed}"
        ));
    }
    let mut session = database.connect(&nobody);
    let call = |name: &str| format!("SELECT public.{name}({})", peer.port());
    assert_eq!(session.value::<i32>(&call("lends")), 221);
    session.try_run(&call("keeps")).unwrap_err().expect("42501");
    denied(&mut session, &peer);
    assert_eq!(peer.finish().accepted(), 1);
}

/// Calls each routine with another role's handle.
#[test]
fn a_connection_is_for_the_role_that_opened_it() {
    let database = Database::new();
    let [a, b, both] = ["a", "b", "both"].map(|name| database.role(name));
    let mut owner = database.superuser();
    owner.run(&format!("GRANT {a} TO {both}"));
    let peer = listening();
    for role in [&a, &b] {
        entry(&mut owner, role, "127.0.0.1", None, true);
    }
    owner.run(&format!("SET SESSION AUTHORIZATION {a}"));
    let smtp = open(&mut owner, &peer);
    owner.run(&format!("RESET SESSION AUTHORIZATION; SET ROLE {b}"));
    for call in [
        "command($1, 'NOOP')",
        "command_replies($1, 'NOOP')",
        "helo($1, 'x')",
        "ehlo($1, 'x')",
        "starttls($1)",
        "auth($1, 'u', 'p')",
        "mail($1, 'a@b')",
        "rcpt($1, 'a@b')",
        "data($1, 'x')",
        "open_data($1)",
        "write_data($1, 'x')",
        "write_raw_data($1, 'x')",
        "close_data($1)",
        "send_message($1, 'a@b', '{c@d}', 'x')",
        "rset($1)",
        "noop($1)",
        "vrfy($1, 'x')",
        "help($1)",
        "quit($1)",
        "close_connection($1)",
    ] {
        let call = call.replace("$1", &format!("'{}'", smtp.handle));
        let failure = owner
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err();
        assert_eq!(failure.sqlstate, "42501", "{call}: {failure}");
        assert!(!failure.to_string().contains(&a), "{failure}");
    }
    assert_eq!(
        owner.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        0
    );
    assert_eq!(
        owner.value::<i32>("SELECT utl_smtp.close_all_connections()"),
        0
    );
    owner.run(&format!("SET ROLE {both}"));
    assert_eq!(smtp.noop(&mut owner).unwrap().code, 250);
    assert_eq!(
        owner.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        1
    );
    owner.run(&format!("SET ROLE {a}"));
    assert_eq!(smtp.quit(&mut owner).unwrap().code, 221);
    assert_eq!(peer.finish().only().lines(), ["NOOP", "QUIT"]);
}

/// An entry is an ordinary row; connections that it allowed stay open.
#[test]
fn an_entry_is_looked_up_at_each_opening_and_binds_no_open_connection() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let peer = listening();
    entry(&mut owner, &role, "127.0.0.1", None, true);
    let before = open(&mut app, &peer);
    remove_all(&mut owner);
    denied(&mut app, &peer);
    assert_eq!(before.noop(&mut app).unwrap().code, 250);
    // In a transaction that has looked before, too.
    entry(&mut owner, &role, "127.0.0.1", None, true);
    app.run("BEGIN");
    open(&mut app, &peer).quit(&mut app).unwrap();
    remove_all(&mut owner);
    denied(&mut app, &peer);
    app.run("ROLLBACK");

    // The owner's own uncommitted entry, seen through the role.
    owner.run("BEGIN");
    entry(&mut owner, &role, "127.0.0.1", None, true);
    denied(&mut app, &peer);
    owner.run(&format!("SET LOCAL ROLE {role}"));
    let uncommitted = open(&mut owner, &peer);
    owner.run("ROLLBACK");
    owner.run(&format!("SET ROLE {role}"));
    assert_eq!(uncommitted.noop(&mut owner).unwrap().code, 250);
    denied(&mut owner, &peer);
    uncommitted.quit(&mut owner).unwrap();
    before.quit(&mut app).unwrap();
}

/// Dates are compared with the clock, not with the start of the transaction, and independent of the
/// time zone.
#[test]
fn dates_are_honoured_by_the_clock() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let peer = listening();
    let mut dated = |host_dates: &str| {
        remove_all(&mut owner);
        owner.run(&format!(
            "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', ace =>
                 dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{role}', {host_dates}))"
        ));
    };
    for (dates, allowed) in [
        ("start_date => clock_timestamp() - interval '1 s'", true),
        ("start_date => clock_timestamp() + interval '1 h'", false),
        ("end_date => clock_timestamp() + interval '1 h'", true),
        ("end_date => clock_timestamp() - interval '1 s'", false),
    ] {
        dated(dates);
        for zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"] {
            app.run(&format!("SET timezone = '{zone}'"));
            match allowed {
                true => drop(open(&mut app, &peer).quit(&mut app).unwrap()),
                false => denied(&mut app, &peer),
            }
        }
    }
    // A date that is behind the clock and ahead of the transaction's beginning.
    dated("end_date => clock_timestamp() + interval '1 h'");
    app.run("BEGIN");
    open(&mut app, &peer).quit(&mut app).unwrap();
    dated("end_date => clock_timestamp()");
    denied(&mut app, &peer);
    app.run("ROLLBACK");
}
