//! Line endings and dots: a message has only one framing.

use super::*;

#[test]
fn every_leading_dot_is_doubled_and_comes_back_single() {
    let mut bed = TestBed::new();
    let bodies = [
        ".\r\n",
        "..\r\n",
        ".a",
        ".",
        "....",
        ".\r\nafter\r\n",
        "Subject: x\r\n\r\n.\r\nafter\r\n",
        "Subject: x\r\n.header\r\n\r\nbody\r\n.\r\n",
        "a.b\r\n .c\r\nd.\r\n",
        ".\r\n.\r\n.\r\n",
    ];
    let writes = bodies.map(|body| move |s: &mut Session, c: &Smtp| c.write_data(s, body));
    let writes: Vec<Write<'_>> = writes.iter().map(|write| write as Write<'_>).collect();
    for (body, wire) in bodies.iter().zip(heard(&mut bed, &writes)) {
        assert_eq!(unstuffed(&wire), normalised(body), "{body:?}");
        for line in wire.split_inclusive(|byte| *byte == b'\n') {
            assert!(
                !line.starts_with(b".") || line.starts_with(b".."),
                "{body:?}"
            );
        }
    }
}

/// The split into calls changes nothing, for text and for raw data.
#[test]
fn a_dot_line_cut_at_any_point_is_the_same_dot_line() {
    let mut bed = TestBed::new();
    let body = "a\r\n.\r\n..\r\n\r.\r\n.";
    let mut writes: Vec<BoxedWrite<'_>> = Vec::new();
    for raw in [false, true] {
        for cut in 0..=body.len() {
            writes.push(Box::new(move |session, smtp| {
                let (left, right) = body.split_at(cut);
                write_pieces(session, smtp, &[left, right], raw)
            }));
        }
        writes.push(Box::new(move |session, smtp| {
            let pieces: Vec<&str> = body.split_inclusive(|_| true).collect();
            write_pieces(session, smtp, &pieces, raw)
        }));
    }
    let writes: Vec<Write<'_>> = writes.iter().map(|write| &**write as Write<'_>).collect();
    let expected = b"a\r\n..\r\n...\r\n\r\n..\r\n..\r\n";
    for wire in heard(&mut bed, &writes) {
        assert_eq!(wire, expected, "{}", wire.escape_ascii());
    }
}

/// In one piece, and split at every position.
#[test]
fn no_smuggling_sequence_ends_a_message() {
    let mut bed = TestBed::new();
    let smuggled = "MAIL FROM:<evil@x>\r\nRCPT TO:<b@example.test>\r\nDATA\r\nsmuggled";
    let bodies = SMUGGLING.map(|sequence| format!("first{sequence}{smuggled}{sequence}"));
    let mut writes: Vec<BoxedWrite<'_>> = Vec::new();
    let mut expected = Vec::new();
    for (body, sequence) in bodies.iter().zip(SMUGGLING) {
        for raw in [false, true] {
            for cut in 0..=sequence.len() {
                let (left, right) = body.split_at("first".len() + cut);
                writes.push(Box::new(move |session, smtp| {
                    write_pieces(session, smtp, &[left, right], raw)
                }));
                expected.push(normalised(body));
            }
        }
    }
    let writes: Vec<Write<'_>> = writes.iter().map(|write| &**write as Write<'_>).collect();
    let heard = heard(&mut bed, &writes);
    assert_eq!(heard.len(), expected.len());
    for (wire, expected) in heard.iter().zip(expected) {
        assert_eq!(unstuffed(wire), expected, "{}", wire.escape_ascii());
    }
}

/// A text cannot contain NUL, and bytes must not.
#[test]
fn a_nul_in_a_body_is_refused_and_the_rest_can_still_be_sent() {
    let mut bed = TestBed::new();
    let refused = |session: &mut Session, smtp: &Smtp| {
        smtp.write_data(session, "one\r\n")?;
        let nul = smtp
            .write_raw_data(session, SMUGGLING_WITH_NUL)
            .unwrap_err();
        assert!(nul.expect("22023").message.contains("\"data\""));
        let text = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection, \
                    convert_from('\\x0d0a002e0d0a', 'UTF8'))";
        let nul = Failure::from(session.execute(text, &[&smtp.handle]).unwrap_err());
        nul.expect("22021");
        smtp.write_data(session, "two\r\n")
    };
    let heard = heard(&mut bed, &[&refused]);
    assert_eq!(heard[0], b"one\r\ntwo\r\n");
}

/// Postfix refuses messages with a bare LF; it accepts each of these as one message.
#[test]
fn postfix_takes_every_smuggling_sequence_as_plain_text() {
    let mail = MailServer::shared();
    let database = Database::new();
    let mut session = database.role_for(&mail.host, mail.plain);
    let smtp = Open::to(&mail.host, mail.plain).open(&mut session).unwrap();
    smtp.ehlo(&mut session, CLIENT).unwrap();
    let (mut sent, mut first) = (Vec::new(), None);
    for (number, sequence) in SMUGGLING.iter().enumerate() {
        for raw in [false, true] {
            let mark = format!("smuggling-{number}-{raw}-{}", std::process::id());
            let body = format!("before{sequence}MAIL FROM:<evil@example.test>\r\nafter{sequence}");
            smtp.mail(&mut session, "sender@foo.test").unwrap();
            smtp.rcpt(&mut session, "bob@example.test").unwrap();
            smtp.open_data(&mut session).unwrap();
            smtp.write_data(&mut session, &format!("Subject: {mark}\r\n\r\n"))
                .unwrap();
            write_pieces(&mut session, &smtp, &[&body], raw).unwrap();
            let reply = smtp
                .close_data(&mut session)
                .unwrap_or_else(|failure| panic!("{sequence:?}: {failure}"));
            assert_eq!(reply.code, 250, "{sequence:?}: {reply:?}");
            first.get_or_insert(reply.text);
            sent.push((mark, body));
        }
    }
    assert_eq!(smtp.noop(&mut session).unwrap().code, 250);
    smtp.quit(&mut session).unwrap();
    for (mark, body) in &sent {
        let delivered = mail.delivered("bob", mark);
        let expected = String::from_utf8(normalised(body))
            .unwrap()
            .replace("\r\n", "\n");
        let text = String::from_utf8_lossy(delivered.body()).into_owned();
        assert_eq!(text, expected, "{body:?}");
        assert_eq!(mail.count("bob", mark), 1);
    }
    let log = mail.session_log(first.unwrap().rsplit(' ').next().unwrap());
    assert_eq!(log.matches(": client=").count(), sent.len());
    assert!(!log.contains("bare <LF>"), "{log}");
}

/// With data() and with the three separate calls.
#[test]
fn exactly_one_line_end_stands_before_the_final_dot() {
    let mut bed = TestBed::new();
    for (body, expected) in [
        ("", ""),
        ("a", "a\r\n"),
        ("a\r\n", "a\r\n"),
        ("a\r", "a\r\n"),
        ("a\n", "a\r\n"),
        ("a\r\n\r\n", "a\r\n\r\n"),
        ("\r\n", "\r\n"),
        (".", "..\r\n"),
    ] {
        let record = bed.play(ready_for_one(), |case| {
            let smtp = address(case);
            assert_eq!(smtp.data(case.session, body).unwrap().code, 250);
            smtp.quit(case.session).unwrap();
        });
        assert_eq!(record.only().message(), expected.as_bytes(), "{body:?}");
        check_framing(&record.only().plain);
        let write: Write<'_> = &|session, smtp| smtp.write_data(session, body);
        assert_eq!(
            heard(&mut bed, &[write])[0],
            expected.as_bytes(),
            "{body:?}"
        );
    }
    let nothing: Write<'_> = &|_, _| Ok(());
    assert_eq!(heard(&mut bed, &[nothing])[0], b"");
}

#[test]
fn message_lines_are_not_wrapped() {
    let mut bed = TestBed::new();
    // What PostgreSQL keeps of a megabyte's text is not what the sending leaves behind.
    bed.session
        .run("SELECT length(repeat('x', 1 << 20)), length(repeat('y', 1 << 20))");
    for length in [998, 999, 1024 * 1024] {
        let write: Write<'_> = &|session, smtp| {
            let sql = "SELECT utl_smtp.write_data($1::text::utl_smtp.connection, repeat('x', $2))";
            session.execute(sql, &[&smtp.handle, &length])?;
            Ok(())
        };
        let wire = &heard(&mut bed, &[write])[0];
        assert_eq!(wire.len(), length as usize + 2);
        assert!(wire[..length as usize].iter().all(|byte| *byte == b'x'));
    }
}

#[test]
fn eight_bit_text_is_sent_with_one_warning_a_message() {
    let mut bed = TestBed::new();
    let transaction = Script::new()
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
        .message("250 queued");
    let twice = transaction
        .clone()
        .then(transaction.clone())
        .then(transaction);
    for (offer, warnings) in [("250 SIZE 1000", 2), ("250 8BITMIME", 0)] {
        let script = Script::greeting()
            .on("EHLO", &format!("250-peer\r\n{offer}"))
            .then(twice.clone())
            .quit();
        let record = bed.play(script, |case| {
            let before = case.session.notices().len();
            let smtp = case.greet();
            for body in [&["Grüße\r\n", "あ", "é"][..], &["plain"], &["ä", "ö"]] {
                smtp.mail(case.session, "a@example.test").unwrap();
                smtp.rcpt(case.session, "b@example.test").unwrap();
                smtp.open_data(case.session).unwrap();
                write_pieces(case.session, &smtp, body, false).unwrap();
                smtp.close_data(case.session).unwrap();
            }
            smtp.quit(case.session).unwrap();
            let said = case.session.notices().split_off(before);
            assert_eq!(said.len(), warnings, "{said:?}");
            for warning in said {
                assert_eq!(warning.severity(), "WARNING");
                assert!(warning.message().contains("8BITMIME"), "{warning:?}");
            }
        });
        assert!(record.only().heard("Grüße\r\nあé\r\n.\r\n".as_bytes()));
        assert!(record.only().heard("äö\r\n.\r\n".as_bytes()));
    }
}
