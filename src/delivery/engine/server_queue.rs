//! What the worker keeps of the queue of one mail server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::backoff::{Admission, Backoff, Ticket};
use mail_queue::clock::Moment;
use mail_queue::retry::Schedule;
use mail_queue::suppression::{CanonicalAddress, Guard};
use pgrx::pg_sys;

use super::blocks::Blocks;
use super::judge::{Obstacle, Scope};
use super::limits::Limits;
use crate::delivery::store::claim::Position;
use crate::delivery::store::state::ServerState;
use crate::servers::Server;

/// Messages that were queued of late and are remembered one by one. More are found by their order.
const FRESH: usize = 1000;

/// The queue of one server.
#[derive(Default)]
pub struct ServerQueue {
    /// Whether there may be due mail behind `cursor`.
    is_due: bool,
    /// Behind which mail is claimed next. What was committed late lies before it, and is found
    /// when it starts anew.
    cursor: Option<Position>,
    /// Messages that were queued of late.
    fresh: Vec<i64>,
    /// An owner of mail that waits.
    pub owner: Option<pg_sys::Oid>,
    /// Messages in the worker's hands.
    pub claimed: usize,
    /// The server, as it was last read.
    pub server: Option<Arc<Server>>,
    /// Whether a connection was ready for mail since the server last failed.
    pub is_proven: bool,
    pub backoff: Backoff,
    /// When it was last tried whether it can be used.
    pub probed_at: Option<Instant>,
    /// When it ends, as it is shown.
    until: Option<pg_sys::TimestampTz>,
    pub last_error: Option<(String, pg_sys::TimestampTz)>,
    /// Those who can't use it.
    pub blocks: Blocks,
    /// Whose mail may have grown too old meanwhile.
    pub aging: Vec<Aging>,
    /// Whether it was said that its mail has waited for long.
    pub is_warned: bool,
    pub is_paused: bool,
    pub limits: Limits,
    pub rate: Rate,
    /// The server that mail goes to while this one can't be used.
    pub fallback: Option<pg_sys::Oid>,
    /// Keeps a server that refuses everybody from filling the suppression list.
    pub guard: Guard<CanonicalAddress>,
    /// What others were last shown.
    pub shown: Option<ServerState>,
}

/// Mail that waits because of an obstacle.
pub struct Aging {
    pub obstacle: Obstacle,
    /// Whose it is, unless it is everybody's.
    pub owners: Vec<pg_sys::Oid>,
}

impl ServerQueue {
    /// Takes note of what the server is now.
    pub fn learn(&mut self, server: Arc<Server>) {
        self.server = Some(server);
    }

    /// Whether it can't be used because of rights or options, which somebody may alter.
    pub fn is_barred(&self) -> bool {
        let failure = self.backoff.failure();
        failure.is_some_and(|failure| failure.needs_operator())
    }

    /// Whether something would be lost with it.
    pub fn is_worth_keeping(&self) -> bool {
        self.server.is_some() || self.has_due() || self.claimed > 0
    }

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

    pub fn position(&self) -> Position {
        self.cursor.unwrap_or(Position::FIRST)
    }

    pub fn add_fresh(&mut self, message_id: i64) {
        if self.fresh.len() >= FRESH {
            self.start_anew();
        } else if !self.fresh.contains(&message_id) {
            self.fresh.push(message_id);
        }
    }

    /// Takes up to so many of the messages that were queued of late.
    pub fn take_fresh(&mut self, count: usize) -> Vec<i64> {
        let count = count.min(self.fresh.len());
        self.fresh.drain(..count).collect()
    }

    pub fn most_connections(&self) -> usize {
        let options = self.server.as_ref().map(|server| &server.options.queue);
        options.map_or(1, |options| options.max_connections())
    }

    /// What it is called.
    pub fn name(&self) -> Option<&str> {
        self.server.as_ref().map(|server| &*server.name)
    }

    /// Notes that the server could not be used. True where a back-off begins by it.
    pub fn fail(
        &mut self,
        obstacle: &Obstacle,
        ticket: Option<Ticket>,
        time: &FailureTime<'_>,
    ) -> bool {
        self.last_error = Some((obstacle.text.clone(), time.wall));
        if obstacle.scope != Scope::Server {
            return self.blocks.fail(obstacle, time);
        }
        self.is_proven = false;
        let ticket = ticket.or_else(|| match self.backoff.admit(time.moment) {
            Admission::Open(ticket) | Admission::Trial(ticket) => Some(ticket),
            Admission::Wait(_) | Admission::TrialUnderWay => None,
        });
        let begins = ticket.is_some_and(|ticket| {
            let (schedule, jitter) = (time.schedule, time.jitter);
            self.backoff
                .fail(ticket, obstacle.failure, schedule, jitter, time.moment)
        });
        let remaining = self.backoff.remaining(time.moment);
        self.until = remaining.map(|left| mail_queue::clock::later(time.wall, left));
        begins
    }

    /// A message got through.
    pub fn succeed(&mut self, ticket: Ticket, mapping: Option<pg_sys::Oid>) {
        self.backoff.succeed(ticket);
        self.is_warned &= self.backoff.failure().is_some();
        self.blocks.succeed(mapping);
    }

    /// When it, or one of those who can't use it, is tried again, or its limits allow more; `None`:
    /// nothing is to be waited for.
    pub fn next_trial(&mut self, now: Moment) -> Option<Duration> {
        let times = [
            self.backoff.remaining(now),
            self.blocks.next_trial(now),
            self.limits.remaining(now),
        ];
        times
            .into_iter()
            .flatten()
            .filter(|time| !time.is_zero())
            .min()
    }

    /// Forgets all back-offs.
    pub fn forget_failures(&mut self) {
        self.backoff.forget();
        self.blocks = Blocks::default();
    }

    /// What others see of it.
    pub fn state(
        &mut self,
        server: pg_sys::Oid,
        connections: usize,
        now: Moment,
        wall: pg_sys::TimestampTz,
    ) -> ServerState {
        let (state, until) = if self.is_paused {
            ("paused", None)
        } else if self.backoff.failure().is_some() {
            ("backed off", self.until)
        } else if let Some(until) = self.blocks.until() {
            ("backed off", Some(until))
        } else if let Some(left) = self.limits.remaining(now) {
            // To the second: it is computed anew each time.
            let until = mail_queue::clock::later(wall, left);
            ("limited", Some(until - until % 1_000_000))
        } else {
            ("ok", None)
        };
        ServerState {
            server,
            state,
            until,
            connections: connections as i32,
            last_error: self.last_error.clone(),
        }
    }
}

/// When a failure happened, and what decides how long the back-off is.
pub struct FailureTime<'a> {
    pub moment: Moment,
    pub wall: pg_sys::TimestampTz,
    pub schedule: &'a Schedule,
    pub jitter: f64,
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
