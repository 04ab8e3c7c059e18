//! The cost of a run: wall-clock time and CPU time.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// The CPU clock of a process or thread.
#[derive(Clone, Copy)]
pub struct CpuClock(ClockId);

impl CpuClock {
    pub fn of(pid: i32) -> Self {
        Self(clock_getcpuclockid(Pid::from_raw(pid)).unwrap())
    }

    pub fn of_this_process() -> Self {
        Self(ClockId::CLOCK_PROCESS_CPUTIME_ID)
    }

    pub fn of_this_thread() -> Self {
        Self(ClockId::CLOCK_THREAD_CPUTIME_ID)
    }

    pub fn now(self) -> Duration {
        self.0.now().unwrap().into()
    }
}

/// A run of a client: the number of units (mails, connections, calls) and the time they took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub units: u64,
    pub wall: Duration,
    pub cpu: Duration,
}

impl Run {
    /// Measures the work by wall clock and by this CPU clock.
    pub fn time(units: u64, clock: CpuClock, work: impl FnOnce()) -> Self {
        let (cpu, begun) = (clock.now(), Instant::now());
        work();
        let wall = begun.elapsed();
        Self {
            units,
            wall,
            cpu: clock.now() - cpu,
        }
    }

    /// Measures the work of a child process that has exited when `work` returns.
    pub fn time_child(units: u64, work: impl FnOnce()) -> Self {
        let (cpu, begun) = (children(), Instant::now());
        work();
        let wall = begun.elapsed();
        Self {
            units,
            wall,
            cpu: children() - cpu,
        }
    }

    /// Wall-clock microseconds per unit.
    pub fn wall_each(&self) -> f64 {
        self.wall.as_secs_f64() * 1e6 / self.units as f64
    }

    /// CPU microseconds per unit.
    pub fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.units as f64
    }
}

fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let spent = usage.user_time() + usage.system_time();
    Duration::from_micros(spent.num_microseconds().try_into().unwrap())
}

/// The monotonic clock, which all processes share.
pub fn monotonic() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().unwrap().into()
}

/// The median.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}
