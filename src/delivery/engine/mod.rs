//! What a worker does with mail: it claims messages, has threads send them, and writes down what became of them.
//!
//! The thread that calls [`Engine`] alone speaks to PostgreSQL, and never while it waits for a mail server: no transaction,
//! snapshot or lock outlives a call.

mod channel;
mod connection;
mod events;
mod group;
mod job;
mod judge;
mod questions;
mod remote;
mod server_queue;
mod work;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::clock::Moment;
use mail_queue::retry::Schedule;
use pgrx::pg_sys;
use smtp_client::tls::TlsCache;

use self::channel::Channel;
use self::group::Group;
use self::job::GroupId;
use self::judge::WayKey;
use self::questions::Questions;
use self::server_queue::ServerQueue;
use super::store::rescue;
use super::store::settle::{Settled, Settlement};
use crate::pg::background;
use crate::pg::owner::with_owner_rights;
use crate::settings;

/// How often the queue is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Looking takes at most one part in so many of the time.
const POLL_SHARE: u32 = 20;
/// Results are written down together: so many, or after so long.
const BATCH: usize = 100;
const BATCH_TIME: Duration = Duration::from_millis(50);
/// After an error of the database's.
const PAUSE: Duration = Duration::from_secs(1);

/// The worker's mail.
pub struct Engine {
    lease: i64,
    channel: Arc<Channel>,
    sessions: Arc<TlsCache>,
    /// The origin of moments.
    origin: Instant,
    queues: HashMap<pg_sys::Oid, ServerQueue>,
    groups: HashMap<GroupId, Member>,
    last_group: u64,
    /// What is claimed and not settled.
    in_hand: HashMap<i64, InHand>,
    unsettled: Unsettled,
    questions: Questions,
    poll_at: Instant,
    /// New mail was committed.
    is_woken: bool,
    /// The highest number of a message that was seen.
    highest: i64,
    has_mail: bool,
    /// After an error nothing is written before this moment.
    paused_until: Option<Instant>,
    pushed_at: Option<pg_sys::TimestampTz>,
}

/// A group of connections, as this thread sees it.
struct Member {
    group: Arc<Group>,
    server: pg_sys::Oid,
    key: WayKey,
    owner: pg_sys::Oid,
    /// Connections, also those that are being opened.
    connections: usize,
    opening: usize,
    /// Whether one was ready for mail since the last that failed.
    is_proven: bool,
    is_retired: bool,
}

/// A message that is claimed.
struct InHand {
    server: pg_sys::Oid,
    group: GroupId,
    due_at: pg_sys::TimestampTz,
    at_most_once: bool,
    /// Whether the message has no recipients but these.
    is_whole: bool,
    /// The recipients that it is sent to.
    numbers: Vec<i32>,
    /// What became of others of its recipients already.
    others: Vec<Settled>,
}

/// What is to be written down.
#[derive(Default)]
struct Unsettled {
    settlements: Vec<Settlement>,
    released: Vec<i64>,
    held: Vec<i64>,
    since: Option<Instant>,
}

impl Unsettled {
    fn len(&self) -> usize {
        self.settlements.len() + self.released.len() + self.held.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_due(&self, now: Instant) -> bool {
        self.len() >= BATCH || self.due_at().is_some_and(|due| due <= now)
    }

    fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + BATCH_TIME)
    }
}

impl Engine {
    /// Begins with what an earlier worker has left behind. `lease`: the number of this worker.
    pub fn start(lease: i64) -> Self {
        let channel = Channel::new().unwrap_or_else(|error| panic!("no channel: {error}"));
        let rescued =
            background::transaction(|| with_owner_rights(|client| rescue::rescue(client, lease)));
        if let Err(failure) = rescued {
            // Looking at the queue tries it again.
            failure.log();
        }
        let now = Instant::now();
        Self {
            lease,
            channel: Arc::new(channel),
            sessions: Arc::default(),
            origin: now,
            queues: HashMap::new(),
            groups: HashMap::new(),
            last_group: 0,
            in_hand: HashMap::new(),
            unsettled: Unsettled::default(),
            questions: Questions::default(),
            poll_at: now,
            is_woken: true,
            highest: 0,
            has_mail: true,
            paused_until: None,
            pushed_at: None,
        }
    }

    /// Does what is to be done at this moment; returns when it wants to be called again, at the latest.
    pub fn run_once(&mut self, now: Instant) -> Instant {
        self.take_events();
        self.answer_questions();
        if self.paused_until.is_some_and(|until| now < until) {
            return self.next_call(now);
        }
        self.paused_until = None;
        if self.poll_at <= now {
            self.poll(now);
        } else if self.is_woken {
            self.look_at_recent();
        }
        self.work(now);
        self.open_connections();
        self.next_call(now)
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
        self.poll_at = Instant::now();
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.retire(id);
        }
    }

    /// Whether there is no mail that this worker could send, now or later.
    pub fn is_idle(&self) -> bool {
        !self.has_mail && self.in_hand.is_empty() && self.unsettled.is_empty()
    }

    /// Ends all conversations: those whose final dot is out get `grace`, the others end at once. What was not sent is given
    /// back as it was.
    pub fn stop(&mut self, grace: Duration) {
        self.channel.stop.tell();
        self.wake_threads();
        let until = Instant::now() + grace;
        while self.connections() > 0 && Instant::now() < until {
            self.questions.refuse();
            let left = until.saturating_duration_since(Instant::now());
            self.channel.wait(left);
            self.take_events();
        }
        self.channel.end.tell();
        self.wake_threads();
        // They are told, and need no network any more.
        let until = Instant::now() + Duration::from_millis(200);
        while self.connections() > 0 && Instant::now() < until {
            self.questions.refuse();
            self.channel
                .wait(until.saturating_duration_since(Instant::now()));
            self.take_events();
        }
        self.give_all_back();
        self.settle_rest();
    }

    fn moment(&self) -> Moment {
        Moment::new(self.origin.elapsed())
    }

    fn connections(&self) -> usize {
        self.groups.values().map(|member| member.connections).sum()
    }

    fn wake_threads(&self) {
        for member in self.groups.values() {
            member.group.wake();
        }
    }

    fn next_call(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.paused_until {
            return until;
        }
        let moment = self.moment();
        let trials = self.queues.values_mut().filter(|queue| queue.is_due);
        let trial = trials
            .filter_map(|queue| queue.next_trial(moment))
            .filter(|time| !time.is_zero())
            .min();
        let settle = self.unsettled.due_at();
        let trial = trial.map(|time| now + time);
        let next = [Some(self.poll_at), settle, trial];
        next.into_iter().flatten().min().unwrap_or(self.poll_at)
    }
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
