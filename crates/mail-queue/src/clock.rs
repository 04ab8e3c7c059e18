//! Time as an argument. Two clocks matter, and they are kept apart:
//!
//! - **Steady**: [`Moment`], read from a clock that never jumps. Back-off and rates live in the
//!   memory of one process and use it, so nobody who sets the wall clock changes them.
//! - **Wall**: what is stored and outlives a process, such as the time of a next attempt, as
//!   microseconds since any fixed date. Somebody may set that clock. [`WallClock`] notices, and
//!   says by how much stored times have to be moved.

use std::time::Duration;

/// A moment of a clock that never jumps, as the time since an origin of the caller's choice
/// ([`std::time::Instant::elapsed`] of one fixed instant).
///
/// A moment before an earlier one is taken for that one: no wait becomes longer by it than it was
/// in the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `elapsed` after the origin.
    pub const fn new(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time since the origin.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `time` later, at most the last one there is.
    #[must_use]
    pub fn after(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}

/// Compares the wall clock with the steady one and reports when somebody has set it.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// Wall time and moment of the last reading.
    wall: i64,
    moment: Moment,
}

impl WallClock {
    /// Smaller differences are drift, which needs no correction.
    pub const TOLERANCE: Duration = Duration::from_secs(10);

    /// Begins with one reading of both clocks. `wall`: microseconds since any fixed date.
    pub fn new(wall: i64, moment: Moment) -> Self {
        Self { wall, moment }
    }

    /// The next reading. If the wall clock was set by more than [`WallClock::TOLERANCE`] since the
    /// last one: by how many microseconds it was, negative for backwards. Stored times of waiting
    /// mail move by that, so that each mail waits as long as it would have.
    pub fn read(&mut self, wall: i64, moment: Moment) -> Option<i64> {
        let passed = micros(moment.since(self.moment));
        let jump = wall.saturating_sub(self.wall).saturating_sub(passed);
        *self = Self { wall, moment };
        (jump.unsigned_abs() > Self::TOLERANCE.as_micros() as u64).then_some(jump)
    }
}

/// The age at `now` of what began at `since`, both microseconds of the wall clock. Zero where the
/// clock says that it has not begun yet.
pub fn age(now: i64, since: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

/// The moment `delay` after `now`, microseconds of the wall clock, without overflow.
pub fn later(now: i64, delay: Duration) -> i64 {
    now.saturating_add(micros(delay))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Multiplies by a factor from 0.9 to 1.1, which `jitter`, a random number from 0 to 1, selects:
/// what was postponed together doesn't come back together. Anything else counts as 0.5.
pub(crate) fn jittered(duration: Duration, jitter: f64) -> Duration {
    let jitter = match (0.0..=1.0).contains(&jitter) {
        true => jitter,
        false => 0.5,
    };
    let seconds = duration.as_secs_f64() * (0.9 + 0.2 * jitter);
    Duration::try_from_secs_f64(seconds).unwrap_or(duration)
}
