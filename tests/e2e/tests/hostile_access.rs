//! Roles that want to talk to what they may not: the access list as it is met by real roles, names, addresses and
//! a resolver that can't be trusted.

use e2e::certs::{Authority, Wallet};
use e2e::cluster::Cluster;
use e2e::resolver::{Answer, Resolver};
use e2e::scene::{CLIENT, NAME};
use e2e::{Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// What asking for a host and port leads to, without a server: a connection refused is a grant.
fn verdict(session: &mut Session, host: &str, port: u16) -> Result<(), String> {
    match Open::to(host, port).timeout(5).open(session) {
        Ok(smtp) => {
            smtp.close_connection(session).unwrap();
            Ok(())
        }
        Err(failure) if failure.sqlstate == "U9278" => Ok(()),
        Err(failure) => Err(failure.sqlstate),
    }
}

const DENIED: Result<(), &str> = Err("42501");
const INVALID: Result<(), &str> = Err("22023");

#[track_caller]
fn assert_verdict(session: &mut Session, host: &str, port: u16, expected: Result<(), &str>) {
    let found = verdict(session, host, port);
    assert_eq!(
        found.as_ref().map_err(String::as_str).copied(),
        expected,
        "{host:?} port {port}"
    );
}

/// A port of loopback on which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Grants or denies the role a host, on these ports or all.
fn entry(session: &mut Session, role: &str, host: &str, ports: Option<(i32, i32)>, granted: bool) {
    let sql = "SELECT dbms_network_acl_admin.append_host_ace(
                   host => $1, lower_port => $2, upper_port => $3,
                   ace => dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], granted => $4, principal_name => $5))";
    let (lower, upper) = ports.unzip();
    session
        .execute(sql, &[&host, &lower, &upper, &granted, &role])
        .unwrap_or_else(|error| panic!("{host}: {}", Failure::from(error)));
}

fn remove_all(session: &mut Session) {
    session.run("DELETE FROM utl_smtp.host_ace");
}

/// A peer that greets whoever comes and takes anything.
fn listening() -> Peer {
    listening_on("127.0.0.1:0")
}

fn listening_on(address: &str) -> Peer {
    let script = (0..20).fold(Script::greeting(), |script, _| {
        script.answer(|line| match line.split(' ').next() {
            Some("QUIT") => b"221 bye\r\n".to_vec(),
            _ => b"250 ok\r\n".to_vec(),
        })
    });
    Peer::listen(address, vec![script])
}

#[track_caller]
fn open(session: &mut Session, peer: &Peer) -> Smtp {
    Open::to("127.0.0.1", peer.port())
        .open(session)
        .unwrap_or_else(|failure| panic!("{failure}"))
}

#[track_caller]
fn denied(session: &mut Session, peer: &Peer) {
    let refused = Open::to("127.0.0.1", peer.port()).open(session);
    refused.unwrap_err().expect("42501");
}

/// ACL-01, ACL-02
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
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(peer.accepted(), 0);
    let mut superuser = database.superuser();
    open(&mut superuser, &peer).quit(&mut superuser).unwrap();
    assert_eq!(peer.finish().accepted(), 1);
}

/// ACL-03, for addresses: the narrower decides whatever it says, in whichever order they were made.
#[test]
fn the_narrowest_network_decides() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let port = closed_port();
    let rising = [
        "*",
        "127.0.0.0/8",
        "127.1.0.0/16",
        "127.1.2.*",
        "127.1.2.0/28",
        "127.1.2.3",
    ];
    let inside = [
        "127.200.0.1",
        "127.200.0.1",
        "127.1.200.1",
        "127.1.2.200",
        "127.1.2.4",
        "127.1.2.3",
    ];
    for widest_first in [true, false] {
        for granted_at_even in [true, false] {
            remove_all(&mut owner);
            let mut numbered: Vec<_> = rising.iter().enumerate().collect();
            if !widest_first {
                numbered.reverse();
            }
            for (number, pattern) in numbered {
                entry(
                    &mut owner,
                    &role,
                    pattern,
                    None,
                    (number % 2 == 0) == granted_at_even,
                );
            }
            for (number, address) in inside.iter().enumerate().skip(1) {
                let expected = if (number % 2 == 0) == granted_at_even {
                    Ok(())
                } else {
                    DENIED
                };
                assert_verdict(&mut app, address, port, expected);
                let mapped = format!("::ffff:{address}");
                assert_verdict(&mut app, &mapped, port, expected);
            }
        }
    }
}

/// ACL-03: within one list the first that applies decides.
#[test]
fn the_first_entry_of_a_list_decides() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let port = closed_port();
    for granted in [true, false] {
        remove_all(&mut owner);
        entry(&mut owner, &role, "127.0.0.1", None, granted);
        entry(&mut owner, "PUBLIC", "127.0.0.1", None, !granted);
        assert_verdict(
            &mut app,
            "127.0.0.1",
            port,
            if granted { Ok(()) } else { DENIED },
        );
    }
}

/// ACL-04, ACL-16
#[test]
fn ports_outside_the_entry_are_as_closed_as_any() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    for port in [25, 465, 587] {
        entry(&mut owner, &role, "127.0.0.1", Some((port, port)), true);
    }
    for port in [
        1,
        22,
        24,
        26,
        464,
        466,
        586,
        588,
        6379,
        11211,
        65535,
        Cluster::shared().port,
    ] {
        assert_verdict(&mut app, "127.0.0.1", port, DENIED);
    }
    for port in [25, 465, 587] {
        assert_verdict(&mut app, "127.0.0.1", port, Ok(()));
    }
    // An entry with ports beats one without, whatever the order says.
    remove_all(&mut owner);
    entry(&mut owner, &role, "127.0.0.1", None, false);
    entry(&mut owner, &role, "127.0.0.1", Some((1000, 2000)), true);
    for (port, expected) in [
        (999, DENIED),
        (1000, Ok(())),
        (2000, Ok(())),
        (2001, DENIED),
    ] {
        assert_verdict(&mut app, "127.0.0.1", port, expected);
    }
    let overlap = |lower: i32, upper: i32| {
        format!(
            "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', {lower}, {upper},
                 dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => 'PUBLIC'))"
        )
    };
    for (lower, upper) in [
        (2000, 3000),
        (500, 1000),
        (1500, 1600),
        (1, 65535),
        (2, 1),
        (0, 25),
        (1, 65536),
        (-1, 1),
    ] {
        let failure = owner.try_run(&overlap(lower, upper)).unwrap_err();
        assert_eq!(failure.sqlstate, "22023", "{lower} to {upper}: {failure}");
    }
    let half = overlap(1, 25).replace("1, 25", "NULL, 25");
    owner.try_run(&half).unwrap_err().expect("22023");
    for (lower, upper) in [(1000, 2000), (2001, 2001)] {
        owner.run(&overlap(lower, upper));
    }
}

/// ACL-04
#[test]
fn a_port_is_from_1_to_65535() {
    let database = Database::new();
    for mut session in [
        database.superuser(),
        database.connect(&database.role("app")),
    ] {
        for port in ["0", "-1", "65536", "2147483647", "NULL"] {
            let open = format!("SELECT utl_smtp.open_connection('127.0.0.1', {port})");
            session.try_run(&open).unwrap_err().expect("22023");
        }
    }
}

/// ACL-08, ACL-17, ACL-18: refused for a superuser too, and with everything granted.
#[test]
fn a_host_is_a_name_or_an_address_and_nothing_else() {
    let database = Database::new();
    let role = database.role("app");
    let mut owner = database.superuser();
    entry(&mut owner, &role, "*", None, true);
    let app = database.connect(&role);
    let long_label = format!("{}.example.test", "a".repeat(64));
    let long_name = format!("{}example.test", "abcdefghi.".repeat(25));
    let hosts = [
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "0X7F.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.256",
        "127.0.0.1.5",
        " 127.0.0.1",
        "127.0.0.1 ",
        "127.0.0.1%lo",
        "１２７.0.0.2130706433",
        "0",
        "1",
        "::1%lo",
        "fe80::1%1",
        "[::1",
        "::1]",
        "[::1]:25",
        "[127.0.0.1]",
        ":::1",
        "::1/128",
        "1::2::3",
        "::ffff:127.1",
        "127.0.0.1:25",
        "localhost:25",
        "127.0.0.1/8",
        "localhost/x",
        "user@localhost",
        "smtp://localhost",
        "local host",
        "localhost ",
        "\tlocalhost",
        "a..b",
        ".localhost",
        "localhost..",
        "-localhost",
        "localhost-",
        "a.-b.test",
        "*",
        "*.localhost",
        "localhost,127.0.0.1",
        "localhost;x",
        "local\\host",
        "local%host",
        "127.0.0.1\u{2060}x y",
        "/var/run/postgresql",
        "/tmp/.s.PGSQL.5432",
        "@abstract",
        "./socket",
        "",
        ".",
        &long_label,
        &long_name,
    ];
    for mut session in [owner, app] {
        for host in hosts {
            let found = verdict(&mut session, host, 25);
            assert_eq!(found, Err("22023".to_owned()), "{host:?}");
        }
        let null = "SELECT utl_smtp.open_connection(NULL)";
        session.try_run(null).unwrap_err().expect("22023");
    }
}

/// ACL-08: full-width digits and dots are what UTS #46 makes of them, which is an address written out.
#[test]
fn no_spelling_of_an_address_is_a_second_identity() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    entry(&mut owner, &role, "*", None, true);
    entry(&mut owner, &role, "127.0.0.0/8", None, false);
    entry(&mut owner, &role, "::1", None, false);
    let port = closed_port();
    for host in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "0:0:0:0:0:ffff:7f00:0001",
        "[::ffff:127.0.0.1]",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "0000:0000:0000:0000:0000:0000:0000:0001",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "Ｌｏｃａｌｈｏｓｔ",
    ] {
        assert_verdict(&mut app, host, port, DENIED);
    }
    for host in ["１２７.0.0.1", "127。0。0。1", "127.0.0.①", "⑫7.0.0.1"] {
        let found = verdict(&mut app, host, port).expect_err(host);
        assert!(["22023", "42501"].contains(&&*found), "{host}: {found}");
    }
}

/// ACL-11
#[test]
fn an_entry_for_a_name_is_none_for_its_address_nor_the_reverse() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let port = closed_port();
    entry(&mut owner, &role, "localhost", None, true);
    assert_verdict(&mut app, "localhost", port, Ok(()));
    assert_verdict(&mut app, "127.0.0.1", port, DENIED);
    assert_verdict(&mut app, "::1", port, DENIED);
    remove_all(&mut owner);
    entry(&mut owner, &role, "127.0.0.1", None, true);
    entry(&mut owner, &role, "::1", None, true);
    assert_verdict(&mut app, "127.0.0.1", port, Ok(()));
    assert_verdict(&mut app, "localhost", port, DENIED);
}

/// ACL-30: the same words whatever the reason, but for the host in the HINT.
#[test]
fn a_refusal_tells_nothing_but_what_was_asked() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    entry(&mut owner, &role, "denied.example.test", None, false);
    entry(&mut owner, &role, "*.under.example.test", None, false);
    entry(&mut owner, "PUBLIC", "10.0.0.0/8", None, false);
    entry(
        &mut owner,
        &role,
        "ports.example.test",
        Some((25, 25)),
        true,
    );
    let other = database.role("other");
    entry(&mut owner, &other, "granted.example.test", None, true);
    let peer = listening();
    let listening = ("127.0.0.1", peer.port());
    let mut texts = BTreeSet::new();
    for (host, port) in [
        ("nowhere.example.test", 26),
        ("denied.example.test", 26),
        ("below.under.example.test", 26),
        ("ports.example.test", 26),
        ("granted.example.test", 26),
        ("10.1.2.3", 26),
        ("localhost", 26),
        ("127.0.0.1", Cluster::shared().port),
        listening,
    ] {
        let failure = Open::to(host, port).open(&mut app).unwrap_err();
        let text = failure.to_string();
        let text = text
            .replace(host, "HOST")
            .replace(&port.to_string(), "PORT");
        texts.insert(text);
    }
    assert_eq!(texts.len(), 1, "{texts:#?}");
    // The HINT is the very call.
    let hint = Open::to("127.0.0.1", listening.1)
        .open(&mut app)
        .unwrap_err()
        .hint;
    let (_, call) = hint.split_once(": ").unwrap();
    app.try_run(call).unwrap_err().expect("42501");
    owner.run(call);
    open(&mut app, &peer).quit(&mut app).unwrap();
    assert_eq!(peer.finish().accepted(), 1);
}

/// ACL-31: whoever may talk to a host learns which of the ports of the entry are open, and of no other.
#[test]
fn only_allowed_ports_can_be_probed() {
    let database = Database::new();
    let role = database.role("app");
    let mut app = database.connect(&role);
    let mut owner = database.superuser();
    let (peer, closed) = (listening(), closed_port());
    let outside = listening();
    for port in [peer.port(), closed] {
        entry(
            &mut owner,
            &role,
            "127.0.0.1",
            Some((port.into(), port.into())),
            true,
        );
    }
    open(&mut app, &peer).quit(&mut app).unwrap();
    let refused = Open::to("127.0.0.1", closed).open(&mut app).unwrap_err();
    assert!(
        refused.detail.to_lowercase().contains("connection refused"),
        "{refused}"
    );
    denied(&mut app, &outside);
    assert_eq!(outside.finish().accepted(), 0);
}

/// ACL-19
#[test]
fn membership_counts_and_roles_are_known_by_their_identity() {
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

/// ACL-20
#[test]
fn the_role_of_the_moment_decides() {
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

/// ACL-21
#[test]
fn a_definers_function_lends_its_owners_entry() {
    let database = Database::new();
    let [allowed, nobody] = ["allowed", "nobody"].map(|name| database.role(name));
    let mut owner = database.superuser();
    let peer = listening();
    entry(&mut owner, &allowed, "127.0.0.1", None, true);
    for (name, security) in [("lends", "SECURITY DEFINER"), ("keeps", "SECURITY INVOKER")] {
        owner.run(&format!(
            "CREATE FUNCTION public.{name}(port integer) RETURNS integer LANGUAGE plpgsql {security} AS $$
             BEGIN RETURN (utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', port, 5))).code; END $$;
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

/// ACL-22: each routine, with the handle at hand.
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

/// ACL-23, ACL-24: an entry is a row like any other, and what it allowed goes on.
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

/// ACL-25: by the clock, not by the beginning of the transaction, and in no time zone.
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
    dated("end_date => clock_timestamp() + interval '2 s'");
    let end = Instant::now() + Duration::from_millis(2100);
    app.run("BEGIN");
    open(&mut app, &peer).quit(&mut app).unwrap();
    std::thread::sleep(end - Instant::now());
    denied(&mut app, &peer);
    app.run("ROLLBACK");
}

/// ACL-26, ACL-27: a caller's schema, operators, temporary objects and settings.
#[test]
fn a_callers_own_objects_do_not_come_into_the_look_up() {
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
        "SELECT utl_smtp.open_connection('127.0.0.1', {}, 5)",
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

/// ACL-26: the owner's own row security and a trigger do not open anything either.
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

/// ACL-28
#[test]
fn nobody_but_the_owner_touches_the_list() {
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
    for table in ["host_ace", "acl", "acl_ace", "acl_assignment"] {
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

/// ACL-29: what PUBLIC may execute is what the documentation says.
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

/// ACL-32: code of the role that is run with somebody else's hands does not mail.
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
                 PERFORM utl_smtp.open_connection('127.0.0.1', {port}, 5);
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

/// ACL-33
#[test]
fn planning_opens_nothing() {
    let database = Database::new();
    let mut session = database.superuser();
    let peer = listening();
    let open = format!("utl_smtp.open_connection('127.0.0.1', {}, 5)", peer.port());
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
            AND proname <> 'canonical_host_pattern'
            AND (provolatile <> 'v' OR proparallel <> 'u' OR proisstrict OR prosecdef OR proleakproof)",
    );
    assert_eq!(lax, 0);
    assert_eq!(peer.finish().accepted(), 0);
}

/// ACL-34: an ordinary trigger does not mail a second time where rows are replicated.
#[test]
fn triggers_do_not_mail_from_an_apply_worker() {
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
                 PERFORM utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', {}, 5));
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
    let end = Instant::now() + Duration::from_secs(20);
    while always.accepted() == 0 {
        assert!(Instant::now() < end, "no row came: {}", cluster.log_text());
        std::thread::sleep(Duration::from_millis(20));
    }
    subscriber.run("ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s");
    assert_eq!(ordinary.finish().accepted(), 0);
    assert_eq!(always.finish().accepted(), 1);
}

/// ACL-34: a dump has the rows before the triggers.
#[test]
fn restoring_a_dump_does_not_mail() {
    let (source, target) = (Database::new(), Database::empty(""));
    let mut session = source.superuser();
    let peer = listening();
    session.run(&format!(
        "CREATE TABLE public.t (x integer);
         INSERT INTO public.t SELECT generate_series(1, 3);
         CREATE FUNCTION public.mails() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM utl_smtp.quit(utl_smtp.open_connection('127.0.0.1', {}, 5)); RETURN NULL; END $$;
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

/// A cluster that asks a resolver of the test's, a role that may log in, and the owner of the list.
struct Named {
    resolver: Resolver,
    owner: Session,
    app: Session,
    _cluster: OwnCluster,
}

impl Named {
    fn start() -> Self {
        let resolver = Resolver::start();
        let cluster = OwnCluster::start_in(&resolver.prelude(), &[]);
        let mut owner = cluster.superuser();
        owner.run("CREATE ROLE app LOGIN");
        Self {
            app: cluster.connect("postgres", "app"),
            resolver,
            owner,
            _cluster: cluster,
        }
    }

    fn entry(&mut self, host: &str, granted: bool) {
        entry(&mut self.owner, "app", host, None, granted);
    }

    #[track_caller]
    fn verdict(&mut self, host: &str, expected: Result<(), &str>) {
        assert_verdict(&mut self.app, host, closed_port(), expected);
    }

    /// Opened by name, and the address that it was connected to.
    #[track_caller]
    fn open(&mut self, host: &str, port: u16) -> (Smtp, String) {
        let opened = Open::to(host, port).timeout(4).open(&mut self.app);
        let smtp = opened.unwrap_or_else(|failure| panic!("{host}: {failure}"));
        let address =
            "SELECT host(address) FROM utl_smtp.connections() ORDER BY opened_at DESC LIMIT 1";
        (smtp, self.app.value(address))
    }
}

/// ACL-01, ACL-03, ACL-05, ACL-06, ACL-07, ACL-17: what is refused is never asked for, and one name has one identity.
#[test]
fn names_are_matched_in_one_spelling_before_any_is_resolved() {
    let mut named = Named::start();
    named.resolver.add("mail.us.example.test", &["127.0.0.1"]);
    for host in [
        "mail.us.example.test",
        "localhost",
        "nowhere.example.test",
        "127.0.0.1",
    ] {
        named.verdict(host, DENIED);
    }
    for host in [
        "a..b",
        "-a.test",
        "mail.us.example.test:25",
        "mail.us.example.test/x",
        "user@mail.us.example.test",
    ] {
        named.verdict(host, INVALID);
    }
    assert_eq!(named.resolver.asked(), [""; 0]);

    // Each is narrower than those before it, and says the contrary.
    let patterns = [
        "*",
        "*.test",
        "*.example.test",
        "*.us.example.test",
        "mail.us.example.test",
    ];
    for (number, pattern) in patterns.iter().enumerate() {
        named.entry(pattern, number % 2 == 0);
        let expected = if number % 2 == 0 { Ok(()) } else { DENIED };
        for host in [
            "mail.us.example.test",
            "MAIL.Us.Example.TEST",
            "mail.us.example.test.",
            "ＭＡＩＬ.us.example.test",
            "mail。us．example｡test",
        ] {
            named.verdict(host, expected);
        }
        named.verdict("mail.us.example.test..", INVALID);
    }
    remove_all(&mut named.owner);
    // A wildcard is not the domain itself, nor another that ends alike.
    named.entry("*.example.test", true);
    for (host, expected) in [
        ("example.test", DENIED),
        ("notexample.test", DENIED),
        ("a.b.example.test", Ok(())),
    ] {
        named.verdict(host, expected);
    }
}

/// ACL-06, ACL-07: a denied name can't be had in another spelling, and what is resolved is what was matched.
#[test]
fn international_names_are_matched_and_resolved_as_one_a_label() {
    let mut named = Named::start();
    let a_label = "xn--bcher-kva.example.test";
    let spellings = [
        "bücher.example.test",
        "BÜCHER.example.test",
        "bu\u{308}cher.example.test",
        "bücher。example。test",
        "bü\u{ad}cher.example.test",
        "XN--BCHER-KVA.EXAMPLE.TEST",
        "xn--bcher-kva.example.test.",
    ];
    named.entry("*", true);
    named.entry("Bücher.Example.Test.", false);
    for host in spellings {
        named.verdict(host, DENIED);
    }
    remove_all(&mut named.owner);
    named.entry(a_label, true);
    named.resolver.add(a_label, &["127.0.0.1"]);
    let peer = listening();
    for host in spellings {
        let (smtp, _) = named.open(host, peer.port());
        smtp.quit(&mut named.app).unwrap();
    }
    assert_eq!(named.resolver.asked(), vec![a_label; spellings.len()]);
    // A ligature is its letters, a name in letters of another script is another name.
    named.entry("file.example.test", true);
    named.resolver.add("file.example.test", &["127.0.0.1"]);
    named.open("ﬁle.example.test", peer.port());
    named.verdict("fіle.example.test", DENIED);
    for host in [
        "xn--zz--.example.test",
        "xn--a.example.test",
        "xn--bcher-kva\u{200d}.example.test",
        "a\u{202e}b.example.test",
        "a\u{fffd}b.example.test",
        "\u{301}a.example.test",
    ] {
        named.verdict(host, INVALID);
    }
    named.app.run("SELECT utl_smtp.close_all_connections()");
}

/// ACL-12: what a second look-up would say does not matter, because there is none; not for TLS either.
#[test]
fn a_name_is_looked_up_once_an_opening() {
    let mut named = Named::start();
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let identity = authority.issue(&["rebinding.example.test"]);
    let script = || {
        vec![
            Script::greeting()
                .on("EHLO", "250-peer\r\n250 STARTTLS")
                .starttls(identity.server())
                .quit(),
        ]
    };
    let first = Peer::listen("127.0.0.2:0", script());
    let port = first.port();
    let second = Peer::listen(&format!("127.0.0.3:{port}"), script());
    named
        .owner
        .run("ALTER ROLE app SET utl_smtp.wallet_roots = '/tmp'");
    named.app = named._cluster.connect("postgres", "app");
    named.entry("rebinding.example.test", true);
    named.entry("127.0.0.3", false);
    let answer = |address: &str| Answer::Addresses(vec![address.parse().unwrap()]);
    named.resolver.say(
        "rebinding.example.test",
        &[answer("127.0.0.2"), answer("127.0.0.3")],
    );
    let open = Open::to("rebinding.example.test", port);
    let locator = wallet.locator();
    let open = open.wallet(&locator);
    let smtp = open.open(&mut named.app).unwrap();
    smtp.ehlo(&mut named.app, CLIENT).unwrap();
    smtp.starttls(&mut named.app).unwrap();
    smtp.quit(&mut named.app).unwrap();
    assert_eq!(named.resolver.asked(), ["rebinding.example.test"]);
    // The answer has changed: the next opening meets the address that is denied, and does not connect.
    open.open(&mut named.app).unwrap_err().expect("42501");
    assert_eq!(named.resolver.asked().len(), 2);
    assert_eq!(first.finish().accepted(), 1);
    assert_eq!(second.finish().accepted(), 0);
}

/// ACL-14: the denied are not tried, the dead are passed by, IPv6 is as good as IPv4.
#[test]
fn of_several_addresses_those_that_are_allowed_are_tried() {
    let mut named = Named::start();
    let name = "several.example.test";
    named.entry(name, true);
    named.entry("127.0.0.2", false);
    let good = listening_on("127.0.0.4:0");
    let port = good.port();
    let refused = listening_on(&format!("127.0.0.2:{port}"));
    named
        .resolver
        .add(name, &["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let (smtp, address) = named.open(name, port);
    assert_eq!(address, "127.0.0.4");
    smtp.quit(&mut named.app).unwrap();

    let v6 = listening_on("[::1]:0");
    named.resolver.add(name, &["127.0.0.5", "::1"]);
    let (smtp, address) = named.open(name, v6.port());
    assert_eq!(address, "::1");
    smtp.quit(&mut named.app).unwrap();
    named.resolver.add(name, &["127.0.0.4", "::1"]);
    let (smtp, address) = named.open(name, port);
    assert_eq!(address, "127.0.0.4");
    smtp.quit(&mut named.app).unwrap();

    // All denied, in either spelling of the address: the refusal is the same as before any look-up.
    named.resolver.add(name, &["127.0.0.2", "::ffff:127.0.0.2"]);
    let denied = Open::to(name, port).open(&mut named.app).unwrap_err();
    let unheard = Open::to("unheard.example.test", port)
        .open(&mut named.app)
        .unwrap_err();
    let blank = |failure: &Failure| {
        let text = format!("{} {}", failure.message, failure.hint);
        text.replace(name, "HOST")
            .replace("unheard.example.test", "HOST")
    };
    assert_eq!(
        blank(&denied.expect("42501")),
        blank(&unheard.expect("42501"))
    );
    assert_eq!(refused.finish().accepted(), 0);
}

/// ACL-14: an address that never answers leaves time for the others, and all together have no more than the time-out.
#[test]
fn silent_addresses_share_the_time() {
    let mut named = Named::start();
    let name = "silent.example.test";
    named.entry(name, true);
    let (holes, port) = black_holes(&["127.0.0.6", "127.0.0.7"]);
    let good = listening_on(&format!("127.0.0.8:{port}"));
    named.resolver.add(name, &["127.0.0.6", "127.0.0.8"]);
    let (smtp, address) = named.open(name, port);
    assert_eq!(address, "127.0.0.8");
    smtp.quit(&mut named.app).unwrap();
    named.resolver.add(name, &["127.0.0.6", "127.0.0.7"]);
    let began = Instant::now();
    let failure = Open::to(name, port)
        .timeout(2)
        .open(&mut named.app)
        .unwrap_err();
    let took = began.elapsed();
    assert!(
        failure.detail.contains("127.0.0.6") && failure.detail.contains("127.0.0.7"),
        "{failure}"
    );
    failure.expect("U9278");
    assert!(
        took >= Duration::from_millis(1900) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(good.finish().accepted(), 1);
    drop(holes);
}

/// Listeners on one port of these addresses whose backlog is full: further SYNs are dropped.
fn black_holes(addresses: &[&str]) -> (Vec<socket2::Socket>, u16) {
    use socket2::{Domain, Socket, Type};
    let mut sockets = Vec::new();
    let mut port = 0;
    for address in addresses {
        let address: IpAddr = address.parse().unwrap();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&std::net::SocketAddr::new(address, port).into())
            .unwrap();
        listener.listen(0).unwrap();
        let bound = listener.local_addr().unwrap();
        port = bound.as_socket().unwrap().port();
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&bound);
            sockets.push(filler);
        }
        sockets.push(listener);
    }
    std::thread::sleep(Duration::from_millis(100));
    (sockets, port)
}

/// ACL-15, TLS-31: the list and the certificate go by the name that was given; the trace says where it led.
#[test]
fn an_alias_is_matched_and_verified_by_the_name_given() {
    let mut named = Named::start();
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    named
        .owner
        .run("ALTER ROLE app SET utl_smtp.wallet_roots = '/tmp'");
    named.app = named._cluster.connect("postgres", "app");
    named.entry(NAME, true);
    let target = "target.internal.test";
    let alias = Answer::Alias(target, vec!["127.0.0.9".parse().unwrap()]);
    named.resolver.say(NAME, &[alias]);
    for (certified, sqlstate) in [(NAME, None), (target, Some("U4263"))] {
        let identity = authority.issue(&[certified]);
        let script = Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .quit();
        let peer = Peer::listen("127.0.0.9:0", vec![script]);
        named.app.run("SET utl_smtp.trace = 'notice'");
        let locator = wallet.locator();
        let opened = Open::to(NAME, peer.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut named.app);
        match sqlstate {
            None => drop(opened.unwrap().quit(&mut named.app).unwrap()),
            Some(sqlstate) => drop(opened.unwrap_err().expect(sqlstate)),
        }
        let place = format!("127.0.0.9:{}", peer.port());
        let said = named.app.notice_texts();
        assert!(said.iter().any(|line| line.contains(&place)), "{said:?}");
    }
    named.verdict(target, DENIED);
}

/// INT-11: a resolver that does not answer costs the time-out and no more.
#[test]
fn a_silent_resolver_meets_the_deadline() {
    let mut named = Named::start();
    named.entry("*", true);
    named.resolver.say("lost.example.test", &[Answer::Silence]);
    let began = Instant::now();
    let failure = Open::to("lost.example.test", 25)
        .timeout(1)
        .open(&mut named.app)
        .unwrap_err();
    assert!(failure.detail.contains("tx_timeout of 1 s"), "{failure}");
    failure.expect("U9278");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(4),
        "{took:?}"
    );
    // The next name is not held up by it.
    named.resolver.add("found.example.test", &["127.0.0.1"]);
    let peer = listening();
    let (smtp, _) = named.open("found.example.test", peer.port());
    smtp.quit(&mut named.app).unwrap();
}
