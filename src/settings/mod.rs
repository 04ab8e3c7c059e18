//! The settings `utl_smtp.*`.

mod caller;
mod directories;
mod queue;
mod setter;
mod startup;

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::time::Duration;

use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use smtp_client::tls::MinVersion;

use self::caller::CallerSetting;
pub use self::queue::*;

static RAISE_REPLY_ERRORS: CallerSetting<bool> = CallerSetting::<bool>::new(true);
static DEFAULT_TIMEOUT: CallerSetting<i32> = CallerSetting::<i32>::new(300);
static MAX_CONNECTIONS: GucSetting<i32> = GucSetting::<i32>::new(16);
static WALLET_PATH: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"system:"));
static WALLET_ROOTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static ALLOW_CLEARTEXT_AUTH: GucSetting<bool> = GucSetting::<bool>::new(false);
static MIN_TLS_VERSION: GucSetting<TlsVersion> = GucSetting::<TlsVersion>::new(TlsVersion::Tls12);
static SMTP_OUT_SERVER: CallerSetting<Option<CString>> = CallerSetting::<Option<CString>>::new();
static DELIVERY: CallerSetting<Delivery> = CallerSetting::<Delivery>::new(Delivery::Immediate);
static DELIVERY_SERVER: CallerSetting<Option<CString>> = CallerSetting::<Option<CString>>::new();
static TRACE: CallerSetting<Trace> = CallerSetting::<Trace>::new(Trace::Off);

/// Values of `utl_smtp.trace`.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Trace {
    #[name = c"off"]
    Off,
    #[name = c"notice"]
    Notice,
    #[name = c"log"]
    Log,
}

/// Values of `utl_smtp.delivery`.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Delivery {
    /// Conversations are held.
    #[name = c"immediate"]
    Immediate,
    /// Conversations are recorded, and their messages queued.
    #[name = c"on_commit"]
    OnCommit,
}

#[derive(Clone, Copy, PostgresGucEnum)]
enum TlsVersion {
    #[name = c"TLSv1.2"]
    Tls12,
    #[name = c"TLSv1.3"]
    Tls13,
}

pub fn raise_reply_errors() -> bool {
    RAISE_REPLY_ERRORS.get()
}

/// For commands of a connection that was opened without a time-out; `None` is for ever.
pub fn default_timeout() -> Option<Duration> {
    u64::try_from(DEFAULT_TIMEOUT.get())
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

pub fn max_connections() -> usize {
    usize::try_from(MAX_CONNECTIONS.get()).unwrap_or(0)
}

/// The wallet of calls that name none; `None` where the setting is empty.
pub fn wallet_path() -> Option<String> {
    text(&WALLET_PATH)
}

/// The directories under which roles without the right to read server files may name wallets.
pub fn wallet_roots() -> Vec<PathBuf> {
    let list = WALLET_ROOTS.get().unwrap_or_default();
    directories::parse(&list).unwrap_or_default()
}

pub fn allow_cleartext_auth() -> bool {
    ALLOW_CLEARTEXT_AUTH.get()
}

pub fn min_tls_version() -> MinVersion {
    match MIN_TLS_VERSION.get() {
        TlsVersion::Tls12 => MinVersion::Tls12,
        TlsVersion::Tls13 => MinVersion::Tls13,
    }
}

pub fn delivery() -> Delivery {
    DELIVERY.get()
}

/// The mail server that delivers what recorded conversations queue; `None` where the setting is
/// empty.
pub fn delivery_server() -> Option<String> {
    non_empty(DELIVERY_SERVER.get())
}

/// Where utl_mail sends mail to: a mail server, or hosts; `None` where the setting is empty.
pub fn smtp_out_server() -> Option<String> {
    non_empty(SMTP_OUT_SERVER.get())
}

pub fn trace() -> Trace {
    TRACE.get()
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    non_empty(setting.get())
}

fn non_empty(value: Option<CString>) -> Option<String> {
    let value = value?.to_str().ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// Those that only superusers may set, and roles that are granted it.
const SUPERUSER_SETTINGS: [&CStr; 6] = [
    c"utl_smtp.max_connections",
    c"utl_smtp.wallet_path",
    c"utl_smtp.wallet_roots",
    c"utl_smtp.allow_cleartext_auth",
    c"utl_smtp.min_tls_version",
    c"utl_smtp.require_approved_sender",
];

/// Defines the settings, unless the session's start-up options hide a configured value.
pub fn register() {
    if let Err(report) = startup::check(&SUPERUSER_SETTINGS) {
        report.raise();
    }
    #[cfg(feature = "pg14")]
    setter::while_defining(define_user_settings);
    #[cfg(not(feature = "pg14"))]
    define_user_settings();
    define_superuser_settings();
    queue::define();
    // SAFETY: a static C string, in _PG_init, as PostgreSQL asks.
    unsafe {
        #[cfg(feature = "pg14")]
        for prefix in [c"utl_smtp", c"utl_mail"] {
            pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr());
        }
        #[cfg(not(feature = "pg14"))]
        for prefix in [c"utl_smtp", c"utl_mail"] {
            pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
        }
    }
}

fn define_user_settings() {
    RAISE_REPLY_ERRORS.define(
        c"utl_smtp.raise_reply_errors",
        c"Raises an error for 4xx and 5xx replies.",
        c"When off, the reply is returned for the caller to judge, as Oracle's function forms do.",
    );
    DEFAULT_TIMEOUT.define(
        c"utl_smtp.default_timeout",
        c"Time limit of each command of a connection opened with tx_timeout NULL.",
        c"Zero is no limit.",
        0..=i32::MAX,
        GucFlags::UNIT_S,
    );
    SMTP_OUT_SERVER.define(
        c"utl_mail.smtp_out_server",
        c"Mail server of utl_mail: the name of a foreign server, or a list of hosts.",
        c"Hosts are written as \"host:port, host:port\" and tried in order; without a port it is 25.",
    );
    DELIVERY.define(
        c"utl_smtp.delivery",
        c"When mail is sent: within the call, or after the transaction has committed.",
        c"With on_commit open_connection and connect record what is said, and each message becomes part of the queue.",
    );
    DELIVERY_SERVER.define(
        c"utl_smtp.delivery_server",
        c"Mail server that delivers what recorded conversations queue.",
        c"The name of a foreign server. Empty: the one whose host and port are those of the connection.",
    );
    TRACE.define(
        c"utl_smtp.trace",
        c"Shows the conversation: to the client as notices, or in the server log.",
        c"Secrets are masked, message data is a byte count.",
    );
}

fn define_superuser_settings() {
    let plain = GucFlags::default();
    GucRegistry::define_int_guc(
        c"utl_smtp.max_connections",
        c"SMTP connections that one backend may have open at once.",
        c"",
        &MAX_CONNECTIONS,
        0,
        1024,
        GucContext::Suset,
        plain,
    );
    GucRegistry::define_string_guc(
        c"utl_smtp.wallet_path",
        c"Wallet of calls that name none.",
        c"\"file:/directory\" with PEM certificates, or \"system:\" for the machine's own trust store.",
        &WALLET_PATH,
        GucContext::Suset,
        plain,
    );
    // SAFETY: the hook is guarded.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"utl_smtp.wallet_roots",
            c"Directories under which ordinary roles may name wallets.",
            c"A comma-separated list of absolute paths. Superusers and members of pg_read_server_files may name any.",
            &WALLET_ROOTS,
            GucContext::Suset,
            plain,
            Some(directories::check),
            None,
            None,
        );
    }
    GucRegistry::define_bool_guc(
        c"utl_smtp.allow_cleartext_auth",
        c"Allows AUTH schemes that show the password on connections without TLS.",
        c"",
        &ALLOW_CLEARTEXT_AUTH,
        GucContext::Suset,
        plain,
    );
    GucRegistry::define_enum_guc(
        c"utl_smtp.min_tls_version",
        c"Oldest TLS version that is accepted.",
        c"",
        &MIN_TLS_VERSION,
        GucContext::Suset,
        plain,
    );
}
