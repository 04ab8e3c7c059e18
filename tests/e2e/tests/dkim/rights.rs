//! Who may set keys, and who may sign.

use super::*;

const MESSAGE: &[u8] = b"From: joe@example.test\r\n\r\nHi.\r\n";

#[test]
fn only_the_owner_of_the_extension_sets_and_drops_keys() {
    let mut domain = Domain::new();
    let app = domain.database.role("app");
    let mut session = domain.database.connect(&app);
    let pem = key(ED25519);
    let drop = "SELECT utl_smtp.drop_dkim_key('example.test', 'one')";
    set_key(&mut session, "example.test", "s", &pem)
        .unwrap_err()
        .expect("42501");
    session.try_run(drop).unwrap_err().expect("42501");
    // EXECUTE alone lets nobody write the table.
    domain.session.run(&format!(
        "GRANT EXECUTE ON FUNCTION utl_smtp.set_dkim_key(text, text, text) TO {app};
         GRANT EXECUTE ON FUNCTION utl_smtp.drop_dkim_key(text, text) TO {app}"
    ));
    set_key(&mut session, "example.test", "s", &pem)
        .unwrap_err()
        .expect("42501");
    session.try_run(drop).unwrap_err().expect("42501");
}

#[test]
fn nobody_else_reads_the_table() {
    let domain = Domain::new();
    let mut session = domain.database.connect(&domain.database.role("app"));
    for sql in [
        "SELECT private_key FROM utl_smtp.dkim_key",
        "SELECT FROM utl_smtp.dkim_key",
        "INSERT INTO utl_smtp.dkim_key VALUES ('a', 'b', 'c')",
    ] {
        session.try_run(sql).unwrap_err().expect("42501");
    }
}

#[test]
fn signing_is_granted_and_the_record_is_public() {
    let mut domain = Domain::new();
    let app = domain.database.role("app");
    let mut session = domain.database.connect(&app);
    assert_eq!(
        record(&mut session, "example.test", "one").unwrap(),
        domain.records()[0][1]
    );
    sign(&mut session, MESSAGE, "example.test")
        .unwrap_err()
        .expect("42501");
    domain.session.run(&format!(
        "GRANT EXECUTE ON FUNCTION utl_smtp.dkim_sign(bytea, text) TO {app}"
    ));
    let signed = sign(&mut session, MESSAGE, "example.test").unwrap();
    domain.assert_valid(&signed);
}

/// What a caller creates has no part in it.
#[test]
fn objects_of_the_caller_do_not_interfere() {
    let mut domain = Domain::new();
    let app = domain.database.role("app");
    domain.session.run(&format!(
        "GRANT EXECUTE ON FUNCTION utl_smtp.dkim_sign(bytea, text) TO {app};
         CREATE SCHEMA trap AUTHORIZATION {app}"
    ));
    let mut session = domain.database.connect(&app);
    session.run(
        "CREATE FUNCTION trap.spring(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'sprung as %', current_user; END $$;
         CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.spring);
         CREATE TEMPORARY TABLE dkim_key (domain text, selector text, private_key text);
         SET search_path = trap, pg_temp, pg_catalog",
    );
    let signed = sign(&mut session, MESSAGE, "example.test").unwrap();
    domain.assert_valid(&signed);
}
