//! A thread without std's bookkeeping, which aborts the process where it can't be allocated.

use std::ffi::{c_int, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

type Work = Box<dyn FnOnce() + Send>;

/// Runs `work` in a thread that nobody waits for. It must not call PostgreSQL.
pub fn spawn(work: Work) -> io::Result<()> {
    let work = Box::into_raw(Box::new(work)).cast();
    let mut thread = 0;
    // SAFETY: `run` takes the work over, if the thread is started. Nothing else uses the thread
    // once it is detached.
    unsafe {
        let error = pthread_create(&mut thread, null(), run, work);
        if error != 0 {
            drop(Box::from_raw(work.cast::<Work>()));
            return Err(io::Error::from_raw_os_error(error));
        }
        pthread_detach(thread);
    }
    Ok(())
}

extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` has given it away.
    let work = unsafe { Box::from_raw(work.cast::<Work>()) };
    let _ = catch_unwind(AssertUnwindSafe(work));
    null_mut()
}

// POSIX. pthread_t is as long as a pointer on every system with PostgreSQL.
unsafe extern "C" {
    fn pthread_create(
        thread: *mut usize,
        attributes: *const c_void,
        run: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_detach(thread: usize) -> c_int;
}
