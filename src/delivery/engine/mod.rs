//! What a worker does with mail: it claims messages, has threads send them, and records the
//! results.
//!
//! The thread that calls [`Engine`] alone speaks to PostgreSQL, and never while it waits for a mail
//! server: no transaction, snapshot or lock outlives a call.
//!
//! | file | |
//! |---|---|
//! | `poll` | which servers have mail, and what is to be done once in a while |
//! | `orders` | what is to be done for each server |
//! | `work` | the transaction that writes results down and claims messages |
//! | `judge` | a message is judged anew before it is sent |
//! | `hand_out` | claimed messages go to groups of connections |
//! | `slots` | which group may open a connection |
//! | `connection`, `attempt` | the thread of a connection |
//! | `signing` | the DKIM signatures in front of a message |
//! | `questions`, `remote` | what such a thread wants to know of PostgreSQL |
//! | `events`, `results` | what threads report, and what follows from it |

mod age;
mod attempt;
mod blocks;
mod channel;
mod connection;
mod events;
mod group;
mod hand_out;
mod job;
mod judge;
mod letter;
mod limits;
mod orders;
mod poll;
mod questions;
mod remote;
mod results;
mod server_queue;
mod signing;
mod slots;
mod work;

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::clock::Moment;
use mail_queue::retry::Schedule;
use pgrx::pg_sys;
use smtp_client::tls::TlsCache;

use self::age::Pauses;
use self::channel::Channel;
use self::hand_out::{InHand, Member};
use self::job::{ConnectionId, GroupId};
use self::poll::Upkeep;
use self::questions::Questions;
use self::results::Unsettled;
use self::server_queue::ServerQueue;
use self::slots::Slot;
use super::store::{rescue, state};
use crate::pg::background::{self, Failure};
use crate::pg::owner::with_owner_rights;
use crate::settings;

/// How its statements are planned: each finds a few rows by an index. What the planner believes of
/// the tables is often wrong, as they fill and empty within seconds, and a plan that reads all of
/// one would be kept.
const PLANNING: [(&CStr, &CStr); 4] = [
    (c"plan_cache_mode", c"force_generic_plan"),
    (c"enable_seqscan", c"off"),
    (c"enable_hashjoin", c"off"),
    (c"enable_mergejoin", c"off"),
];

/// The worker's mail.
pub struct Engine {
    /// The number that it claims messages with.
    lease: i64,
    channel: Arc<Channel>,
    sessions: Arc<TlsCache>,
    /// The origin of moments.
    origin: Instant,
    queues: HashMap<pg_sys::Oid, ServerQueue>,
    groups: HashMap<GroupId, Member>,
    slots: HashMap<ConnectionId, Slot>,
    /// Of the last group or connection.
    last_number: u64,
    /// What is claimed and not settled.
    in_hand: HashMap<i64, InHand>,
    unsettled: Unsettled,
    questions: Questions,
    upkeep: Upkeep,
    pauses: Pauses,
    /// New mail was committed.
    is_woken: bool,
    /// There is something to be done at once.
    is_urgent: bool,
    /// Somebody waits for a connection to be closed, or to be ready.
    is_crowded: bool,
    /// The highest number of a message that was seen.
    highest: i64,
    /// The message that is tried alone, as it was in flight at a crash.
    suspect: Option<i64>,
    has_suspects: bool,
    has_mail: bool,
    /// An error of the database's that the worker has yet to hear of.
    failure: Option<Failure>,
}

impl Engine {
    /// Begins with what an earlier worker has left behind.
    pub fn start() -> Self {
        for (name, value) in PLANNING {
            background::set(name, value);
        }
        let lease = new_lease();
        let channel = Channel::new().unwrap_or_else(|error| panic!("no channel: {error}"));
        let begun = background::transaction(|| {
            with_owner_rights(|client| {
                rescue::rescue(client, lease);
                state::begin(client);
            })
        });
        let now = Instant::now();
        Self {
            lease,
            channel: Arc::new(channel),
            sessions: Arc::default(),
            origin: now,
            queues: HashMap::new(),
            groups: HashMap::new(),
            slots: HashMap::new(),
            last_number: 0,
            in_hand: HashMap::new(),
            unsettled: Unsettled::default(),
            questions: Questions::default(),
            upkeep: Upkeep::new(now),
            pauses: Pauses::default(),
            is_woken: true,
            is_urgent: false,
            is_crowded: false,
            highest: 0,
            suspect: None,
            has_suspects: false,
            has_mail: true,
            failure: begun.err(),
        }
    }

    /// Does what is to be done at this moment; returns when it wants to be called again, at the
    /// latest.
    pub fn run_once(&mut self, now: Instant) -> Instant {
        self.is_urgent = false;
        self.take_events();
        self.answer_questions();
        self.poll_if_due(now);
        if self.failure.is_none() {
            self.push();
        }
        if self.is_woken && self.failure.is_none() {
            // What waits must not seem to be due by a clock that was set just now.
            self.read_clock();
            self.look_at_recent();
        }
        if self.failure.is_none() {
            self.work(now);
        }
        self.open_connections();
        let enough = self.enough();
        self.channel.gather(enough);
        let next = self.next_call(now);
        match enough {
            1 => next,
            _ => next.min(now + results::BATCH_TIME / 2),
        }
    }

    /// How many results are worth being looked at. While connections have enough to do, looking
    /// at each by itself only takes the processor from them.
    fn enough(&self) -> usize {
        let mut members = self.groups.values();
        if self.suspect.is_some() || members.any(|member| !member.reserved.is_empty()) {
            return 1;
        }
        let missing = self.unsettled.missing();
        (self.in_hand.len() / 4).min(missing).max(1)
    }

    /// An error of the database's since the last call. Until it is taken, and the engine is called
    /// again, nothing is written.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Readable when a thread has something.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.channel.descriptor()
    }

    /// New mail was committed.
    pub fn wake(&mut self) {
        self.is_woken = true;
    }

    /// The settings have changed: connections are opened anew by them.
    pub fn reload(&mut self) {
        self.upkeep.poll_at = Instant::now();
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.retire(id);
        }
    }

    /// Whether there is no mail that this worker could send, now or later.
    pub fn is_idle(&self) -> bool {
        !self.has_mail && self.in_hand.is_empty() && self.unsettled.is_empty()
    }

    /// Ends all conversations: those whose final dot is out get `grace`, the others end at once.
    /// What was not sent is given back as it was.
    pub fn stop(&mut self, grace: Duration) {
        /// For threads that are told, and need no network any more.
        const LEAVE: Duration = Duration::from_millis(200);
        self.channel.stop.tell();
        self.await_threads(grace);
        self.channel.end.tell();
        self.await_threads(LEAVE);
        self.give_all_back();
        self.settle_rest();
        self.store_tokens();
    }

    /// Waits for all threads to end. Questions get no answer.
    fn await_threads(&mut self, time: Duration) {
        let until = Instant::now() + time;
        for member in self.groups.values() {
            member.group.wake();
        }
        loop {
            self.take_events();
            self.questions.refuse();
            let left = until.saturating_duration_since(Instant::now());
            if self.slots.is_empty() || left.is_zero() {
                return;
            }
            self.channel.wait(left);
        }
    }

    fn moment(&self) -> Moment {
        Moment::new(self.origin.elapsed())
    }

    fn next_call(&mut self, now: Instant) -> Instant {
        if self.is_urgent {
            return now;
        }
        let moment = self.moment();
        let due = self.queues.values_mut().filter(|queue| queue.has_due());
        let trial = due.filter_map(|queue| queue.next_trial(moment)).min();
        let next = [
            Some(self.upkeep.poll_at),
            self.unsettled.due_at(),
            trial.map(|time| now + time),
            self.is_crowded.then(|| now + slots::SLOW),
        ];
        next.into_iter()
            .flatten()
            .min()
            .unwrap_or(self.upkeep.poll_at)
    }
}

/// A positive number that no other worker has, nor had in another database or installation that
/// rows come from.
fn new_lease() -> i64 {
    let random = getrandom::u64().unwrap_or_else(|error| panic!("no lease: {error}"));
    (random >> 1).max(1) as i64
}

/// By the settings.
fn schedule() -> Schedule {
    Schedule::new(
        settings::retry_minimum(),
        settings::retry_maximum(),
        settings::message_lifetime(),
    )
}

/// From 0 to 1.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
