//! The transaction that records the results of messages and claims more of them: one commit for
//! both.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::backoff::Ticket;
use mail_queue::retry::Schedule;
use mail_queue::state::FinalState;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::age::Pauses;
use super::group::Login;
use super::judge::{Judge, Judged, KnownWays, Obstacle, Scope, Sentence, Way};
use super::limits;
use super::orders::{Action, Claim, Order, Orders};
use super::results::final_without_attempt;
use super::server_queue::Aging;
use super::{Engine, schedule};
use crate::delivery::home;
use crate::delivery::store::claim::{self, Chosen, Claimed, Claimer, Position};
use crate::delivery::store::settle::Settler;
use crate::delivery::store::state::ServerState;
use crate::delivery::store::{due, state, upkeep};
use crate::pg::owner::with_owner_rights;
use crate::pg::{background, notices, transaction};
use crate::servers::Server;
use crate::settings;

/// When a result is tried again to be written that somebody else had locked the message of.
const LOCKED: Duration = Duration::from_secs(1);
/// Messages that expire in one transaction.
const EXPIRING: usize = 500;

/// What came of an order.
enum Done {
    Probed {
        server: Arc<Server>,
        fallback: Option<pg_sys::Oid>,
        ticket: Ticket,
        way: Result<(Way, Option<Login>), Obstacle>,
    },
    Claimed(ClaimDone),
    /// The server has other limits than were kept to: nothing was claimed.
    Limited {
        /// Whose mail was to be sent.
        of: pg_sys::Oid,
        server: Arc<Server>,
        sent: Vec<(Duration, u32)>,
    },
    Paused(Arc<Server>),
    Refused {
        server: pg_sys::Oid,
        obstacle: Obstacle,
        /// Of the connection that was to be opened.
        ticket: Option<Ticket>,
    },
    Expired {
        server: pg_sys::Oid,
        messages: Vec<Judged>,
        /// What is in the way of more that are too old.
        more: Option<Aging>,
        is_old: bool,
    },
    Suspect(Option<Judged>, pg_sys::Oid),
    Begun(Vec<i64>),
}

struct ClaimDone {
    server: Arc<Server>,
    messages: Vec<Judged>,
    /// Where to go on; `None`: there is nothing more behind.
    cursor: Option<Position>,
    fallback: Option<pg_sys::Oid>,
}

/// What orders are carried out with.
struct Desk<'a, 'conn> {
    client: &'a mut SpiClient<'conn>,
    claimer: Claimer,
    judge: Judge,
    known: &'a KnownWays,
    pauses: &'a Pauses,
    schedule: Schedule,
    stamp: String,
}

impl Engine {
    pub(super) fn work(&mut self, now: Instant) {
        let orders = self.orders();
        let settles =
            self.unsettled.is_due(now) || !orders.is_empty() && !self.unsettled.is_empty();
        if orders.is_empty() && !settles {
            return;
        }
        let unsettled = mem::take(&mut self.unsettled);
        let claimer = self.claimer();
        let settler = Settler {
            lease: claimer.lease,
            now: claimer.now,
            waits: false,
        };
        let known = self.known_ways();
        let pauses = &self.pauses;
        let keyring = &self.channel.keyring;
        let done = background::transaction(|| {
            with_owner_rights(|client| {
                let locked = unsettled.write(client, settler);
                if due::is_stopped(client) {
                    return (locked, None);
                }
                let desk = Desk {
                    client: &mut *client,
                    claimer,
                    judge: Judge::default(),
                    known: &known,
                    pauses,
                    schedule: schedule(),
                    stamp: home::stamp(),
                };
                let done = desk.carry_out(orders);
                if !done.is_empty() {
                    keyring.look(client);
                }
                (locked, Some(done))
            })
        });
        match done {
            Ok(Some((locked, done))) => {
                self.unsettled.keep(unsettled, &locked, now + LOCKED);
                match done {
                    Some(done) => done.into_iter().for_each(|done| self.apply(done)),
                    // Delivery was stopped. The worker leaves as soon as it looks.
                    None => self.start_all_anew(),
                }
            }
            // The extension is gone, and the mail with it.
            Ok(None) => {}
            Err(failure) => {
                self.unsettled.take_back(unsettled);
                self.write_each(false);
                self.start_all_anew();
                self.failure = Some(failure);
            }
        }
    }

    fn claimer(&self) -> Claimer {
        Claimer {
            lease: self.lease,
            now: transaction::now(),
            pushed_at: self.upkeep.pushed_at,
        }
    }

    fn known_ways(&self) -> KnownWays {
        let members = self.groups.values().filter(|member| !member.is_retired);
        members.map(|member| (member.server, member.key)).collect()
    }

    /// What orders had taken of the queues was not claimed.
    fn start_all_anew(&mut self) {
        for queue in self.queues.values_mut() {
            if queue.has_due() || queue.claimed > 0 {
                queue.start_anew();
            }
        }
        self.upkeep.poll_at = Instant::now();
    }

    fn apply(&mut self, done: Done) {
        let moment = self.moment();
        match done {
            Done::Probed {
                server,
                fallback,
                ticket,
                way,
            } => {
                self.queues.entry(server.oid).or_default().fallback = fallback;
                self.probed(server, ticket, way);
            }
            Done::Claimed(done) => self.claimed(done),
            Done::Limited { of, server, sent } => {
                let queue = self.queues.entry(server.oid).or_default();
                let options = limits::Options::from(&server.options.queue);
                queue.limits.set(options, sent, moment);
                queue.learn(server);
                self.queues.entry(of).or_default().start_anew();
                self.is_urgent = true;
            }
            Done::Paused(server) => {
                let queue = self.queues.entry(server.oid).or_default();
                queue.is_paused = true;
                queue.learn(server);
                // Others see it at once; each poll finds it so again.
                let is_shown = |state: &ServerState| state.state == "paused";
                if !queue.shown.as_ref().is_some_and(is_shown) {
                    self.upkeep.poll_at = Instant::now();
                }
            }
            Done::Refused {
                server,
                obstacle,
                ticket,
            } => self.server_failed(server, obstacle, ticket),
            Done::Expired {
                server,
                messages,
                more,
                is_old,
            } => {
                for message in messages {
                    self.take(server, message);
                }
                let queue = self.queues.entry(server).or_default();
                queue.aging.extend(more);
                if is_old && !mem::replace(&mut queue.is_warned, true) {
                    let name = queue.name().unwrap_or_default();
                    notices::warn(
                        &format!(
                            "mail for mail server \"{name}\" has waited for half of its lifetime"
                        ),
                        queue.last_error.as_ref().map(|(text, _)| &**text),
                    );
                }
            }
            Done::Suspect(message, server) => {
                self.has_suspects = message.is_some();
                if let Some(message) = message {
                    let message_id = message.message_id;
                    self.take(server, message);
                    self.suspect = self.in_hand.contains_key(&message_id).then_some(message_id);
                }
            }
            Done::Begun(numbers) => self.begun(&numbers),
        }
    }

    fn probed(
        &mut self,
        server: Arc<Server>,
        ticket: Ticket,
        way: Result<(Way, Option<Login>), Obstacle>,
    ) {
        let oid = server.oid;
        self.queues.entry(oid).or_default().learn(server);
        match way {
            Ok((way, login)) => {
                let opened = self
                    .group_of(&way, login)
                    .is_some_and(|id| self.open(id, ticket));
                if !opened && let Some(queue) = self.queues.get_mut(&oid) {
                    queue.backoff.abandon(ticket);
                }
            }
            Err(obstacle) => {
                let of_server = obstacle.scope == Scope::Server;
                self.server_failed(oid, obstacle, of_server.then_some(ticket));
                if !of_server && let Some(queue) = self.queues.get_mut(&oid) {
                    queue.backoff.abandon(ticket);
                    // Others may use it.
                    queue.owner = None;
                    self.upkeep.poll_at = Instant::now();
                }
            }
        }
    }

    fn claimed(&mut self, done: ClaimDone) {
        let server = done.server.oid;
        let queue = self.queues.entry(server).or_default();
        queue.learn(done.server);
        queue.fallback = done.fallback;
        queue.go_on(done.cursor);
        let mut may_go = true;
        for message in done.messages {
            if may_go || !matches!(message.sentence, Sentence::Send(_)) {
                may_go &= self.take(server, message);
            } else {
                self.unsettled.release(message.message_id);
            }
        }
    }

    /// Writes each result down by itself: one that can't be written keeps no other from it.
    /// `waits`: see [`Settler`].
    fn write_each(&mut self, waits: bool) {
        let by = self.claimer();
        let by = Settler {
            lease: by.lease,
            now: by.now,
            waits,
        };
        for part in mem::take(&mut self.unsettled).into_parts() {
            let written =
                background::transaction(|| with_owner_rights(|client| part.write(client, by)));
            match written {
                Ok(None) => {}
                Ok(Some(locked)) => self.unsettled.keep(part, &locked, Instant::now() + LOCKED),
                Err(_) => self.unsettled.take_back(part),
            }
            if background::is_terminated() {
                return;
            }
        }
    }

    /// At the end: as much as can be written.
    pub(super) fn settle_rest(&mut self) {
        let by = Settler {
            lease: self.lease,
            now: transaction::now(),
            waits: true,
        };
        let unsettled = mem::take(&mut self.unsettled);
        let written =
            background::transaction(|| with_owner_rights(|client| unsettled.write(client, by)));
        if let Err(failure) = written {
            failure.log();
            self.unsettled.take_back(unsettled);
            self.write_each(true);
        }
    }
}

impl Desk<'_, '_> {
    fn carry_out(mut self, orders: Orders) -> Vec<Done> {
        let mut done = Vec::new();
        if !orders.begin.is_empty() {
            let begun = claim::begin(self.client, self.claimer.lease, &orders.begin);
            done.push(Done::Begun(begun));
        }
        for order in orders.servers {
            done.push(self.carry_out_one(order));
        }
        if !orders.suspects_of.is_empty() {
            done.push(self.suspect(&orders.suspects_of));
        }
        done
    }

    fn carry_out_one(&mut self, order: Order) -> Done {
        let oid = order.server;
        let server = match self.judge.server(oid) {
            Ok(server) => server,
            Err(obstacle) => return self.unusable(order, obstacle),
        };
        let now = self.claimer.now;
        if server.options.queue.paused {
            if !self.pauses.is_open(oid) {
                upkeep::begin_pause(self.client, oid, now);
            }
            return Done::Paused(server);
        }
        if self.pauses.is_open(oid) {
            upkeep::end_pause(self.client, oid, now);
        }
        match order.action {
            Action::Probe { owner, ticket } => Done::Probed {
                fallback: self.judge.fallback(&server).map(|fallback| fallback.oid),
                way: self
                    .judge
                    .way(oid, owner)
                    .and_then(|way| way.with_login(self.known)),
                server,
                ticket,
            },
            Action::Claim(claim) => self.claim(server, claim),
            Action::Expire(aging) => self.expire(oid, aging),
        }
    }

    /// What is to be done for a server that can't be used by anybody.
    fn unusable(&mut self, order: Order, obstacle: Obstacle) -> Done {
        let server = order.server;
        match order.action {
            Action::Expire(aging) => self.expire(server, aging),
            Action::Probe { ticket, .. } => Done::Refused {
                server,
                obstacle,
                ticket: Some(ticket),
            },
            Action::Claim(_) => Done::Refused {
                server,
                obstacle,
                ticket: None,
            },
        }
    }

    fn claim(&mut self, server: Arc<Server>, claim: Claim) -> Done {
        let fallback = self.judge.fallback(&server);
        let mut done = ClaimDone {
            messages: Vec::new(),
            cursor: Some(claim.behind),
            fallback: fallback.as_ref().map(|fallback| fallback.oid),
            server: Arc::clone(&server),
        };
        let by = match (claim.by_fallback, fallback) {
            (false, _) => Arc::clone(&server),
            (true, Some(fallback)) => fallback,
            (true, None) => return Done::Claimed(done),
        };
        let options = limits::Options::from(&by.options.queue);
        if claim.limits != Some(options) {
            let sent = match options.have_day() {
                true => state::sent(self.client, by.oid, self.claimer.now),
                false => Vec::new(),
            };
            return Done::Limited {
                of: server.oid,
                server: by,
                sent,
            };
        }
        let (claimed, cursor) = self.claim_messages(server.oid, &claim);
        done.cursor = cursor;
        let (judge, client) = (&mut self.judge, &mut *self.client);
        done.messages = judge.messages(client, claimed, by.oid, &self.stamp, self.known);
        Done::Claimed(done)
    }

    /// Claims messages; returns where to go on.
    fn claim_messages(
        &mut self,
        server: pg_sys::Oid,
        claim: &Claim,
    ) -> (Vec<Claimed>, Option<Position>) {
        let mut claimed = match claim.fresh.is_empty() || claim.by_fallback {
            true => Vec::new(),
            false => {
                let (fresh, but_for) = (&claim.fresh, &claim.but_for);
                claim::by_number(self.client, self.claimer, server, fresh, but_for)
            }
        };
        let left = claim.limit.saturating_sub(claimed.len());
        if left == 0 {
            return (claimed, Some(claim.behind));
        }
        let chosen = Chosen {
            server,
            behind: claim.behind,
            but_for: &claim.but_for,
            only_certain: claim.by_fallback,
        };
        let more = claim::in_order(self.client, self.claimer, chosen, left);
        let last = more.last().filter(|_| more.len() == left);
        let cursor = last.map(|last| last.position);
        claimed.extend(more);
        (claimed, cursor)
    }

    fn suspect(&mut self, servers: &[pg_sys::Oid]) -> Done {
        let claimed = claim::suspect(self.client, self.claimer, servers);
        let Some(server) = claimed.as_ref().map(|claimed| claimed.server) else {
            return Done::Suspect(None, pg_sys::InvalidOid);
        };
        let claimed: Vec<Claimed> = claimed.into_iter().collect();
        let judged = self
            .judge
            .messages(self.client, claimed, server, &self.stamp, self.known);
        Done::Suspect(judged.into_iter().next(), server)
    }

    /// Mail that an obstacle has kept waiting for its whole lifetime.
    fn expire(&mut self, server: pg_sys::Oid, aging: Aging) -> Done {
        let now = self.claimer.now;
        let oldest = due::oldest(self.client, server, now);
        let age = oldest.map(|oldest| self.pauses.age(server, oldest, now));
        let is_old = age.is_some_and(|age| self.schedule.is_half_over(age));
        let mut messages = Vec::new();
        if age.is_some_and(|age| self.schedule.is_expired(age)) {
            let owners = match aging.obstacle.scope {
                Scope::Server => None,
                Scope::Owner(_) | Scope::Login(_) => Some(&*aging.owners),
            };
            let before = self
                .pauses
                .due_at(server, settings::message_lifetime(), now);
            let (client, claimer) = (&mut *self.client, self.claimer);
            for old in claim::old(client, claimer, server, before, owners, EXPIRING) {
                let is_own = self.judge.is_own(client, &old, &self.stamp);
                messages.push(expired(old, &aging.obstacle, is_own));
            }
        }
        Done::Expired {
            server,
            more: (messages.len() == EXPIRING).then_some(aging),
            messages,
            is_old,
        }
    }
}

/// The result for a message that is too old.
fn expired(claimed: Claimed, obstacle: &Obstacle, is_own: bool) -> Judged {
    let settled = claimed.recipients.iter().map(|recipient| {
        let reason = format!("not sent in time: {}", obstacle.text);
        final_without_attempt(recipient.number, FinalState::Expired, reason)
    });
    Judged {
        message_id: claimed.message_id,
        owner: claimed.owner,
        due_at: claimed.due_at,
        at_most_once: claimed.at_most_once,
        has_others: claimed.has_others,
        sentence: match is_own {
            true => Sentence::Settle(settled.collect()),
            false => Sentence::Hold,
        },
    }
}
