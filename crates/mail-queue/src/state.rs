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
    /// The queue was found to be a copy.
    FoundCopied,
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
            (Queued | Deferred | Sending, Event::FoundCopied) => Some(Held(HeldReason::Copy)),
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
