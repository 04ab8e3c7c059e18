//! The open sessions of this backend, each under a random handle.
//!
//! A session is *taken out* for as long as it is used and put back only when its exchange is
//! complete. Whatever unwinds in between, an interrupt or an error, drops it: the socket is closed
//! and the handle is dead. So no late reply ever meets another command.
//!
//! At the end of the backend the sessions left here are dropped by a thread-local destructor, after
//! PostgreSQL has shut down: dropping one closes a descriptor and calls nothing of PostgreSQL's.

use std::cell::RefCell;

use pgrx::pg_sys;

use super::dialogue::Dialogue;
use super::opening::Opening;

/// The number that stands for a session in `connection.private_tcp_con`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle(pub i64);

/// An open session and what PostgreSQL needs to know of it.
pub struct Session {
    pub handle: Handle,
    pub dialogue: Dialogue,
    pub opening: Opening,
    pub opened_at: pg_sys::TimestampTz,
}

thread_local! {
    // Boxed, because a session moves out and back in at every call.
    #[allow(clippy::vec_box)]
    static SESSIONS: RefCell<Vec<Box<Session>>> = const { RefCell::new(Vec::new()) };
}

/// Registers the destructor, see [`crate::pg::memory::prepare`].
pub fn prepare() {
    SESSIONS.with(|_| ());
}

/// Removes a session from the registry; `None` where the handle is of no session, or of one that is
/// in use.
pub fn take(handle: Handle) -> Option<Box<Session>> {
    SESSIONS.with_borrow_mut(|sessions| {
        let index = sessions
            .iter()
            .position(|session| session.handle == handle)?;
        Some(sessions.swap_remove(index))
    })
}

/// Adds a session, or puts it back.
pub fn put(session: Box<Session>) {
    SESSIONS.with_borrow_mut(|sessions| sessions.push(session));
}

pub fn count() -> usize {
    SESSIONS.with_borrow(Vec::len)
}

/// What `see` makes of each session, in the order of their opening.
pub fn list<T>(see: impl Fn(&Session) -> T) -> Vec<T> {
    SESSIONS.with_borrow_mut(|sessions| {
        sessions.sort_by_key(|session| session.opened_at);
        sessions.iter().map(|session| see(session)).collect()
    })
}

/// A handle that no session of this or any other backend has.
pub fn new_handle() -> Result<Handle, getrandom::Error> {
    loop {
        let handle = Handle((getrandom::u64()? >> 1) as i64);
        let taken = SESSIONS.with_borrow(|all| all.iter().any(|session| session.handle == handle));
        if handle.0 != 0 && !taken {
            return Ok(handle);
        }
    }
}

/// A descriptor counted among those that PostgreSQL leaves to extensions.
pub struct Descriptor(());

impl Descriptor {
    /// `None` where the backend has none left to give.
    pub fn acquire() -> Option<Self> {
        // SAFETY: counts; raises nothing.
        unsafe { pg_sys::AcquireExternalFD() }.then_some(Self(()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: reads a variable, then counts. Not while the process ends: PostgreSQL is gone by
        // then.
        unsafe {
            if !pg_sys::proc_exit_inprogress {
                pg_sys::ReleaseExternalFD();
            }
        }
    }
}
