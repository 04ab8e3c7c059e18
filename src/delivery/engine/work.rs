//! Transactions: what became of messages is written down, and messages are claimed, in one commit.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::backoff::{Admission, Ticket};
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::connection::Start;
use super::group::{Group, Login};
use super::job::{GroupId, Job};
use super::judge::{Judge, Letter, Obstacle, Scope, Way, WayKey, letter};
use super::server_queue::ServerQueue;
use super::{Engine, InHand, Member, PAUSE, POLL, POLL_SHARE, Unsettled};
use crate::delivery::home;
use crate::delivery::store::claim::{self, Claimed, Claimer, Position};
use crate::delivery::store::settle::{self, Outcome, Settled, Settlement, Settler};
use crate::delivery::store::{due, rescue};
use crate::pg::background::{self, Failure};
use crate::pg::owner::with_owner_rights;
use crate::pg::{roles, thread, transaction};
use crate::settings;
use smtp_client::stop::BlockedSignals;

/// Recent messages that are noted at once.
const RECENT: usize = 1000;
/// Numbers below the highest that was seen, which a transaction may have that commits late.
const LATE: i64 = 256;
/// Messages that are claimed ahead of the connections, at most.
const MOST_AHEAD: usize = 400;

/// What is to be done for one server.
struct Order {
    server: pg_sys::Oid,
    action: Action,
}

enum Action {
    /// Nobody knows whether the server can be used: a connection is opened, before anything is claimed.
    Probe { owner: pg_sys::Oid, ticket: Ticket },
    Claim {
        fresh: Vec<i64>,
        behind: Position,
        but_for: Vec<pg_sys::Oid>,
        limit: usize,
    },
}

/// What came of an order.
enum Done {
    Probed {
        server: pg_sys::Oid,
        ticket: Ticket,
        way: Result<(Way, Option<Login>), Obstacle>,
    },
    Claimed {
        server: pg_sys::Oid,
        messages: Vec<Judged>,
        /// Where to go on; `None`: there is nothing more behind.
        cursor: Option<Position>,
    },
    /// The server can't be used, or is not to be.
    Refused {
        server: pg_sys::Oid,
        obstacle: Option<Obstacle>,
    },
}

/// A message that was claimed and judged.
struct Judged {
    message_id: i64,
    owner: pg_sys::Oid,
    due_at: pg_sys::TimestampTz,
    at_most_once: bool,
    has_others: bool,
    numbers: Vec<i32>,
    sentence: Sentence,
}

enum Sentence {
    Send {
        job: Job,
        numbers: Vec<i32>,
        unsendable: Vec<(i32, String)>,
        way: Way,
        login: Option<Login>,
    },
    Fail(String),
    Wait(Obstacle),
    Hold,
}

impl Engine {
    /// Looks which servers have mail.
    pub(super) fn poll(&mut self, now: Instant) {
        self.is_woken = false;
        let began = Instant::now();
        let lease = self.lease;
        let found = background::transaction(|| {
            with_owner_rights(|client| {
                rescue::rescue(client, lease);
                let first = due::first_of_each(client);
                let is_any = !first.is_empty() || due::is_any(client);
                (first, is_any, due::pushed_at(client))
            })
        });
        self.poll_at = now + POLL.max(began.elapsed() * POLL_SHARE);
        match found {
            Ok(Some((first, is_any, pushed_at))) => {
                self.has_mail = is_any;
                self.pushed_at = pushed_at;
                let time = transaction::now();
                for first in first {
                    let queue = self.queues.entry(first.server).or_default();
                    queue.owner = Some(first.owner);
                    queue.is_paused = false;
                    if first.next_attempt_at <= time {
                        queue.start_anew();
                    }
                }
            }
            Ok(None) => self.has_mail = false,
            Err(failure) => self.failed(&failure),
        }
    }

    /// Looks for mail that was committed just now.
    pub(super) fn look_at_recent(&mut self) {
        self.is_woken = false;
        let above = self.highest - LATE;
        let recent = background::transaction(|| {
            with_owner_rights(|client| due::recent(client, above, transaction::now(), RECENT))
        });
        match recent {
            Ok(recent) => {
                let recent = recent.unwrap_or_default();
                self.has_mail |= !recent.is_empty();
                self.is_woken = recent.len() == RECENT;
                for message in recent {
                    self.highest = self.highest.max(message.message_id);
                    let queue = self.queues.entry(message.server).or_default();
                    queue.owner = Some(message.owner);
                    queue.add_fresh(message.message_id);
                }
            }
            Err(failure) => self.failed(&failure),
        }
    }

    /// Writes down what became of messages, and claims more.
    pub(super) fn work(&mut self, now: Instant) {
        let orders = self.orders();
        let settles =
            !self.unsettled.is_empty() && (self.unsettled.is_due(now) || !orders.is_empty());
        if orders.is_empty() && !settles {
            return;
        }
        let mut unsettled = mem::take(&mut self.unsettled);
        let claimer = Claimer {
            lease: self.lease,
            now: transaction::now(),
            pushed_at: self.pushed_at,
        };
        let known: HashSet<(pg_sys::Oid, WayKey)> = self.ways();
        let done = background::transaction(|| {
            with_owner_rights(|client| {
                let locked = write(client, claimer, &unsettled);
                let mut judge = Judge::default();
                let carry_out = |order| carry_out(client, claimer, order, &mut judge, &known);
                (
                    locked,
                    orders.into_iter().map(carry_out).collect::<Vec<_>>(),
                )
            })
        });
        match done {
            Ok(Some((locked, done))) => {
                unsettled
                    .settlements
                    .retain(|settlement| locked.contains(&settlement.message_id));
                if !unsettled.settlements.is_empty() {
                    self.unsettled.settlements = unsettled.settlements;
                    self.unsettled.since = Some(now + PAUSE);
                }
                self.apply(done);
            }
            // The extension is gone, and the mail with it.
            Ok(None) => {}
            Err(failure) => {
                self.unsettled = unsettled;
                self.isolate();
                self.failed(&failure);
            }
        }
    }

    /// What is to be done for the servers that have mail.
    fn orders(&mut self) -> Vec<Order> {
        let moment = self.moment();
        let mut used: HashMap<pg_sys::Oid, usize> = HashMap::new();
        for member in self.groups.values() {
            *used.entry(member.server).or_default() += member.connections;
        }
        let most = settings::worker_connections();
        let mut free = most.saturating_sub(self.connections());
        let mut orders = Vec::new();
        for (server, queue) in &mut self.queues {
            let used = used.get(server).copied().unwrap_or_default();
            let Some(action) = action(queue, used, free, moment) else {
                continue;
            };
            if matches!(action, Action::Probe { .. }) {
                free -= 1;
            }
            let server = *server;
            orders.push(Order { server, action });
        }
        orders
    }

    fn ways(&self) -> HashSet<(pg_sys::Oid, WayKey)> {
        let members = self.groups.values().filter(|member| !member.is_retired);
        members.map(|member| (member.server, member.key)).collect()
    }

    fn apply(&mut self, done: Vec<Done>) {
        for done in done {
            match done {
                Done::Probed {
                    server,
                    ticket,
                    way: Ok((way, login)),
                } => {
                    if let Some(id) = self.group_of(server, &way, login) {
                        self.open(id, ticket);
                    }
                }
                Done::Probed {
                    server,
                    ticket,
                    way: Err(obstacle),
                } => {
                    let of_server = obstacle.scope == Scope::Server;
                    self.server_failed(server, &obstacle, of_server.then_some(ticket));
                    if !of_server && let Some(queue) = self.queues.get_mut(&server) {
                        queue.backoff.abandon(ticket);
                    }
                }
                Done::Claimed {
                    server,
                    messages,
                    cursor,
                } => {
                    if let Some(queue) = self.queues.get_mut(&server) {
                        queue.go_on(cursor);
                    }
                    for message in messages {
                        self.take(server, message);
                    }
                }
                Done::Refused {
                    server,
                    obstacle: Some(obstacle),
                } => self.server_failed(server, &obstacle, None),
                Done::Refused {
                    server,
                    obstacle: None,
                } => {
                    if let Some(queue) = self.queues.get_mut(&server) {
                        queue.is_paused = true;
                    }
                }
            }
        }
    }

    /// Hands a claimed message out.
    fn take(&mut self, server: pg_sys::Oid, message: Judged) {
        let message_id = message.message_id;
        let fail = |numbers: &[i32], reason: &str| Settlement {
            message_id,
            is_whole: !message.has_others,
            recipients: numbers
                .iter()
                .map(|number| failed(*number, reason))
                .collect(),
        };
        match message.sentence {
            Sentence::Fail(reason) => {
                let settlement = fail(&message.numbers, &reason);
                self.unsettled.settlements.push(settlement);
            }
            Sentence::Hold => self.unsettled.held.push(message_id),
            Sentence::Wait(obstacle) => {
                self.unsettled.released.push(message_id);
                self.server_failed(server, &obstacle, None);
            }
            Sentence::Send {
                job,
                numbers,
                unsendable,
                way,
                login,
            } => {
                let others: Vec<Settled> = unsendable
                    .iter()
                    .map(|(number, reason)| failed(*number, reason))
                    .collect();
                if numbers.is_empty() {
                    self.unsettled.settlements.push(Settlement {
                        message_id,
                        is_whole: !message.has_others,
                        recipients: others,
                    });
                } else if let Some(group) = self.group_of(server, &way, login) {
                    self.in_hand.insert(
                        message_id,
                        InHand {
                            server,
                            group,
                            due_at: message.due_at,
                            at_most_once: message.at_most_once,
                            is_whole: !message.has_others,
                            numbers,
                            others,
                        },
                    );
                    let queue = self.queues.entry(server).or_default();
                    queue.claimed += 1;
                    queue.logins.insert(message.owner, way.key.mapping);
                    queue.max_connections = way.server.options.queue.max_connections();
                    self.groups[&group].group.push(vec![job]);
                } else {
                    self.unsettled.released.push(message_id);
                }
            }
        }
        if !self.unsettled.is_empty() {
            self.unsettled.since.get_or_insert_with(Instant::now);
        }
    }

    /// The group of a way: the one there is, or a new one.
    fn group_of(
        &mut self,
        server: pg_sys::Oid,
        way: &Way,
        login: Option<Login>,
    ) -> Option<GroupId> {
        let is_same = |member: &Member| {
            member.server == server && member.key == way.key && !member.is_retired
        };
        let known = self.groups.iter().find(|(_, member)| is_same(member));
        if let Some((id, _)) = known {
            return Some(*id);
        }
        let login = login?;
        // One of other options: they have been altered.
        let outdated: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, member)| member.server == server && member.key.is_outdated_by(&way.key))
            .map(|(id, _)| *id)
            .collect();
        for id in outdated {
            self.retire(id);
        }
        self.last_group += 1;
        let id = GroupId(self.last_group);
        self.groups.insert(
            id,
            Member {
                group: Arc::new(Group::new(login)),
                server,
                key: way.key,
                owner: way.owner,
                connections: 0,
                opening: 0,
                is_proven: false,
                is_retired: false,
            },
        );
        Some(id)
    }

    /// Opens connections for messages that wait for one.
    pub(super) fn open_connections(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            while self.needs_connection(id) {
                let moment = self.moment();
                let server = self.groups[&id].server;
                let Some(queue) = self.queues.get_mut(&server) else {
                    break;
                };
                let (Admission::Open(ticket) | Admission::Trial(ticket)) =
                    queue.backoff.admit(moment)
                else {
                    break;
                };
                if !self.open(id, ticket) {
                    break;
                }
            }
        }
    }

    fn needs_connection(&self, id: GroupId) -> bool {
        let Some(member) = self.groups.get(&id).filter(|member| !member.is_retired) else {
            return false;
        };
        let (waiting, idle) = member.group.load();
        if waiting <= idle + member.opening {
            return false;
        }
        let of_server = self
            .groups
            .values()
            .filter(|other| other.server == member.server);
        let used: usize = of_server.map(|member| member.connections).sum();
        let options = &member.group.login.server.options.queue;
        let most = match member.is_proven {
            true => options.max_connections(),
            false => 1,
        };
        used < most.min(options.max_connections())
            && self.connections() < settings::worker_connections()
    }

    /// Opens a connection. False where no thread could be started.
    fn open(&mut self, id: GroupId, ticket: Ticket) -> bool {
        let Some(member) = self.groups.get_mut(&id) else {
            return false;
        };
        let start = Start {
            channel: Arc::clone(&self.channel),
            group: Arc::clone(&member.group),
            id,
            ticket,
            sessions: Arc::clone(&self.sessions),
        };
        let started = {
            let _signals = BlockedSignals::all();
            thread::spawn(Box::new(move || start.run()))
        };
        match started {
            Ok(()) => {
                member.connections += 1;
                member.opening += 1;
                true
            }
            Err(_) => {
                if let Some(queue) = self.queues.get_mut(&member.server) {
                    queue.backoff.abandon(ticket);
                }
                false
            }
        }
    }

    /// An error of the database's: nothing is written for a moment.
    fn failed(&mut self, failure: &Failure) {
        failure.log();
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    /// Writes each result down by itself: one that can't be written keeps no other from it.
    fn isolate(&mut self) {
        let unsettled = mem::take(&mut self.unsettled);
        let parts = unsettled.parts();
        for part in parts {
            let claimer = Claimer {
                lease: self.lease,
                now: transaction::now(),
                pushed_at: None,
            };
            let written = background::transaction(|| {
                with_owner_rights(|client| write(client, claimer, &part))
            });
            match written {
                Ok(Some(locked)) if locked.is_empty() => {}
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => self.unsettled.add(part),
            }
            if background::is_terminated() {
                return;
            }
        }
    }

    /// At the end: as much as can be written.
    pub(super) fn settle_rest(&mut self) {
        let claimer = Claimer {
            lease: self.lease,
            now: transaction::now(),
            pushed_at: None,
        };
        let unsettled = mem::take(&mut self.unsettled);
        let written = background::transaction(|| {
            with_owner_rights(|client| write(client, claimer, &unsettled))
        });
        if let Err(failure) = written {
            failure.log();
            self.unsettled = unsettled;
            self.isolate();
        }
    }
}

impl Unsettled {
    /// Each message by itself.
    fn parts(self) -> Vec<Self> {
        let settlements = self.settlements.into_iter().map(|settlement| Self {
            settlements: vec![settlement],
            ..Self::default()
        });
        let released = self.released.into_iter().map(|message_id| Self {
            released: vec![message_id],
            ..Self::default()
        });
        let held = self.held.into_iter().map(|message_id| Self {
            held: vec![message_id],
            ..Self::default()
        });
        settlements.chain(released).chain(held).collect()
    }

    fn add(&mut self, other: Self) {
        self.settlements.extend(other.settlements);
        self.released.extend(other.released);
        self.held.extend(other.held);
        self.since.get_or_insert_with(Instant::now);
    }
}

fn failed(number: i32, reason: &str) -> Settled {
    Settled {
        number,
        result: Outcome::Final("failed"),
        tried: false,
        reply: Some(reason.to_owned()),
        remote: None,
    }
}

/// What is to be done for a server, if anything. `used`: its connections. `free`: how many more there may be.
fn action(
    queue: &mut ServerQueue,
    used: usize,
    free: usize,
    moment: mail_queue::clock::Moment,
) -> Option<Action> {
    if !queue.has_due() || queue.is_paused {
        return None;
    }
    if !queue.is_proven {
        let owner = queue.owner?;
        if used > 0 || free == 0 {
            return None;
        }
        return match queue.backoff.admit(moment) {
            Admission::Open(ticket) | Admission::Trial(ticket) => {
                Some(Action::Probe { owner, ticket })
            }
            Admission::Wait(_) | Admission::TrialUnderWay => None,
        };
    }
    let target = match queue.backoff.failure() {
        // The connection on trial gets one message.
        Some(_) => used.min(1),
        None => {
            let connections = (used + free).min(queue.most_connections());
            connections
                + queue
                    .rate
                    .within(Duration::from_millis(100))
                    .clamp(connections, MOST_AHEAD)
        }
    };
    if queue.claimed * 2 > target || target == queue.claimed {
        return None;
    }
    let limit = target - queue.claimed;
    Some(Action::Claim {
        fresh: queue.take_fresh(limit),
        behind: queue.cursor.unwrap_or(Position::FIRST),
        but_for: queue.blocked_owners(moment),
        limit,
    })
}

/// Writes results down; returns the messages that somebody else has locked.
fn write(client: &mut SpiClient<'_>, by: Claimer, unsettled: &Unsettled) -> HashSet<i64> {
    let settler = Settler {
        lease: by.lease,
        now: by.now,
    };
    let locked = settle::settle(client, settler, &unsettled.settlements);
    settle::release(client, by.lease, &unsettled.released);
    settle::hold(client, by.lease, &unsettled.held);
    locked
}

fn carry_out(
    client: &mut SpiClient<'_>,
    claimer: Claimer,
    order: Order,
    judge: &mut Judge,
    known: &HashSet<(pg_sys::Oid, WayKey)>,
) -> Done {
    let server = order.server;
    let options = match judge.server(server) {
        Ok(found) => found,
        Err(obstacle) => {
            let obstacle = Some(obstacle);
            return Done::Refused { server, obstacle };
        }
    };
    if options.options.queue.paused {
        let obstacle = None;
        return Done::Refused { server, obstacle };
    }
    match order.action {
        Action::Probe { owner, ticket } => {
            let way = judge
                .way(server, owner)
                .and_then(|way| with_login(way, known));
            Done::Probed {
                server,
                ticket,
                way,
            }
        }
        Action::Claim {
            fresh,
            behind,
            but_for,
            limit,
        } => {
            let mut claimed = match fresh.is_empty() {
                true => Vec::new(),
                false => claim::by_number(client, claimer, server, &fresh, &but_for),
            };
            let left = limit.saturating_sub(claimed.len());
            let mut cursor = Some(behind);
            if left > 0 {
                let more = claim::in_order(client, claimer, server, behind, &but_for, left);
                cursor = match more.last() {
                    Some(last) if more.len() == left => Some(last.position),
                    _ => None,
                };
                claimed.extend(more);
            }
            let homes = home::stamp();
            let judged = claimed
                .into_iter()
                .map(|claimed| judged(client, claimed, judge, known, &homes));
            Done::Claimed {
                server,
                messages: judged.collect(),
                cursor,
            }
        }
    }
}

/// With what connections are opened by, where there are none yet.
fn with_login(
    way: Way,
    known: &HashSet<(pg_sys::Oid, WayKey)>,
) -> Result<(Way, Option<Login>), Obstacle> {
    let login = match known.contains(&(way.server.oid, way.key)) {
        true => None,
        false => Some(way.login()?),
    };
    Ok((way, login))
}

fn judged(
    client: &mut SpiClient<'_>,
    mut claimed: Claimed,
    judge: &mut Judge,
    known: &HashSet<(pg_sys::Oid, WayKey)>,
    stamp: &str,
) -> Judged {
    let sentence = sentence(client, &mut claimed, judge, known, stamp);
    let recipients = claimed.recipients.iter();
    Judged {
        message_id: claimed.message_id,
        owner: claimed.owner,
        due_at: claimed.due_at,
        at_most_once: claimed.at_most_once,
        has_others: claimed.has_others,
        numbers: recipients.map(|recipient| recipient.number).collect(),
        sentence,
    }
}

fn sentence(
    client: &mut SpiClient<'_>,
    claimed: &mut Claimed,
    judge: &mut Judge,
    known: &HashSet<(pg_sys::Oid, WayKey)>,
    stamp: &str,
) -> Sentence {
    let home = claimed.home.0.as_deref().unwrap_or_default();
    if home != stamp && !claim::is_adopted(client, stamp, home) {
        return Sentence::Hold;
    }
    if !roles::exists(claimed.owner) {
        return Sentence::Fail("not sent: its owner was dropped".to_owned());
    }
    let way = judge.way(claimed.server, claimed.owner);
    let (way, login) = match way.and_then(|way| with_login(way, known)) {
        Ok(way) => way,
        Err(obstacle) => return Sentence::Wait(obstacle),
    };
    match letter(claimed) {
        Letter::Nonsense(reason) => Sentence::Fail(reason),
        Letter::Sendable {
            job,
            numbers,
            unsendable,
        } => Sentence::Send {
            job,
            numbers,
            unsendable,
            way,
            login,
        },
    }
}
