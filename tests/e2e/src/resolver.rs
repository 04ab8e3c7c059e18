//! A name server for one test. The test sets its answers, can change them, and sees what was asked.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const NO_SUCH_NAME: u8 = 3;

/// The answer to one look-up of a name.
#[derive(Clone, Debug)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    /// A CNAME, and the addresses of its target.
    Alias(&'static str, Vec<IpAddr>),
    /// No answer, or none before [`Resolver::give_up`].
    Silence,
}

/// A name server on port 53 of a loopback address, which requires root.
pub struct Resolver {
    address: Ipv4Addr,
    socket: UdpSocket,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    zone: Mutex<HashMap<String, Vec<Answer>>>,
    queries: Mutex<Vec<(String, u16)>>,
    /// Unanswered queries, and their senders.
    unanswered: Mutex<Vec<(Vec<u8>, SocketAddr)>>,
}

impl Resolver {
    pub fn start() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        // Another process may have the same low bits in its number.
        let (address, socket) = (0..50)
            .find_map(|_| {
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                let address = Ipv4Addr::new(127, 100 + count % 150, high, low.max(1));
                Some((address, UdpSocket::bind((address, 53)).ok()?))
            })
            .expect("no port 53 (which takes root)");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        let listening = socket.try_clone().unwrap();
        std::thread::spawn(move || for_thread.serve(&listening));
        Self {
            address,
            socket,
            shared,
        }
    }

    /// Shell commands for [`crate::OwnCluster::start_in`]: every process started after them uses
    /// this resolver for all names except `localhost`. It waits many minutes for an answer, and
    /// asks once.
    pub fn prelude(&self) -> String {
        format!(
            "printf 'nameserver %s\\noptions timeout:30 attempts:5\\n' {} >$1/resolv.conf
             printf '127.0.0.1 localhost\\n' >$1/hosts
             printf '%s: files\\n' passwd group >$1/nsswitch.conf
             printf 'hosts: files dns\\n' >>$1/nsswitch.conf
             for file in resolv.conf hosts nsswitch.conf; do mount --bind $1/$file /etc/$file; done",
            self.address
        )
    }

    /// Sets the answers for a name, one per look-up; the last one is repeated.
    pub fn say(&self, name: &str, answers: &[Answer]) {
        let mut zone = self.shared.zone.lock().unwrap();
        zone.insert(name.to_owned(), answers.to_vec());
        self.shared.queries.lock().unwrap().clear();
    }

    /// Sets the addresses of a name, the same for each look-up.
    pub fn add(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|one| one.parse().unwrap()).collect();
        self.say(name, &[Answer::Addresses(addresses)]);
    }

    /// Answers unanswered queries with NXDOMAIN, now and from now on.
    pub fn give_up(&self) {
        let mut zone = self.shared.zone.lock().unwrap();
        zone.clear();
        for (query, from) in self.shared.unanswered.lock().unwrap().drain(..) {
            let _ = self
                .socket
                .send_to(&Reply::no_such_name(&query).bytes, from);
        }
    }

    /// The names queried since the zone was last changed, each look-up once.
    pub fn asked(&self) -> Vec<String> {
        let queries = self.shared.queries.lock().unwrap();
        let of_a = queries.iter().filter(|(_, kind)| *kind == A);
        of_a.map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1500];
        while !self.over.load(Ordering::SeqCst) {
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => self.answer(socket, &buffer[..length], from),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the resolver: {error}"),
            }
        }
    }

    fn answer(&self, socket: &UdpSocket, query: &[u8], from: SocketAddr) {
        let (name, end) = read_name(query);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        // Kept until the end: what is silent now is among the unanswered when the zone changes.
        let zone = self.zone.lock().unwrap();
        let before = {
            let mut queries = self.queries.lock().unwrap();
            let one = (name.clone(), kind);
            queries.push(one.clone());
            queries.iter().filter(|query| **query == one).count() - 1
        };
        let answer = zone
            .get(&name)
            .map(|answers| answers[before.min(answers.len() - 1)].clone());
        let mut reply = Reply::to(&query[..end + 4]);
        match answer {
            Some(Answer::Silence) => {
                let mut unanswered = self.unanswered.lock().unwrap();
                return unanswered.push((query[..end + 4].to_vec(), from));
            }
            Some(Answer::Addresses(addresses)) => reply.add_addresses(12, kind, &addresses),
            Some(Answer::Alias(other, addresses)) => {
                let owner = reply.add_alias(other);
                reply.add_addresses(owner, kind, &addresses);
            }
            None => reply = Reply::no_such_name(&query[..end + 4]),
        }
        let _ = socket.send_to(&reply.bytes, from);
    }
}

struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// A response with the header and the question, without records yet.
    fn to(question: &[u8]) -> Self {
        let mut bytes = question.to_vec();
        bytes[2..4].copy_from_slice(&[0x81, 0x80]);
        bytes[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        Self { bytes }
    }

    fn no_such_name(question: &[u8]) -> Self {
        let mut reply = Self::to(question);
        reply.bytes[3] |= NO_SUCH_NAME;
        reply
    }

    fn add_addresses(&mut self, owner: usize, kind: u16, addresses: &[IpAddr]) {
        for address in addresses {
            match (address, kind) {
                (IpAddr::V4(address), A) => drop(self.add(owner, A, &address.octets())),
                (IpAddr::V6(address), AAAA) => drop(self.add(owner, AAAA, &address.octets())),
                _ => {}
            }
        }
    }

    /// The offset of the target name, for the records after it.
    fn add_alias(&mut self, other: &str) -> usize {
        let mut data = Vec::new();
        for label in other.split('.') {
            data.push(label.len() as u8);
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
        self.add(12, CNAME, &data)
    }

    /// Appends one record with TTL 0; returns the offset of its data.
    fn add(&mut self, owner: usize, kind: u16, data: &[u8]) -> usize {
        let owner = 0xc000 | owner as u16;
        for number in [owner, kind, 1, 0, 0, data.len() as u16] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        let place = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.bytes[7] += 1;
        place
    }
}

/// The name in the question, in lower case, and its end.
fn read_name(query: &[u8]) -> (String, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}
