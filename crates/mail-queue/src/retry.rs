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

    /// What follows from a verdict.
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
