//! Signals to the server's processes, and what /proc tells of them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Sends a signal, named as in `kill -s`.
pub fn signal(pid: impl std::fmt::Display, name: &str) {
    let status = Command::new("bash")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "no signal {name} to {pid}");
}

/// Whether the process is there and not merely waiting to be buried.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    Path::new(&format!("/proc/{pid}")).exists() && !state.starts_with('Z')
}

/// The files that the process has mapped, each as often as it is.
pub fn libraries(pid: i32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| line[at..].to_owned()));
    paths.collect()
}

/// What the process has computed so far, in user and system mode together.
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

/// How long it took until this held; `None` if it did not within the limit.
pub fn time_until(limit: Duration, mut holds: impl FnMut() -> bool) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if holds() {
            return Some(began.elapsed());
        }
        if began.elapsed() >= limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
