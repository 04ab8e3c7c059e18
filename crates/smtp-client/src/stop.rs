//! Threads that wait for a peer, and are told to stop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::wait::{Deadline, Interest, Interrupted, poll_flags};

/// Tells any number of threads to stop, those that wait in [`wait_or_stop`] at once.
#[derive(Debug)]
pub struct Stop {
    told: AtomicBool,
    /// Its end is what the threads wait for.
    heard: UnixStream,
    tell: Mutex<Option<UnixStream>>,
}

impl Stop {
    /// Nobody is told yet.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        let (heard, tell) = UnixStream::pair()?;
        Ok(Self {
            told: AtomicBool::new(false),
            heard,
            tell: Mutex::new(Some(tell)),
        })
    }

    /// Tells them, for good.
    pub fn tell(&self) {
        self.told.store(true, Ordering::SeqCst);
        let mut tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
        // Closes it.
        *tell = None;
    }

    /// Whether they are told.
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }
}

/// Waits by poll(2) until the descriptor is ready (`true`) or the deadline has passed (`false`).
///
/// # Errors
/// One of `stops` is told.
pub fn wait_or_stop(
    fd: BorrowedFd<'_>,
    interest: Interest,
    deadline: Deadline,
    stops: &[&Stop],
) -> Result<bool, Interrupted> {
    let mut wanted = vec![PollFd::new(fd, poll_flags(interest))];
    wanted.extend(
        stops
            .iter()
            .map(|stop| PollFd::new(stop.heard.as_fd(), PollFlags::POLLIN)),
    );
    loop {
        if stops.iter().any(|stop| stop.is_told()) {
            return Err(Interrupted);
        }
        let left = deadline.remaining().unwrap_or(Duration::MAX);
        // Rounded up: waking a fraction of a millisecond early would spin.
        let milliseconds = left.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        // A failure of poll shows itself on the descriptor's next use.
        let ready = match poll(&mut wanted, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => false,
            Ok(_) => wanted[0].any().unwrap_or(true),
            Err(_) => true,
        };
        if ready {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
    }
}

/// Blocks every signal in this thread while it lives; a thread started meanwhile inherits that for
/// good, so signals keep going to the thread that knows what to do with them.
#[derive(Debug)]
pub struct BlockedSignals(Option<SigSet>);

impl BlockedSignals {
    /// Blocks them.
    pub fn all() -> Self {
        Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok())
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = before.thread_set_mask();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_wait_stop_at_once_and_those_that_come_later_do_not_wait() {
        let stop = Arc::new(Stop::new().unwrap());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    let (ours, _theirs) = UnixStream::pair().unwrap();
                    let never = Deadline::never();
                    wait_or_stop(ours.as_fd(), Interest::Readable, never, &[&stop])
                })
            })
            .collect();
        stop.tell();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Err(Interrupted));
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let ready = wait_or_stop(
            ours.as_fd(),
            Interest::Writable,
            Deadline::never(),
            &[&stop],
        );
        assert_eq!(ready, Err(Interrupted));
    }

    #[test]
    fn without_a_stop_it_waits_for_the_descriptor_and_the_deadline() {
        let stop = Stop::new().unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let soon = Deadline::after(Some(Duration::from_millis(30)));
        let wait = |interest| wait_or_stop(ours.as_fd(), interest, soon, &[&stop]);
        assert_eq!(wait(Interest::Writable), Ok(true));
        assert_eq!(wait(Interest::Readable), Ok(false));
        assert!(soon.passed());
    }
}
