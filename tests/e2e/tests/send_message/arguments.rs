//! The arguments, which are judged before anything is sent.

use super::*;
use e2e::{Database, Peer};

#[test]
fn an_argument_that_cannot_be_sent_is_named_and_nothing_is_sent() {
    let mut bed = TestBed::new();
    let record = bed.play(pipelining().in_step(), |case| {
        let smtp = case.greet();
        for (arguments, message, detail) in [
            (
                "NULL, ARRAY['a@example.test'], 'x'",
                "\"sender\" must not be null",
                "",
            ),
            (
                "'a b', ARRAY['a@example.test'], 'x'",
                "argument \"sender\"",
                "character 2",
            ),
            ("'', NULL, 'x'", "\"recipients\" must not be null", ""),
            (
                "'', '{}', 'x'",
                "argument \"recipients\"",
                "It has no element.",
            ),
            (
                "'', ARRAY['a@example.test', NULL], 'x'",
                "argument \"recipients\"",
                "Element 2: it is NULL.",
            ),
            (
                "'', ARRAY['a@example.test', ''], 'x'",
                "argument \"recipients\"",
                "Element 2: an address is needed.",
            ),
            (
                "'', ARRAY['a@example.test', 'b@example.test', E'c\\r\\nRSET'], 'x'",
                "argument \"recipients\"",
                "Element 3: ",
            ),
            (
                "'', ARRAY[repeat('x', 990)], 'x'",
                "argument \"recipients\"",
                "Element 1: makes a command line of 1000 octets",
            ),
            (
                "'', ARRAY[repeat('x', 999)], 'x'",
                "argument \"recipients\"",
                "Element 1: a value of 999 octets",
            ),
            (
                "'', ARRAY[['a@example.test'], ['b@x@y']], 'x'",
                "argument \"recipients\"",
                "Element 2: ",
            ),
            (
                "'', ARRAY['a@example.test'], NULL",
                "\"message\" must not be null",
                "",
            ),
            (
                "'', ARRAY['a@example.test'], NULL::bytea",
                "\"message\" must not be null",
                "",
            ),
            (
                "'', ARRAY['a@example.test'], '\\x6100'::bytea",
                "argument \"message\"",
                "NUL",
            ),
            (
                "'', ARRAY['a@example.test'], 'x', E'SIZE=1\\n'",
                "argument \"parameters\"",
                "character 7",
            ),
        ] {
            for raises in ["on", "off"] {
                let call = format!(
                    "SET utl_smtp.raise_reply_errors = {raises};
                     SELECT * FROM utl_smtp.send_message('{}', {arguments})",
                    smtp.handle
                );
                let failure = case.session.try_run(&call).unwrap_err().expect("22023");
                assert!(failure.message.contains(message), "{arguments}: {failure}");
                assert!(failure.detail.contains(detail), "{arguments}: {failure}");
            }
        }
        assert_in_step(case.session, &smtp);
    });
    assert_eq!(record.only().lines().len(), 3, "{}", record.only());
}

/// Domains compare without case, local parts with it. The first spelling counts.
#[test]
fn equal_recipients_count_once() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(
            &[A, "A@example.test"],
            &["250 sender", "250 a", "250 A", "354 go"],
        )
        .verdict("250 queued")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        let recipients = ["<a@example.test>", "a@EXAMPLE.test", "A@example.test", A];
        let script = send(case, &smtp, &recipients).unwrap();
        assert_eq!(
            script,
            ["<a@example.test>: 250 queued", "A@example.test: 250 queued"]
        );
        assert_in_step(case.session, &smtp);
    });
}

#[test]
fn parameters_are_those_of_mail() {
    let mut bed = TestBed::new();
    let script = offering(&["PIPELINING", "SIZE", "DSN"])
        .expect("MAIL FROM:<> SIZE=99 RET=HDRS ENVID=x")
        .expect("RCPT TO:<a@example.test>")
        .expect("DATA")
        .send("250 ok\r\n250 ok\r\n354 go\r\n")
        .verdict("250 queued")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let (message, parameters) = (b"\xfc\r\n.\r\n", "SIZE=99 RET=HDRS ENVID=x");
        let rows = smtp.send_raw_message(case.session, "<>", &[A], message, parameters);
        assert_eq!(words(&rows.unwrap()), ["a@example.test: 250 queued"]);
        assert_in_step(case.session, &smtp);
    });
    assert_eq!(record.only().message(), b"\xfc\r\n..\r\n");
}

/// RFC 6531 §3.4: MAIL has SMTPUTF8 as soon as any address needs it.
#[test]
fn smtputf8_is_added_for_a_recipient_that_needs_it() {
    let mut bed = TestBed::new();
    let script = offering(&["PIPELINING", "8BITMIME", "SMTPUTF8"])
        .expect(format!("MAIL FROM:<{SENDER}> SMTPUTF8"))
        .expect("RCPT TO:<jörg@example.test>")
        .expect("DATA")
        .send("250 ok\r\n250 ok\r\n354 go\r\n")
        .verdict("250 queued")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &["jörg@example.test"]).unwrap();
        assert_eq!(rows, ["jörg@example.test: 250 queued"]);
        assert_in_step(case.session, &smtp);
    });
}

#[test]
fn an_address_that_needs_smtputf8_costs_the_others_nothing_where_it_is_not_offered() {
    const TEXT: &str = "553 5.6.7 not sent: the address of RCPT TO has non-ASCII characters, and the server's last EHLO did not offer SMTPUTF8";
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(&[A], &["250 sender", "250 a", "354 go"])
        .verdict("250 queued")
        // Alone it is no reason to open a message.
        .expect(format!("MAIL FROM:<{SENDER}>"))
        .send("250 sender\r\n")
        .on("RSET", "250 reset")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &["jörg@example.test", A]).unwrap();
        assert_eq!(
            rows,
            [
                format!("jörg@example.test: {TEXT}"),
                format!("{A}: 250 queued")
            ]
        );
        let failure = send(case, &smtp, &["jörg@example.test"]).unwrap_err();
        let failure = failure.expect("U9279");
        assert!(failure.message.ends_with(TEXT), "{failure}");
        assert!(failure.hint.contains("SMTPUTF8"), "{failure}");
        assert_in_step(case.session, &smtp);
    });
}

/// Longer than is converted at once, and sent twice.
#[test]
fn text_of_another_encoding_is_sent_as_utf8_in_every_transaction() {
    let database = Database::empty("ENCODING 'LATIN1' LOCALE 'C'");
    database.superuser().run("CREATE EXTENSION utl_smtp");
    let peer = Peer::start(
        pipelining()
            .group(&[A, B], &["250 ok", "250 a", "452 later", "354 go"])
            .verdict("250 first")
            .group(&[B], &["250 ok", "250 b", "354 go"])
            .verdict("250 second"),
    );
    let mut session = database.role_for("127.0.0.1", peer.port());
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, CLIENT).unwrap();
    let message = "Grüße, die lang genug sind\r\n".repeat(5_000);
    let rows = smtp
        .send_message(&mut session, SENDER, &[A, B], &message)
        .unwrap();
    assert_eq!(
        words(&rows),
        ["a@example.test: 250 first", "b@example.test: 250 second"]
    );
    smtp.close_connection(&mut session).unwrap();
    let text = peer.finish().only().text();
    assert_eq!(text.matches(&message).count(), 2);
}
