//! What the server says to each command.

use super::*;

#[test]
fn each_recipient_has_the_reply_that_decided_for_it() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(
            &[A, B, C],
            &[
                "250 sender",
                "550 5.1.1 a",
                "250 b",
                "450 4.2.1 c",
                "354 go",
            ],
        )
        .verdict("250 2.0.0 queued")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &[A, B, C]).unwrap();
        assert_eq!(
            rows,
            [
                "a@example.test: 550 5.1.1 a",
                "b@example.test: 250 2.0.0 queued",
                "c@example.test: 450 4.2.1 c",
            ]
        );
        let sent: i64 = case
            .session
            .value("SELECT messages_sent FROM utl_smtp.connections()");
        assert_eq!(sent, 1);
        assert_in_step(case.session, &smtp);
    });
    assert_eq!(record.only().message(), ON_THE_WIRE);
    assert!(record.only().completed());
}

/// U9278 if sending again may help, whatever was refused first; DETAIL has them all.
#[test]
fn an_error_is_raised_if_all_recipients_are_refused() {
    let mut bed = TestBed::new();
    for (replies, sqlstate, message) in [
        (
            ["550 5.1.1 a", "450 4.2.1 b"],
            "U9278",
            "ORA-29278: SMTP transient error: 450 4.2.1 b",
        ),
        (
            ["553 5.1.3 a", "550 5.1.1 b"],
            "U9279",
            "ORA-29279: SMTP permanent error: 553 5.1.3 a",
        ),
    ] {
        let [a, b] = replies;
        for raises in [true, false] {
            let script = pipelining()
                .group(&[A, B], &["250 sender", a, b, "554 nobody"])
                .on("RSET", "250 reset")
                .in_step();
            let record = bed.play(script, |case| {
                case.session
                    .run(&format!("SET utl_smtp.raise_reply_errors = {raises}"));
                let smtp = case.greet();
                let outcome = send(case, &smtp, &[A, B]);
                let rows = [format!("{A}: {a}"), format!("{B}: {b}")];
                match raises {
                    false => assert_eq!(outcome.unwrap(), rows),
                    true => {
                        let failure = outcome.unwrap_err().expect(sqlstate);
                        assert_eq!(failure.message, message);
                        let detail = format!("Refused: {A} ({a}), {B} ({b}).");
                        assert_eq!(failure.detail, detail);
                        assert!(
                            failure.context.contains(", in reply to RCPT TO"),
                            "{failure}"
                        );
                    }
                }
                assert_in_step(case.session, &smtp);
            });
            assert!(record.only().completed());
            assert!(!record.only().heard(b"Subject"));
        }
    }
}

#[test]
fn a_refused_message_is_refused_for_all() {
    let mut bed = TestBed::new();
    let mail = pipelining()
        .group(&[A, B], &["530 5.7.0 log in", "503 a", "503 b", "503 data"])
        .in_step();
    let data = pipelining()
        .group(
            &[A, B],
            &["250 sender", "250 a", "250 b", "451 4.3.0 not now"],
        )
        .on("RSET", "250 reset")
        .in_step();
    let dot = pipelining()
        .group(&[A, B], &["250 sender", "250 a", "250 b", "354 go"])
        .verdict("554 5.6.0 spam")
        .in_step();
    for (script, sqlstate, reply, verb) in [
        (mail, "U9279", "530 5.7.0 log in", "MAIL FROM"),
        (data, "U9278", "451 4.3.0 not now", "DATA"),
        (dot, "U9279", "554 5.6.0 spam", "end of data"),
    ] {
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            let failure = send(case, &smtp, &[A, B]).unwrap_err().expect(sqlstate);
            assert!(
                failure.message.ends_with(&format!(": {reply}")),
                "{failure}"
            );
            assert!(
                failure.context.ends_with(&format!("in reply to {verb}")),
                "{failure}"
            );
            let detail = format!("Refused: {A} ({reply}), {B} ({reply}).");
            assert_eq!(failure.detail, detail);
            assert_in_step(case.session, &smtp);
        });
        assert!(record.only().completed());
    }
}

#[test]
fn detail_shows_ten_refusals_and_counts_the_others() {
    let mut bed = TestBed::new();
    let recipients: Vec<String> = (0..30).map(|n| format!("r{n}@example.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let long = format!("550 {}", "x".repeat(300));
    let mut replies = vec!["250 sender"];
    replies.extend([&*long; 30]);
    replies.push("554 nobody");
    let script = pipelining()
        .group(&recipients, &replies)
        .on("RSET", "250 reset")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        let failure = send(case, &smtp, &recipients).unwrap_err().expect("U9279");
        assert!(
            failure.detail.contains("r9@example.test (550 xxx"),
            "{failure}"
        );
        assert!(failure.detail.ends_with("…), and 20 more."), "{failure}");
        assert!(!failure.detail.contains("r10@"), "{failure}");
        assert!(failure.detail.len() < 3000, "{failure}");
        assert_in_step(case.session, &smtp);
    });
}

#[test]
fn those_beyond_the_servers_limit_follow_in_a_further_transaction() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(
            &[A, B, C],
            &["250 ok", "250 a", "452 too many", "452 too many", "354 go"],
        )
        .verdict("250 first")
        .group(&[B, C], &["250 ok", "250 b", "550 c", "354 go"])
        .verdict("250 second")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        // An 8-bit message deserves one warning, not one for each transaction.
        let rows = smtp
            .send_message(case.session, SENDER, &[A, B, C], "Grüße\r\n")
            .unwrap();
        assert_eq!(
            words(&rows),
            [
                "a@example.test: 250 first",
                "b@example.test: 250 second",
                "c@example.test: 550 c",
            ]
        );
        let warnings = case.session.notice_texts();
        let warnings: Vec<_> = warnings
            .iter()
            .filter(|text| text.contains("8BITMIME"))
            .collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_in_step(case.session, &smtp);
    });
    let text = record.only().text();
    assert_eq!(text.matches("Grüße\r\n.\r\n").count(), 2, "{text}");
}

#[test]
fn no_warning_if_the_server_offers_8bitmime() {
    let mut bed = TestBed::new();
    let script = offering(&["PIPELINING", "8BITMIME"])
        .group(&[A], &["250 ok", "250 a", "354 go"])
        .verdict("250 ok");
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.send_message(case.session, SENDER, &[A], "Grüße\r\n")
            .unwrap();
        assert_eq!(case.session.notice_texts(), [""; 0]);
    });
}

/// RFC 5321 §4.5.3.1.8: a server takes 100, and may say anything to more.
#[test]
fn a_hundred_recipients_go_in_one_transaction() {
    let mut bed = TestBed::new();
    let recipients: Vec<String> = (0..150).map(|n| format!("r{n}@example.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let ok = ["250 ok"; 101];
    let script = pipelining()
        .group(&recipients[..100], &ok)
        .send("354 go\r\n")
        .verdict("250 first")
        .group(&recipients[100..], &ok[..51])
        .send("354 go\r\n")
        .verdict("250 second")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &recipients).unwrap();
        assert_eq!(rows.len(), 150);
        assert_eq!(rows[99], "r99@example.test: 250 first");
        assert_eq!(rows[100], "r100@example.test: 250 second");
        assert_in_step(case.session, &smtp);
    });
}

/// RFC 2920 §3.1: the server opens a message although nobody is to get it.
#[test]
fn data_opened_for_nobody_gets_the_dot_alone() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(&[A, B], &["250 sender", "550 a", "550 b", "354 go"])
        .verdict("250 whatever")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let failure = send(case, &smtp, &[A, B]).unwrap_err().expect("U9279");
        assert!(failure.message.ends_with(": 550 a"), "{failure}");
        let sent: i64 = case
            .session
            .value("SELECT messages_sent FROM utl_smtp.connections()");
        assert_eq!(sent, 0);
        assert_in_step(case.session, &smtp);
    });
    assert!(
        record.only().heard(b"\r\nDATA\r\n.\r\n"),
        "{}",
        record.only()
    );
}

#[test]
fn replies_may_be_cut_anywhere() {
    let mut bed = TestBed::new();
    let replies = "250-sender\r\n250 ok\r\n550 a\r\n250-b\r\n250 b\r\n354 go\r\n";
    for cut in 1..replies.len() {
        let (head, tail) = replies.split_at(cut);
        let script = pipelining()
            .group(&[A, B], &[])
            .pieces(&[head, tail])
            .verdict("250 queued")
            .in_step();
        bed.play(script, |case| {
            let smtp = case.greet();
            let rows = send(case, &smtp, &[A, B]).unwrap();
            assert_eq!(
                rows,
                ["a@example.test: 550 a", "b@example.test: 250 queued"],
                "{cut}"
            );
            assert_in_step(case.session, &smtp);
        });
    }
}

#[test]
fn without_pipelining_each_reply_is_awaited() {
    let mut bed = TestBed::new();
    let script = offering(&[])
        .on("MAIL", "250 sender")
        .on("RCPT", "250 a")
        .on("RCPT", "550 b")
        .message("250 queued")
        .in_step();
    let record = bed.play(script, |case| {
        let smtp = case.greet();
        let rows = send(case, &smtp, &[A, B]).unwrap();
        assert_eq!(
            rows,
            ["a@example.test: 250 queued", "b@example.test: 550 b"]
        );
        assert_in_step(case.session, &smtp);
    });
    // EHLO, MAIL, two RCPT, DATA, the message, NOOP, QUIT: none of them came with the one before
    // it.
    assert!(record.only().reads >= 8, "{} reads", record.only().reads);
}

/// What was offered before TLS is forgotten.
#[test]
fn what_was_offered_before_starttls_does_not_count() {
    let mut bed = TestBed::new();
    let before = || offering(&["PIPELINING", "STARTTLS"]);
    let tls = bed.identity().server();
    let lock_step = before()
        .starttls(tls.clone())
        .on("MAIL", "250 sender")
        .on("RCPT", "250 a")
        .message("250 queued")
        .in_step();
    let grouped = before()
        .starttls(tls)
        .on("EHLO", "250-peer\r\n250 PIPELINING")
        .group(&[A], &["250 sender", "250 a", "354 go"])
        .verdict("250 queued")
        .in_step();
    for (script, ehlo) in [(lock_step, false), (grouped, true)] {
        let record = bed.play(script, |case| {
            let smtp = case.greet();
            smtp.starttls(case.session).unwrap();
            if ehlo {
                case.ehlo(&smtp);
            }
            let rows = send(case, &smtp, &[A]).unwrap();
            assert_eq!(rows, ["a@example.test: 250 queued"]);
            assert_in_step(case.session, &smtp);
        });
        assert!(
            ehlo || record.only().reads >= 8,
            "{} reads",
            record.only().reads
        );
        assert!(!record.only().plain.windows(4).any(|four| four == b"MAIL"));
    }
}

/// Its recipients would get this message too.
#[test]
fn a_transaction_that_was_left_open_is_reset_first() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .on("MAIL", "250 ok")
        .on("RCPT", "250 ok")
        .on("RSET", "250 ok")
        .group(&[A], &["250 ok", "250 ok", "354 go"])
        .verdict("250 queued")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.mail(case.session, "other@example.test").unwrap();
        smtp.rcpt(case.session, "stranger@example.test").unwrap();
        assert_eq!(
            send(case, &smtp, &[A]).unwrap(),
            ["a@example.test: 250 queued"]
        );
        assert_in_step(case.session, &smtp);
    });
}

/// In an AUTH exchange the server takes one line at a time, and MAIL for the answer to its
/// challenge.
#[test]
fn a_call_in_an_auth_exchange_is_refused_by_the_server() {
    let mut bed = TestBed::new();
    let script = offering(&["PIPELINING", "AUTH CRAM-MD5"])
        .on("AUTH CRAM-MD5", "334 PDFAcGVlcj4=")
        .on("MAIL", "501 5.5.2 not base64")
        .in_step();
    bed.play(script, |case| {
        let smtp = case.greet();
        smtp.command(case.session, "AUTH CRAM-MD5", None).unwrap();
        let failure = send(case, &smtp, &[A, B]).unwrap_err().expect("U9279");
        assert!(
            failure.message.ends_with(": 501 5.5.2 not base64"),
            "{failure}"
        );
        assert_in_step(case.session, &smtp);
    });
}

#[test]
fn a_server_that_wants_ehlo_first_is_named_in_the_hint() {
    let mut bed = TestBed::new();
    let script = Script::greeting().on("MAIL", "503 5.5.1 hello?");
    bed.play(script, |case| {
        let smtp = case.connect();
        let failure = send(case, &smtp, &[A]).unwrap_err().expect("U9279");
        assert!(failure.hint.contains("utl_smtp.ehlo(c, NULL)"), "{failure}");
    });
}

#[test]
fn the_trace_shows_the_commands_and_not_the_message() {
    let mut bed = TestBed::new();
    let script = pipelining()
        .group(&[A], &["250 sender", "250 a", "354 go"])
        .verdict("250 queued");
    bed.play(script, |case| {
        let smtp = case.greet();
        case.session.run("SET utl_smtp.trace = notice");
        send(case, &smtp, &[A]).unwrap();
        case.session.run("RESET utl_smtp.trace");
        assert_eq!(
            case.session.notice_texts(),
            [
                "C: MAIL FROM:<app@example.test>",
                "C: RCPT TO:<a@example.test>",
                "C: DATA",
                "S: 250 sender",
                "S: 250 a",
                "S: 354 go",
                "C: [27 octets of message data]",
                "C: .",
                "S: 250 queued",
            ]
        );
    });
}
