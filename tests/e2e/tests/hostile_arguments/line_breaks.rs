//! Line breaks and other control characters in every argument.

use super::*;

/// The value is not quoted either, because it may be a secret.
#[test]
fn a_line_break_in_any_argument_is_refused_and_nothing_is_sent() {
    let mut bed = bed();
    let payloads = [
        "a@b>\r\nRCPT TO:<evil@x",
        "a@example.test\nRSET",
        "a@example.test\rRSET",
        "x\r\nMAIL FROM:<a>",
        "BODY=8BITMIME\r\nDATA",
        "SIZE=1 AUTH=<>\nX",
        "NOOP\r\nRSET",
        "PLAIN\r\nNOOP",
        "file:/tmp\r\nNOOP",
        "a\r\n",
        "a\n",
        "a\r",
        "\r\na",
        "\n",
        "\r",
    ];
    let lines = lines_of(&mut bed, |case, smtp| {
        for payload in payloads {
            for (argument, call) in ON_THE_WIRE.iter().chain(ELSEWHERE) {
                let failure = call(case.session, smtp, payload)
                    .expect_err(&format!("{argument}: {payload:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{argument} {payload:?}: {failure}"
                );
                let name = argument.split(' ').nth(1).unwrap();
                assert!(
                    failure.message.contains(&format!("\"{name}\"")),
                    "{argument}: {failure}"
                );
            }
        }
        assert_eq!(case.sessions(), 1);
    });
    assert_eq!(lines, [""; 0]);
}

/// All other control characters, including C1 and DEL. A password may contain them, because it is
/// sent as base64.
#[test]
fn no_control_character_gets_into_a_command_line() {
    let mut bed = bed();
    let lines = lines_of(&mut bed, |case, smtp| {
        for control in [
            "\x01", "\t", "\x0b", "\x1b[2J", "\x7f", "\u{80}", "\u{85}", "\u{9f}",
        ] {
            for (argument, call) in ON_THE_WIRE.iter().chain(ELSEWHERE) {
                if argument.starts_with("auth ") && *argument != "auth schemes" {
                    continue;
                }
                let failure = call(case.session, smtp, &format!("a{control}b"))
                    .expect_err(&format!("{argument}: {control:?} passed"));
                assert_eq!(
                    failure.sqlstate, "22023",
                    "{argument} {control:?}: {failure}"
                );
                assert!(
                    !format!("{failure}").contains(control),
                    "{argument}: {failure}"
                );
            }
        }
    });
    assert_eq!(lines, [""; 0]);
}

/// PostgreSQL's text cannot contain NUL, so it can only come as bytes or percent-encoded.
#[test]
fn a_nul_is_refused_wherever_it_can_come_from() {
    let mut bed = bed();
    let record = bed.play(
        agreeable(0)
            .on("MAIL", "250 ok")
            .on("RCPT", "250 ok")
            .message("250 ok")
            .quit(),
        |case| {
            let located = case.open().wallet("file:/tmp/a%00b").open(case.session);
            assert!(
                located
                    .unwrap_err()
                    .expect("22023")
                    .message
                    .contains("wallet_path")
            );
            let smtp = case.greet();
            for call in [
                "ehlo",
                "helo",
                "mail",
                "rcpt",
                "vrfy",
                "command",
                "write_data",
            ] {
                let sql = format!(
                    "SELECT utl_smtp.{call}('{}', convert_from('\\x610062', 'UTF8'))",
                    smtp.handle
                );
                case.session.try_run(&sql).unwrap_err().expect("22021");
            }
            smtp.mail(case.session, "a@example.test").unwrap();
            smtp.rcpt(case.session, "b@example.test").unwrap();
            smtp.open_data(case.session).unwrap();
            smtp.write_data(case.session, "one").unwrap();
            let nul = smtp.write_raw_data(case.session, b"x\0y").unwrap_err();
            assert!(nul.expect("22023").message.contains("\"data\""));
            smtp.close_data(case.session).unwrap();
            smtp.quit(case.session).unwrap();
        },
    );
    assert_eq!(record.only().message(), b"one\r\n");
}

/// For every argument the server receives one line or nothing.
#[test]
fn random_arguments_make_one_line_or_none() {
    let mut bed = bed();
    let seed = 0x1234_5678_9abc_def0 ^ u64::from(std::process::id());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut sent = 0;
    let mut refused = 0;
    let record = bed.play(agreeable(4000), |case| {
        let smtp = case.greet();
        for _ in 0..100 {
            for (argument, call) in ON_THE_WIRE {
                let text = random.text();
                match call(case.session, &smtp, &text) {
                    Ok(()) => sent += 1,
                    Err(failure) if failure.sqlstate == "U9279" => sent += 1,
                    Err(failure) => {
                        refused += 1;
                        assert_eq!(failure.sqlstate, "22023", "{argument} {text:?}: {failure}");
                    }
                }
            }
        }
        smtp.quit(case.session).unwrap();
    });
    assert!(
        sent > 100 && refused > 100,
        "{sent} sent, {refused} refused"
    );
    let heard = &record.only().plain;
    let lines = heard.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    // EHLO and QUIT besides, and what follows the last line end.
    assert_eq!(lines.len(), sent + 3);
    assert_eq!(lines.last().unwrap(), b"");
    for line in &lines[..lines.len() - 1] {
        let text = line.strip_suffix(b"\r").expect("a bare LF");
        assert!(
            !text.contains(&b'\r') && !text.contains(&0),
            "{}",
            text.escape_ascii()
        );
        assert!(std::str::from_utf8(text).is_ok(), "{}", text.escape_ascii());
    }
}

/// Xorshift, with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Addresses and names with random invalid characters.
    fn text(&mut self) -> String {
        let plain = [
            "a",
            "example.test",
            "@",
            "user@",
            "SIZE=1",
            "b",
            "<",
            ">",
            "\"",
        ];
        let nasty = [
            "\r",
            "\n",
            "\r\n",
            "\t",
            " ",
            "\\",
            ".",
            "\u{2028}",
            "\u{85}",
            "é",
            "用",
            "\u{1f600}",
        ];
        let length = 1 + self.below(4);
        let mut text = String::new();
        for _ in 0..length {
            match self.below(8) {
                0 | 1 => text.push_str(nasty[self.below(nasty.len() as u64) as usize]),
                2 => text.extend(char::from_u32(1 + self.below(0x10_ffff) as u32)),
                _ => text.push_str(plain[self.below(plain.len() as u64) as usize]),
            }
        }
        text
    }
}
