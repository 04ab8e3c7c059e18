//! Background workers: how they are registered, their signals, their transactions, how they wait
//! and end.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::pg_sys::{self, BgWorkerStartTime, BgwHandleStatus};
use pgrx::{PgLogLevel, PgTryBuilder, check_for_interrupts};

use super::{latch, notices, report};

/// What PostgreSQL needs to know to start a background worker of this library.
pub struct Registration<'a> {
    /// `backend_type` in `pg_stat_activity`.
    pub kind: &'a CStr,
    /// Its name in the server log and in the list of processes.
    pub name: &'a str,
    /// The function that it runs, as the library exports it.
    pub function: &'a CStr,
    pub argument: u32,
    /// More for the function, see [`extra`].
    pub extra: u8,
    /// Whether it is started again a second after it ended with [`exit_to_restart`], or the server
    /// after a crash.
    pub restarts: bool,
    /// Whether it runs on a hot standby, too.
    pub on_standby: bool,
}

impl Registration<'_> {
    /// Registers a worker that is started with the server. Only while libraries are preloaded.
    pub fn register_static(&self) {
        // SAFETY: PostgreSQL copies it.
        unsafe { pg_sys::RegisterBackgroundWorker(&mut self.worker(0)) };
    }

    /// Starts a worker. `None` where all slots of max_worker_processes are taken. Only from a
    /// background worker that stays: it is woken when the worker starts or ends.
    pub fn start_watched(&self) -> Option<Handle> {
        // SAFETY: reads the process's own number. The handle lives in a memory context that stays.
        unsafe {
            let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let handle = self.register_dynamic(pg_sys::MyProcPid);
            pg_sys::MemoryContextSwitchTo(context);
            handle.map(Handle)
        }
    }

    /// Starts a worker that nobody watches. False where all slots of max_worker_processes are
    /// taken.
    pub fn start(&self) -> bool {
        self.register_dynamic(0).is_some()
    }

    fn register_dynamic(&self, notify: c_int) -> Option<*mut pg_sys::BackgroundWorkerHandle> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: PostgreSQL copies the worker, and sets the handle if it registers one.
        unsafe {
            pg_sys::RegisterDynamicBackgroundWorker(&mut self.worker(notify), &mut handle)
                .then_some(handle)
        }
    }

    fn worker(&self, notify: c_int) -> pg_sys::BackgroundWorker {
        let flags = pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION;
        let mut worker = pg_sys::BackgroundWorker {
            bgw_flags: flags as c_int,
            bgw_start_time: match self.on_standby {
                true => BgWorkerStartTime::BgWorkerStart_ConsistentState,
                false => BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
            },
            bgw_restart_time: match self.restarts {
                true => 1,
                false => pg_sys::BGW_NEVER_RESTART,
            },
            bgw_main_arg: pg_sys::Datum::from(self.argument),
            bgw_notify_pid: notify,
            ..Default::default()
        };
        copy(self.name.as_bytes(), &mut worker.bgw_name);
        copy(self.kind.to_bytes(), &mut worker.bgw_type);
        copy(b"utl_smtp", &mut worker.bgw_library_name);
        copy(self.function.to_bytes(), &mut worker.bgw_function_name);
        worker.bgw_extra[0] = self.extra as c_char;
        worker
    }
}

/// The rest of the array stays zero, its last element at least.
fn copy(text: &[u8], into: &mut [c_char]) {
    let room = into.len() - 1;
    for (to, from) in into[..room].iter_mut().zip(text) {
        *to = *from as c_char;
    }
}

/// A worker that this process has started.
pub struct Handle(*mut pg_sys::BackgroundWorkerHandle);

impl Handle {
    /// Whether it is still to start, or running.
    pub fn is_alive(&self) -> bool {
        let mut pid = 0;
        // SAFETY: a handle that is not freed.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == BgwHandleStatus::BGWH_STARTED || status == BgwHandleStatus::BGWH_NOT_YET_STARTED
    }

    /// Frees the handle. What it stood for runs on.
    pub fn forget(self) {
        // SAFETY: it was palloc'd, and nothing else refers to it.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}

/// The argument of the worker that this process is.
pub fn extra() -> u8 {
    // SAFETY: set in every background worker.
    unsafe { (*pg_sys::MyBgworkerEntry).bgw_extra[0] as u8 }
}

/// Whether PostgreSQL preloads libraries for all processes just now, and not for pg_upgrade.
pub fn may_register_static() -> bool {
    // SAFETY: reads the process's state.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress && !pg_sys::IsBinaryUpgrade }
}

static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Begins a background worker: from now on it takes signals. SIGTERM cancels what it waits for
/// within a transaction, then [`is_terminated`] says so. Then connects it to a database, or to
/// none, as the bootstrap superuser.
pub fn begin(database: Option<pg_sys::Oid>) {
    // SAFETY: a background worker, which may do this once; handlers that only set flags and the
    // latch.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        use pg_sys::pqsignal;
        #[cfg(feature = "pg18")]
        use pg_sys::pqsignal_be as pqsignal;
        pqsignal(pg_sys::SIGTERM as c_int, Some(terminate));
        pqsignal(pg_sys::SIGHUP as c_int, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(database) => {
                let user = pg_sys::InvalidOid;
                pg_sys::BackgroundWorkerInitializeConnectionByOid(database, user, 0);
            }
            None => {
                let (database, user) = (std::ptr::null(), std::ptr::null());
                pg_sys::BackgroundWorkerInitializeConnection(database, user, 0);
            }
        }
    }
}

// Signal handlers, which go without pgrx's guard, and what never returns, which pgrx does not say
// for 18.
unsafe extern "C-unwind" {
    fn proc_exit(code: c_int) -> !;
    fn SignalHandlerForConfigReload(signal: c_int);
    fn StatementCancelHandler(signal: c_int);
}

/// Whether the process is ending already: a fast shutdown tells a worker twice, and what it has to
/// write down then waits for nobody.
static ENDING: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" fn terminate(signal: c_int) {
    if ENDING.load(Ordering::Relaxed) {
        return;
    }
    TERMINATED.store(true, Ordering::Relaxed);
    // SAFETY: it is a signal handler.
    unsafe { StatementCancelHandler(signal) };
}

/// Whether the process is to end: by pg_terminate_backend, or because the server shuts down.
pub fn is_terminated() -> bool {
    TERMINATED.load(Ordering::Relaxed)
}

/// From now on SIGTERM cancels nothing: the process ends by itself, and soon.
pub fn begin_end() {
    ENDING.store(true, Ordering::Relaxed);
    TERMINATED.store(false, Ordering::Relaxed);
    ignore_cancel();
}

/// A cancel counts for what was running when it came, SIGTERM until it is taken.
fn ignore_cancel() {
    // SAFETY: flags of this process, which its signal handlers set.
    unsafe {
        (&raw mut pg_sys::QueryCancelPending).write_volatile(0);
        if is_terminated() {
            (&raw mut pg_sys::QueryCancelPending).write_volatile(1);
            (&raw mut pg_sys::InterruptPending).write_volatile(1);
        }
    }
}

/// Reads the configuration files again if the process was told to. Whether it was.
pub fn reload() -> bool {
    // SAFETY: a flag of this process, which its signal handlers set; outside of a transaction.
    unsafe {
        let pending = &raw mut pg_sys::ConfigReloadPending;
        if pending.read_volatile() == 0 {
            return false;
        }
        pending.write_volatile(0);
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        true
    }
}

/// Gives a setting a value for the rest of the process, whatever the database, the role and the
/// configuration say.
pub fn set(name: &CStr, value: &CStr) {
    // SAFETY: C strings, which PostgreSQL copies.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Waits outside of a transaction: for the latch, for a descriptor to become readable, for SIGTERM
/// or SIGHUP, or until the time is over.
pub fn wait(descriptor: Option<BorrowedFd<'_>>, time: Duration) {
    answer_interrupts();
    if !is_terminated() {
        latch::sleep(descriptor.map(|descriptor| descriptor.as_raw_fd()), time);
        answer_interrupts();
    }
}

/// What other processes ask for, such as to close files of a database that is dropped. Outside of a
/// transaction, where a cancel has nothing to cancel.
fn answer_interrupts() {
    ignore_cancel();
    let _ = catch(|| {
        check_for_interrupts!();
    });
}

/// Shows what the process does in `pg_stat_activity`.
pub fn report_activity(activity: Option<&str>) {
    let text = activity.and_then(|text| CString::new(text).ok());
    let (state, text) = match &text {
        Some(text) => (pg_sys::BackendState::STATE_RUNNING, text.as_ptr()),
        None => (pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
    };
    // SAFETY: PostgreSQL copies the text.
    unsafe { pg_sys::pgstat_report_activity(state, text) };
}

/// Hands the statistics of tables over, so that autovacuum hears of them. Outside of a transaction.
pub fn report_statistics() {
    // SAFETY: outside of a transaction, as PostgreSQL asks.
    unsafe { pg_sys::pgstat_report_stat(false) };
}

/// An error that was caught.
pub struct Failure {
    pub message: String,
    pub detail: Option<String>,
}

impl Failure {
    /// A line in the server log.
    pub fn log(&self) {
        notices::send(PgLogLevel::WARNING, &self.message, self.detail.as_deref());
    }

    fn of(error: &CaughtError) -> Self {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        }) = error;
        Self::of_report(report)
    }

    fn of_report(report: &ErrorReportWithLevel) -> Self {
        Self {
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
        }
    }
}

/// Runs something in a transaction of its own and commits it. Outside of any other. An error, or a
/// panic, aborts the transaction and is returned; the next transaction works.
pub fn transaction<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    ignore_cancel();
    catch(|| {
        // SAFETY: outside of a transaction; each step as PostgreSQL's own background workers do.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let result = run();
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            result
        }
    })
}

/// The same without a snapshot of the database, for a process that has none.
pub fn catalog_transaction<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    ignore_cancel();
    catch(|| {
        // SAFETY: as above.
        unsafe {
            pg_sys::StartTransactionCommand();
            let result = run();
            pg_sys::CommitTransactionCommand();
            result
        }
    })
}

/// Catches an error or a panic. The transaction that is open then, if any, is aborted.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    // SAFETY: reads and restores pointers of this process.
    let context = unsafe { pg_sys::error_context_stack };
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(run())))
        .catch_others(|error| Err(Failure::of(&error)))
        .execute();
    if result.is_err() {
        // SAFETY: PgTryBuilder has taken the error off PostgreSQL's stack. What was raised in Rust
        // may have left its context behind.
        unsafe {
            pg_sys::error_context_stack = context;
            report::forget();
            pg_sys::AbortCurrentTransaction();
            pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        }
    }
    result
}

/// Has a function called when the process ends, in whatever way but by a signal that kills it,
/// while shared memory is still there. It must neither panic nor raise. Only one.
pub fn at_exit(call: fn()) {
    static CALL: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C-unwind" fn ended(_: c_int, _: pg_sys::Datum) {
        // SAFETY: it was stored as such a function, before this one was registered.
        let call: fn() = unsafe { std::mem::transmute(CALL.load(Ordering::Relaxed)) };
        call();
    }

    CALL.store(call as usize, Ordering::Relaxed);
    // SAFETY: a static function.
    unsafe { pg_sys::before_shmem_exit(Some(ended), pg_sys::Datum::null()) };
}

/// Ends the process. PostgreSQL forgets it.
pub fn exit() -> ! {
    // SAFETY: does not return.
    unsafe { proc_exit(0) }
}

/// Ends the process. PostgreSQL starts it again, if it is registered so.
pub fn exit_to_restart() -> ! {
    // SAFETY: does not return.
    unsafe { proc_exit(1) }
}
