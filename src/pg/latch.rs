//! Waiting as a backend must: on the latch as well as on the socket, so that a cancel, a time-out
//! of the statement, a terminate, a fast shutdown or the postmaster's death ends every wait at
//! once.
//!
//! An interrupt surfaces through `ProcessInterrupts` and unwinds through the transport, whose
//! destructors close what was open.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use pgrx::{check_for_interrupts, pg_sys};
use smtp_client::wait::{Deadline, Interest, Interrupted, Wait};

use super::{memory, thread};

/// This backend's way to wait.
pub struct Latch;

/// The kernel's timeouts are `int` milliseconds; a longer wait is taken in turns.
const LONGEST: Duration = Duration::from_secs(3600);

impl Wait for Latch {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted> {
        let wanted = socket_event(interest)
            | pg_sys::WL_LATCH_SET
            | pg_sys::WL_EXIT_ON_PM_DEATH
            | pg_sys::WL_TIMEOUT;
        loop {
            check_for_interrupts!();
            // Rounded up: waking a fraction of a millisecond early would spin.
            let left = deadline.remaining().unwrap_or(LONGEST).min(LONGEST);
            // SAFETY: MyLatch is this backend's own latch, and the descriptor is open for as long
            // as it is borrowed.
            let happened = unsafe {
                pg_sys::WaitLatchOrSocket(
                    pg_sys::MyLatch,
                    wanted as i32,
                    fd.as_raw_fd(),
                    left.as_micros().div_ceil(1000) as i64,
                    wait_event(),
                ) as u32
            };
            if happened & pg_sys::WL_LATCH_SET != 0 {
                // SAFETY: this backend's own latch. Reset comes before the check, so that no
                // interrupt is lost in between.
                unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
                check_for_interrupts!();
            }
            if happened & socket_event(interest) != 0 {
                return Ok(true);
            }
            if deadline.passed() {
                return Ok(false);
            }
        }
    }

    fn check(&self) -> Result<(), Interrupted> {
        check_for_interrupts!();
        memory::check();
        Ok(())
    }

    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::spawn(work)
    }
}

/// Waits for the latch, for a descriptor to become readable, or until the time is over, and resets
/// the latch. It is for the caller to look for interrupts.
pub fn sleep(descriptor: Option<RawFd>, time: Duration) {
    let mut wanted = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH | pg_sys::WL_TIMEOUT;
    if descriptor.is_some() {
        wanted |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: MyLatch is this process's own latch, and the descriptor is open.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            wanted as i32,
            descriptor.unwrap_or(-1),
            time.min(LONGEST).as_micros().div_ceil(1000) as i64,
            wait_event(),
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}

fn socket_event(interest: Interest) -> u32 {
    match interest {
        Interest::Readable => pg_sys::WL_SOCKET_READABLE,
        Interest::Writable => pg_sys::WL_SOCKET_WRITEABLE,
        Interest::Either => pg_sys::WL_SOCKET_READABLE | pg_sys::WL_SOCKET_WRITEABLE,
    }
}

/// What `pg_stat_activity.wait_event` shows: a name of our own from PostgreSQL 17 on.
#[cfg(any(feature = "pg17", feature = "pg18"))]
fn wait_event() -> u32 {
    use std::cell::OnceCell;
    thread_local!(static EVENT: OnceCell<u32> = const { OnceCell::new() });
    EVENT.with(|event| {
        *event.get_or_init(|| {
            // SAFETY: a static C string; the server keeps one entry for each name.
            unsafe { pg_sys::WaitEventExtensionNew(c"UtlSmtp".as_ptr()) }
        })
    })
}

#[cfg(not(any(feature = "pg17", feature = "pg18")))]
fn wait_event() -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}
