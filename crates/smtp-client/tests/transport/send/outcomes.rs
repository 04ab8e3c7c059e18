//! The outcome for each recipient, on a session that goes on.

use std::cell::RefCell;

use super::*;

#[test]
fn each_recipient_has_its_own_verdict() {
    let (outcomes, ended, sent) = conversation(&["a", "b", "c"], |peer| {
        peer.greet("PIPELINING");
        // The whole group arrives before the first reply.
        peer.expect(&["MAIL FROM:<>", A, B, C, "DATA"]);
        peer.say("250 sender\n550 a\n250 b\n450 c\n354 go");
        assert_eq!(peer.message(), ON_THE_WIRE);
        peer.say("250 queued");
        peer.again();
    });
    assert_eq!(
        outcomes,
        "RCPT TO 550 a, accepted 250 queued, RCPT TO 450 c"
    );
    assert_eq!((ended, sent), (String::new(), 1));
}

#[test]
fn all_refused_leaves_the_session_usable() {
    let (outcomes, ended, sent) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("250 sender\n550 a\n550 b\n554 nobody");
        peer.expect(&["RSET"]);
        peer.say("250 reset");
        peer.again();
    });
    assert_eq!(outcomes, "RCPT TO 550 a, RCPT TO 550 b");
    assert_eq!((ended, sent), (String::new(), 0));
    let (outcomes, ..) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("550 sender\n503 a\n503 b\n503 data");
        peer.again();
    });
    assert_eq!(outcomes, "MAIL FROM 550 sender, MAIL FROM 550 sender");
}

/// A message for nobody is none that was sent.
#[test]
fn data_opened_for_nobody_gets_the_dot_alone() {
    let (outcomes, ended, sent) = conversation(&["a"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n550 a\n354 go");
        assert_eq!(peer.message(), "");
        peer.say("250 whatever");
        peer.again();
    });
    assert_eq!(outcomes, "RCPT TO 550 a");
    assert_eq!((ended, sent), (String::new(), 0));
}

#[test]
fn the_body_is_sent_again_to_those_beyond_the_servers_limit() {
    let (outcomes, ended, sent) = conversation(&["a", "b", "c"], |peer| {
        peer.greet("PIPELINING");
        for (group, replies, verdict) in [
            (
                &["MAIL FROM:<>", A, B, C, "DATA"][..],
                "250 ok\n250 a\n452 b\n452 c\n354 go",
                "250 first",
            ),
            (
                &["MAIL FROM:<>", B, C, "DATA"],
                "250 ok\n250 b\n550 c\n354 go",
                "250 second",
            ),
        ] {
            peer.expect(group);
            peer.say(replies);
            assert_eq!(peer.message(), ON_THE_WIRE);
            peer.say(verdict);
        }
        peer.again();
    });
    assert_eq!(
        outcomes,
        "accepted 250 first, accepted 250 second, RCPT TO 550 c"
    );
    // Each is a message of its own.
    assert_eq!((ended, sent), (String::new(), 2));
}

/// Long messages go out in blocks, and the caller's cuts don't show.
#[test]
fn a_long_body_in_pieces_arrives_in_each_round() {
    let text = "a line of the message\r\n".repeat(20_000);
    let expected = text.replace("\r\n", "\n");
    let (address, thread) = peer(move |peer| {
        peer.greet("PIPELINING");
        for recipient in [A, B] {
            peer.expect(&["MAIL FROM:<>", recipient, "DATA"]);
            peer.say("250 ok\n250 ok\n354 go");
            assert!(peer.message() == expected);
            peer.say("250 queued");
        }
        peer.end();
    });
    let mut connection = open(address, Timeouts::rfc5321(), &IO);
    let pieces = text.as_bytes().chunks(7777);
    let verdict = connection.send(&envelope(&["a", "b"]), pieces, 1, &IO);
    assert_eq!(
        words(&verdict.unwrap()).0,
        "accepted 250 queued, accepted 250 queued"
    );
    connection.hang_up();
    thread.join().unwrap();
}

#[test]
fn without_pipelining_each_reply_is_awaited() {
    let (outcomes, ended, _) = conversation(&["a", "b"], |peer| {
        peer.greet("SIZE");
        for (line, reply) in [
            ("MAIL FROM:<>", "250 sender"),
            (A, "250 a"),
            (B, "550 b"),
            ("DATA", "354 go"),
        ] {
            peer.expect(&[line]);
            assert_eq!(peer.0.buffer(), b"", "sent before the reply to {line}");
            peer.say(reply);
        }
        assert_eq!(peer.message(), ON_THE_WIRE);
        peer.say("250 queued");
        peer.again();
    });
    assert_eq!(outcomes, "accepted 250 queued, RCPT TO 550 b");
    assert_eq!(ended, "");
}

#[test]
fn replies_may_be_cut_anywhere() {
    let (outcomes, ended, _) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        for byte in b"250-sender\r\n250 ok\r\n550 a\r\n250-b\r\n250 b\r\n354 go\r\n" {
            peer.0.get_mut().write_all(&[*byte]).unwrap();
        }
        peer.message();
        peer.say("250 queued");
        peer.again();
    });
    assert_eq!(outcomes, "RCPT TO 550 a, accepted 250 queued");
    assert_eq!(ended, "");
}

#[test]
fn a_transaction_that_was_left_open_is_reset_first() {
    for refused in [false, true] {
        let (address, thread) = peer(move |peer| {
            peer.greet("PIPELINING");
            for line in ["MAIL FROM:<>", "RCPT TO:<x@example.com>"] {
                peer.expect(&[line]);
                peer.say("250 ok");
            }
            peer.expect(&["RSET"]);
            if refused {
                peer.say("500 what?");
                return peer.end();
            }
            peer.say("250 ok");
            peer.expect(&["MAIL FROM:<>", A, "DATA"]);
            peer.say("250 ok\n250 ok\n354 go");
            peer.message();
            peer.say("250 queued");
            peer.end();
        });
        let mut connection = open(address, Timeouts::uniform(Some(BOUND)), &IO);
        let (mail, rcpt) = (
            Command::Mail(ReversePath::Null, Parameters::default()),
            Command::Rcpt(
                Mailbox::parse("x@example.com").unwrap(),
                Parameters::default(),
            ),
        );
        connection.command(&mail, &IO).unwrap();
        connection.command(&rcpt, &IO).unwrap();
        let verdict = connection.send(&envelope(&["a"]), [BODY], 100, &IO);
        let (outcomes, ended) = words(&verdict.unwrap());
        match refused {
            true => assert_eq!((&*outcomes, &*ended), ("not sent", "RSET 500 what?")),
            false => assert_eq!((&*outcomes, &*ended), ("accepted 250 queued", "")),
        }
        connection.hang_up();
        thread.join().unwrap();
    }
}

#[test]
fn what_cannot_be_sent_is_told_and_costs_the_others_nothing() {
    let (outcomes, ended, _) = conversation(&["a", "jörg"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 ok\n250 ok\n354 go");
        peer.message();
        peer.say("250 queued");
        peer.again();
    });
    assert_eq!(
        outcomes,
        "accepted 250 queued, the address of RCPT TO has non-ASCII characters, and the server's last EHLO did not offer SMTPUTF8"
    );
    assert_eq!(ended, "");
    // Without a MAIL there is nothing to send, and the session is as it was.
    let (address, thread) = peer(|peer| {
        peer.greet("PIPELINING");
        peer.again();
    });
    let mut connection = open(address, Timeouts::uniform(Some(BOUND)), &IO);
    let mut envelope = envelope(&["a"]);
    envelope.sender = ReversePath::Mailbox(Mailbox::parse("jörg@example.com").unwrap());
    let error = connection.send(&envelope, [BODY], 100, &IO).unwrap_err();
    assert!(matches!(error.cause, Cause::Command(_)));
    connection.command(&Command::Noop, &IO).unwrap();
    connection.hang_up();
    thread.join().unwrap();
}

#[test]
fn the_transcript_and_the_statistics_tell_what_happened() {
    let (address, thread) = peer(|peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go");
        peer.message();
        peer.say("250 queued");
        peer.end();
    });
    let lines = RefCell::new(Vec::new());
    let trace = |line: &str| lines.borrow_mut().push(line.to_owned());
    let io = Io {
        wait: &PollWait,
        trace: Some(&trace),
    };
    let mut connection = open(address, Timeouts::uniform(Some(BOUND)), &io);
    lines.borrow_mut().clear();
    let before = connection.statistics.clone();
    let verdict = connection.send(&envelope(&["a"]), [BODY], 100, &io);
    assert!(verdict.unwrap().ended.is_none());
    let expected = [
        "C: MAIL FROM:<>",
        "C: RCPT TO:<a@example.com>",
        "C: DATA",
        "S: 250 sender",
        "S: 250 a",
        "S: 354 go",
        "C: [27 octets of message data]",
        "C: .",
        "S: 250 queued",
    ];
    assert_eq!(*lines.borrow(), expected);
    let after = &connection.statistics;
    assert_eq!(after.messages_sent, 1);
    assert_eq!(after.last_reply.as_ref().unwrap().text(), "queued");
    let commands = "MAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n".len();
    let sent = commands + BODY.len() + 1 + ".\r\n".len();
    assert_eq!(after.bytes_sent - before.bytes_sent, sent as u64);
    let replies = "250 sender\r\n250 a\r\n354 go\r\n250 queued\r\n".len();
    assert_eq!(after.bytes_received - before.bytes_received, replies as u64);
    connection.hang_up();
    thread.join().unwrap();
}

/// RFC 6531 §3.4: MAIL has SMTPUTF8 as soon as any address needs it.
#[test]
fn smtputf8_is_added_for_a_recipient_that_needs_it() {
    let (outcomes, ..) = conversation(&["a", "jörg"], |peer| {
        peer.say("220 mx");
        peer.expect(&["EHLO db.example.com"]);
        peer.say("250-mx\n250-PIPELINING\n250 SMTPUTF8");
        let jörg = "RCPT TO:<jörg@example.com>";
        peer.expect(&["MAIL FROM:<> SMTPUTF8", A, jörg, "DATA"]);
        peer.say("250 ok\n250 ok\n250 ok\n354 go");
        peer.message();
        peer.say("250 queued");
        peer.again();
    });
    assert_eq!(outcomes, "accepted 250 queued, accepted 250 queued");
}

#[test]
fn nobody_to_name_is_no_reason_for_data() {
    let (outcomes, ended, _) = conversation(&["jörg"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>"]);
        peer.say("250 ok");
        peer.expect(&["RSET"]);
        peer.say("250 ok");
        peer.again();
    });
    assert!(outcomes.contains("non-ASCII"), "{outcomes}");
    assert_eq!(ended, "");
}

#[test]
fn eight_bits_without_8bitmime_are_told() {
    for (offer, body, told) in [
        ("8BITMIME", "ü\r\n", false),
        ("SIZE", "ü\r\n", true),
        ("SIZE", "u\r\n", false),
    ] {
        let (address, thread) = peer(move |peer| {
            peer.greet(offer);
            for line in ["MAIL FROM:<>", A, "DATA"] {
                peer.expect(&[line]);
                peer.say(if line == "DATA" { "354 go" } else { "250 ok" });
            }
            peer.message();
            peer.say("250 queued");
            peer.end();
        });
        let mut connection = open(address, Timeouts::uniform(Some(BOUND)), &IO);
        let verdict = connection
            .send(&envelope(&["a"]), [body], 100, &IO)
            .unwrap();
        assert_eq!(verdict.eight_bit, told, "{offer} {body}");
        connection.hang_up();
        thread.join().unwrap();
    }
}
