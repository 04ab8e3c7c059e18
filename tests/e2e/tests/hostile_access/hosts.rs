//! Hosts and ports: which entry applies, and what is a valid host.

use super::*;

/// For addresses the more specific entry decides, in whatever order they were created.
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

/// Within one list the first matching entry decides.
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

/// Such hosts are refused for a superuser too, even if everything is granted.
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
        "0.0.0.0",
        "::",
        "[::]",
        "::0",
        "0:0:0:0:0:0:0:0",
        "::ffff:0.0.0.0",
        "::ffff:0:0",
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

/// UTS #46 maps full-width digits and dots to an IP address.
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

/// The error is the same whatever the reason, except for the host in the HINT.
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
            .replace(&format!(", {port}"), ", PORT");
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

/// A role that may connect to a host learns which ports of the entry are open, and of no others.
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

/// A list of one page is read as a whole, a longer one by its index.
#[test]
fn a_long_list_decides_as_a_short_one() {
    let database = Database::new();
    let role = database.role("owner");
    let mut superuser = database.superuser();
    superuser.run(&format!(
        "UPDATE utl_smtp.delivery_control SET enabled = false;
         GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO {role}"
    ));
    let hosts = [
        ("192.0.2.7", "42501"),
        ("192.0.2.8", ""),
        ("198.51.100.1", "42501"),
        ("a.b.example.com", ""),
        ("x.b.example.com", "42501"),
        ("y.example.com", ""),
        ("example.org", "42501"),
    ];
    for (index, (host, _)) in hosts.iter().enumerate() {
        superuser.run(&format!(
            "CREATE SERVER s{index} FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{host}', port '25');
             ALTER SERVER s{index} OWNER TO {role}"
        ));
    }
    let mut session = database.connect(&role);
    let verdicts = |session: &mut e2e::Session| -> Vec<String> {
        let submit = |index| {
            session.try_run(&format!(
                "SELECT utl_smtp.submit('s{index}', 'a@example.com', ARRAY['b@example.com'], 'x')"
            ))
        };
        let outcomes = (0..hosts.len()).map(submit);
        outcomes
            .map(|outcome| {
                outcome
                    .err()
                    .map_or(String::new(), |failure| failure.sqlstate)
            })
            .collect()
    };
    assert_eq!(verdicts(&mut session), ["42501"; 7]);
    for (host, granted) in [
        ("192.0.2.7", false),
        ("192.0.2.0/24", true),
        ("192.0.*", false),
        ("a.b.example.com", true),
        ("*.b.example.com", false),
        ("*.example.com", true),
    ] {
        superuser.run(&format!(
            "SELECT dbms_network_acl_admin.append_host_ace('{host}', ace => dbms_network_acl_admin.xs$ace_type(
                 dbms_network_acl_admin.xs$name_list('smtp'), granted => {granted}, principal_name => '{role}'))"
        ));
    }
    let expected = hosts.map(|(_, sqlstate)| sqlstate);
    assert_eq!(verdicts(&mut session), expected);
    let pages = "SELECT pg_relation_size('utl_smtp.host_ace') / 8192";
    assert_eq!(superuser.value::<i64>(pages), 1);
    superuser.run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace('h' || i || '.example.net',
             ace => dbms_network_acl_admin.xs$ace_type(
                 dbms_network_acl_admin.xs$name_list('smtp'), principal_name => '{role}'))
         FROM generate_series(1, 300) AS i"
    ));
    assert!(superuser.value::<i64>(pages) > 1);
    assert_eq!(verdicts(&mut session), expected);
}
