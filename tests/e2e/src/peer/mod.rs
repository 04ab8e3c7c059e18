//! A scripted SMTP peer: it listens on a loopback port, plays a [`Script`] to each connection and records
//! every byte it hears, what came before TLS apart from what came inside.
//!
//! A script that hears something other than it expects, or that is still busy long after the test is over,
//! fails the test in [`Peer::finish`]. A client that leaves early is no failure: hostile scripts aim at that;
//! ask [`Conversation::completed`].

mod channel;
mod player;
mod record;
mod script;

pub use record::{Conversation, Ending, Handshake, Record};
pub use script::Script;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a script may go on once the test has called [`Peer::finish`].
const GRACE: Duration = Duration::from_secs(10);

pub struct Peer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What the test, the listening thread and the playing threads share.
#[derive(Default)]
struct Shared {
    finishing: AtomicBool,
    released: AtomicUsize,
    busy: AtomicUsize,
    conversations: Mutex<Vec<Conversation>>,
}

impl Peer {
    /// Plays this script to every connection.
    pub fn start(script: Script) -> Self {
        Self::start_each(vec![script])
    }

    /// Plays the first script to the first connection, and so on; the last one to all further ones.
    pub fn start_each(scripts: Vec<Script>) -> Self {
        Self::listen("127.0.0.1:0", scripts)
    }

    /// As [`Peer::start_each`], on this address, such as `[::1]:0`.
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

    /// Lets one `await_release` of each connection go on.
    pub fn release(&self) {
        self.shared.released.fetch_add(1, Ordering::SeqCst);
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.conversations.lock().unwrap().len()
    }

    /// Waits until these bytes were heard in some connection.
    #[track_caller]
    pub fn wait_for(&self, bytes: &[u8]) {
        let end = Instant::now() + GRACE;
        while !self
            .shared
            .conversations
            .lock()
            .unwrap()
            .iter()
            .any(|one| one.heard(bytes))
        {
            assert!(
                Instant::now() < end,
                "\"{}\" was not heard within {GRACE:?}",
                bytes.escape_ascii()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the listening, waits for the scripts, and hands over what was heard.
    ///
    /// # Panics
    ///
    /// When a script heard something that it did not expect, or does not end.
    #[track_caller]
    pub fn finish(mut self) -> Record {
        self.shared.finishing.store(true, Ordering::SeqCst);
        if let Some(thread) = self.listener.take() {
            thread.join().unwrap();
        }
        let end = Instant::now() + GRACE;
        while self.shared.busy.load(Ordering::SeqCst) > 0 {
            assert!(
                Instant::now() < end,
                "a peer's script did not end within {GRACE:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
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
        // Looked at before the accept: a connection made before `finish` is always played to.
        let finishing = shared.finishing.load(Ordering::SeqCst);
        match listener.accept() {
            Ok((stream, _)) => play(stream, scripts, shared),
            Err(_) if finishing => return,
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn play(stream: TcpStream, scripts: &[Script], shared: &Arc<Shared>) {
    let number = {
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
