//! A message is never held as a whole.

use super::HOST;
use e2e::{Database, Session, vigil};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A server that counts the octets of messages and keeps none.
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

/// The most memory that a backend uses while this runs, in kB above what it used before.
fn memory_of(session: &mut Session, run: impl FnOnce(&mut Session)) -> u64 {
    let pid = session.pid();
    let before = vigil::anonymous_memory(pid);
    let over = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&over);
    let watcher = thread::spawn(move || {
        let mut most = 0;
        while !seen.load(Ordering::Relaxed) {
            most = most.max(vigil::anonymous_memory(pid));
            thread::sleep(Duration::from_millis(3));
        }
        most
    });
    run(session);
    over.store(true, Ordering::Relaxed);
    watcher.join().unwrap().saturating_sub(before)
}

/// RES-11
#[test]
fn a_message_of_a_hundred_megabytes_takes_no_memory() {
    let sink = Sink::start();
    let database = Database::new();
    let mut session = database.superuser();
    let sends = |megabytes: u32| {
        format!(
            "DO $$ DECLARE
                 c utl_smtp.connection := utl_smtp.open_connection('{HOST}', {}, 30);
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
