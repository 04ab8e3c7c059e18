//! `send_message`: a whole message in one call, and the outcome for each recipient.

mod arguments;
mod endings;
mod replies;
mod servers;

use e2e::invariants::assert_over;
use e2e::test_bed::{CLIENT, Case, TestBed, lasts};
use e2e::{Failure, MailServer, Open, Reply, Script, Session, Smtp};

const SENDER: &str = "app@example.test";
const A: &str = "a@example.test";
const B: &str = "b@example.test";
const C: &str = "c@example.test";
const MESSAGE: &str = "Subject: hello\r\n\r\n.dotted\r\n";
const ON_THE_WIRE: &[u8] = b"Subject: hello\r\n\r\n..dotted\r\n";

/// A peer that offers these extensions.
fn offering(extensions: &[&str]) -> Script {
    let mut lines = vec!["peer", "HELP"];
    lines.extend(extensions);
    let last = lines.pop().unwrap();
    let lines: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
    Script::greeting().on("EHLO", &format!("{lines}250 {last}"))
}

fn pipelining() -> Script {
    offering(&["PIPELINING"])
}

/// Extensions of [`Script`].
trait Group {
    /// Reads MAIL, RCPT for each of these, and DATA, and then sends the replies: a client that
    /// waits for the reply to one of them waits for ever.
    fn group(self, recipients: &[&str], replies: &[&str]) -> Self;

    /// Reads the message and replies.
    fn verdict(self, reply: &str) -> Self;

    /// Replies to the NOOP by which a test finds the session in step.
    fn in_step(self) -> Self;
}

impl Group for Script {
    fn group(self, recipients: &[&str], replies: &[&str]) -> Self {
        let script = self.expect(format!("MAIL FROM:<{SENDER}>"));
        let rcpt = |script: Script, to: &&str| script.expect(format!("RCPT TO:<{to}>"));
        let script = recipients.iter().fold(script, rcpt).expect("DATA");
        script.send(lines(replies))
    }

    fn verdict(self, reply: &str) -> Self {
        self.body().send(lines(&[reply]))
    }

    fn in_step(self) -> Self {
        self.on("NOOP", "250 in step").quit()
    }
}

fn lines(replies: &[&str]) -> String {
    replies.iter().map(|line| format!("{line}\r\n")).collect()
}

/// Sends [`MESSAGE`]; each row in words.
fn send(case: &mut Case<'_>, smtp: &Smtp, recipients: &[&str]) -> Result<Vec<String>, Failure> {
    let rows = smtp.send_message(case.session, SENDER, recipients, MESSAGE)?;
    Ok(words(&rows))
}

fn words(rows: &[(String, Reply)]) -> Vec<String> {
    let row = |(recipient, reply): &(String, Reply)| {
        format!("{recipient}: {} {}", reply.code, reply.text)
    };
    rows.iter().map(row).collect()
}

/// The session is good for the next command, whose reply is its own.
#[track_caller]
fn assert_in_step(session: &mut Session, smtp: &Smtp) {
    assert_eq!(smtp.noop(session).unwrap().text, "in step");
    smtp.quit(session).unwrap();
}
