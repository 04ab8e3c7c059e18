//! What a run costs: time by the clock on the wall, and processor time.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// The processor time of a process or thread.
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

/// A run of a contender: how many units (mails, connections, calls) in which time.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub units: u64,
    pub wall: Duration,
    pub cpu: Duration,
}

impl Run {
    /// Times the work, on the wall and on this processor clock.
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

    /// Times work that a child process does, which is over when `work` returns.
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

    /// Microseconds a unit.
    pub fn wall_each(&self) -> f64 {
        self.wall.as_secs_f64() * 1e6 / self.units as f64
    }

    /// Processor microseconds a unit.
    pub fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.units as f64
    }
}

fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let spent = usage.user_time() + usage.system_time();
    Duration::from_micros(spent.num_microseconds().try_into().unwrap())
}

/// The middle one of these.
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
