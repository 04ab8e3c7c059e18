//! The settings of the queue and its worker.

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

use pgrx::pg_sys::GucSource;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static DELIVER: GucSetting<bool> = GucSetting::<bool>::new(true);
static WORKER_CONNECTIONS: GucSetting<i32> = GucSetting::<i32>::new(20);
static RETRY_MINIMUM: GucSetting<i32> = GucSetting::<i32>::new(300);
static RETRY_MAXIMUM: GucSetting<i32> = GucSetting::<i32>::new(4000);
static MESSAGE_LIFETIME: GucSetting<i32> = GucSetting::<i32>::new(432_000);
static LOG_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(2_592_000);
static AUTO_SUPPRESS: GucSetting<bool> = GucSetting::<bool>::new(true);
static SOFT_BOUNCE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(4);
static REQUIRE_APPROVED_SENDER: GucSetting<bool> = GucSetting::<bool>::new(false);
static HOME: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Whether queued mail is sent.
pub fn deliver() -> bool {
    DELIVER.get()
}

/// Connections at once in one worker.
pub fn worker_connections() -> usize {
    usize::try_from(WORKER_CONNECTIONS.get()).unwrap_or(1)
}

/// The shortest time between two attempts.
pub fn retry_minimum() -> Duration {
    seconds(&RETRY_MINIMUM)
}

/// The longest time between two attempts, not less than the shortest.
pub fn retry_maximum() -> Duration {
    seconds(&RETRY_MAXIMUM).max(retry_minimum())
}

/// The age at which a message expires.
pub fn message_lifetime() -> Duration {
    seconds(&MESSAGE_LIFETIME)
}

/// How long the log of final results is kept; `None` is for ever.
pub fn log_retention() -> Option<Duration> {
    Some(seconds(&LOG_RETENTION)).filter(|time| !time.is_zero())
}

/// Whether addresses are added to the suppression list by themselves.
pub fn auto_suppress() -> bool {
    AUTO_SUPPRESS.get()
}

/// The failures of a mailbox in a row that put it on the suppression list; `None`: they never do.
pub fn soft_bounce_limit() -> Option<usize> {
    usize::try_from(SOFT_BOUNCE_LIMIT.get())
        .ok()
        .filter(|limit| *limit > 0)
}

/// Whether envelope senders must be approved.
pub fn require_approved_sender() -> bool {
    REQUIRE_APPROVED_SENDER.get()
}

/// What the administrator calls this installation; empty: nothing.
pub fn home() -> String {
    let name = HOME.get().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn seconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_secs(u64::try_from(setting.get()).unwrap_or(0))
}

pub(super) fn define() {
    define_switches();
    define_numbers();
    define_home();
}

fn define_switches() {
    let plain = GucFlags::default();
    GucRegistry::define_bool_guc(
        c"utl_smtp.deliver",
        c"Sends queued mail.",
        c"When off, nothing is sent in the whole cluster, and queues go on accepting mail.",
        &DELIVER,
        GucContext::Sighup,
        plain,
    );
    GucRegistry::define_bool_guc(
        c"utl_smtp.auto_suppress",
        c"Adds addresses whose mail bounces to the suppression list.",
        c"",
        &AUTO_SUPPRESS,
        GucContext::Sighup,
        plain,
    );
    GucRegistry::define_bool_guc(
        c"utl_smtp.require_approved_sender",
        c"Refuses envelope senders that are not approved for the current role.",
        c"",
        &REQUIRE_APPROVED_SENDER,
        GucContext::Suset,
        plain,
    );
}

fn define_numbers() {
    let (seconds, count) = (GucFlags::UNIT_S, GucFlags::default());
    type Number = (
        &'static CStr,
        &'static CStr,
        &'static CStr,
        &'static GucSetting<i32>,
        i32,
        i32,
        GucFlags,
    );
    let numbers: [Number; 6] = [
        (
            c"utl_smtp.worker_connections",
            c"Connections that one delivery worker may have open at once.",
            c"",
            &WORKER_CONNECTIONS,
            1,
            1000,
            count,
        ),
        (
            c"utl_smtp.retry_minimum",
            c"Shortest time between two attempts to deliver a message.",
            c"It is also the longest time that an unusable server is left alone.",
            &RETRY_MINIMUM,
            1,
            86_400,
            seconds,
        ),
        (
            c"utl_smtp.retry_maximum",
            c"Longest time between two attempts to deliver a message.",
            c"",
            &RETRY_MAXIMUM,
            1,
            604_800,
            seconds,
        ),
        (
            c"utl_smtp.message_lifetime",
            c"Age at which a message that could not be delivered expires.",
            c"",
            &MESSAGE_LIFETIME,
            1,
            i32::MAX,
            seconds,
        ),
        (
            c"utl_smtp.log_retention",
            c"Time for which the results of deliveries are kept.",
            c"Zero is for ever.",
            &LOG_RETENTION,
            0,
            i32::MAX,
            seconds,
        ),
        (
            c"utl_smtp.soft_bounce_limit",
            c"Failures of a mailbox in a row that put its address on the suppression list.",
            c"Zero is never.",
            &SOFT_BOUNCE_LIMIT,
            0,
            1000,
            count,
        ),
    ];
    for (name, short, long, setting, least, most, unit) in numbers {
        GucRegistry::define_int_guc(
            name,
            short,
            long,
            setting,
            least,
            most,
            GucContext::Sighup,
            unit,
        );
    }
}

/// PostgreSQL takes settings that are fixed at the server's start only while it preloads libraries.
/// In a library that is loaded later it is one of the configuration files.
fn define_home() {
    // SAFETY: reads the process's state; the hook is guarded.
    unsafe {
        let context = match pg_sys::process_shared_preload_libraries_in_progress {
            true => GucContext::Postmaster,
            false => GucContext::Sighup,
        };
        GucRegistry::define_string_guc_with_hooks(
            c"utl_smtp.home",
            c"Name of this installation.",
            c"One for all nodes of a cluster, another one for every copy. At most 64 visible ASCII characters.",
            &HOME,
            context,
            GucFlags::default(),
            Some(check_home),
            None,
            None,
        );
    }
}

/// Refuses what can't be the name of an installation.
#[pg_guard]
unsafe extern "C-unwind" fn check_home(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: GucSource::Type,
) -> bool {
    // SAFETY: the new value, a C string. PostgreSQL reads the detail and does not free it.
    unsafe {
        let is_name = CStr::from_ptr(*value)
            .to_str()
            .is_ok_and(installation::is_name);
        if !is_name {
            let detail = c"A name has at most 64 visible ASCII characters.";
            pg_sys::GUC_check_errdetail_string = detail.as_ptr().cast_mut();
        }
        is_name
    }
}
