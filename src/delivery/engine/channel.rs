//! Between the thread that runs PostgreSQL's code and the threads of connections, which must not.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem};

use smtp_client::stop::{Stop, wait_or_stop};
use smtp_client::wait::{Deadline, Interest, Interrupted, Wait};

use super::job::Event;
use super::signing::Keyring;
use crate::pg::thread;

/// Look-ups of names that may run at once.
const LOOKUPS: usize = 64;

/// What all threads of a worker share.
pub struct Channel {
    events: Mutex<Inbox>,
    tell: UnixStream,
    heard: UnixStream,
    /// No new conversations: whoever has no final dot out stops at once.
    pub stop: Stop,
    /// All stop at once.
    pub end: Stop,
    pub keyring: Keyring,
    /// What was said already.
    warnings: Mutex<HashSet<String>>,
}

#[derive(Default)]
struct Inbox {
    events: Vec<Event>,
    /// When the first of them was posted.
    since: Option<Instant>,
    /// Whether the descriptor is readable, or will be in a moment.
    told: bool,
    /// How many events that can wait make it readable.
    enough: usize,
}

impl Channel {
    pub fn new() -> io::Result<Self> {
        let (heard, tell) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        tell.set_nonblocking(true)?;
        Ok(Self {
            events: Mutex::default(),
            tell,
            heard,
            stop: Stop::new()?,
            end: Stop::new()?,
            keyring: Keyring::default(),
            warnings: Mutex::default(),
        })
    }

    /// Whether a warning is a new one: each connection would give it again.
    pub fn is_news(&self, warning: &str) -> bool {
        const MOST: usize = 1000;
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() >= MOST {
            warnings.clear();
        }
        warnings.insert(warning.to_owned())
    }

    /// From any thread.
    pub fn post(&self, event: Event) {
        let mut inbox = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let can_wait = event.can_wait();
        inbox.since.get_or_insert_with(Instant::now);
        inbox.events.push(event);
        if !can_wait || inbox.events.len() >= inbox.enough {
            self.tell(&mut inbox);
        }
    }

    /// Lets events that can wait do so until there are so many, or the caller looks.
    pub fn gather(&self, enough: usize) {
        let mut inbox = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.enough = enough;
        if !inbox.events.is_empty() && inbox.events.len() >= enough {
            self.tell(&mut inbox);
        }
    }

    fn tell(&self, inbox: &mut Inbox) {
        if !mem::replace(&mut inbox.told, true) {
            // A full socket is readable already.
            let _ = (&self.tell).write(&[0]);
        }
    }

    /// What was posted since the last call, and when the first of it was.
    pub fn take(&self) -> (Vec<Event>, Option<Instant>) {
        let mut inbox = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if mem::take(&mut inbox.told) {
            let mut octets = [0; 16];
            while let Err(error) = (&self.heard).read(&mut octets)
                && error.kind() == ErrorKind::Interrupted
            {}
        }
        (mem::take(&mut inbox.events), inbox.since.take())
    }

    /// Waits until something was posted, or the time is over.
    pub fn wait(&self, time: Duration) {
        let deadline = Deadline::after(Some(time));
        let _ = wait_or_stop(self.heard.as_fd(), Interest::Readable, deadline, &[]);
    }

    /// Readable when something was posted.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// How a connection's thread waits.
pub struct ThreadWait<'a> {
    pub channel: &'a Channel,
    /// Whether the final dot of a message may be out.
    pub dot_out: AtomicBool,
}

impl<'a> ThreadWait<'a> {
    pub fn new(channel: &'a Channel) -> Self {
        Self {
            channel,
            dot_out: AtomicBool::new(false),
        }
    }

    /// Whether the thread has to stop now.
    pub fn is_stopped(&self) -> bool {
        self.channel.end.is_told()
            || self.channel.stop.is_told() && !self.dot_out.load(Ordering::SeqCst)
    }
}

impl Wait for ThreadWait<'_> {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted> {
        let stops = [&self.channel.end, &self.channel.stop];
        let stops = match self.dot_out.load(Ordering::SeqCst) {
            true => &stops[..1],
            false => &stops[..],
        };
        wait_or_stop(fd, interest, deadline, stops)
    }

    fn check(&self) -> Result<(), Interrupted> {
        match self.is_stopped() {
            true => Err(Interrupted),
            false => Ok(()),
        }
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::spawn(work)
    }

    fn lookups(&self) -> usize {
        LOOKUPS
    }
}
