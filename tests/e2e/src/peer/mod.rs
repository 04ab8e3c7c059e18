//! A scripted SMTP peer. It listens on a loopback port, plays a [`Script`] to each connection and
//! records every byte it receives, plain text and TLS separately.
//!
//! A script fails the test in [`Peer::finish`] if it receives something unexpected, or if it is
//! still running long after the test is over. A client that disconnects early is not a failure,
//! because hostile scripts provoke that; see [`Conversation::completed`].

pub(crate) mod channel;
mod player;
mod record;
mod script;

pub use record::{Conversation, Ending, Handshake, Record};
pub use script::Script;

use crate::{ports, process};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// State shared by the test, the listening thread and the playing threads.
#[derive(Default)]
struct Shared {
    finishing: AtomicBool,
    released: AtomicUsize,
    busy: AtomicUsize,
    /// The number of scripts that are at a step that keeps the client waiting.
    holding: AtomicUsize,
    /// The client port of each connection.
    clients: Mutex<Vec<u16>>,
    conversations: Mutex<Vec<Conversation>>,
}

impl Peer {
    /// Plays the script to every connection.
    pub fn start(script: Script) -> Self {
        Self::start_each(vec![script])
    }

    /// Plays the first script to the first connection, and so on; the last one to all further
    /// connections.
    pub fn start_each(scripts: Vec<Script>) -> Self {
        Self::listen("127.0.0.1:0", scripts)
    }

    /// Like [`Peer::start_each`], on this address, such as `[::1]:0`.
    pub fn listen(address: &str, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, &scripts, &for_thread));
        Self {
            address,
            shared,
            listener: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets one `await_release` of each connection continue.
    pub fn release(&self) {
        self.shared.released.fetch_add(1, Ordering::SeqCst);
    }

    /// Like [`Peer::release`], and waits until the script's next action, such as sent text or a
    /// close, has reached the client of the latest connection, which must be idle.
    #[track_caller]
    pub fn release_and_arrive(&self) {
        self.release();
        self.await_arrival();
    }

    /// Waits until the latest connection's client has unread data.
    #[track_caller]
    pub fn await_arrival(&self) {
        let client = *self.shared.clients.lock().unwrap().last().unwrap();
        ports::await_arrival(client, self.port());
    }

    /// Waits until the script of a connection holds, drips or waits for its release.
    #[track_caller]
    pub fn await_hold(&self) {
        process::wait_until("the peer's script holds the client up", || {
            self.is_holding()
        });
    }

    /// Whether the script of a connection holds, drips or waits for its release.
    pub fn is_holding(&self) -> bool {
        self.shared.holding.load(Ordering::SeqCst) > 0
    }

    /// The number of connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.conversations.lock().unwrap().len()
    }

    /// Waits until these bytes were received in some connection.
    #[track_caller]
    pub fn wait_for(&self, bytes: &[u8]) {
        process::wait_until(
            format_args!("\"{}\" is heard", bytes.escape_ascii()),
            || {
                let conversations = self.shared.conversations.lock().unwrap();
                conversations.iter().any(|one| one.heard(bytes))
            },
        );
    }

    /// Stops listening, waits for the scripts, and returns what was received.
    ///
    /// # Panics
    ///
    /// If a script received something unexpected, or does not end.
    #[track_caller]
    pub fn finish(mut self) -> Record {
        self.shared.finishing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.listener.take() {
            thread.join().unwrap();
        }
        process::wait_until("the peer's scripts end", || {
            self.shared.busy.load(Ordering::SeqCst) == 0
        });
        let conversations = std::mem::take(&mut *self.shared.conversations.lock().unwrap());
        for conversation in &conversations {
            if let Ending::Broken(why) = &conversation.ending {
                panic!("the peer's script failed: {why}\nheard: {conversation}");
            }
        }
        Record { conversations }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.finishing.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: &TcpListener, scripts: &[Script], shared: &Arc<Shared>) {
    loop {
        // Read before the accept, so that a connection made before `finish` is always served.
        let finishing = shared.finishing.load(Ordering::SeqCst);
        match listener.accept() {
            Ok((stream, client)) => play(stream, client.port(), scripts, shared),
            Err(_) if finishing => return,
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn play(stream: TcpStream, client: u16, scripts: &[Script], shared: &Arc<Shared>) {
    let number = {
        shared.clients.lock().unwrap().push(client);
        let mut conversations = shared.conversations.lock().unwrap();
        conversations.push(Conversation::default());
        conversations.len() - 1
    };
    let script = scripts[number.min(scripts.len() - 1)].clone();
    let shared = Arc::clone(shared);
    shared.busy.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        player::Player::new(stream, number, &shared).play(&script);
        shared.busy.fetch_sub(1, Ordering::SeqCst);
    });
}
