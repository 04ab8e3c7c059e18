//! Waiting as a backend must: on the latch as well as on the socket, so that a cancel, a time-out of the statement, a
//! terminate, a fast shutdown or the postmaster's death ends every wait at once.
//!
//! An interrupt surfaces through `ProcessInterrupts` and unwinds through the transport, whose destructors close what
//! was open.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use pgrx::{check_for_interrupts, pg_sys};
use smtp_net::wait::{Deadline, Interest, Wait};

use crate::registry::Descriptor;

/// Waits on any descriptor, with a set of events made for the one wait.
pub struct Latch;

/// Waits on the socket of one session. Its set of events is kept: making one takes five system calls, using it takes
/// one. It has to be dropped when the socket is closed.
pub struct SocketLatch {
    socket: RawFd,
    set: *mut pg_sys::WaitEventSet,
    interest: Cell<Interest>,
}

/// The kernel's timeouts are `int` milliseconds; a longer wait is taken in turns.
const LONGEST: Duration = Duration::from_secs(3600);

impl Wait for Latch {
    fn wait(&self, fd: BorrowedFd<'_>, interest: Interest, deadline: Deadline) -> bool {
        let wanted = socket_event(interest)
            | pg_sys::WL_LATCH_SET
            | pg_sys::WL_EXIT_ON_PM_DEATH
            | pg_sys::WL_TIMEOUT;
        wait_until(deadline, interest, |milliseconds| {
            // SAFETY: MyLatch is this backend's own latch, and the descriptor is open for as long as it is borrowed.
            unsafe {
                pg_sys::WaitLatchOrSocket(
                    pg_sys::MyLatch,
                    wanted as i32,
                    fd.as_raw_fd(),
                    milliseconds,
                    wait_event(),
                ) as u32
            }
        })
    }

    fn check(&self) {
        check_for_interrupts!();
    }
}

impl SocketLatch {
    /// `None` where the backend has no descriptor left for the set of events.
    pub fn new(socket: RawFd) -> Option<Self> {
        // Only a look: PostgreSQL counts the descriptor of a set itself, but is at a loss for words without one.
        Descriptor::acquire()?;
        let interest = Interest::Readable;
        Some(Self {
            socket,
            set: new_set(socket, interest),
            interest: Cell::new(interest),
        })
    }

    /// The set of events, with the socket's event as wanted.
    fn set_for(&self, interest: Interest) -> *mut pg_sys::WaitEventSet {
        /// The place of the socket in the set, behind the latch and the postmaster's death.
        const SOCKET: i32 = 2;
        if self.interest.replace(interest) != interest {
            // SAFETY: the set is ours and has the socket at this place.
            unsafe {
                pg_sys::ModifyWaitEvent(
                    self.set,
                    SOCKET,
                    socket_event(interest),
                    std::ptr::null_mut(),
                );
            }
        }
        self.set
    }
}

impl Wait for SocketLatch {
    fn wait(&self, fd: BorrowedFd<'_>, interest: Interest, deadline: Deadline) -> bool {
        if fd.as_raw_fd() != self.socket {
            return Latch.wait(fd, interest, deadline);
        }
        let set = self.set_for(interest);
        wait_until(deadline, interest, |milliseconds| {
            let mut occurred = [pg_sys::WaitEvent::default(); 2];
            // SAFETY: the set is ours, and there is room for the events that it may report.
            let count = unsafe {
                pg_sys::WaitEventSetWait(
                    set,
                    milliseconds,
                    occurred.as_mut_ptr(),
                    occurred.len() as i32,
                    wait_event(),
                )
            };
            occurred
                .iter()
                .take(count as usize)
                .fold(0, |all, event| all | event.events)
        })
    }

    fn check(&self) {
        check_for_interrupts!();
    }
}

impl Drop for SocketLatch {
    fn drop(&mut self) {
        // SAFETY: the set is ours. Not while the process ends: PostgreSQL is gone by then.
        unsafe {
            if !pg_sys::proc_exit_inprogress {
                pg_sys::FreeWaitEventSet(self.set);
            }
        }
    }
}

/// Waits in turns until the socket is ready or the deadline has passed.
fn wait_until(deadline: Deadline, interest: Interest, turn: impl Fn(i64) -> u32) -> bool {
    loop {
        check_for_interrupts!();
        // Rounded up: waking a fraction of a millisecond early would spin.
        let left = deadline.remaining().unwrap_or(LONGEST).min(LONGEST);
        let happened = turn(left.as_micros().div_ceil(1000) as i64);
        if happened & pg_sys::WL_LATCH_SET != 0 {
            // SAFETY: this backend's own latch. Reset comes before the check, so that no interrupt is lost in between.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
            check_for_interrupts!();
        }
        if happened & socket_event(interest) != 0 {
            return true;
        }
        if deadline.passed() {
            return false;
        }
    }
}

fn socket_event(interest: Interest) -> u32 {
    match interest {
        Interest::Readable => pg_sys::WL_SOCKET_READABLE,
        Interest::Writable => pg_sys::WL_SOCKET_WRITEABLE,
    }
}

/// A set that outlives the transaction: latch, postmaster's death, socket, in this order.
fn new_set(socket: RawFd, interest: Interest) -> *mut pg_sys::WaitEventSet {
    const EVENTS: i32 = 3;
    let no_socket = pg_sys::PGINVALID_SOCKET;
    let nothing = std::ptr::null_mut();
    // SAFETY: the set lives until it is freed in drop; MyLatch lives as long as the backend.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let set = pg_sys::CreateWaitEventSet(std::ptr::null_mut(), EVENTS);
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        let set = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, EVENTS);
        pg_sys::AddWaitEventToSet(
            set,
            pg_sys::WL_LATCH_SET,
            no_socket,
            pg_sys::MyLatch,
            nothing,
        );
        pg_sys::AddWaitEventToSet(
            set,
            pg_sys::WL_EXIT_ON_PM_DEATH,
            no_socket,
            std::ptr::null_mut(),
            nothing,
        );
        pg_sys::AddWaitEventToSet(
            set,
            socket_event(interest),
            socket,
            std::ptr::null_mut(),
            nothing,
        );
        set
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
