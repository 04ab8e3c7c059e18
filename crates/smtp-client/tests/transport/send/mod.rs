//! One message to many recipients, against servers that follow a script.

mod buffers;
mod endings;
mod outcomes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use smtp_client::connection::{Cause, Connection, Io, Target};
use smtp_client::send::{Ended, Verdict};
use smtp_client::timeouts::Timeouts;
use smtp_client::wait::{Deadline, PollWait};
use smtp_core::command::Command;
use smtp_core::envelope::Envelope;
use smtp_core::text::{Domain, Mailbox, Parameters, ReversePath};
use smtp_core::transaction::Outcome;

use crate::support::BOUND;

const IO: Io<'static> = Io {
    wait: &PollWait,
    trace: None,
};
const BODY: &[u8] = b"Subject: hello\r\n\r\n.dotted\r\n";
const ON_THE_WIRE: &str = "Subject: hello\n\n..dotted\n";

/// The server's end of a conversation.
struct Peer<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Peer<S> {
    /// Lines are divided by `\n`.
    fn say(&mut self, lines: &str) {
        let lines = format!("{}\r\n", lines.replace('\n', "\r\n"));
        self.0.get_mut().write_all(lines.as_bytes()).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    /// The next line; empty at the end.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        // A client that is gone may have reset the connection.
        let _ = self.0.read_line(&mut line);
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.hear(), *line);
        }
    }

    /// The text of a message up to the final dot.
    fn message(&mut self) -> String {
        let mut text = String::new();
        loop {
            match &*self.hear() {
                "." => return text,
                line => text.extend([line, "\n"]),
            }
        }
    }

    /// Greets, and offers this after EHLO.
    fn greet(&mut self, offer: &str) {
        self.say("220 mx");
        self.expect(&["EHLO db.example.com"]);
        self.say(&format!("250-mx\n250 {offer}"));
    }

    /// Nothing else came.
    fn end(&mut self) {
        assert_eq!(self.hear(), "");
    }
}

/// A server for one connection on a thread of its own.
fn peer(
    script: impl FnOnce(&mut Peer<TcpStream>) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        script(&mut Peer(BufReader::new(socket)));
    });
    (address, thread)
}

/// A conversation after EHLO.
fn open(address: SocketAddr, timeouts: Timeouts, io: &Io<'_>) -> Connection {
    let target = Target {
        addresses: &[address],
        timeouts,
        deadline: Deadline::after(Some(BOUND)),
        implicit_tls: None,
    };
    let (connection, _) = Connection::open(target, io).unwrap();
    hello(connection, io)
}

fn hello(mut connection: Connection, io: &Io<'_>) -> Connection {
    let hello = Command::Ehlo(Domain::parse("db.example.com").unwrap());
    connection.command(&hello, io).unwrap();
    connection
}

fn envelope(recipients: &[&str]) -> Envelope {
    let mailbox = |name: &&str| Mailbox::parse(&format!("{name}@example.com")).unwrap();
    Envelope {
        sender: ReversePath::Null,
        parameters: Parameters::default(),
        recipients: recipients.iter().map(|name| mailbox(name).into()).collect(),
    }
}

/// The outcome for each recipient, and why the session ended, as text.
fn words(verdict: &Verdict) -> (String, String) {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Accepted(reply) => format!("accepted {reply}"),
        Outcome::Refused { verb, reply } => format!("{verb} {reply}"),
        Outcome::Unsendable(error) => format!("{error}"),
        Outcome::NotSent => "not sent".to_owned(),
        Outcome::Unknown => "unknown".to_owned(),
    };
    let outcomes: Vec<String> = verdict.outcomes.iter().map(outcome).collect();
    let ended = match &verdict.ended {
        None => String::new(),
        Some(Ended::Said { verb, reply }) => format!("{verb} {reply}"),
        Some(Ended::Failed(failure)) => match &failure.cause {
            Cause::Net(error) => format!("{}: {error}", failure.verb),
            Cause::Session(error) => format!("{}: {error}", failure.verb),
            Cause::Command(error) => format!("{}: {error}", failure.verb),
        },
    };
    (outcomes.join(", "), ended)
}

/// Sends to these recipients while the server follows the script.
fn conversation(
    recipients: &[&str],
    script: impl FnOnce(&mut Peer<TcpStream>) + Send + 'static,
) -> (String, String, u64) {
    let timeouts = Timeouts::uniform(Some(BOUND));
    let (outcomes, ended, connection) = run(recipients, timeouts, script);
    (outcomes, ended, connection.statistics.messages_sent)
}

/// The same; the server's thread is over when this returns.
fn run(
    recipients: &[&str],
    timeouts: Timeouts,
    script: impl FnOnce(&mut Peer<TcpStream>) + Send + 'static,
) -> (String, String, Connection) {
    let (address, thread) = peer(script);
    let mut connection = open(address, timeouts, &IO);
    let verdict = connection.send(&envelope(recipients), [BODY], 100, &IO);
    let verdict = verdict.unwrap();
    assert_eq!(verdict.ended.is_some(), connection.is_over());
    if verdict.ended.is_none() {
        // The session is good for the next command.
        let reply = connection.command(&Command::Noop, &IO).unwrap();
        assert_eq!(reply.text(), "again");
    }
    connection.hang_up();
    thread.join().unwrap();
    let (outcomes, ended) = words(&verdict);
    (outcomes, ended, connection)
}

impl<S: Read + Write> Peer<S> {
    /// The session goes on.
    fn again(&mut self) {
        self.expect(&["NOOP"]);
        self.say("250 again");
        self.end();
    }
}

const A: &str = "RCPT TO:<a@example.com>";
const B: &str = "RCPT TO:<b@example.com>";
const C: &str = "RCPT TO:<c@example.com>";
