//! More commands and replies than the sockets' buffers hold.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, mpsc};

use rustls::{ServerConnection, StreamOwned};
use smtp_client::{Interest, Interrupted, Wait};
use socket2::{Domain as Family, SockRef, Socket, Type};

use super::*;
use crate::support::{Client, Credentials, NAME, ServerSetup, leaf_params, root, wallet};

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
