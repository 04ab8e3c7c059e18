//! Reading, writing and closing, plain and encrypted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustls::ServerConnection;
use smtp_client::error::NetError;
use smtp_client::error::Step;
use smtp_client::stream::Stream;
use smtp_client::wait::{Deadline, Interest, Interrupted, PollWait, Wait};

use crate::support::{
    BOUND, Client, Credentials, GREETING, NAME, Server, ServerSetup, leaf_params, listen, plain,
    read_all, root, seconds, wallet,
};

fn millis(millis: u64) -> Deadline {
    Deadline::after(Some(Duration::from_millis(millis)))
}

fn encrypted(setup: ServerSetup) -> (Server, Stream) {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    let server = Server::with(&credentials, setup);
    let mut client = Client::new(wallet(&[root.pem()]), NAME);
    let stream = client.connect(server.address).unwrap();
    (server, stream)
}

#[test]
fn what_is_written_arrives() {
    let message: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();

    let (server, mut stream) = encrypted(ServerSetup::default());
    read_all(&mut stream);
    stream.write_all(&message, &PollWait, seconds(60)).unwrap();
    stream.close();
    assert!(server.seen().received == message);

    let (send, receive) = mpsc::channel();
    let address = listen(move |mut socket| {
        let mut all = Vec::new();
        let _ = socket.read_to_end(&mut all);
        let _ = send.send(all);
    });
    let mut stream = plain(address);
    stream.write_all(&message, &PollWait, seconds(60)).unwrap();
    stream.close();
    assert!(receive.recv_timeout(BOUND).unwrap() == message);
}

#[test]
fn an_end_with_and_without_notice_can_be_told_apart() {
    for polite in [true, false] {
        let setup = ServerSetup {
            polite,
            ..ServerSetup::default()
        };
        let (_server, mut stream) = encrypted(setup);
        assert_eq!(read_all(&mut stream), GREETING);
        assert_eq!(stream.closed_cleanly(), polite);
        // The end stays the end.
        assert_eq!(stream.try_read(&mut [0; 8]).unwrap(), Some(0));
    }
}

/// No interrupt is let through here, and the wait ends all the same.
#[test]
fn reading_ends_at_the_deadline() {
    let address = listen(|mut socket| {
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let (_server, mut tls) = encrypted(ServerSetup {
        polite: false,
        ..ServerSetup::default()
    });
    let mut buffer = [0; 64];
    let count = tls.read(&mut buffer, &PollWait, seconds(60)).unwrap();
    assert_eq!(&buffer[..count], GREETING);
    let mut silent = plain(address);
    let begun = Instant::now();
    let outcome = silent.read(&mut buffer, &PollWait, millis(150));
    assert!(
        matches!(outcome, Err(NetError::Timeout(Step::Reading))),
        "{outcome:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(150));
    // With no time at all, one look is taken and no wait.
    assert!(silent.read(&mut buffer, &PollWait, millis(0)).is_err());
    assert_eq!(silent.try_read(&mut buffer).unwrap(), None);
}

/// What is there already can be had with no time at all.
#[test]
fn what_is_there_is_read_without_waiting() {
    let address = listen(|mut socket| {
        let _ = socket.write_all(b"220 hi\r\n");
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let mut stream = plain(address);
    let mut buffer = [0; 64];
    // It is not there at once.
    let begun = Instant::now();
    let read = std::iter::repeat_with(|| stream.read(&mut buffer, &PollWait, millis(0)).ok())
        .find(|read| read.is_some() || begun.elapsed() > BOUND);
    assert_eq!(read, Some(Some(8)));
}

#[test]
fn writing_to_a_peer_that_does_not_read_ends_at_the_deadline() {
    let mut kept = Vec::new();
    let address = listen(move |socket| kept.push(socket));
    let mut stream = plain(address);
    let begun = Instant::now();
    let outcome = stream.write_all(&vec![b'x'; 64 << 20], &PollWait, millis(200));
    assert!(
        matches!(outcome, Err(NetError::Timeout(Step::Writing))),
        "{outcome:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn writing_to_a_reset_connection_is_an_error_and_nothing_worse() {
    let address = listen(drop);
    let mut stream = plain(address);
    let begun = Instant::now();
    let outcome = std::iter::repeat_with(|| {
        thread::sleep(Duration::from_millis(10));
        stream.write_all(b"NOOP\r\n", &PollWait, seconds(60))
    })
    .find(|written| written.is_err() || begun.elapsed() > BOUND)
    .unwrap();
    assert!(matches!(outcome, Err(NetError::Io { .. })), "{outcome:?}");
}

/// How a process may answer an interrupt.
struct Stops {
    unwinds: bool,
}

impl Wait for Stops {
    fn wait(&self, _: BorrowedFd<'_>, _: Interest, _: Deadline) -> Result<bool, Interrupted> {
        assert!(!self.unwinds, "interrupt");
        Err(Interrupted)
    }

    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// An interrupt ends any wait with an error.
#[test]
fn an_interrupt_is_an_error_of_its_own() {
    let address = listen(|mut socket| drop(socket.read_to_end(&mut Vec::new())));
    let stops = Stops { unwinds: false };
    let outcome = plain(address).read(&mut [0; 8], &stops, seconds(10));
    assert!(matches!(outcome, Err(NetError::Interrupted(_))));
}

/// An interrupt unwinds out of any wait, and the socket is closed on the way.
#[test]
fn an_interrupt_that_unwinds_closes_the_connection() {
    let (send, receive) = mpsc::channel();
    let address = listen(move |mut socket| {
        let _ = send.send(socket.read_to_end(&mut Vec::new()).is_ok());
    });
    let mut stream = plain(address);
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let stops = Stops { unwinds: true };
        stream.read(&mut [0; 8], &stops, seconds(60)).is_ok()
    }));
    assert!(outcome.is_err());
    assert!(receive.recv_timeout(BOUND).unwrap());
}

/// A peer that never stops sending doesn't keep interrupts out.
#[test]
fn a_flood_is_checked_for_interrupts() {
    struct CountChecks(std::cell::Cell<usize>);
    impl Wait for CountChecks {
        fn wait(
            &self,
            fd: BorrowedFd<'_>,
            interest: Interest,
            deadline: Deadline,
        ) -> Result<bool, Interrupted> {
            PollWait.wait(fd, interest, deadline)
        }
        fn check(&self) -> Result<(), Interrupted> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    let address = listen(|mut socket| while socket.write_all(&[b'x'; 4096]).is_ok() {});
    let mut stream = plain(address);
    let checks = CountChecks(std::cell::Cell::new(0));
    for _ in 0..100 {
        stream.read(&mut [0; 64], &checks, seconds(60)).unwrap();
    }
    assert!(checks.0.get() >= 100);
}

/// A client after its handshake, and the server's side, over a socket that keeps the borders of
/// packets: each read returns one write of the server.
fn over_packets() -> (Stream, ServerConnection, TcpStream) {
    let root = root("root");
    let credentials = Credentials::issued(leaf_params(&[NAME]), &root);
    let mut config = ServerSetup::default().config(&credentials);
    config.send_tls13_tickets = 0;
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    let (ours, mut theirs) = (TcpStream::from(ours), TcpStream::from(theirs));
    ours.set_read_timeout(Some(Duration::from_millis(2)))
        .unwrap();
    let server = thread::spawn(move || {
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut theirs).unwrap();
        }
        (connection, theirs)
    });
    let client = Client::new(wallet(&[root.pem()]), NAME);
    let stream = Stream::plain(ours).start_tls(
        &client.options,
        &client.cache,
        client.speaks_first,
        &PollWait,
        seconds(60),
    );
    let (connection, theirs) = server.join().unwrap();
    (stream.unwrap(), connection, theirs)
}

/// A record that arrives in many fragments is read with its last fragment, whichever that is.
#[test]
fn what_the_last_round_decrypts_is_read() {
    for fragments in [1, 2, 15, 16] {
        let (mut stream, mut server, mut socket) = over_packets();
        let mut buffer = [0; 64];
        for unasked in [false, true] {
            let mut record = Vec::new();
            server.writer().write_all(GREETING).unwrap();
            server.write_tls(&mut record).unwrap();
            let (tail, head) = (&record[fragments - 1..], &record[..fragments - 1]);
            head.iter()
                .for_each(|byte| socket.write_all(&[*byte]).unwrap());
            socket.write_all(tail).unwrap();
            let count = match unasked {
                true => stream.try_read(&mut buffer).unwrap(),
                false => stream.read(&mut buffer, &PollWait, millis(0)).ok(),
            };
            assert_eq!(count, Some(GREETING.len()), "{fragments} fragments");
        }
    }
}
