//! Once a second: which servers have mail, and what is to be done once in a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mail_queue::clock::WallClock;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::age::Pauses;
use super::hand_out::Member;
use super::judge::{Judge, Scope};
use super::server_queue::ServerQueue;
use super::{Engine, limits};
use crate::delivery::store::due::First;
use crate::delivery::store::state::{Counts, ServerState};
use crate::delivery::store::{due, rescue, state, upkeep};
use crate::pg::foreign;
use crate::pg::owner::with_owner_rights;
use crate::pg::{background, transaction};
use crate::settings;

/// How often the queue is looked at.
const POLL: Duration = Duration::from_secs(1);
/// A process that has nothing to do wakes up twice a second anyway, and then looks a little early.
const EARLY: Duration = Duration::from_millis(100);
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// How often recipients that wait are counted.
const COUNT: Duration = Duration::from_secs(50);
/// Recent messages that are noted at once.
const RECENT: usize = 1000;
/// Numbers below the highest that was seen, which a transaction may have that commits late.
const LATE: i64 = 256;
/// Rows of the log that are deleted at once, and messages that are made due.
const BATCH: usize = 10_000;
const PUSH_BATCH: usize = 1000;

/// What is done once in a while.
pub struct Upkeep {
    pub poll_at: Instant,
    /// When push_queue() was last called.
    pub pushed_at: Option<pg_sys::TimestampTz>,
    /// What of it is still to be done: messages above this number.
    pushing: Option<i64>,
    clock: Option<WallClock>,
    /// By how many microseconds stored times have to be moved.
    shift: i64,
    counted_at: Option<Instant>,
    /// What others were last shown.
    shown: (usize, Option<(Counts, pg_sys::TimestampTz)>),
    /// How often foreign servers and mappings had changed.
    changes: u64,
    /// Whether there may be rows of the log that are too old.
    log_checked_at: Option<Instant>,
}

impl Upkeep {
    pub fn new(now: Instant) -> Self {
        Self {
            poll_at: now,
            pushed_at: None,
            pushing: None,
            clock: None,
            shift: 0,
            counted_at: None,
            shown: (0, None),
            changes: foreign::generation_with_mappings(),
            log_checked_at: None,
        }
    }
}

impl Upkeep {
    /// Whether recipients that wait are to be counted again.
    fn is_to_count(&self, now: Instant, has_mail: bool) -> bool {
        let counted_at = self.counted_at;
        let is_due = counted_at.is_none_or(|at| now.duration_since(at) >= COUNT);
        is_due && (has_mail || self.shown.1.is_some())
    }
}

/// What a look at the queue has found.
struct Found {
    first: Vec<First>,
    is_any: bool,
    has_suspects: bool,
    pushed_at: Option<pg_sys::TimestampTz>,
    pauses: Pauses,
    counts: Option<Counts>,
}

impl Engine {
    pub(super) fn poll_if_due(&mut self, now: Instant) {
        if self.failure.is_some() || now + EARLY < self.upkeep.poll_at {
            return;
        }
        let began = Instant::now();
        self.read_clock();
        self.poll(now);
        self.review();
        self.drop_unused();
        self.trim_log(now);
        self.store_tokens();
        self.upkeep.poll_at = now + POLL.max(began.elapsed() * SHARE);
    }

    /// Looks which servers have mail, and shows what the worker does.
    fn poll(&mut self, now: Instant) {
        let lease = self.lease;
        let states = self.changed_states();
        let counts = self.upkeep.is_to_count(now, self.has_mail);
        let blocked = self.blocked_owners();
        let connections = self.slots.len();
        let (shown_connections, shown_counts) = self.upkeep.shown;
        let looked = background::transaction(|| {
            with_owner_rights(|client| {
                rescue::rescue(client, lease);
                let found = look(client, counts, &blocked);
                state::show(client, &states);
                let shown = match found.counts {
                    Some(counts) => counts.are_many().then(|| (counts, transaction::now())),
                    None => shown_counts,
                };
                if (shown_connections, shown_counts) != (connections, shown) {
                    state::show_counts(client, connections, shown);
                }
                (found, (connections, shown))
            })
        });
        match looked {
            Ok(Some((found, shown))) => {
                for state in states {
                    let queue = self.queues.entry(state.server).or_default();
                    queue.shown = Some(state);
                }
                if counts {
                    self.upkeep.counted_at = Some(now);
                }
                self.upkeep.shown = shown;
                self.found(found);
            }
            Ok(None) => self.has_mail = false,
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// The owners whose mail is left alone, where there are any.
    fn blocked_owners(&mut self) -> HashMap<pg_sys::Oid, Vec<pg_sys::Oid>> {
        let moment = self.moment();
        let queues = self.queues.iter_mut();
        let blocked = queues.map(|(server, queue)| (*server, queue.blocks.owners(moment)));
        blocked.filter(|(_, owners)| !owners.is_empty()).collect()
    }

    fn found(&mut self, found: Found) {
        self.has_mail = found.is_any;
        self.has_suspects = found.has_suspects;
        self.pauses = found.pauses;
        if found.pushed_at != self.upkeep.pushed_at {
            // Also when the worker begins: the last one may not have been through with it.
            self.upkeep.pushing = found.pushed_at.map(|_| i64::MIN);
            self.queues
                .values_mut()
                .for_each(|queue| queue.forget_failures());
            self.upkeep.pushed_at = found.pushed_at;
        }
        let time = transaction::now();
        for first in found.first {
            let queue = self.queues.entry(first.server).or_default();
            queue.owner = Some(first.owner);
            queue.is_paused = false;
            if first.next_attempt_at <= time {
                queue.start_anew();
            }
        }
    }

    /// Looks for mail that was committed just now.
    pub(super) fn look_at_recent(&mut self) {
        self.is_woken = false;
        let above = self.highest.saturating_sub(LATE);
        let recent = background::transaction(|| {
            with_owner_rights(|client| due::recent(client, above, transaction::now(), RECENT))
        });
        match recent {
            Ok(recent) => {
                let recent = recent.unwrap_or_default();
                self.has_mail |= !recent.is_empty();
                // There is more.
                self.is_woken = recent.len() == RECENT;
                self.is_urgent |= self.is_woken;
                for message in recent {
                    self.highest = self.highest.max(message.message_id);
                    let queue = self.queues.entry(message.server).or_default();
                    queue.owner = queue.owner.or(Some(message.owner));
                    queue.add_fresh(message.message_id);
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What others have not seen of the servers.
    fn changed_states(&mut self) -> Vec<ServerState> {
        let connections = self.connections_by_server();
        let (moment, wall) = (self.moment(), transaction::now());
        let queues = self.queues.iter_mut();
        let changed = queues.filter_map(|(server, queue)| {
            let used = connections.get(server).copied().unwrap_or_default();
            let state = queue.state(*server, used, moment, wall);
            let is_news = match &queue.shown {
                Some(shown) => *shown != state,
                None => state.state != "ok" || state.connections > 0 || state.last_error.is_some(),
            };
            is_news.then_some(state)
        });
        changed.collect()
    }

    /// Where somebody has set the clock, stored times move with it.
    pub(super) fn read_clock(&mut self) {
        let (moment, wall) = (self.moment(), transaction::now());
        let clock = self
            .upkeep
            .clock
            .get_or_insert_with(|| WallClock::new(wall, moment));
        self.upkeep.shift += clock.read(wall, moment).unwrap_or(0);
        let shift = self.upkeep.shift;
        if shift == 0 {
            return;
        }
        let shifted = background::transaction(|| {
            with_owner_rights(|client| upkeep::shift(client, shift, wall))
        });
        match shifted {
            Ok(_) => {
                self.upkeep.shift = 0;
                for in_hand in self.in_hand.values_mut() {
                    in_hand.due_at = in_hand.due_at.saturating_add(shift);
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Back-offs and limits end early where servers, mappings or rights were altered.
    fn review(&mut self) {
        let changes = foreign::generation_with_mappings();
        if changes == self.upkeep.changes {
            return;
        }
        self.upkeep.changes = changes;
        let (moment, wall) = (self.moment(), transaction::now());
        let queues = &mut self.queues;
        let reviewed = background::transaction(|| {
            with_owner_rights(|client| {
                let mut judge = Judge::default();
                for (server, queue) in queues.iter_mut() {
                    review_failures(&mut judge, *server, queue);
                    let Ok(current) = judge.server(*server) else {
                        continue;
                    };
                    let options = limits::Options::from(&current.options.queue);
                    if queue.limits.options().is_some_and(|known| known != options) {
                        let sent = match options.have_day() {
                            true => state::sent(client, *server, wall),
                            false => Vec::new(),
                        };
                        queue.limits.set(options, sent, moment);
                    }
                    queue.fallback = judge.fallback(&current).map(|fallback| fallback.oid);
                    queue.learn(current);
                }
            })
        });
        if let Err(failure) = reviewed {
            self.failure = Some(failure);
        }
    }

    /// Groups without connections or mail go, and the passwords with them.
    fn drop_unused(&mut self) {
        let is_used = |member: &Member| {
            member.connections > 0 || member.jobs > 0 || !member.reserved.is_empty()
        };
        self.groups.retain(|_, member| is_used(member));
        let servers = self.connections_by_server();
        self.queues
            .retain(|server, queue| queue.is_worth_keeping() || servers.contains_key(server));
    }

    /// Makes deferred mail due after push_queue() was called, some of it at a time.
    pub(super) fn push(&mut self) {
        let (Some(pushed_at), Some(above)) = (self.upkeep.pushed_at, self.upkeep.pushing) else {
            return;
        };
        let pushed = background::transaction(|| {
            with_owner_rights(|client| upkeep::push(client, pushed_at, above, PUSH_BATCH)).flatten()
        });
        match pushed {
            Ok(next) => {
                self.upkeep.pushing = next;
                self.is_urgent = true;
                if next.is_none() {
                    self.upkeep.poll_at = Instant::now();
                }
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Deletes what was final for so long, while no mail is due.
    fn trim_log(&mut self, now: Instant) {
        let Some(retention) = settings::log_retention() else {
            return;
        };
        let is_busy = !self.in_hand.is_empty() || self.queues.values().any(|queue| queue.has_due());
        let checked_at = self.upkeep.log_checked_at;
        if is_busy || checked_at.is_some_and(|at| now.duration_since(at) < 60 * POLL) {
            return;
        }
        let before = transaction::now().saturating_sub(retention.as_micros() as i64);
        let deleted = background::transaction(|| {
            with_owner_rights(|client| upkeep::expire_log(client, before, BATCH))
        });
        match deleted {
            // There may be more.
            Ok(Some(count)) if count as usize >= BATCH => {}
            Ok(_) => self.upkeep.log_checked_at = Some(now),
            Err(failure) => self.failure = Some(failure),
        }
    }
}

fn review_failures(judge: &mut Judge, server: pg_sys::Oid, queue: &mut ServerQueue) {
    let current = judge.server(server);
    if queue.backoff.failure().is_some() {
        let digest = current.as_ref().ok().map(|server| server.digest());
        let known = queue.server.as_ref().map(|server| server.digest());
        if digest != known || queue.is_barred() && current.is_ok() {
            queue.backoff.forget();
        }
    }
    queue.blocks.retain(|scope, owners, options| match scope {
        Scope::Server => true,
        Scope::Owner(owner) => judge.way(server, owner).is_err(),
        Scope::Login(_) => {
            let mut ways = owners.iter();
            let way = ways.find_map(|owner| judge.way(server, *owner).ok());
            way.is_none_or(|way| Some(way.key.options) == options)
        }
    });
}

/// `blocked`: owners whose mail does not count.
fn look(
    client: &mut SpiClient<'_>,
    counts: bool,
    blocked: &HashMap<pg_sys::Oid, Vec<pg_sys::Oid>>,
) -> Found {
    let mut first = due::first_of_each(client);
    let is_any = !first.is_empty() || due::is_any(client);
    first = first
        .into_iter()
        .filter_map(|first| match blocked.get(&first.server) {
            Some(owners) if owners.contains(&first.owner) => {
                due::first_of_others(client, first.server, owners)
            }
            _ => Some(first),
        })
        .collect();
    Found {
        is_any,
        has_suspects: due::has_suspects(client, transaction::now()),
        pushed_at: due::pushed_at(client),
        pauses: Pauses::new(upkeep::pauses(client)),
        counts: counts.then(|| state::count(client)),
        first,
    }
}
