//! Memory: messages are streamed, and every buffer has a cap.

use super::HOST;
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Open, OwnCluster, Peer, Script, Session, invariants};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A server that counts the octets of messages and discards them.
struct Sink {
    port: u16,
    octets: Arc<AtomicU64>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let octets = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&octets);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || swallow(stream.unwrap(), &counter));
            }
        });
        Self { port, octets }
    }
}

fn swallow(mut stream: TcpStream, octets: &AtomicU64) -> Option<()> {
    stream.write_all(b"220 sink\r\n").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut line, mut in_message) = (Vec::new(), false);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let reply: &[u8] = match line.as_slice() {
            b".\r\n" if in_message => {
                in_message = false;
                b"250 queued\r\n"
            }
            _ if in_message => {
                octets.fetch_add(line.len() as u64, Ordering::Relaxed);
                continue;
            }
            b"DATA\r\n" => {
                in_message = true;
                b"354 go ahead\r\n"
            }
            _ => b"250 ok\r\n",
        };
        stream.write_all(reply).ok()?;
    }
}

/// The peak memory of a backend during the call, in kB above its memory before.
fn memory_of(session: &mut Session, run: impl FnOnce(&mut Session)) -> u64 {
    let pid = session.pid();
    let before = invariants::anonymous_memory(pid);
    let over = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&over);
    let watcher = thread::spawn(move || {
        let mut most = 0;
        while !seen.load(Ordering::Relaxed) {
            most = most.max(invariants::anonymous_memory(pid));
            thread::sleep(Duration::from_millis(3));
        }
        most
    });
    run(session);
    over.store(true, Ordering::Relaxed);
    watcher.join().unwrap().saturating_sub(before)
}

#[test]
fn a_message_of_a_hundred_megabytes_takes_no_memory() {
    let sink = Sink::start();
    let database = Database::new();
    let mut session = database.superuser();
    let sends = |megabytes: u32| {
        format!(
            "DO $$ DECLARE
                 c utl_smtp.connection := utl_smtp.open_connection('{HOST}', {}, 60);
                 piece text := repeat(repeat('x', 78) || E'\\r\\n', 400);
             BEGIN
                 PERFORM utl_smtp.ehlo(c, 'client.example.test');
                 PERFORM utl_smtp.mail(c, 'sender@example.test');
                 PERFORM utl_smtp.rcpt(c, 'recipient@example.test');
                 PERFORM utl_smtp.open_data(c);
                 FOR i IN 1..{megabytes} * 1000000 / 32000 LOOP
                     PERFORM utl_smtp.write_data(c, piece);
                 END LOOP;
                 PERFORM utl_smtp.close_data(c), utl_smtp.quit(c);
             END $$",
            sink.port
        )
    };
    session.run(&sends(1));
    let octets = sink.octets.load(Ordering::Relaxed);
    let grown = memory_of(&mut session, |session| session.run(&sends(100)));
    assert_eq!(sink.octets.load(Ordering::Relaxed) - octets, 100_000_000);
    assert!(grown < 4096, "the backend grew by {grown} kB");
}

/// Limits the backend's address space to its current size plus this many kB.
fn confine(cluster: &OwnCluster, pid: i32, kilobytes: u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size: u64 = size
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    let limit = (size + kilobytes) * 1024;
    cluster.as_server(&format!("prlimit --pid={pid} --as={limit}:{limit}"));
}

/// Rust aborts when memory runs out, and the cluster restarts. So no data from a peer may exhaust
/// memory: in a backend limited to two more megabytes, each flood is a specific error.
#[test]
fn no_flood_exhausts_the_memory_of_a_backend() {
    const ROOM: u64 = 2048;
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let locator = wallet.locator();
    let identity = authority.issue(&["localhost"]);
    let mut chained = authority.issue(&["localhost"]);
    chained.chain.extend(vec![authority.der(); 2000]);
    let big = Wallet::of(&authority);
    big.add(
        "big.pem",
        &"-----BEGIN CERTIFICATE-----\nAAAA\n".repeat(2_000_000),
    );

    let cluster = OwnCluster::start(&[]);
    let mut session = cluster.superuser();
    let greeted = Script::greeting;
    let calm = Peer::start(
        Script::new()
            .handshake(identity.server())
            .send("220 peer\r\n")
            .quit(),
    );
    let open = |port| {
        Open::to("127.0.0.1", port)
            .secure_host("localhost")
            .wallet(&locator)
    };
    let welcome = open(calm.port()).implicit_tls().open(&mut session).unwrap();
    welcome.quit(&mut session).unwrap();
    confine(&cluster, session.pid(), ROOM);

    // Handshake messages of 16 MB each, in records of 16 kB.
    let fragment = [&[0x16, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 16380]].concat();
    let record = [&[0x16, 3, 3, 0x40, 0][..], &[0; 16384]].concat();
    let handshake = [fragment, record.repeat(500)].concat();
    let lines = "250-x\r\n".repeat(1_000_000);
    let line = "2".repeat(10_000_000);
    let text = "334 ".to_owned() + &"QUJD".repeat(2_000_000);
    let mut meets = |script: Script, tls: bool, expected: &str| {
        let peer = Peer::start(script);
        let connection = open(peer.port());
        let outcome = match tls {
            true => connection.implicit_tls().open(&mut session),
            false => connection.open(&mut session),
        };
        let outcome = outcome.and_then(|smtp| {
            smtp.ehlo(&mut session, "client.example.test")?;
            smtp.auth(&mut session, "alice", "wonderland", "CRAM-MD5")?;
            smtp.noop(&mut session)
        });
        outcome.unwrap_err().expect(expected);
        session.run("SELECT utl_smtp.close_all_connections()");
        drop(peer);
    };
    for flood in [&lines, &line, &text] {
        meets(Script::new().send(flood), false, "U9278");
        meets(greeted().line().send(flood), false, "U9278");
        let offers = greeted().on("EHLO", "250-peer\r\n250 AUTH CRAM-MD5");
        meets(offers.clone().line().send(flood), false, "U9278");
        let idle = offers.on("AUTH", "235 ok").send(flood);
        meets(idle, false, "U9278");
    }
    meets(Script::new().send(handshake), true, "U8860");
    meets(
        Script::new().handshake(chained.server()).hold(),
        true,
        "U8860",
    );
    let too_big = Open::to("127.0.0.1", calm.port())
        .wallet(&big.locator())
        .implicit_tls()
        .open(&mut session);
    too_big.unwrap_err().expect("U8759");

    let again = open(calm.port()).implicit_tls().open(&mut session).unwrap();
    again.quit(&mut session).unwrap();
    // The limit is one: PostgreSQL itself meets it.
    session
        .try_run("SELECT length(repeat('x', 10000000))")
        .unwrap_err()
        .expect("53200");
    let log = cluster.log_text();
    assert!(!log.contains("terminated by signal"), "{log}");
}
