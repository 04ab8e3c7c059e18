//! The states of a recipient, and what leads from one to another.

use std::fmt;

use crate::retry::Next;

/// The state of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its first attempt.
    Queued,
    /// Claimed for an attempt.
    Sending,
    /// Failed for now; it is tried again.
    Deferred,
    /// Waits for the decision of an operator.
    Held(HeldReason),
    /// Over. Nothing leads out of it.
    Final(FinalState),
}

/// The ways in which a recipient ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FinalState {
    /// The server took the message.
    Sent,
    /// Refused for good.
    Failed,
    /// The address is one that is not sent to.
    Suppressed,
    /// Failed for now for too long.
    Expired,
    /// Somebody cancelled it.
    Cancelled,
    /// At most once was asked for, and it is in doubt.
    Unknown,
}

/// Why a recipient is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeldReason {
    /// The queue is a copy: its original sends the message.
    Copy,
    /// It was in flight at [`MOST_CRASHES`] crashes.
    Crashes,
}

/// A message in flight at as many crashes is held: it may be their cause.
pub const MOST_CRASHES: u32 = 3;

/// What happens to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker claims it for an attempt. Durable before the first byte is sent.
    Claim,
    /// The worker that claimed it records what follows from its verdict.
    Settle(Next),
    /// The worker died between the two. `crashes`: how often that has happened to it, this time
    /// included.
    Crash {
        /// Crashes it was in flight at.
        crashes: u32,
        /// A message in doubt is not sent again.
        at_most_once: bool,
    },
    /// Judged anew before it was sent, and it may not be sent: final without an attempt.
    Refuse(FinalState),
    /// Its owner cancels it.
    Cancel,
    /// Its owner wants it tried at once.
    Retry,
    /// The queue was found to be a copy: its original sends the message.
    FoundCopied {
        /// A message in doubt is not sent again. What was in flight when the copy was made is.
        at_most_once: bool,
    },
    /// An operator decides about a copy's mail: it is sent from here, or cancelled.
    Adopt {
        /// Sent from here.
        send: bool,
    },
}

impl State {
    /// The state after an event; `None` where the event does not apply, and nothing changes.
    ///
    /// `attempts`: how many there have been; which of the two waiting states it returns to.
    pub fn after(self, event: Event, attempts: u32) -> Option<State> {
        use State::{Deferred, Final, Held, Queued, Sending};
        let waiting = match attempts {
            0 => Queued,
            _ => Deferred,
        };
        match (self, event) {
            (Queued | Deferred, Event::Claim) => Some(Sending),
            (Queued | Deferred | Sending, Event::Refuse(state)) => Some(Final(state)),
            (Sending, Event::Settle(Next::Final(state))) => Some(Final(state)),
            (Sending, Event::Settle(Next::Defer(_))) => Some(Deferred),
            (Sending, Event::Settle(Next::Wait)) => Some(waiting),
            (
                Sending,
                Event::Crash {
                    at_most_once: true, ..
                },
            ) => Some(Final(FinalState::Unknown)),
            (Sending, Event::Crash { crashes, .. }) if crashes >= MOST_CRASHES => {
                Some(Held(HeldReason::Crashes))
            }
            (Sending, Event::Crash { .. }) => Some(Deferred),
            (Queued | Deferred | Held(_), Event::Cancel) => Some(Final(FinalState::Cancelled)),
            (Deferred, Event::Retry) => Some(Deferred),
            (Held(HeldReason::Crashes), Event::Retry) => Some(Deferred),
            (Sending, Event::FoundCopied { at_most_once: true }) => {
                Some(Final(FinalState::Unknown))
            }
            (Queued | Deferred | Sending | Held(_), Event::FoundCopied { .. }) => {
                Some(Held(HeldReason::Copy))
            }
            (Held(HeldReason::Copy), Event::Adopt { send: true }) => Some(waiting),
            (Held(HeldReason::Copy), Event::Adopt { send: false }) => {
                Some(Final(FinalState::Cancelled))
            }
            _ => None,
        }
    }

    /// Whether it is over.
    pub fn is_final(self) -> bool {
        matches!(self, State::Final(_))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Queued => "queued",
            State::Sending => "sending",
            State::Deferred => "deferred",
            State::Held(_) => "held",
            State::Final(state) => return state.fmt(f),
        })
    }
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FinalState::Sent => "sent",
            FinalState::Failed => "failed",
            FinalState::Suppressed => "suppressed",
            FinalState::Expired => "expired",
            FinalState::Cancelled => "cancelled",
            FinalState::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use State::{Deferred, Final, Held, Queued, Sending};

    const STATES: [State; 7] = [
        Queued,
        Sending,
        Deferred,
        Held(HeldReason::Copy),
        Held(HeldReason::Crashes),
        Final(FinalState::Sent),
        Final(FinalState::Cancelled),
    ];

    fn crash(crashes: u32) -> Event {
        let at_most_once = false;
        Event::Crash {
            crashes,
            at_most_once,
        }
    }

    /// What each event makes of `STATES` without and with an attempt; `None`: nothing.
    #[test]
    fn every_event_has_its_effect_on_every_state() {
        let copy = Some(Held(HeldReason::Copy));
        let crashed = Some(Held(HeldReason::Crashes));
        let cancelled = Some(Final(FinalState::Cancelled));
        let unknown = Some(Final(FinalState::Unknown));
        let failed = Some(Final(FinalState::Failed));
        let suppressed = Some(Final(FinalState::Suppressed));
        let (queued, sending, deferred) = (Some(Queued), Some(Sending), Some(Deferred));
        let only = |state| [None, state, None, None, None];
        for (event, attempts, expected) in [
            (Event::Claim, 0, [sending, None, sending, None, None]),
            (
                Event::Settle(Next::Final(FinalState::Failed)),
                1,
                only(failed),
            ),
            (
                Event::Settle(Next::Defer(Duration::ZERO)),
                1,
                only(deferred),
            ),
            (Event::Settle(Next::Wait), 0, only(queued)),
            (Event::Settle(Next::Wait), 1, only(deferred)),
            (crash(1), 1, only(deferred)),
            (crash(2), 2, only(deferred)),
            (crash(3), 3, only(crashed)),
            (crash(u32::MAX), 4, only(crashed)),
            (
                Event::Crash {
                    crashes: 1,
                    at_most_once: true,
                },
                1,
                only(unknown),
            ),
            (
                Event::Crash {
                    crashes: 3,
                    at_most_once: true,
                },
                3,
                only(unknown),
            ),
            (
                Event::Refuse(FinalState::Suppressed),
                0,
                [suppressed, suppressed, suppressed, None, None],
            ),
            (
                Event::Cancel,
                0,
                [cancelled, None, cancelled, cancelled, cancelled],
            ),
            (Event::Retry, 1, [None, None, deferred, None, deferred]),
            (
                Event::FoundCopied {
                    at_most_once: false,
                },
                1,
                [copy, copy, copy, copy, copy],
            ),
            (
                Event::FoundCopied { at_most_once: true },
                1,
                [copy, unknown, copy, copy, copy],
            ),
            (
                Event::Adopt { send: true },
                0,
                [None, None, None, queued, None],
            ),
            (
                Event::Adopt { send: true },
                1,
                [None, None, None, deferred, None],
            ),
            (
                Event::Adopt { send: false },
                1,
                [None, None, None, cancelled, None],
            ),
        ] {
            // Nothing leads out of a final state.
            let expected = expected.into_iter().chain([None, None]);
            for (state, expected) in STATES.into_iter().zip(expected) {
                assert_eq!(
                    state.after(event, attempts),
                    expected,
                    "{state:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn states_have_names() {
        let names: Vec<_> = STATES.iter().map(State::to_string).collect();
        let expected = [
            "queued",
            "sending",
            "deferred",
            "held",
            "held",
            "sent",
            "cancelled",
        ];
        assert_eq!(names, expected);
        for (state, name) in [
            (FinalState::Failed, "failed"),
            (FinalState::Suppressed, "suppressed"),
            (FinalState::Expired, "expired"),
            (FinalState::Unknown, "unknown"),
        ] {
            assert_eq!(Final(state).to_string(), name);
            assert!(Final(state).is_final());
        }
        assert!(!Held(HeldReason::Crashes).is_final());
    }
}
