//! What the worker keeps of the queue of one mail server.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use mail_queue::backoff::{Admission, Backoff, Ticket};
use mail_queue::clock::Moment;
use mail_queue::retry::Schedule;
use mail_queue::server::ServerFailure;
use pgrx::pg_sys;

use super::judge::{Obstacle, Scope};
use crate::delivery::store::claim::Position;

/// The queue of one server.
#[derive(Default)]
pub struct ServerQueue {
    /// Whether there may be due mail behind `cursor`.
    pub is_due: bool,
    /// Behind which mail is claimed next. What was committed late lies before it, and is found when it starts anew.
    pub cursor: Option<Position>,
    /// Messages that were queued of late.
    pub fresh: Vec<i64>,
    /// An owner of mail that waits.
    pub owner: Option<pg_sys::Oid>,
    /// Messages in the worker's hands.
    pub claimed: usize,
    /// Whether a connection was ready for mail since the server last failed.
    pub is_proven: bool,
    pub backoff: Backoff,
    pub last_error: Option<LastError>,
    /// Those who can't use it, besides.
    pub blocks: HashMap<Scope, Block>,
    /// By which mapping owners log in.
    pub logins: HashMap<pg_sys::Oid, Option<pg_sys::Oid>>,
    /// As of the last claim; 0: not known.
    pub max_connections: usize,
    pub is_paused: bool,
    pub rate: Rate,
}

/// How fast messages are dealt with.
#[derive(Default)]
pub struct Rate {
    count: u32,
    since: Option<Instant>,
    per_second: f64,
}

impl Rate {
    const WINDOW: Duration = Duration::from_millis(100);

    pub fn count(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.count += 1;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Self::WINDOW {
            let latest = f64::from(self.count) / elapsed.as_secs_f64();
            self.per_second = (self.per_second + latest) / 2.0;
            self.count = 0;
            self.since = Some(now);
        }
    }

    /// How many that are within a time.
    pub fn within(&self, time: Duration) -> usize {
        (self.per_second * time.as_secs_f64()) as usize
    }
}

/// Why a server could not be used last.
pub struct LastError {
    pub text: String,
    pub at: pg_sys::TimestampTz,
}

/// A back-off of a login, or of an owner.
#[derive(Default)]
pub struct Block {
    backoff: Backoff,
    ticket: Option<Ticket>,
}

impl Block {
    /// Whether it has to be tried again now.
    fn is_over(&mut self, now: Moment) -> bool {
        match self.backoff.admit(now) {
            Admission::Open(ticket) | Admission::Trial(ticket) => {
                self.ticket = Some(ticket);
                true
            }
            Admission::TrialUnderWay => true,
            Admission::Wait(_) => false,
        }
    }

    fn fail(
        &mut self,
        failure: ServerFailure,
        schedule: &Schedule,
        jitter: f64,
        now: Moment,
    ) -> bool {
        let ticket = match self.backoff.admit(now) {
            Admission::Open(ticket) | Admission::Trial(ticket) => Some(ticket),
            Admission::TrialUnderWay => self.ticket,
            Admission::Wait(_) => None,
        };
        ticket.is_some_and(|ticket| self.backoff.fail(ticket, failure, schedule, jitter, now))
    }
}

/// Messages that were queued of late and are remembered one by one. More are found by their order.
const FRESH: usize = 1000;

impl ServerQueue {
    /// Whether there may be mail that is due.
    pub fn has_due(&self) -> bool {
        self.is_due || !self.fresh.is_empty()
    }

    /// Goes through all due mail once more.
    pub fn start_anew(&mut self) {
        self.is_due = true;
        self.cursor = None;
    }

    /// Goes on behind a position; `None`: no more mail is due.
    pub fn go_on(&mut self, cursor: Option<Position>) {
        self.is_due = cursor.is_some();
        self.cursor = cursor;
    }

    pub fn add_fresh(&mut self, message_id: i64) {
        if self.fresh.len() < FRESH {
            self.fresh.push(message_id);
        } else {
            self.start_anew();
        }
    }

    /// Takes up to so many of the messages that were queued of late.
    pub fn take_fresh(&mut self, count: usize) -> Vec<i64> {
        let count = count.min(self.fresh.len());
        self.fresh.drain(..count).collect()
    }

    pub fn most_connections(&self) -> usize {
        match self.max_connections {
            0 => 1,
            most => most,
        }
    }

    /// The owners whose mail is left alone.
    pub fn blocked_owners(&mut self, now: Moment) -> Vec<pg_sys::Oid> {
        let blocked: HashSet<Scope> = self
            .blocks
            .iter_mut()
            .filter_map(|(scope, block)| (!block.is_over(now)).then_some(*scope))
            .collect();
        if blocked.is_empty() {
            return Vec::new();
        }
        let of_logins = self
            .logins
            .iter()
            .filter(|(_, mapping)| blocked.contains(&Scope::Login(**mapping)));
        let of_owners = blocked.iter().filter_map(|scope| match scope {
            Scope::Owner(owner) => Some(*owner),
            Scope::Server | Scope::Login(_) => None,
        });
        let mut owners: Vec<_> = of_logins
            .map(|(owner, _)| *owner)
            .chain(of_owners)
            .collect();
        owners.sort_unstable_by_key(|owner| owner.to_u32());
        owners.dedup();
        owners
    }

    /// Notes that the server could not be used. True where a back-off begins by it.
    pub fn fail(
        &mut self,
        obstacle: &Obstacle,
        ticket: Option<Ticket>,
        schedule: &Schedule,
        jitter: f64,
        now: Moment,
    ) -> bool {
        if obstacle.scope != Scope::Server {
            let block = self.blocks.entry(obstacle.scope).or_default();
            return block.fail(obstacle.failure, schedule, jitter, now);
        }
        self.is_proven = false;
        let ticket = ticket.or_else(|| match self.backoff.admit(now) {
            Admission::Open(ticket) | Admission::Trial(ticket) => Some(ticket),
            Admission::Wait(_) | Admission::TrialUnderWay => None,
        });
        ticket.is_some_and(|ticket| {
            self.backoff
                .fail(ticket, obstacle.failure, schedule, jitter, now)
        })
    }

    /// A message got through.
    pub fn succeed(&mut self, ticket: Ticket, mapping: Option<pg_sys::Oid>) {
        self.backoff.succeed(ticket);
        self.blocks.remove(&Scope::Login(mapping));
    }

    /// How long it is left alone; `None`: it is not.
    pub fn remaining(&mut self, now: Moment) -> Option<Duration> {
        self.backoff.remaining(now)
    }

    /// When one of those who can't use it is tried again.
    pub fn next_trial(&mut self, now: Moment) -> Option<Duration> {
        let blocks = self.blocks.values_mut();
        let of_blocks = blocks.filter_map(|block| block.backoff.remaining(now));
        of_blocks.chain(self.backoff.remaining(now)).min()
    }

    /// Forgets all back-offs.
    pub fn forget(&mut self) {
        self.backoff.forget();
        self.blocks.clear();
    }
}
