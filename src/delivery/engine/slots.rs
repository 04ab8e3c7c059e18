//! Connections: how many there may be, and who gets the next one.
//!
//! Those who have none come first, then those who have less than their share. Where all places are
//! taken, somebody who has more gives one up after the message in hand. An opening that takes long
//! does not count until it is done: servers that do not answer must not keep the mail of all others
//! waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_queue::backoff::{Admission, Ticket};
use pgrx::pg_sys;
use smtp_client::stop::BlockedSignals;

use super::Engine;
use super::connection::Start;
use super::hand_out::Member;
use super::job::{ConnectionId, GroupId};
use crate::conversation::registry::Descriptor;
use crate::pg::thread;
use crate::settings;

/// From when on an opening does not count.
pub const SLOW: Duration = Duration::from_millis(250);
/// Slow openings, at most.
const SLOW_OPENINGS: usize = 200;
/// How long a connection is kept where others wait for its place, and there are more of them than
/// places.
const TERM: Duration = Duration::from_secs(1);

/// A connection, also one that is being opened.
pub struct Slot {
    pub group: GroupId,
    pub ticket: Ticket,
    since: Instant,
    pub is_ready: bool,
    #[expect(dead_code, reason = "held for as long as the socket is open")]
    descriptor: Descriptor,
}

impl Engine {
    /// Places for connections that are free.
    pub(super) fn free_slots(&self) -> usize {
        let slots = self.slots.values();
        let slow = slots
            .filter(|slot| !slot.is_ready && slot.since.elapsed() >= SLOW)
            .count();
        let counted = self.slots.len() - slow;
        let most = settings::worker_connections();
        let free = most.saturating_sub(counted);
        free.min((most + SLOW_OPENINGS).saturating_sub(self.slots.len()))
    }

    /// Connections of each server.
    pub(super) fn connections_by_server(&self) -> HashMap<pg_sys::Oid, usize> {
        let mut connections = HashMap::new();
        for member in self.groups.values() {
            *connections.entry(member.server).or_default() += member.connections;
        }
        connections
    }

    /// Opens connections for messages that wait for one.
    pub(super) fn open_connections(&mut self) {
        let mut hungry: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, member)| member.is_hungry())
            .map(|(id, _)| *id)
            .collect();
        let mut by_server = self.connections_by_server();
        // Whoever has the fewest comes first.
        hungry.sort_by_key(|id| (by_server[&self.groups[id].server], id.0));
        let mut free = self.free_slots();
        let mut starving = 0;
        while !hungry.is_empty() {
            hungry.retain(|id| {
                let member = &self.groups[id];
                let (server, used) = (member.server, by_server[&member.server]);
                if !self.may_have_more(*id, used) {
                    return false;
                }
                if free == 0 {
                    starving += usize::from(used == 0);
                    return false;
                }
                let Some(ticket) = self.admission(server) else {
                    return false;
                };
                if !self.open(*id, ticket) {
                    return false;
                }
                free -= 1;
                by_server.entry(server).and_modify(|used| *used += 1);
                self.groups[id].is_hungry()
            });
        }
        self.is_crowded |= starving > 0;
        self.make_room(starving);
    }

    /// Whether a group may open another connection, as far as it and its server are concerned.
    fn may_have_more(&mut self, id: GroupId, used: usize) -> bool {
        let member = &self.groups[&id];
        let most = member.group.login.server.options.queue.max_connections();
        if used >= most {
            // Another login of the same server gives one up, if this one has none.
            if member.connections == 0 {
                let server = member.server;
                self.close_one(|member| member.server == server && member.connections > 0);
            }
            return false;
        }
        member.is_proven || member.connections == 0
    }

    fn admission(&mut self, server: pg_sys::Oid) -> Option<Ticket> {
        let moment = self.moment();
        match self.queues.get_mut(&server)?.backoff.admit(moment) {
            Admission::Open(ticket) | Admission::Trial(ticket) => Some(ticket),
            Admission::Wait(_) | Admission::TrialUnderWay => None,
        }
    }

    /// Has places given up for so many servers that have none.
    pub(super) fn make_room(&mut self, servers: usize) {
        let closing: usize = self.groups.values().map(|member| member.closing).sum();
        for _ in closing..servers {
            let by_server = self.connections_by_server();
            let share = settings::worker_connections() / by_server.len().max(1);
            let is_long = |id: &GroupId, slots: &HashMap<ConnectionId, Slot>| {
                let mut slots = slots.values();
                slots.any(|slot| slot.group == *id && slot.is_ready && slot.since.elapsed() >= TERM)
            };
            let groups = self.groups.iter();
            let long: Vec<GroupId> = groups
                .filter(|(id, member)| member.connections > 0 && is_long(id, &self.slots))
                .map(|(id, _)| *id)
                .collect();
            let found = self.close_one(Member::has_idle)
                || self.close_one(|member| by_server[&member.server] > share.max(1))
                || self.close_group(|id| long.contains(&id));
            if !found {
                return;
            }
        }
    }

    /// Where slow openings were done all at once, there may be more connections than there are
    /// places.
    pub(super) fn keep_to_limit(&mut self) {
        let closing: usize = self.groups.values().map(|member| member.closing).sum();
        let ready = self.slots.values().filter(|slot| slot.is_ready).count();
        if ready > settings::worker_connections() + closing {
            let _ = self.close_one(Member::has_idle) || self.close_one(|_| true);
        }
    }

    /// Has one connection of the group that has the most closed after the message in hand. False
    /// where there is none.
    fn close_one(&mut self, may: impl Fn(&Member) -> bool) -> bool {
        let candidates = self.groups.iter().filter(|(_, member)| {
            member.connections > member.closing + member.opening && may(member)
        });
        let chosen = candidates.max_by_key(|(_, member)| member.connections - member.closing);
        let chosen = chosen.map(|(id, _)| *id);
        self.close_group(|id| Some(id) == chosen)
    }

    fn close_group(&mut self, is_it: impl Fn(GroupId) -> bool) -> bool {
        let found = self.groups.iter_mut().find(|(id, member)| {
            is_it(**id) && member.connections > member.closing + member.opening
        });
        if let Some((_, member)) = found {
            member.closing += 1;
            member.group.close_one();
            return true;
        }
        false
    }

    /// Opens a connection. False where there is no file or no thread for it.
    pub(super) fn open(&mut self, id: GroupId, ticket: Ticket) -> bool {
        self.last_number += 1;
        let connection = ConnectionId(self.last_number);
        let started = self.groups.get_mut(&id).and_then(|member| {
            let start = Start {
                channel: Arc::clone(&self.channel),
                group: Arc::clone(&member.group),
                id: connection,
                sessions: Arc::clone(&self.sessions),
            };
            let descriptor = Descriptor::acquire()?;
            let _signals = BlockedSignals::all();
            thread::spawn(Box::new(move || start.run())).ok()?;
            member.connections += 1;
            member.opening += 1;
            Some(descriptor)
        });
        match started {
            Some(descriptor) => {
                let slot = Slot {
                    group: id,
                    ticket,
                    since: Instant::now(),
                    is_ready: false,
                    descriptor,
                };
                self.slots.insert(connection, slot);
                true
            }
            None => {
                let server = self.groups.get(&id).map(|member| member.server);
                if let Some(queue) = server.and_then(|server| self.queues.get_mut(&server)) {
                    queue.backoff.abandon(ticket);
                }
                false
            }
        }
    }

    /// A connection is closed. Returns its group and the ticket that it was opened with.
    pub(super) fn free_slot(&mut self, connection: ConnectionId) -> Option<(GroupId, Ticket)> {
        let slot = self.slots.remove(&connection)?;
        if let Some(member) = self.groups.get_mut(&slot.group) {
            member.connections -= 1;
            member.opening -= usize::from(!slot.is_ready);
            member.closing = member.closing.saturating_sub(1).min(member.connections);
        }
        Some((slot.group, slot.ticket))
    }
}
