//! Signals to server processes, and their state in /proc.

use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest wait for an event. No event takes this long, even on a busy machine: a test that
/// waits longer has found a hang.
pub const BOUND: Duration = Duration::from_secs(60);

/// A time limit in seconds, for `tx_timeout` and the like, that never expires within [`BOUND`].
pub const NEVER: i32 = 600;

/// Time limits in seconds for a call that must time out, to be tried in turn. On a busy machine a
/// limit may end an earlier call; then the next limit is tried.
pub const LIMITS: [i32; 4] = [1, 4, 16, 60];

/// Sends a signal, named as in `kill -s`.
pub fn signal(pid: impl std::fmt::Display, name: &str) {
    let status = Command::new("bash")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "no signal {name} to {pid}");
}

/// Whether the process runs and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    Path::new(&format!("/proc/{pid}")).exists() && !state.starts_with('Z')
}

/// The files that the process has mapped, one item per mapping.
pub fn libraries(pid: i32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| line[at..].to_owned()));
    paths.collect()
}

/// The CPU time of the process, user and system together.
pub fn processor_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    // USER_HZ is 100 on every Linux.
    Duration::from_millis(ticks * 10)
}

/// The number of voluntary context switches.
pub fn sleeps(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// The number of threads.
pub fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Waits until the condition holds. Fails the test after [`BOUND`].
#[track_caller]
pub fn wait_until(what: impl std::fmt::Display, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !holds() {
        assert!(began.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Waits until nothing is left, as long as it gets less: how long all of it takes is the machine's
/// affair. Fails the test once no less is left for [`BOUND`].
#[track_caller]
pub fn wait_for_work(what: impl std::fmt::Display, mut left: impl FnMut() -> i64) {
    let mut least = left();
    while least > 0 {
        let before = least;
        wait_until(format_args!("{what}: less than {before} left"), || {
            least = left();
            least < before
        });
    }
}

/// Joins the thread. Fails the test if it is still running after [`BOUND`].
#[track_caller]
pub fn join<T>(what: impl std::fmt::Display, thread: JoinHandle<T>) -> T {
    wait_until(format_args!("{what} ends"), || thread.is_finished());
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
