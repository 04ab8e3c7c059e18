//! Well-formed and malformed replies, and their size limits.

use super::*;

/// RFC 5321 §4.2 requires clients to act on the code alone: any text or none, CRLF or bare LF.
#[test]
fn replies_with_any_text_or_none_are_understood() {
    let mut bed = TestBed::new();
    for (wire, texts) in [
        (&b"250\r\n"[..], &[""][..]),
        (b"250 \r\n", &[""]),
        (b"250-\r\n250\r\n", &["", ""]),
        (b"250-\r\n250 \r\n", &["", ""]),
        (b"250 550 denied\r\n", &["550 denied"]),
        (b"250  two blanks \r\n", &[" two blanks "]),
        (b"250-a\n250 b\n", &["a", "b"]),
        (b"250-a\n250-b\r\n250 c\n", &["a", "b", "c"]),
        (b"250 -\r\n", &["-"]),
    ] {
        let script = Script::greeting()
            .expect_start("EHLO")
            .send(wire)
            .on("NOOP", IN_STEP);
        bed.play(script, |case| {
            let smtp = case.connect();
            let replies = smtp.ehlo(case.session, CLIENT).unwrap();
            let heard: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
            assert_eq!(heard, texts, "{}", wire.escape_ascii());
            assert!(replies.iter().all(|reply| reply.code == 250));
            assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
        });
    }
}

/// A line without a code from 200 to 599 and a separator ends the session at once.
#[test]
fn malformed_replies_end_the_session() {
    let mut bed = TestBed::new();
    let malformed = [
        "2a0 x",
        "25 x",
        "2500 x",
        "abc",
        "",
        "199 x",
        "600 x",
        "-1",
        " 250 x",
        "250\tx",
        "250_x",
        "2 50 x",
        "\0\0\0",
        "999 x",
        "000 x",
        "+250 x",
        "25O x",
        "²50 x",
        "250-a\r\n251 b",
        "250-a\r\nx",
        "250-a\r\n\r\n250 b",
        "250-a\r\n25",
        "HTTP/1.1 400 Bad Request",
        "* OK IMAP",
    ];
    let script = |line: &&str| Noop.script().send(format!("{line}\r\n"));
    let scripts = malformed.iter().map(script).collect();
    bed.play_each(scripts, &[], |case| {
        for line in malformed {
            let smtp = Noop.prepare(case, 60);
            let failure = smtp.noop(case.session).expect_err(line).expect("U9278");
            assert!(failure.message.contains("421"), "{line:?}: {failure}");
            assert!(
                failure.detail.contains("alformed reply"),
                "{line:?}: {failure}"
            );
            let shown = [&failure.message[..], &failure.detail].concat();
            assert!(!shown.contains(char::is_control), "{line:?}: {shown:?}");
            assert_over(case.session, &smtp);
        }
    });
}

/// The same at every other step; quit and the functions that return replies return 421.
#[test]
fn malformed_replies_end_the_session_at_every_step() {
    let mut bed = bed();
    let scripts = STEPS.iter().map(|step| step.script().send("2a0 x\r\n"));
    bed.play_each(scripts.collect(), &[PASSWORD], |case| {
        for step in STEPS {
            let smtp = step.prepare(case, 60);
            assert_lost(step, step.call(case.session, &smtp));
            assert_over(case.session, &smtp);
            assert_eq!(case.sessions(), 0);
        }
    });
}

/// Invalid UTF-8: the code counts, invalid bytes are escaped, valid text is kept.
#[test]
fn bytes_that_are_no_text_are_made_harmless() {
    let mut bed = TestBed::new();
    let mail = "📧".as_bytes();
    let (half, rest) = mail.split_at(2);
    let cases: [(Vec<&[u8]>, &str); 8] = [
        (vec![b"250 a\0b\r\n"], "a?b"),
        (vec![b"250 a\xffb\r\n"], "a?b"),
        (vec![b"250 \x1b[31mred\x07\r\n"], "?[31mred?"),
        (vec![b"250 lone \xc3\r\n"], "lone ?"),
        (vec![b"250 ", half, rest, b"\r\n"], "📧"),
        (vec![b"250 over\xc0\xaflong\r\n"], "over??long"),
        (vec!["250 c1 \u{9b}31m\r\n".as_bytes()], "c1 ?31m"),
        (vec![b"250 car\rriage\r\n"], "car?riage"),
    ];
    for (pieces, text) in cases {
        let script = Script::greeting().expect_start("NOOP").pieces(&pieces);
        bed.play(script.on("NOOP", IN_STEP), |case| {
            let smtp = case.connect();
            let reply = smtp.noop(case.session).unwrap();
            assert_eq!((reply.code, reply.text.as_str()), (250, text));
            assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
        });
    }
    // The same in an error's words.
    let script = Script::greeting().on("NOOP", "550 \x1b]0;title\x07 no\u{9c}");
    bed.play(script, |case| {
        let smtp = case.connect();
        let failure = smtp.noop(case.session).unwrap_err().expect("U9279");
        let shown = [&failure.message[..], &failure.detail, &failure.hint].concat();
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(shown.contains("title"), "{shown}");
    });
}

/// The caps apply while the peer keeps sending: it does not have to stop, and nothing accumulates.
#[test]
fn a_flood_ends_at_the_caps() {
    let mut bed = bed();
    let floods = [
        ("250-x\r\n".repeat(4_000_000), "65536"),
        ("2".repeat(28_000_000), "4096"),
        ("250 ".to_owned() + &"x".repeat(28_000_000), "4096"),
    ];
    for (flood, cap) in floods {
        for step in [Ehlo, Noop] {
            let record = bed.play(step.script().send(&flood), |case| {
                let smtp = step.prepare(case, 60);
                let failure = step.call(case.session, &smtp).unwrap_err().expect("U9278");
                assert!(failure.detail.contains(cap), "{failure}");
                assert_over(case.session, &smtp);
            });
            assert!(
                matches!(record.only().ending, Ending::ClientLeft(_)),
                "all of the flood was taken"
            );
        }
        let record = bed.play(Script::new().send(&flood), |case| {
            case.open().open(case.session).unwrap_err().expect("U9278");
        });
        assert!(matches!(record.only().ending, Ending::ClientLeft(_)));
    }
}

/// The exact caps. One octet more ends the session even if the peer then waits.
#[test]
fn the_caps_are_exact() {
    let mut bed = TestBed::new();
    let line = |length: usize| format!("250 {}\r\n", "x".repeat(length - 6));
    let reply = |length: usize| {
        let begin = "250-123456789\r\n".repeat(length / 15 - 1);
        let end = line(length - begin.len());
        begin + &end
    };
    for (answer, fits) in [
        (line(4096), true),
        (line(4097), false),
        ("2".repeat(4097), false),
        (reply(65536), true),
        (reply(65537), false),
        ("250-x\r\n".repeat(65536 / 7 + 1), false),
    ] {
        let script = Script::greeting()
            .expect_start("NOOP")
            .send(&answer)
            .on("NOOP", IN_STEP);
        bed.play(script, |case| {
            let began = Instant::now();
            let smtp = case.open().timeout(NEVER).open(case.session).unwrap();
            let outcome = smtp.noop(case.session);
            if fits {
                outcome.unwrap();
                assert_eq!(smtp.noop(case.session).unwrap().text, "in step");
            } else {
                outcome.unwrap_err().expect("U9278");
                assert_over(case.session, &smtp);
            }
            assert!(began.elapsed() < BOUND, "it waited for the deadline");
        });
    }
}

/// However a server's replies are split into packets, the result is the same.
#[test]
fn random_replies_are_taken_the_same_however_they_are_cut() {
    let mut bed = TestBed::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut scripts = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let stream = random.stream();
        let begin = || Script::greeting().expect_start("EHLO");
        scripts.push(begin().send(&stream).cut());
        let mut cut = begin();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(random.below(rest.len().min(40)) + 1);
            cut = cut.send(piece);
            rest = others;
        }
        scripts.push(cut.cut());
        streams.push(stream);
    }
    let mut accepted = 0;
    bed.play_each(scripts, &[], |case| {
        for stream in &streams {
            let mut outcome = || {
                let smtp = case.connect();
                let outcome = smtp.ehlo(case.session, CLIENT);
                let _ = smtp.noop(case.session);
                smtp.close_connection(case.session).unwrap();
                outcome.map_err(|failure| (failure.sqlstate, failure.message))
            };
            let (whole, cut) = (outcome(), outcome());
            assert_eq!(whole, cut, "{}", stream.escape_ascii());
            if let Err((sqlstate, _)) = &whole {
                assert!(["U9278", "U9279"].contains(&sqlstate.as_str()), "{whole:?}");
            }
            accepted += usize::from(whole.is_ok());
        }
    });
    assert!(
        (5..95).contains(&accepted),
        "{accepted} of 100 are good: no mix"
    );
}

/// A generator with a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Mostly reply lines, sometimes something else.
    fn stream(&mut self) -> Vec<u8> {
        let code = ["250", "250", "250", "451", "550", "421", "354", "299"][self.below(8)];
        let mut stream = Vec::new();
        for _ in 0..self.below(6) {
            let text: Vec<u8> = (0..self.below(30)).map(|_| self.next() as u8).collect();
            match self.below(12) {
                0 => stream.extend(text),
                1 => stream.extend(b"\r\n"),
                2 => stream.extend([b"250-".as_slice(), &text, b"\r\n"].concat()),
                _ => stream.extend(format!("{code}-{}\r\n", text.escape_ascii()).into_bytes()),
            }
        }
        let end = ["\r\n", "\r\n", "\r\n", "\n", ""][self.below(5)];
        stream.extend(format!("{code} end{end}").into_bytes());
        stream
    }
}
