//! Message data. Whatever the body contains, the server receives one message with one end, and
//! nothing else.

mod framing;
mod phase;

use e2e::peer::Ending;
use e2e::process::{NEVER, wait_until};
use e2e::test_bed::{CLIENT, Case, lasts};
use e2e::{
    Database, Failure, MailServer, Open, Peer, Script, Session, Smtp, TestBed, invariants, process,
};
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::time::Duration;

/// Sequences used to smuggle a second message past servers that accept more than CRLF as line
/// ending.
const SMUGGLING: [&str; 8] = [
    "\n.\n",
    "\n.\r",
    "\r.\n",
    "\r.\r",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
];
const SMUGGLING_WITH_NUL: &[u8] = b"\r\n\0.\r\n";

/// Accepts everything up to RCPT, and offers 8BITMIME.
fn ready() -> Script {
    Script::greeting()
        .on("EHLO", "250-peer\r\n250 8BITMIME")
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
}

fn ready_for_one() -> Script {
    ready().message("250 queued").quit()
}

/// Writes the body of one transaction.
type Write<'a> = &'a dyn Fn(&mut Session, &Smtp) -> Result<(), Failure>;
type BoxedWrite<'a> = Box<dyn Fn(&mut Session, &Smtp) -> Result<(), Failure> + 'a>;

/// Runs each in its own connection; returns what the server received between DATA and the final
/// dot.
#[track_caller]
fn heard(bed: &mut TestBed, writes: &[Write<'_>]) -> Vec<Vec<u8>> {
    let record = bed.play(ready_for_one(), |case| {
        for write in writes {
            let smtp = address(case);
            smtp.open_data(case.session).unwrap();
            write(case.session, &smtp).unwrap();
            assert_eq!(smtp.close_data(case.session).unwrap().code, 250);
            assert_eq!(smtp.quit(case.session).unwrap().code, 221);
        }
    });
    let conversations = record.conversations.iter();
    conversations
        .map(|conversation| {
            assert!(conversation.completed(), "{conversation}");
            check_framing(&conversation.plain);
            conversation.message()
        })
        .collect()
}

/// Opens a connection and sends everything up to RCPT.
#[track_caller]
fn address(case: &mut Case<'_>) -> Smtp {
    address_within(case, 60).unwrap()
}

/// The same with a time limit.
fn address_within(case: &mut Case<'_>, limit: i32) -> Result<Smtp, Failure> {
    let smtp = case.open().timeout(limit).open(case.session)?;
    smtp.ehlo(case.session, CLIENT)?;
    smtp.mail(case.session, "a@example.test")?;
    smtp.rcpt(case.session, "b@example.test")?;
    Ok(smtp)
}

/// Asserts that there is no bare CR, bare LF or NUL, and one final dot followed only by QUIT.
#[track_caller]
fn check_framing(wire: &[u8]) {
    let text = wire.escape_ascii().to_string();
    assert!(!wire.contains(&0), "{text}");
    for (index, byte) in wire.iter().enumerate() {
        let fits = match byte {
            b'\r' => wire.get(index + 1) == Some(&b'\n'),
            b'\n' => index > 0 && wire[index - 1] == b'\r',
            _ => true,
        };
        assert!(fits, "a bare {} in {text}", byte.escape_ascii());
    }
    let end = wire
        .windows(5)
        .position(|five| five == b"\r\n.\r\n")
        .expect("no final dot");
    assert_eq!(
        &wire[end + 5..],
        b"QUIT\r\n",
        "behind the first final dot of {text}"
    );
}

/// The message that a server reads from the received lines.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

/// The body with correct line endings.
fn normalised(body: &str) -> Vec<u8> {
    let lines = body.replace("\r\n", "\n").replace('\r', "\n");
    let ended = if lines.is_empty() || lines.ends_with('\n') {
        lines
    } else {
        lines + "\n"
    };
    ended.replace('\n', "\r\n").into_bytes()
}

fn write_pieces(
    session: &mut Session,
    smtp: &Smtp,
    pieces: &[&str],
    raw: bool,
) -> Result<(), Failure> {
    pieces.iter().try_for_each(|piece| match raw {
        true => smtp.write_raw_data(session, piece.as_bytes()),
        false => smtp.write_data(session, piece),
    })
}
