//! Waiting. The caller provides it, because a wait inside of a server process must also answer
//! interrupts. Deadlines are absolute and monotonic: neither a retry nor a change of the system's
//! time extends them.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{NetError, Step};

/// How long an operation may block. A server nearby answers within this time, and a wait for the
/// socket and for interrupts together costs more. The kernel rounds it up to its ticks, of which a
/// second has 100 to 1,000. A signal ends the call. A signal right before the call is seen when the
/// call is over, so an interrupt may be answered this much later.
pub(crate) const BRIEF: Duration = Duration::from_millis(2);

/// Look-ups that may run at once. In a process that waits for one at a time, all others were given
/// up.
pub(crate) const LOOKUPS: usize = 8;

/// A point in time by which an operation must end, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// This long from now. `None`, or a length that overflows the clock, is no deadline.
    pub fn after(length: Option<Duration>) -> Self {
        Self(length.and_then(|length| Instant::now().checked_add(length)))
    }

    /// No deadline.
    pub const fn never() -> Self {
        Self(None)
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// The time left, zero if it has passed; `None` if there is no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.0
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The earlier of two.
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }
}

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes, an end of file or an error to read.
    Readable,
    /// Room to write, a completed connect, or an error.
    Writable,
    /// Either of them.
    Either,
}

/// The process was asked to stop what it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// How the process waits. When an interrupt asks it to stop, either method returns [`Interrupted`],
/// or unwinds: callers keep nothing open that a destructor doesn't close.
pub trait Wait {
    /// Waits until the descriptor is ready (`true`) or the deadline has passed (`false`).
    ///
    /// # Errors
    /// [`Interrupted`], unless the implementation unwinds.
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted>;

    /// Looks for an interrupt without waiting. Called where a busy peer would otherwise prevent
    /// every wait.
    ///
    /// # Errors
    /// [`Interrupted`], unless the implementation unwinds.
    fn check(&self) -> Result<(), Interrupted>;

    /// Runs `work` in a thread of its own.
    ///
    /// # Errors
    /// The thread could not be started.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let builder = thread::Builder::new().name("resolver".into());
        builder.spawn(work).map(drop)
    }

    /// Look-ups of names that may run in this process at once, those included that nobody waits
    /// for any more.
    fn lookups(&self) -> usize {
        LOOKUPS
    }
}

/// Waits by poll(2), for tests and tools: no interrupts.
#[derive(Debug, Clone, Copy, Default)]
pub struct PollWait;

impl Wait for PollWait {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted> {
        loop {
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            if poll_for(fd, interest, left) {
                return Ok(true);
            }
            if deadline.passed() {
                return Ok(false);
            }
        }
    }

    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

/// Waits by poll(2) until the descriptor is ready (`true`), or the time is over or a signal has
/// come (`false`).
pub(crate) fn poll_for(fd: BorrowedFd<'_>, interest: Interest, time: Duration) -> bool {
    let flags = poll_flags(interest);
    // Rounded up: waking a fraction of a millisecond early would spin.
    let milliseconds = time.as_micros().div_ceil(1000);
    let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
    // A failure of poll other than a signal shows itself on the descriptor's next use.
    !matches!(
        poll(&mut [PollFd::new(fd, flags)], timeout),
        Ok(0) | Err(Errno::EINTR | Errno::EAGAIN)
    )
}

pub(crate) fn poll_flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Readable => PollFlags::POLLIN,
        Interest::Writable => PollFlags::POLLOUT,
        Interest::Either => PollFlags::POLLIN | PollFlags::POLLOUT,
    }
}

/// Waits until the descriptor is ready, or fails with a timeout of this step.
pub(crate) fn ready(
    wait: &dyn Wait,
    fd: BorrowedFd<'_>,
    interest: Interest,
    deadline: Deadline,
    step: Step,
) -> Result<(), NetError> {
    match ready_by(wait, fd, interest, deadline)? {
        true => Ok(()),
        false => Err(NetError::Timeout(step)),
    }
}

/// Waits until the descriptor is ready (`true`) or the deadline has passed (`false`). Does not wait
/// if the deadline has passed already: the caller has tried once.
pub(crate) fn ready_by(
    wait: &dyn Wait,
    fd: BorrowedFd<'_>,
    interest: Interest,
    deadline: Deadline,
) -> Result<bool, Interrupted> {
    if deadline.passed() {
        wait.check()?;
        return Ok(false);
    }
    wait.wait(fd, interest, deadline)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_earlier_deadline_wins() {
        let soon = Deadline::after(Some(Duration::from_secs(1)));
        let late = Deadline::after(Some(Duration::from_secs(9)));
        assert_eq!(soon.min(late), soon);
        assert_eq!(late.min(soon), soon);
        assert_eq!(Deadline::never().min(soon), soon);
        assert_eq!(soon.min(Deadline::never()), soon);
    }

    #[test]
    fn an_endless_timeout_is_never() {
        assert_eq!(
            Deadline::after(Some(Duration::from_secs(u64::MAX))),
            Deadline::never()
        );
        assert!(!Deadline::never().passed());
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        let deadline = Deadline::after(Some(Duration::from_millis(60)));
        let readable = PollWait.wait(ours.as_fd(), Interest::Readable, deadline);
        assert_eq!(readable, Ok(false));
        assert!(begun.elapsed() >= Duration::from_millis(60));
        for interest in [Interest::Writable, Interest::Either] {
            assert_eq!(PollWait.wait(ours.as_fd(), interest, deadline), Ok(true));
        }
    }

    #[test]
    fn a_deadline_that_is_over_does_not_wait() {
        struct NoWait;
        impl Wait for NoWait {
            fn wait(
                &self,
                _: BorrowedFd<'_>,
                _: Interest,
                _: Deadline,
            ) -> Result<bool, Interrupted> {
                panic!("waited")
            }
            fn check(&self) -> Result<(), Interrupted> {
                Ok(())
            }
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let over = Deadline::after(Some(Duration::ZERO));
        let error = ready(
            &NoWait,
            ours.as_fd(),
            Interest::Readable,
            over,
            Step::Reading,
        );
        assert!(matches!(error, Err(NetError::Timeout(Step::Reading))));
    }
}
