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
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn a_set_wall_clock_is_noticed_once() {
        let mut clock = WallClock::new(1000 * SECOND, at(0));
        assert_eq!(clock.read(1060 * SECOND, at(60)), None);
        // Back by an hour, forward by a day, in the course of a minute each.
        assert_eq!(clock.read(-2480 * SECOND, at(120)), Some(-3600 * SECOND));
        assert_eq!(clock.read(-2420 * SECOND, at(180)), None);
        assert_eq!(clock.read(84_040 * SECOND, at(240)), Some(86_400 * SECOND));
        assert_eq!(clock.read(84_100 * SECOND, at(300)), None);
    }

    #[test]
    fn drift_is_no_jump() {
        let mut clock = WallClock::new(0, at(0));
        assert_eq!(clock.read(70 * SECOND, at(60)), None);
        assert_eq!(clock.read(120 * SECOND, at(120)), None);
        assert_eq!(clock.read(190 * SECOND + 1, at(180)), Some(10 * SECOND + 1));
        assert_eq!(clock.read(240 * SECOND, at(240)), Some(-10 * SECOND - 1));
    }

    #[test]
    fn an_age_is_never_negative() {
        assert_eq!(age(10 * SECOND, 7 * SECOND), Duration::from_secs(3));
        assert_eq!(age(7 * SECOND, 10 * SECOND), Duration::ZERO);
        assert_eq!(
            age(i64::MAX, i64::MIN),
            Duration::from_micros(i64::MAX as u64)
        );
        assert_eq!(age(i64::MIN, i64::MAX), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_time_overflows(wall: i64, other: i64, seconds: u64, later_seconds: u64) {
            let delay = Duration::from_secs(seconds);
            prop_assert!(later(wall, delay) >= wall);
            let moment = at(seconds).after(Duration::from_secs(later_seconds));
            prop_assert!(moment >= at(seconds));
            prop_assert_eq!(at(seconds).since(moment), Duration::ZERO);
            WallClock::new(wall, moment).read(other, at(seconds));
            WallClock::new(wall, at(seconds)).read(other, moment);
        }
    }
}
