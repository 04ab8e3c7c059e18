//! Injection through arguments. No argument can end a line, start a second command or add
//! parameters, and a refused argument sends nothing.

mod encodings;
mod lengths;
mod line_breaks;
mod syntax;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::smtp::Argument;
use e2e::test_bed::{CLIENT, Case};
use e2e::{Database, Failure, Open, Peer, Script, Session, Smtp, TestBed};

/// Calls a routine with this text argument and valid other arguments.
type Call = fn(&mut Session, &Smtp, &str) -> Result<(), Failure>;

/// Every text argument that becomes part of a command line.
const ON_THE_WIRE: &[(&str, Call)] = &[
    ("helo domain", |s, c, x| discard(c.helo(s, x))),
    ("ehlo domain", |s, c, x| discard(c.ehlo(s, x))),
    ("mail sender", |s, c, x| discard(c.mail(s, x))),
    ("mail parameters", |s, c, x| {
        discard(c.reply(s, "mail", &[&"a@example.test", &x]))
    }),
    ("rcpt recipient", |s, c, x| discard(c.rcpt(s, x))),
    ("rcpt parameters", |s, c, x| {
        discard(c.reply(s, "rcpt", &[&"a@example.test", &x]))
    }),
    ("vrfy recipient", |s, c, x| {
        discard(c.reply(s, "vrfy", &[&x]))
    }),
    ("help command", |s, c, x| {
        discard(c.replies(s, "help", &[&x]))
    }),
    ("command cmd", |s, c, x| discard(c.command(s, x, None))),
    ("command arg", |s, c, x| {
        discard(c.command(s, "NOOP", Some(x)))
    }),
    ("command_replies cmd", |s, c, x| {
        discard(c.replies(s, "command_replies", &[&x]))
    }),
    ("command_replies arg", |s, c, x| {
        discard(c.replies(s, "command_replies", &[&"NOOP", &x]))
    }),
    ("auth username", |s, c, x| {
        discard(c.auth(s, x, "secret", "PLAIN"))
    }),
    ("auth password", |s, c, x| {
        discard(c.auth(s, "user", x, "PLAIN"))
    }),
];

/// Arguments that are checked but not sent.
const ELSEWHERE: &[(&str, Call)] = &[
    ("auth schemes", |s, c, x| {
        discard(c.auth(s, "user", "secret", x))
    }),
    ("starttls secure_host", |s, c, x| {
        discard(c.reply(s, "starttls", &[&x]))
    }),
    ("open_connection host", |s, _, x| {
        discard(Open::to(x, 25).open(s))
    }),
    ("open_connection secure_host", |s, _, x| {
        discard(Open::to("127.0.0.1", 25).secure_host(x).open(s))
    }),
    ("open_connection wallet_path", |s, _, x| {
        discard(Open::to("127.0.0.1", 25).wallet(x).open(s))
    }),
];

fn discard<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    result.map(drop)
}

/// A server that offers every extension and accepts everything except AUTH.
fn agreeable(lines: usize) -> Script {
    const OFFERS: &[u8] =
        b"250-peer\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";
    (0..=lines).fold(Script::greeting(), |script, _| {
        script.answer(|line| match line.split(' ').next() {
            Some("EHLO") => OFFERS.to_vec(),
            Some("AUTH") => b"535 no\r\n".to_vec(),
            Some("QUIT") => b"221 bye\r\n".to_vec(),
            _ => b"250 ok\r\n".to_vec(),
        })
    })
}

/// A test bed that allows PLAIN without TLS, so that AUTH gets as far as its arguments.
fn bed() -> TestBed {
    let bed = TestBed::new();
    bed.database.set("utl_smtp.allow_cleartext_auth", "on");
    let session = bed.database.connect(&bed.role);
    TestBed { session, ..bed }
}

/// Runs `act` after EHLO, sends QUIT, and returns the lines between the two.
#[track_caller]
fn lines_of(bed: &mut TestBed, act: impl FnOnce(&mut Case<'_>, &Smtp)) -> Vec<String> {
    let record = bed.play(agreeable(4000), |case| {
        let smtp = case.greet();
        act(case, &smtp);
        assert_eq!(smtp.quit(case.session).unwrap().code, 221);
    });
    let mut lines = record.only().lines();
    assert_eq!(lines.remove(0), format!("EHLO {CLIENT}"));
    assert_eq!(lines.pop().unwrap(), "QUIT");
    lines
}
