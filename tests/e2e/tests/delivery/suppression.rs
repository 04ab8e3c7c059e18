//! The suppression list: how addresses compare, and who maintains it.

use e2e::rows::{Fixture, column};

#[test]
fn an_address_is_on_the_list_in_all_of_its_spellings() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    let session = &mut fixture.superuser;
    for address in [
        "Bob@Example.COM",
        "ann+news@example.com",
        "\u{fc}ser@b\u{fc}cher.example",
        "\"quoted name\"@example.com",
        "<Carol@example.com>",
    ] {
        session
            .execute("SELECT utl_smtp.suppress($1)", &[&address])
            .unwrap();
    }
    assert_eq!(
        column(
            session,
            "SELECT address FROM utl_smtp.suppression ORDER BY address"
        ),
        [
            "\"quoted name\"@example.com",
            "ann+news@example.com",
            "bob@example.com",
            "carol@example.com",
            "\u{fc}ser@xn--bcher-kva.example"
        ]
    );
    let mut session = fixture.database.connect(&app);
    for (address, suppressed) in [
        ("bob@example.com", true),
        ("BOB@EXAMPLE.com", true),
        ("\"bob\"@example.com", true),
        ("<bob@example.com>", true),
        ("bob+news@example.com", false),
        ("ann@example.com", false),
        ("ANN+News@example.com", true),
        // Decomposed, and the domain as A-label.
        ("u\u{308}ser@xn--bcher-kva.example", true),
        ("\u{dc}SER@B\u{dc}CHER.example", true),
        ("\"quoted\\ name\"@example.com", true),
        ("bob@example.org", false),
        ("bob@sub.example.com", false),
    ] {
        let row = session
            .query_one("SELECT utl_smtp.is_suppressed($1)", &[&address])
            .unwrap();
        assert_eq!(row.get::<_, bool>(0), suppressed, "{address}");
    }
    let rows = "SELECT FROM utl_smtp.suppression";
    session.try_run(rows).unwrap_err().expect("42501");
}

#[test]
fn what_is_no_address_or_no_reason_is_refused() {
    let mut fixture = Fixture::new();
    let session = &mut fixture.superuser;
    for call in [
        "suppress(NULL)",
        "suppress('')",
        "suppress('bob@')",
        "suppress('bob@example.com, ann@example.com')",
        "suppress('bob@example.com', NULL)",
        "suppress('bob@example.com', 'hard bounce')",
        "suppress('bob@example.com', 'Manual')",
        "unsuppress('*@example.com, x')",
        "unsuppress(NULL)",
        "is_suppressed(NULL)",
        "is_suppressed('Bob <bob@example.com>')",
    ] {
        let failure = session
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err()
            .expect("22023");
        if call.contains("ounce") || call.contains("Manual") {
            assert!(
                failure.hint.contains("manual, complaint, unsubscribe"),
                "{failure}"
            );
        }
    }
    // No more can be written into the table, where no spelling but one is found.
    for row in [
        "'Bob@example.com', 'manual'",
        "'bob@', 'manual'",
        "'bob@example.com', 'other'",
    ] {
        let insert = format!("INSERT INTO utl_smtp.suppression (address, reason) VALUES ({row})");
        session.try_run(&insert).unwrap_err().expect("23514");
    }
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.suppression"),
        0
    );
}

#[test]
fn an_address_that_is_suppressed_again_keeps_its_entry_and_gets_the_reason() {
    let mut fixture = Fixture::new();
    let operator = fixture.database.role("operator");
    fixture.superuser.run(&format!(
        "INSERT INTO utl_smtp.suppression VALUES
             ('bob@example.com', 'hard bounce', '550 5.1.1 no such user', 7, '2026-01-01', '2026-01-02');
         GRANT EXECUTE ON FUNCTION utl_smtp.suppress(text, text), utl_smtp.unsuppress(text) TO {operator}"
    ));
    let mut session = fixture.database.connect(&operator);
    session.run("SELECT utl_smtp.suppress('BOB@example.com', reason => 'complaint')");
    session.run("SELECT utl_smtp.suppress('ann@example.com')");
    assert_eq!(
        column(
            &mut fixture.superuser,
            "SELECT concat_ws(' ', address, reason, reply, message_id, created_at = '2026-01-01',
                              last_hit_at = '2026-01-02')
             FROM utl_smtp.suppression ORDER BY address"
        ),
        [
            "ann@example.com manual f",
            "bob@example.com complaint 550 5.1.1 no such user 7 t t"
        ]
    );
    let mut off = |address: &str| {
        let row = session
            .query_one("SELECT utl_smtp.unsuppress($1)", &[&address])
            .unwrap();
        row.get::<_, bool>(0)
    };
    assert!(off("Bob@EXAMPLE.com"));
    assert!(!off("Bob@EXAMPLE.com"));
    assert!(!off("nobody@example.com"));
}
