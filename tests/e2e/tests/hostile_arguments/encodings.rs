//! Databases with an encoding other than UTF-8.

use super::*;

/// A session in a database with this encoding, and a peer that its role may connect to.
fn encoded(encoding: &str, script: Script) -> (Database, Session, Peer, Smtp) {
    let database = Database::empty(&format!("ENCODING '{encoding}' LOCALE 'C'"));
    database.superuser().run("CREATE EXTENSION utl_smtp");
    database.set("utl_smtp.allow_cleartext_auth", "on");
    let peer = Peer::start(script);
    let mut session = database.role_for("127.0.0.1", peer.port());
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    (database, session, peer, smtp)
}

/// A client with UTF-8 and a database with another encoding.
#[test]
fn text_of_any_database_encoding_goes_out_as_utf_8() {
    for (encoding, word, domain, a_label) in [
        ("LATIN1", "grüße", "bücher.example", "xn--bcher-kva.example"),
        (
            "SQL_ASCII",
            "grüße",
            "bücher.example",
            "xn--bcher-kva.example",
        ),
        ("EUC_JP", "挨拶", "日本語.example", "xn--wgv71a119e.example"),
        ("UTF8", "привет", "日本語.example", "xn--wgv71a119e.example"),
    ] {
        let script = agreeable(5).message("250 ok").quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        smtp.ehlo(&mut session, domain).unwrap();
        smtp.mail(&mut session, &format!("{word}@{domain}"))
            .unwrap();
        smtp.rcpt(&mut session, &format!("<{word}@example.test>"))
            .unwrap();
        smtp.command(&mut session, "NOOP", Some(word)).unwrap();
        smtp.reply(&mut session, "vrfy", &[&word]).unwrap();
        smtp.auth(&mut session, word, word, "PLAIN")
            .unwrap_err()
            .expect("U9279");
        smtp.data(&mut session, word).unwrap();
        smtp.quit(&mut session).unwrap();
        let record = peer.finish();
        let plain = STANDARD.encode(format!("\0{word}\0{word}"));
        let expected = [
            format!("EHLO {a_label}"),
            format!("MAIL FROM:<{word}@{a_label}> SMTPUTF8"),
            format!("RCPT TO:<{word}@example.test>"),
            format!("NOOP {word}"),
            format!("VRFY {word}"),
            format!("AUTH PLAIN {plain}"),
            "DATA".to_owned(),
            word.to_owned(),
            ".".to_owned(),
            "QUIT".to_owned(),
        ];
        assert_eq!(record.only().lines(), expected, "{encoding}");
    }
}

/// Bytes that are invalid in the encoding are not sent.
#[test]
fn invalid_bytes_of_a_database_without_encoding_are_refused() {
    let script = agreeable(2).message("250 ok").quit();
    let (_database, mut session, peer, smtp) = encoded("SQL_ASCII", script);
    smtp.ehlo(&mut session, CLIENT).unwrap();
    // E'…\xfc' is one byte here: LATIN1's ü.
    for call in [
        r"helo($1, E'b\xfccher.example')",
        r"ehlo($1, E'b\xfccher.example')",
        r"mail($1, E'\xfc@example.test')",
        r"mail($1, 'a@example.test', E'X=\xfc')",
        r"rcpt($1, E'\xfc@example.test')",
        r"vrfy($1, E'\xfc')",
        r"help($1, E'\xfc')",
        r"command($1, E'NOOP \xfc')",
        r"command($1, 'NOOP', E'\xe3\x81')",
        r"auth($1, E'\xfc', 'x', 'PLAIN')",
        r"auth($1, 'x', E'\xfc', 'PLAIN')",
        r"starttls($1, E'\xfc.example')",
        r"data($1, E'\xfc')",
        r"send_message($1, '', ARRAY['a@example.test', E'\xfc'], 'x')",
        r"send_message($1, '', ARRAY['a@example.test'], E'\xfc')",
    ] {
        let call = call.replace("$1", &format!("'{}'", smtp.handle));
        let failure = session
            .try_run(&format!("SELECT utl_smtp.{call}"))
            .unwrap_err();
        assert_eq!(failure.sqlstate, "22023", "{call}: {failure}");
    }
    smtp.mail(&mut session, "a@example.test").unwrap();
    smtp.rcpt(&mut session, "b@example.test").unwrap();
    smtp.open_data(&mut session).unwrap();
    let write = format!(r"SELECT utl_smtp.write_data('{}', E'\xfc')", smtp.handle);
    session.try_run(&write).unwrap_err().expect("22023");
    // Bytes are another matter: they are the caller's.
    smtp.write_raw_data(&mut session, b"\xfc").unwrap();
    smtp.close_data(&mut session).unwrap();
    smtp.quit(&mut session).unwrap();
    let record = peer.finish();
    assert_eq!(record.only().message(), b"\xfc\r\n");
    assert_eq!(record.only().lines().len(), 7, "{}", record.only());
}

/// Text without an equivalent in UTF-8: the connection stays, and a message stays open.
#[test]
fn characters_without_an_equivalent_in_utf_8_are_refused() {
    for (encoding, odd) in [("WIN1252", r"\x81"), ("EUC_JP", r"\xf5\xa1")] {
        let script = agreeable(2).message("250 ok").quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        smtp.ehlo(&mut session, CLIENT).unwrap();
        let refused = |session: &mut Session, call: &str| {
            let call = call
                .replace("$1", &format!("'{}'", smtp.handle))
                .replace("ODD", &format!("E'a{odd}'"));
            let sql = format!("SELECT utl_smtp.{call}");
            let failure = session.try_run(&sql).unwrap_err();
            assert_eq!(failure.sqlstate, "22P05", "{encoding} {call}: {failure}");
        };
        for call in [
            "open_connection(ODD)",
            "open_connection('127.0.0.1', wallet_path => ODD)",
            "open_connection('127.0.0.1', wallet_password => ODD)",
            "open_connection('127.0.0.1', secure_host => ODD)",
            "open_connection_reply(ODD)",
            "wallet_certificates(ODD)",
            "helo($1, ODD)",
            "ehlo($1, ODD)",
            "mail($1, ODD)",
            "mail($1, 'a@example.test', ODD)",
            "rcpt($1, ODD)",
            "rcpt($1, 'a@example.test', ODD)",
            "vrfy($1, ODD)",
            "help($1, ODD)",
            "command($1, ODD)",
            "command($1, 'NOOP', ODD)",
            "command_replies($1, ODD)",
            "command_replies($1, 'NOOP', ODD)",
            "auth($1, ODD, 'x', 'PLAIN')",
            "auth($1, 'x', ODD, 'PLAIN')",
            "auth($1, 'x', 'x', ODD)",
            "starttls($1, ODD)",
            "data($1, ODD)",
            "data($1, repeat('x', 100000) || ODD)",
        ] {
            refused(&mut session, call);
        }
        smtp.mail(&mut session, "a@example.test").unwrap();
        smtp.rcpt(&mut session, "b@example.test").unwrap();
        smtp.open_data(&mut session).unwrap();
        smtp.write_data(&mut session, "before").unwrap();
        refused(&mut session, "write_data($1, ODD)");
        smtp.write_data(&mut session, " and after").unwrap();
        smtp.close_data(&mut session).unwrap();
        smtp.quit(&mut session).unwrap();
        let record = peer.finish();
        assert_eq!(record.only().message(), b"before and after\r\n");
    }
}

/// A reply with characters that the database's encoding lacks.
#[test]
fn replies_come_back_in_the_encoding_of_the_database() {
    for (encoding, expected) in [
        ("LATIN1", "größe ??"),
        ("EUC_JP", "gr??e 挨拶"),
        ("UTF8", "größe 挨拶"),
        ("SQL_ASCII", "größe 挨拶"),
    ] {
        let script = Script::greeting()
            .on("NOOP", "250 größe 挨拶")
            .on("RSET", "550 größe 挨拶")
            .quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        let text = smtp.noop(&mut session).unwrap().text;
        // EUC_JP has ö and ß or not, depending on which of its planes is looked at.
        let fits = text == expected || encoding == "EUC_JP" && text.ends_with(" 挨拶");
        assert!(fits, "{encoding}: {text}");
        let failure = smtp.rset(&mut session).unwrap_err().expect("U9279");
        assert!(failure.message.contains("550 gr"), "{encoding}: {failure}");
        smtp.quit(&mut session).unwrap();
        peer.finish();
    }
}

/// Long text is converted in pieces, split between characters. Text that cannot be converted is
/// found before the first piece is sent.
#[test]
fn long_text_is_converted_in_pieces() {
    for (encoding, word) in [("LATIN1", "grüße "), ("EUC_JP", "挨拶"), ("EUC_JP", "a挨")] {
        let script = agreeable(2).message("250 ok").quit();
        let (_database, mut session, peer, smtp) = encoded(encoding, script);
        smtp.ehlo(&mut session, CLIENT).unwrap();
        smtp.mail(&mut session, "a@example.test").unwrap();
        smtp.rcpt(&mut session, "b@example.test").unwrap();
        let line = format!("{}\r\n", word.repeat(10));
        let message = line.repeat(100_000 / line.len());
        smtp.data(&mut session, &message).unwrap();
        smtp.quit(&mut session).unwrap();
        let record = peer.finish();
        assert!(record.only().message() == message.as_bytes(), "{encoding}");
    }
    let script = agreeable(2).message("250 ok").quit();
    let (_database, mut session, peer, smtp) = encoded("WIN1252", script);
    smtp.ehlo(&mut session, CLIENT).unwrap();
    smtp.mail(&mut session, "a@example.test").unwrap();
    smtp.rcpt(&mut session, "b@example.test").unwrap();
    for length in [10, 100_000] {
        let sql = format!(
            "SELECT utl_smtp.data('{}', repeat('x', {length}) || chr(129))",
            smtp.handle
        );
        session.try_run(&sql).unwrap_err().expect("22P05");
    }
    smtp.data(&mut session, "grüße").unwrap();
    smtp.quit(&mut session).unwrap();
    assert_eq!(peer.finish().only().message(), "grüße\r\n".as_bytes());
}
