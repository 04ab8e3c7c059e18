//! Forged values of its types, and calls in the wrong order.

use super::*;

/// A value that is forged, from another session, or old refers to no connection.
#[test]
fn a_forged_connection_value_is_treated_as_closed() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.role_for(HOST, peer.port());
    let never = Smtp {
        handle: "(h,25,,1,0)".to_owned(),
    };
    let expected = never.noop(&mut session).unwrap_err().expect("U9278");
    let same = |failure: Failure| assert_eq!(failure, expected);

    let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
    let mut other = database.superuser();
    same(smtp.noop(&mut other).unwrap_err());

    // Only the handle counts, and it is not in the other fields.
    let number: i64 = session.value("SELECT handle FROM utl_smtp.connections()");
    let bare = Smtp {
        handle: format!("(,,,{number},)"),
    };
    assert_eq!(bare.noop(&mut session).unwrap().code, 250);
    for forged in [
        "(,,,,)",
        "(,,,0,0)",
        "(,,,-1,0)",
        "(,,,9223372036854775807,0)",
        "(,,,-9223372036854775808,0)",
    ] {
        let forged = Smtp {
            handle: forged.to_owned(),
        };
        same(forged.noop(&mut session).unwrap_err());
    }

    smtp.close_connection(&mut session).unwrap();
    same(smtp.noop(&mut session).unwrap_err());
    Open::to(HOST, peer.port()).open(&mut session).unwrap();
    same(smtp.noop(&mut session).unwrap_err());

    session.run("SET utl_smtp.raise_reply_errors = off");
    let guessed: i64 = session.value(
        "SELECT count(*) FROM generate_series(1, 1000000) AS n
          WHERE (utl_smtp.noop(ROW('', 25, 1, (random() * 9223372036854775000)::bigint, 0)::utl_smtp.connection)).code <> 421",
    );
    assert_eq!(guessed, 0);
    session.run("SELECT utl_smtp.close_all_connections()");
    let record = peer.finish();
    assert!(
        !record.conversations[1].heard(b"NOOP"),
        "a stale handle met a new socket"
    );
}

/// The value contains the limit in effect; a field is NULL only if there is none.
#[test]
fn an_open_connection_is_not_null_and_connections_has_its_value() {
    let peer = obliging();
    let database = Database::new();
    let mut session = database.superuser();
    for (setting, given, expected) in [
        ("300", None, Some(300)),
        ("7", None, Some(7)),
        ("7", Some(9), Some(9)),
        ("0", Some(9), Some(9)),
        ("0", None, None),
    ] {
        session.run(&format!("SET utl_smtp.default_timeout = {setting}"));
        // The host as it was written.
        let c = Open::to("LOCALHOST.", peer.port())
            .timeout(given)
            .open(&mut session)
            .unwrap();
        let row = session
            .query_one(
                "SELECT ($1::text::utl_smtp.connection).tx_timeout, $1::text::utl_smtp.connection IS NOT NULL,
                        c::text, (utl_smtp.noop(c)).code
                   FROM utl_smtp.connections()",
                &[&c.handle],
            )
            .unwrap();
        assert_eq!(
            row.get::<_, Option<i32>>(0),
            expected,
            "{given:?}, {setting}"
        );
        assert_eq!(row.get::<_, bool>(1), expected.is_some(), "{}", c.handle);
        assert_eq!(row.get::<_, String>(2), c.handle);
        assert_eq!(row.get::<_, i32>(3), 250);
        session.run("SELECT utl_smtp.close_connection(c) FROM utl_smtp.connections()");
    }
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        0
    );
}

#[test]
fn handles_are_far_apart_in_every_backend() {
    let peer = obliging();
    let database = Database::new();
    let mut handles: Vec<i64> = Vec::new();
    for _ in 0..4 {
        let mut session = database.superuser();
        for _ in 0..50 {
            session.run(&format!(
                "SELECT utl_smtp.open_connection('{HOST}', {}, 60)",
                peer.port()
            ));
            handles.push(session.value("SELECT handle FROM utl_smtp.connections()"));
            session.run("SELECT utl_smtp.close_all_connections()");
        }
    }
    let rising = handles.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((60..140).contains(&rising), "{rising} of 199 steps go up");
    handles.sort_unstable();
    let closest = handles
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .min()
        .unwrap();
    assert!(closest > 1 << 32, "two handles are {closest} apart");
}

/// SQL values for each argument type.
fn values(kind: &str, port: u16) -> Vec<String> {
    let fixed: &[&str] = match kind {
        "text" => &[
            "''",
            "'127.0.0.1'",
            "'localhost'",
            "E'a\\r\\nb'",
            "repeat('x', 70000)",
            "'file:/etc/passwd'",
            "'*'",
            "'SCRAM-SHA-256'",
            "E'\\u00fc@\\u00fc.example'",
            "'<>'",
        ],
        "integer" => &["0", "-1", "25", "2147483647", "-2147483648", "65536"],
        "boolean" => &["true", "false"],
        "bytea" => &[
            "'\\x'",
            "'\\x00'",
            "'\\x0d0a2e0d0a'",
            "decode(repeat('ff', 9000), 'hex')",
        ],
        "utl_smtp.connection" => &[
            "ROW('h', 25, NULL, 1, 0)::utl_smtp.connection",
            "ROW(NULL, NULL, NULL, NULL, NULL)::utl_smtp.connection",
        ],
        "text[]" => &[
            "'{}'",
            "ARRAY['smtp', NULL]",
            "array_fill('x'::text, ARRAY[1000])",
        ],
        "timestamp with time zone" => &["now()", "'infinity'", "'-infinity'"],
        "oid" => &["0", "10", "4294967295"],
        _ => &[],
    };
    let mut all: Vec<String> = fixed
        .iter()
        .map(|value| format!("({value})::{kind}"))
        .collect();
    if kind == "integer" {
        all.push(port.to_string());
    }
    all.push(format!("NULL::{kind}"));
    all
}

/// Calls every function with odd arguments, as a role without access to any host. No crash, no
/// unexpected error, no packet.
#[test]
fn odd_calls_by_an_unprivileged_role_have_no_effect() {
    let peer = obliging();
    let database = Database::new();
    let role = database.role("nobody");
    let mut session = database.connect(&role);
    let functions = session
        .query(
            "SELECT format('%I.%I', n.nspname, p.proname),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, k) ORDER BY k)
               FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
              WHERE n.nspname = ANY ($1) AND p.prorettype <> 'trigger'::regtype
              ORDER BY 1, 2",
            &[&&SCHEMAS[..]],
        )
        .unwrap();
    assert!(functions.len() > 50);
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..25 {
        for function in &functions {
            let (name, types): (String, Vec<String>) = (function.get(0), function.get(1));
            let arguments: Vec<String> = types
                .iter()
                .map(|kind| {
                    let values = values(kind, peer.port());
                    values[random(values.len())].clone()
                })
                .collect();
            let sql = format!("SELECT * FROM {name}({})", arguments.join(", "));
            if let Err(failure) = session.try_run(&sql) {
                assert!(
                    !failure.sqlstate.is_empty(),
                    "{sql}: the backend is gone: {failure}"
                );
                assert!(!failure.sqlstate.starts_with("XX"), "{sql}: {failure}");
                *codes.entry(failure.sqlstate).or_default() += 1;
            }
        }
    }
    eprintln!("{codes:?}");
    assert!(codes["42501"] > 0 && codes["U9278"] > 0 && codes["22023"] > 0);
    assert_eq!(session.value::<i32>("SELECT 1"), 1);
    assert_eq!(peer.finish().accepted(), 0);
}
