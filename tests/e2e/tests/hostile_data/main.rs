//! Message data: whatever a body holds, the server hears one message with one end, and only what was meant to be sent.

mod framing;
mod phase;

use e2e::peer::Ending;
use e2e::process::{NEVER, wait_until};
use e2e::scene::{CLIENT, Stage, lasts};
use e2e::{
    Database, Failure, MailServer, Open, Peer, Scene, Script, Session, Smtp, process, vigil,
};
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::time::Duration;

/// What has been used to smuggle a second message past servers that take more than CRLF for a line end.
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

/// Up to RCPT, all welcome; 8BITMIME is offered.
fn ready() -> Script {
    Script::greeting()
        .on("EHLO", "250-peer\r\n250 8BITMIME")
        .on("MAIL FROM:", "250 ok")
        .on("RCPT TO:", "250 ok")
}

fn ready_for_one() -> Script {
    ready().message("250 queued").quit()
}

/// What this writes is what a transaction of its own sends.
type Write<'a> = &'a dyn Fn(&mut Session, &Smtp) -> Result<(), Failure>;
type BoxedWrite<'a> = Box<dyn Fn(&mut Session, &Smtp) -> Result<(), Failure> + 'a>;

/// Each in a connection of its own; hands over what the server heard between DATA and the final dot.
#[track_caller]
fn heard(scene: &mut Scene, writes: &[Write<'_>]) -> Vec<Vec<u8>> {
    let record = scene.play(ready_for_one(), |stage| {
        for write in writes {
            let smtp = address(stage);
            smtp.open_data(stage.session).unwrap();
            write(stage.session, &smtp).unwrap();
            assert_eq!(smtp.close_data(stage.session).unwrap().code, 250);
            assert_eq!(smtp.quit(stage.session).unwrap().code, 221);
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

/// Up to RCPT.
#[track_caller]
fn address(stage: &mut Stage<'_>) -> Smtp {
    address_within(stage, 60).unwrap()
}

/// The same with this time limit.
fn address_within(stage: &mut Stage<'_>, limit: i32) -> Result<Smtp, Failure> {
    let smtp = stage.open().timeout(limit).open(stage.session)?;
    smtp.ehlo(stage.session, CLIENT)?;
    smtp.mail(stage.session, "a@example.test")?;
    smtp.rcpt(stage.session, "b@example.test")?;
    Ok(smtp)
}

/// No bare CR, no bare LF, no NUL, and one final dot, with nothing but QUIT behind it.
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

/// What a server makes of the lines it heard.
fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| line.strip_prefix(b".").unwrap_or(line))
        .copied()
        .collect()
}

/// The body with the line ends that it should have had.
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
