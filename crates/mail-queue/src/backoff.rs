//! How long a server that failed is left alone.

use std::time::Duration;

use crate::clock::{Moment, jittered};
use crate::retry::Schedule;
use crate::server::ServerFailure;

/// The back-off of one server: whether a new connection to it may be opened.
///
/// After a failure nothing is opened for a while: 5 seconds, doubling to the schedule's minimum.
/// When that is over, one connection is opened on trial. Its success, or its failure, decides about
/// all others.
///
/// Each connection that is admitted gets a [`Ticket`], and its result comes with it. A result from
/// before the present back-off changes nothing: twenty connections that break at once are one
/// failure, and a message that an old connection still gets through opens no new ones.
#[derive(Debug, Default)]
pub struct Backoff {
    generation: u64,
    state: State,
}

/// Whether a connection may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open(Ticket),
    /// Yes, this one, on trial. Its result has to be reported, or [`Backoff::abandon`] called.
    Trial(Ticket),
    /// Not before this time has passed.
    Wait(Duration),
    /// Not before the connection on trial has its result.
    TrialUnderWay,
}

/// Says to which period the result of a connection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closed(Pause),
    Trial(Pause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    failure: ServerFailure,
    /// Before jitter.
    delay: Duration,
    since: Moment,
    wait: Duration,
}

impl Backoff {
    /// The first delay, unless [`ServerFailure::needs_operator`].
    pub const FIRST: Duration = Duration::from_secs(5);

    /// Whether a connection may be opened now.
    pub fn admit(&mut self, now: Moment) -> Admission {
        match &mut self.state {
            State::Open => Admission::Open(Ticket(self.generation)),
            State::Trial(_) => Admission::TrialUnderWay,
            State::Closed(pause) => {
                let pause = *pause;
                match self.remaining(now) {
                    Some(wait) if !wait.is_zero() => Admission::Wait(wait),
                    _ => {
                        self.state = State::Trial(pause);
                        Admission::Trial(Ticket(self.generation))
                    }
                }
            }
        }
    }

    /// The server failed a connection. True where the back-off begins by it, which is worth one
    /// warning.
    ///
    /// `schedule`: its minimum is the longest delay. `jitter`: a random number from 0 to 1, for ±
    /// 10 %.
    pub fn fail(
        &mut self,
        ticket: Ticket,
        failure: ServerFailure,
        schedule: &Schedule,
        jitter: f64,
        now: Moment,
    ) -> bool {
        if ticket.0 != self.generation {
            return false;
        }
        let longest = schedule.minimum();
        let before = match self.state {
            State::Open => None,
            State::Closed(pause) | State::Trial(pause) => Some(pause),
        };
        let delay = match before {
            _ if failure.needs_operator() => longest,
            Some(pause) => pause.delay.saturating_mul(2).min(longest),
            None => Self::FIRST.min(longest),
        };
        self.generation += 1;
        self.state = State::Closed(Pause {
            failure,
            delay,
            since: now,
            wait: jittered(delay, jitter),
        });
        before.is_none()
    }

    /// A connection did its work: a transaction whose judgement blames no server. A greeting or a
    /// login is not enough, as what fails after it would begin with 5 seconds again and again.
    pub fn succeed(&mut self, ticket: Ticket) {
        if ticket.0 == self.generation {
            self.state = State::Open;
        }
    }

    /// The connection on trial was given up without a result, so another one may have its place.
    pub fn abandon(&mut self, ticket: Ticket) {
        if let State::Trial(pause) = self.state
            && ticket.0 == self.generation
        {
            self.state = State::Closed(pause);
        }
    }

    /// An operator wants everything tried at once: as if the server had never failed.
    pub fn forget(&mut self) {
        self.generation += 1;
        self.state = State::Open;
    }

    /// Why the server is left alone, if it is.
    pub fn failure(&self) -> Option<ServerFailure> {
        match self.state {
            State::Open => None,
            State::Closed(pause) | State::Trial(pause) => Some(pause.failure),
        }
    }

    /// The time until the trial, if the server is left alone; zero while the trial is under way.
    pub fn remaining(&mut self, now: Moment) -> Option<Duration> {
        match &mut self.state {
            State::Open => None,
            State::Trial(_) => Some(Duration::ZERO),
            State::Closed(pause) => {
                // A clock that went back begins the pause anew.
                pause.since = pause.since.min(now);
                Some(pause.wait.saturating_sub(now.since(pause.since)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
