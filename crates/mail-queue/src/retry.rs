//! When a recipient is tried again, and when that ends.

use std::time::Duration;

use crate::clock::jittered;
use crate::state::FinalState;
use crate::verdict::Verdict;

/// The times of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    minimum: Duration,
    maximum: Duration,
    lifetime: Duration,
}

/// What follows from a verdict for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is over.
    Final(FinalState),
    /// The next attempt is due after this time.
    Defer(Duration),
    /// The recipient waits as before: this was no attempt. Due again when the server's back-off
    /// ends, and behind what was due before, so that no single mail gets every trial.
    Wait,
}

impl Schedule {
    /// No delay is shorter, whatever was configured: a retry without a pause is a storm.
    pub const SHORTEST: Duration = Duration::from_secs(1);

    /// - `minimum`, `maximum`: bounds of the delay between attempts. At least
    ///   [`Schedule::SHORTEST`]; a maximum below the minimum counts as the minimum.
    /// - `lifetime`: age from which an attempt that fails for now is the last one.
    pub fn new(minimum: Duration, maximum: Duration, lifetime: Duration) -> Self {
        let minimum = minimum.max(Self::SHORTEST);
        Self {
            minimum,
            maximum: maximum.max(minimum),
            lifetime,
        }
    }

    /// The shortest delay between attempts.
    pub fn minimum(&self) -> Duration {
        self.minimum
    }

    /// The longest delay between attempts, jitter included: nothing waits longer for a retry. A
    /// stored time that is further away comes from a clock that was set back since.
    pub fn longest(&self) -> Duration {
        jittered(self.maximum, 1.0)
    }

    /// The delay of a recipient of this age: as long as it has waited so far, within the bounds, ±
    /// 10 % by `jitter`, a random number from 0 to 1. So delays double, and mail of one moment
    /// spreads out.
    pub fn delay(&self, age: Duration, jitter: f64) -> Duration {
        jittered(age.clamp(self.minimum, self.maximum), jitter)
    }

    /// Whether mail of this age is given up. To be asked after an attempt that failed for now, or
    /// when the server has failed ([`crate::server::ServerFailure`]); never of mail that was not
    /// tried for another reason.
    pub fn is_expired(&self, age: Duration) -> bool {
        age >= self.lifetime
    }

    /// Whether half of the time is over, which is worth a warning where the server is the reason.
    pub fn is_half_over(&self, age: Duration) -> bool {
        age >= self.lifetime / 2
    }

    /// What follows from a verdict. Not to be asked after [`crate::verdict::Judgement::again`].
    ///
    /// - `at_most_once`: a message in doubt is not sent again.
    /// - `age`: time since the recipient became due, without what it spent paused or stopped.
    /// - `jitter`: a random number from 0 to 1.
    pub fn next(&self, verdict: Verdict, at_most_once: bool, age: Duration, jitter: f64) -> Next {
        match verdict {
            Verdict::Sent => Next::Final(FinalState::Sent),
            Verdict::Failed => Next::Final(FinalState::Failed),
            Verdict::InDoubt if at_most_once => Next::Final(FinalState::Unknown),
            _ if self.is_expired(age) => Next::Final(FinalState::Expired),
            Verdict::InDoubt | Verdict::Deferred => Next::Defer(self.delay(age, jitter)),
            Verdict::NotTried => Next::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule() -> Schedule {
        Schedule::new(secs(300), secs(4000), secs(432_000))
    }

    #[test]
    fn a_delay_is_the_age_within_its_bounds() {
        for (age, delay) in [
            (0, 300),
            (1, 300),
            (299, 300),
            (301, 301),
            (1200, 1200),
            (3999, 3999),
            (4001, 4000),
            (432_000, 4000),
            (u64::MAX, 4000),
        ] {
            assert_eq!(schedule().delay(secs(age), 0.5), secs(delay), "{age}");
        }
        assert_eq!(schedule().delay(Duration::MAX, 0.5), secs(4000));
    }

    #[test]
    fn attempts_of_one_mail_double_their_distance() {
        let (mut age, mut attempts) = (Duration::ZERO, Vec::new());
        while !schedule().is_expired(age) {
            let delay = schedule().delay(age, 0.5);
            attempts.push(delay.as_secs());
            age += delay;
        }
        assert_eq!(attempts[..7], [300, 300, 600, 1200, 2400, 4000, 4000]);
        assert_eq!(attempts.len(), 112);
    }

    #[test]
    fn jitter_is_a_tenth_either_way() {
        for (jitter, delay) in [(0.0, 270), (0.25, 285), (0.5, 300), (1.0, 330)] {
            let difference = schedule().delay(secs(0), jitter).abs_diff(secs(delay));
            assert!(difference < Duration::from_micros(1), "{jitter}");
        }
        for nonsense in [-1.0, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(schedule().delay(secs(0), nonsense), secs(300));
        }
        assert!(schedule().longest().abs_diff(secs(4400)) < Duration::from_micros(1));
    }

    #[test]
    fn bounds_that_make_no_sense_are_mended() {
        let crossed = Schedule::new(secs(100), secs(10), secs(0));
        assert_eq!(crossed.delay(secs(1000), 0.5), secs(100));
        let zero = Schedule::new(secs(0), secs(0), secs(0));
        assert_eq!(zero.delay(secs(0), 0.5), secs(1));
        let endless = Schedule::new(Duration::MAX, Duration::MAX, Duration::MAX);
        assert!(endless.delay(secs(0), 1.0) > secs(1 << 60));
        assert!(endless.longest() > secs(1 << 60));
    }

    #[test]
    fn every_verdict_has_its_next_step() {
        use FinalState::{Expired, Failed, Sent, Unknown};
        let later = Next::Defer(secs(1000));
        for (verdict, at_most_once, young, old) in [
            (Verdict::Sent, false, Next::Final(Sent), Next::Final(Sent)),
            (Verdict::Sent, true, Next::Final(Sent), Next::Final(Sent)),
            (
                Verdict::Failed,
                false,
                Next::Final(Failed),
                Next::Final(Failed),
            ),
            (
                Verdict::Failed,
                true,
                Next::Final(Failed),
                Next::Final(Failed),
            ),
            (Verdict::Deferred, false, later, Next::Final(Expired)),
            (Verdict::Deferred, true, later, Next::Final(Expired)),
            (Verdict::InDoubt, false, later, Next::Final(Expired)),
            (
                Verdict::InDoubt,
                true,
                Next::Final(Unknown),
                Next::Final(Unknown),
            ),
            (Verdict::NotTried, false, Next::Wait, Next::Final(Expired)),
            (Verdict::NotTried, true, Next::Wait, Next::Final(Expired)),
        ] {
            let next = |age| schedule().next(verdict, at_most_once, age, 0.5);
            assert_eq!(next(secs(1000)), young, "{verdict:?}");
            assert_eq!(next(secs(432_000)), old, "{verdict:?}");
        }
    }

    #[test]
    fn a_lifetime_ends_at_its_last_second() {
        assert!(!schedule().is_expired(secs(431_999)));
        assert!(schedule().is_expired(secs(432_000)));
        assert!(!schedule().is_half_over(secs(215_999)));
        assert!(schedule().is_half_over(secs(216_000)));
        // One attempt, as with Postfix.
        let once = Schedule::new(secs(300), secs(4000), secs(0));
        let next = once.next(Verdict::Deferred, false, secs(0), 0.5);
        assert_eq!(next, Next::Final(FinalState::Expired));
    }

    proptest! {
        #[test]
        fn no_delay_leaves_its_bounds(
            minimum: u64, maximum: u64, age: u64, jitter in proptest::num::f64::ANY,
        ) {
            let schedule = Schedule::new(secs(minimum), secs(maximum), secs(0));
            let delay = schedule.delay(secs(age), jitter);
            prop_assert!(delay.as_secs_f64() >= 0.9 * minimum.max(1) as f64 - 1e-6);
            prop_assert!(delay <= schedule.longest());
            // Older mail is not tried sooner.
            prop_assert!(schedule.delay(secs(age.saturating_mul(2)), jitter) >= delay);
        }
    }
}
