//! A failed allocation is an ERROR of the call, never the end of the server.
//!
//! Rust aborts the process when an allocation fails, and PostgreSQL then restarts the whole
//! cluster. The allocator of this library prevents that:
//!
//! - Code that handles the failure ([`smtp_core::memory`]) gets it. All large allocations are made
//!   there.
//! - Everything else is served from a reserve when malloc fails. [`check`] raises ERROR 53200
//!   before the reserve is used up, and a call is refused while too much of it is in use
//!   ([`may_begin`]).
//! - When the reserve is empty too, the session ends with FATAL. That takes this process away in
//!   order, and no other.
//!
//! The reserve is static, so nothing has to be allocated for it, and its pages cost nothing before
//! their first use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::panic::{catch_unwind, panic_any};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pgrx::{PgLogLevel, pg_sys};
use smtp_core::memory::is_fallible;

use super::report::{self, Error, OUT_OF_MEMORY, raise};

/// What the reserve is divided into. It is the alignment of every block, too; std's channels ask
/// for the most.
const GRANULE: usize = 128;
const GRANULES: usize = 8 * 1024;
const SIZE: usize = GRANULE * GRANULES;

/// Up to here the reserve may be in use when a call begins: by what earlier calls have kept.
const BEGIN: usize = SIZE / 4;
/// Up to here the reserve may be in use while a call goes on.
const CONTINUE: usize = SIZE / 2;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// malloc, and the reserve behind it.
struct Allocator;

// SAFETY: a block is malloc's or the reserve's, told apart by its address, and goes back where it
// came from. Nothing unwinds: without memory the process exits or waits.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { System.alloc(layout) };
        if block.is_null() {
            return reserved(layout);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = reserved(layout);
        if !block.is_null() {
            // SAFETY: the block has this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if RESERVE.holds(block) {
            RESERVE.give_back(block, layout);
        } else {
            // SAFETY: it is not the reserve's, so it is malloc's.
            unsafe { System.dealloc(block, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !RESERVE.holds(block) {
            // SAFETY: as the caller promises.
            let moved = unsafe { System.realloc(block, layout, new_size) };
            if !moved.is_null() {
                return moved;
            }
        }
        // SAFETY: as the caller promises.
        unsafe { self.move_to_new(block, layout, new_size) }
    }
}

impl Allocator {
    /// # Safety
    /// As for `realloc`.
    #[cold]
    unsafe fn move_to_new(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller of realloc promises a valid layout. The old block stays valid until it
        // is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// A block where malloc has none. Null only for code that handles that.
#[cold]
fn reserved(layout: Layout) -> *mut u8 {
    loop {
        if is_fallible() {
            return null_mut();
        }
        let block = RESERVE.take(layout);
        if !block.is_null() {
            return block;
        }
        if is_backend_thread() {
            end_session();
        }
        // A name look-up. Its caller waits for it no longer than its deadline.
        std::thread::sleep(Duration::from_millis(10));
        // SAFETY: the layout is a caller's of `alloc`.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            return block;
        }
    }
}

/// Memory for when malloc has none, in granules that are free or taken.
struct Reserve {
    pages: Pages,
    taken: Mutex<[bool; GRANULES]>,
    /// Octets taken.
    used: AtomicUsize,
}

#[repr(align(4096))]
struct Pages(UnsafeCell<[u8; SIZE]>);

// SAFETY: a part of the pages belongs to who took it, and is touched by nobody else.
unsafe impl Sync for Pages {}

static RESERVE: Reserve = Reserve {
    pages: Pages(UnsafeCell::new([0; SIZE])),
    taken: Mutex::new([false; GRANULES]),
    used: AtomicUsize::new(0),
};

impl Reserve {
    fn start(&self) -> *mut u8 {
        self.pages.0.get().cast()
    }

    fn holds(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.start().addr()) < SIZE
    }

    /// Null if there is no room.
    fn take(&self, layout: Layout) -> *mut u8 {
        let wanted = granules(layout);
        if layout.align() > GRANULE || wanted > GRANULES {
            return null_mut();
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = 0;
        for at in 0..GRANULES {
            free = if taken[at] { 0 } else { free + 1 };
            if free == wanted {
                let first = at + 1 - wanted;
                taken[first..=at].fill(true);
                self.used.fetch_add(wanted * GRANULE, Ordering::Relaxed);
                return self.start().wrapping_add(first * GRANULE);
            }
        }
        null_mut()
    }

    #[cold]
    fn give_back(&self, block: *mut u8, layout: Layout) {
        let first = (block.addr() - self.start().addr()) / GRANULE;
        let count = granules(layout);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken[first..first + count].fill(false);
        self.used.fetch_sub(count * GRANULE, Ordering::Relaxed);
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

fn granules(layout: Layout) -> usize {
    layout.size().div_ceil(GRANULE).max(1)
}

/// The thread that runs PostgreSQL's code, as pthread_self names it.
static BACKEND_THREAD: AtomicUsize = AtomicUsize::new(0);

fn is_backend_thread() -> bool {
    // SAFETY: never fails.
    BACKEND_THREAD.load(Ordering::Relaxed) == unsafe { pthread_self() }
}

/// Called when the library is loaded. Thread-local variables register their destructors with libc
/// at their first use, and libc aborts where it has no memory for that: so their first use is now.
/// `touch` uses those of other modules.
pub fn prepare(touch: impl FnOnce()) {
    // SAFETY: never fails.
    BACKEND_THREAD.store(unsafe { pthread_self() }, Ordering::Relaxed);
    touch();
    report::prepare();
    // pgrx's variable, which its panic hook sets.
    let _ = catch_unwind(|| panic_any(()));
    let _ = std::thread::current();
}

/// Whether a call may begin: not too much of the reserve is in use by what earlier calls have kept.
pub fn may_begin() -> bool {
    RESERVE.used() <= BEGIN
}

/// Raises an ERROR if malloc has failed for too much since the call began. To be called wherever
/// the call may end.
pub fn check() {
    if RESERVE.used() > CONTINUE {
        raise(Error {
            code: OUT_OF_MEMORY,
            message: "out of memory".to_owned(),
            detail: None,
            hint: None,
            context: None,
        })
    }
}

/// The last resort: FATAL, which runs PostgreSQL's clean-up and exits. It does not return into the
/// code that needed the memory.
#[cold]
fn end_session() -> ! {
    // SAFETY: on the thread that runs PostgreSQL's code. FATAL neither returns nor jumps. While the
    // process exits already, it has left the shared memory before any destructor of this
    // library runs.
    unsafe {
        if !pg_sys::proc_exit_inprogress {
            pg_sys::error_context_stack = null_mut();
            if errstart(PgLogLevel::FATAL as c_int, null()) {
                errcode(report::encode(OUT_OF_MEMORY));
                errmsg(c"out of memory".as_ptr());
                errfinish(c"utl_smtp".as_ptr(), 0, null());
            }
        }
        _exit(1)
    }
}

// pgrx keeps PostgreSQL's to itself.
unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errcode(sqlstate: c_int) -> c_int;
    fn errmsg(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    fn pthread_self() -> usize;
    fn _exit(status: c_int) -> !;
}
