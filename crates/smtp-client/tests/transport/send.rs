//! One message to many recipients, against servers that follow a script.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use smtp_client::connection::{Cause, Connection, Failure, Io, Target};
use smtp_client::send::{Ended, Verdict};
use smtp_client::{Deadline, Interest, Interrupted, NetError, PollWait, Timeouts, Wait};
use smtp_core::command::{Command, Verb};
use smtp_core::envelope::Envelope;
use smtp_core::text::{Domain, Mailbox, Parameters, ReversePath};
use smtp_core::transaction::Outcome;
use socket2::{Domain as Family, SockRef, Socket, Type};

use crate::support::{BOUND, Client, Credentials, NAME, ServerSetup, leaf_params, root, wallet};

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

/// What became of each recipient, and why the session ended, in words.
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

/// 421 is the verdict on its own recipient; the others were not judged.
#[test]
fn a_421_in_the_middle_of_a_group_ends_the_session() {
    let (outcomes, ended, sent) = conversation(&["a", "b", "c"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, C, "DATA"]);
        peer.say("250 sender\n550 a\n421 b");
        peer.end();
    });
    assert_eq!(outcomes, "RCPT TO 550 a, RCPT TO 421 b, not sent");
    assert_eq!((&*ended, sent), ("RCPT TO 421 b", 0));
}

/// The replies move to the wrong commands, and DATA gets one that can't be its own: nothing is
/// sent.
#[test]
fn one_reply_too_many_ends_the_session_before_the_message() {
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n250 another\n354 go");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert_eq!(ended, "DATA: unexpected reply: 250 another");
    // Behind 354 it would be taken for the reply to the final dot.
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go\n250 another");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert!(ended.ends_with("waiting for it: 250 another"), "{ended}");
}

#[test]
fn one_reply_too_few_is_a_timeout_of_the_command_that_has_none() {
    let timeouts = Timeouts {
        data: Some(Duration::from_millis(100)),
        ..Timeouts::uniform(Some(BOUND))
    };
    let (outcomes, ended, _) = run(&["a"], timeouts, |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a");
        peer.end();
    });
    assert_eq!(outcomes, "not sent");
    assert_eq!(ended, "DATA: timed out while reading");
}

#[test]
fn a_connection_lost_after_the_dot_is_unknown_and_before_is_not_sent() {
    let (outcomes, ended, sent) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("250 sender\n250 a\n550 b\n354 go");
        peer.message();
    });
    assert_eq!(outcomes, "unknown, RCPT TO 550 b");
    assert_eq!(
        (&*ended, sent),
        (
            "end of data: connection lost while reading: the server closed the connection",
            0
        )
    );
    let (outcomes, ended, _) = conversation(&["a", "b"], |peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, B, "DATA"]);
        peer.say("250 sender\n250 a");
    });
    assert_eq!(outcomes, "not sent, not sent");
    assert_eq!(
        ended,
        "RCPT TO: connection lost while reading: the server closed the connection"
    );
}

#[test]
fn silence_after_the_dot_is_unknown_when_the_dots_own_limit_is_over() {
    let limit = Some(Duration::from_millis(100));
    let (address, thread) = peer(|peer| {
        peer.greet("PIPELINING");
        peer.expect(&["MAIL FROM:<>", A, "DATA"]);
        peer.say("250 sender\n250 a\n354 go");
        peer.message();
        peer.end();
    });
    let timeouts = Timeouts {
        final_dot: limit,
        ..Timeouts::uniform(None)
    };
    let mut connection = open(address, timeouts, &IO);
    let verdict = connection.send(&envelope(&["a"]), [BODY], 100, &IO);
    let verdict = verdict.unwrap();
    assert!(matches!(verdict.outcomes[..], [Outcome::Unknown]));
    let Some(Ended::Failed(Failure {
        verb: Verb::FinalDot,
        cause: Cause::Net(NetError::Timeout(_)),
        timeout,
        message_sent: true,
    })) = verdict.ended
    else {
        panic!("{:?}", verdict.ended);
    };
    assert_eq!(timeout, limit);
    connection.hang_up();
    thread.join().unwrap();
}

/// The next message could reach the recipients of this one.
#[test]
fn a_refused_rset_ends_the_session() {
    let (outcomes, ended, _) = conversation(&["a"], |peer| {
        peer.greet("SIZE");
        for (line, reply) in [
            ("MAIL FROM:<>", "250 ok"),
            (A, "550 a"),
            ("RSET", "500 what?"),
        ] {
            peer.expect(&[line]);
            peer.say(reply);
        }
        peer.end();
    });
    assert_eq!(outcomes, "RCPT TO 550 a");
    assert_eq!(ended, "RSET 500 what?");
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

/// Makes the socket's buffers small at the first wait, and tells the server to go on then.
struct SmallBuffers {
    done: Cell<bool>,
    server: mpsc::Sender<()>,
}

const SMALL: usize = 16 * 1024;

impl Wait for SmallBuffers {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted> {
        if !self.done.replace(true) {
            let socket = SockRef::from(&fd);
            socket.set_send_buffer_size(SMALL).unwrap();
            socket.set_recv_buffer_size(SMALL).unwrap();
            self.server.send(()).unwrap();
        }
        PollWait.wait(fd, interest, deadline)
    }

    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// A listener whose connections have small buffers.
fn small_listener() -> TcpListener {
    let socket = Socket::new(Family::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(SMALL).unwrap();
    socket.set_recv_buffer_size(SMALL).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    socket.into()
}

/// Answers each command by a long reply, and reads no further until that has been taken.
fn answer_at_length<S: Read + Write>(peer: &mut Peer<S>) {
    let text = "x".repeat(250);
    peer.greet("PIPELINING");
    loop {
        let line = peer.hear();
        if line == "DATA" {
            break;
        }
        let code = match line.contains("<r7") {
            true => 550,
            false => 250,
        };
        peer.say(&format!("{code} {line} {text}"));
    }
    peer.say("354 go");
    peer.message();
    peer.say("250 queued");
    peer.end();
}

/// Thousands of recipients: neither the commands nor the replies fit into the sockets' buffers.
fn to_thousands(mut connection: Connection, io: &Io<'_>) {
    let names: Vec<String> = (0..4000)
        .map(|number| format!("r{number}-{}", "n".repeat(50)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let envelope = envelope(&names);
    let verdict = connection.send(&envelope, [BODY], usize::MAX, io).unwrap();
    assert!(verdict.ended.is_none(), "{:?}", verdict.ended);
    for (recipient, outcome) in envelope.recipients.iter().zip(&verdict.outcomes) {
        let mailbox = recipient.mailbox.as_str();
        match outcome {
            Outcome::Accepted(reply) => {
                assert!(!mailbox.starts_with("r7"));
                assert_eq!(reply.text(), "queued");
            }
            Outcome::Refused { reply, .. } => {
                assert!(mailbox.starts_with("r7") && reply.text().contains(mailbox));
            }
            other => panic!("{mailbox}: {other:?}"),
        }
    }
    connection.hang_up();
}

#[test]
fn full_socket_buffers_do_not_stop_both_sides() {
    let listener = small_listener();
    let address = listener.local_addr().unwrap();
    let (server, go_on) = mpsc::channel();
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        go_on.recv_timeout(BOUND).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        answer_at_length(&mut Peer(BufReader::new(socket)));
    });
    let wait = SmallBuffers {
        done: Cell::new(false),
        server,
    };
    let io = Io {
        wait: &wait,
        trace: None,
    };
    to_thousands(open(address, Timeouts::uniform(Some(BOUND)), &io), &io);
    thread.join().unwrap();
}

#[test]
fn full_socket_buffers_do_not_stop_both_sides_under_tls() {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    let config = Arc::new(ServerSetup::default().config(&credentials));
    let listener = small_listener();
    let address = listener.local_addr().unwrap();
    let (server, go_on) = mpsc::channel();
    let thread = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        go_on.recv_timeout(BOUND).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        let tls = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        answer_at_length(&mut Peer(BufReader::new(tls)));
    });
    let wait = SmallBuffers {
        done: Cell::new(false),
        server,
    };
    let io = Io {
        wait: &wait,
        trace: None,
    };
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    let target = Target {
        addresses: &[address],
        timeouts: Timeouts::uniform(Some(BOUND)),
        deadline: Deadline::after(Some(BOUND)),
        implicit_tls: Some((&client.options, &mut client.cache)),
    };
    let (connection, _) = Connection::open(target, &io).unwrap();
    to_thousands(hello(connection, &io), &io);
    thread.join().unwrap();
}
