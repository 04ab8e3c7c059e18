//! The script of the migration page, run on Oracle source and on the output of ora2pg.

use e2e::{Database, MailServer};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What `docs/port.pl` writes for this source.
fn ported(source: &str) -> String {
    let mut perl = Command::new("perl")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/port.pl"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = perl.stdin.take().unwrap();
    input.write_all(source.as_bytes()).unwrap();
    drop(input);
    let output = perl.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ora2pgs_form_of_cast_to_raw_becomes_convert_to() {
    let cases = [
        ("encode(x::bytea, 'hex')::bytea", "convert_to(x, 'UTF8')"),
        (
            "ENCODE( x ::bytea,'hex' ) :: BYTEA",
            "convert_to( x , 'UTF8')",
        ),
        // ora2pg takes the first closing parenthesis for that of CAST_TO_RAW.
        (
            "encode(f(g(x::bytea, 'hex')::bytea, y))",
            "convert_to(f(g(x), y), 'UTF8')",
        ),
        (
            "encode(f(g(x), y)::bytea, 'hex')::bytea",
            "convert_to(f(g(x), y), 'UTF8')",
        ),
        (
            "encode('it''s ) or (' || x::bytea, 'hex')::bytea",
            "convert_to('it''s ) or (' || x, 'UTF8')",
        ),
        (
            r"encode(f(E'\')', x)::bytea, 'hex')::bytea",
            r"convert_to(f(E'\')', x), 'UTF8')",
        ),
        (
            "encode(encode(x::bytea, 'hex')::bytea, 'base64')",
            "encode(convert_to(x, 'UTF8'), 'base64')",
        ),
        (
            "encode(x::bytea, 'hex')::bytea || encode(y::bytea, 'hex')::bytea",
            "convert_to(x, 'UTF8') || convert_to(y, 'UTF8')",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(ported(source), expected, "{source}");
    }
}

#[test]
fn casts_between_raw_and_text_become_conversions() {
    let cases = [
        (
            "SYS.UTL_RAW.CAST_TO_RAW(upper(x) || utl_tcp.crlf)",
            "convert_to(upper(x) || utl_tcp.crlf(), 'UTF8')",
        ),
        (
            "utl_raw.cast_to_raw(q'[it's (]' || x)",
            "convert_to(q'[it's (]' || x, 'UTF8')",
        ),
        (
            "utl_raw.cast_to_varchar2(utl_encode.base64_encode(utl_raw.cast_to_raw(x)))",
            "convert_from(utl_encode.base64_encode(convert_to(x, 'UTF8')), 'UTF8')",
        ),
        (
            "utl_raw.cast_to_raw(x -- one )\n)",
            "convert_to(x -- one )\n, 'UTF8')",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(ported(source), expected, "{source}");
    }
}

#[test]
fn calls_of_utl_mail_become_statements() {
    let cases = [
        (
            "BEGIN\n  SYS.UTL_MAIL.SEND(sender => x);\nEND",
            "BEGIN\n  PERFORM UTL_MAIL.SEND(sender => x);\nEND",
        ),
        (
            "BEGIN CALL utl_mail.send_attach_raw(x); utl_mail.send_attach_varchar2(y);",
            "BEGIN PERFORM utl_mail.send_attach_raw(x); PERFORM utl_mail.send_attach_varchar2(y);",
        ),
        (
            "WHEN utl_mail.invalid_argument THEN x := utl_mail.invalid_argument_errcode;",
            "WHEN SQLSTATE 'U9261' THEN x := utl_mail.invalid_argument_errcode();",
        ),
        (
            "WHEN utl_mail.invalid_priority THEN",
            "WHEN SQLSTATE '22023' THEN",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(ported(source), expected, "{source}");
    }
}

#[test]
fn other_uses_of_encode_and_quoted_text_stay_as_they_are() {
    for source in [
        "encode(x, 'hex')::bytea",
        "encode(x::bytea, 'hex')",
        "encode(x::bytea, 'base64')::bytea",
        "'encode(x::bytea, ''hex'')::bytea'",
        "-- encode(x::bytea, 'hex')::bytea\n",
        "/* utl_raw.cast_to_raw(x) */",
        "'utl_raw.cast_to_raw(x)'",
    ] {
        assert_eq!(ported(source), source);
    }
}

/// A procedure as ora2pg 25.0 writes it: types and the frame are PostgreSQL's, the calls are bare.
const CONVERTED: &str = r#"
CREATE OR REPLACE PROCEDURE send_raw (p_host text, p_port integer, p_subject text, p_body text) AS $body$
DECLARE
  c utl_smtp.connection;
BEGIN
  c := utl_smtp.open_connection(p_host, p_port, 10);
  utl_smtp.ehlo(c, 'db.example.test');
  utl_smtp.mail(c, 'app@example.test');
  utl_smtp.rcpt(c, 'bob@example.test');
  utl_smtp.open_data(c);
  utl_smtp.write_raw_data(c, encode('Subject: ' || p_subject::bytea, 'hex')::bytea);
  utl_smtp.write_raw_data(c, encode(concat(utl_tcp.crlf, utl_tcp.crlf::bytea, 'hex')::bytea));
  utl_smtp.write_raw_data(c, encode(p_body::bytea, 'hex')::bytea);
  utl_smtp.close_data(c);
  utl_smtp.quit(c);
END;
$body$
LANGUAGE PLPGSQL
SECURITY DEFINER
;
"#;

#[test]
fn a_program_that_went_through_ora2pg_mails_its_text() {
    let (database, server) = (Database::new(), MailServer::shared());
    let mark = format!("port-pl-{}", std::process::id());
    let mut session = database.superuser();
    session.run(&ported(CONVERTED));
    session.run(&format!(
        r"CALL send_raw('127.0.0.1', {}, '{mark}', E'Gr\u00fc\u00dfe, \\ (and) it''s.')",
        server.plain
    ));
    let message = server.delivered("bob", &mark);
    let body = String::from_utf8(message.body().to_vec()).unwrap();
    assert_eq!(body, "Grüße, \\ (and) it's.\n");
}
