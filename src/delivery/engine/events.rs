//! What the threads report.

use std::time::Instant;

use mail_queue::backoff::Ticket;
use mail_queue::server::ServerFailure;
use mail_queue::verdict::Verdict;
use pgrx::pg_sys;

use super::hand_out::{InHand, Member};
use super::job::{Closed, ConnectionId, Done, Event, GroupId, NotOpened, RecipientResult};
use super::judge::{Obstacle, Scope};
use super::server_queue::{Aging, FailureTime};
use super::{Engine, jitter, schedule};
use crate::delivery::store::claim::DOUBT;
use crate::pg::{notices, transaction};

impl Engine {
    pub(super) fn take_events(&mut self) {
        let (events, since) = self.channel.take();
        for event in events {
            match event {
                Event::Opened(connection) => self.opened(connection),
                Event::NotOpened(report) => self.not_opened(report),
                Event::Done(done) => self.done(done),
                Event::Closed(closed) => self.closed(&closed),
                Event::Question(question) => self.questions.add(question),
            }
        }
        if let Some(since) = since {
            self.unsettled.have_waited(since);
        }
    }

    fn opened(&mut self, connection: ConnectionId) {
        let Some(slot) = self.slots.get_mut(&connection) else {
            return;
        };
        slot.is_ready = true;
        let group = slot.group;
        if let Some(member) = self.groups.get_mut(&group) {
            member.opening -= 1;
            member.is_proven = true;
            if let Some(queue) = self.queues.get_mut(&member.server) {
                queue.is_proven = true;
            }
        }
        self.keep_to_limit();
    }

    fn not_opened(&mut self, report: NotOpened) {
        let Some((group, ticket)) = self.free_slot(report.connection) else {
            return;
        };
        if let Some(message_id) = report.message_id {
            self.forget_job(message_id);
            self.give_back(message_id);
        }
        match report.failure {
            Some(failure) => self.connection_failed(group, ticket, failure),
            None => self.abandon(group, ticket),
        }
        self.drop_if_empty(group);
    }

    fn done(&mut self, done: Done) {
        let Some(slot) = self.slots.get(&done.connection) else {
            return;
        };
        let (group, ticket) = (slot.group, slot.ticket);
        self.forget_job(done.message_id);
        if self.suspect == Some(done.message_id) {
            self.suspect = None;
        }
        if let Some(in_hand) = self.take_in_hand(done.message_id) {
            let remote = Some(&*done.remote);
            self.note_results(done.message_id, in_hand, done.results, remote);
        }
        match done.failure {
            Some(failure) => self.connection_failed(group, ticket, failure),
            None => {
                let Some(member) = self.groups.get(&group) else {
                    return;
                };
                if let Some(queue) = self.queues.get_mut(&member.server) {
                    queue.succeed(ticket, member.key.mapping);
                    queue.rate.count(Instant::now());
                }
            }
        }
    }

    fn closed(&mut self, closed: &Closed) {
        let Some((group, ticket)) = self.free_slot(closed.connection) else {
            return;
        };
        if let Some(message_id) = closed.message_id {
            self.forget_job(message_id);
            if let Some(in_hand) = self.take_in_hand(message_id) {
                // The thread has panicked: nobody knows how far it got.
                let results = in_doubt(&in_hand, "the connection's thread ended");
                self.note_results(message_id, in_hand, results, None);
            }
        }
        self.abandon(group, ticket);
        self.drop_if_empty(group);
    }

    fn abandon(&mut self, group: GroupId, ticket: Ticket) {
        if let Some(member) = self.groups.get(&group)
            && let Some(queue) = self.queues.get_mut(&member.server)
        {
            queue.backoff.abandon(ticket);
        }
    }

    /// A message is in no connection's hands any more.
    fn forget_job(&mut self, message_id: i64) {
        if let Some(in_hand) = self.in_hand.get(&message_id)
            && let Some(member) = self.groups.get_mut(&in_hand.group)
        {
            member.jobs = member.jobs.saturating_sub(1);
        }
    }

    pub(super) fn take_in_hand(&mut self, message_id: i64) -> Option<InHand> {
        let in_hand = self.in_hand.remove(&message_id)?;
        if let Some(queue) = self.queues.get_mut(&in_hand.server) {
            queue.claimed = queue.claimed.saturating_sub(1);
        }
        Some(in_hand)
    }

    /// Gives a message back that was not tried.
    pub(super) fn give_back(&mut self, message_id: i64) {
        if self.suspect == Some(message_id) {
            self.suspect = None;
        }
        let Some(in_hand) = self.take_in_hand(message_id) else {
            return;
        };
        if let Some(member) = self.groups.get(&in_hand.group)
            && let Some(queue) = self.queues.get_mut(&member.server)
        {
            queue.limits.give_back(in_hand.addressees.len());
        }
        match in_hand.settled.is_empty() {
            true => self.unsettled.release(message_id),
            false => self.note_settlement(in_hand.server, message_id, false, in_hand.settled),
        }
        if let Some(queue) = self.queues.get_mut(&in_hand.server) {
            queue.start_anew();
        }
    }

    fn connection_failed(
        &mut self,
        group: GroupId,
        ticket: Ticket,
        (failure, text): (ServerFailure, String),
    ) {
        let Some(member) = self.groups.get(&group) else {
            return;
        };
        let scope = match failure {
            ServerFailure::Auth | ServerFailure::Token | ServerFailure::Mapping => {
                Scope::Login(member.key.mapping)
            }
            ServerFailure::Usage | ServerFailure::Access => Scope::Owner(member.owner),
            _ => Scope::Server,
        };
        let server = member.server;
        let obstacle = Obstacle {
            scope,
            failure,
            text,
            options: Some(member.key.options),
        };
        let of_server = (scope == Scope::Server).then_some(ticket);
        self.server_failed(server, obstacle, of_server);
        if of_server.is_none() {
            self.abandon(group, ticket);
        }
    }

    /// The server can't be used: its mail waits, and what is claimed of it is given back.
    pub(super) fn server_failed(
        &mut self,
        server: pg_sys::Oid,
        obstacle: Obstacle,
        ticket: Option<Ticket>,
    ) {
        let schedule = schedule();
        let time = FailureTime {
            moment: self.moment(),
            wall: transaction::now(),
            schedule: &schedule,
            jitter: jitter(),
        };
        let queue = self.queues.entry(server).or_default();
        if queue.fail(&obstacle, ticket, &time) {
            warn_of(server, queue.name(), &obstacle);
        }
        let is_concerned = |member: &Member| {
            member.server == server
                && match obstacle.scope {
                    Scope::Server => true,
                    Scope::Login(mapping) => member.key.mapping == mapping,
                    Scope::Owner(owner) => member.owner == owner,
                }
        };
        let groups = self.groups.iter();
        let groups = groups.filter(|(_, member)| is_concerned(member));
        let groups: Vec<GroupId> = groups.map(|(id, _)| *id).collect();
        let mut aging = queue.aging.iter();
        if !aging.any(|aging| aging.obstacle.scope == obstacle.scope) {
            let owners = queue.blocks.owners_of(obstacle.scope);
            queue.aging.push(Aging { obstacle, owners });
        }
        for id in groups {
            self.drain(id);
        }
    }

    /// Gives back what no connection of a group has begun with.
    pub(super) fn drain(&mut self, id: GroupId) {
        let Some(member) = self.groups.get_mut(&id) else {
            return;
        };
        member.is_proven = false;
        let waiting = member.group.take_back();
        member.jobs = member.jobs.saturating_sub(waiting.len());
        let reserved = std::mem::take(&mut member.reserved);
        for job in waiting.into_iter().chain(reserved) {
            self.give_back(job.message_id);
        }
    }

    /// Has all connections of a group closed, and another group take its place.
    pub(super) fn retire(&mut self, id: GroupId) {
        self.drain(id);
        if let Some(member) = self.groups.get_mut(&id) {
            member.group.retire();
            member.is_retired = true;
        }
        self.drop_if_empty(id);
    }

    fn drop_if_empty(&mut self, id: GroupId) {
        let member = self.groups.get(&id);
        if member.is_some_and(|member| member.is_retired && member.connections == 0) {
            self.groups.remove(&id);
        }
    }

    /// All that is in hand is given back, or in doubt.
    pub(super) fn give_all_back(&mut self) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in groups {
            self.drain(id);
        }
        let numbers: Vec<i64> = self.in_hand.keys().copied().collect();
        for message_id in numbers {
            if let Some(in_hand) = self.take_in_hand(message_id) {
                let results = in_doubt(&in_hand, "the worker was stopped");
                self.note_results(message_id, in_hand, results, None);
            }
        }
    }
}

fn warn_of(server: pg_sys::Oid, name: Option<&str>, obstacle: &Obstacle) {
    let name = name.map_or_else(
        || format!("with OID {server}"),
        |name| format!("\"{name}\""),
    );
    let whose = match obstacle.scope {
        Scope::Server => "its mail waits",
        Scope::Login(_) => "the mail that goes there by one login waits",
        Scope::Owner(_) => "the mail of one role waits",
    };
    let message = format!("mail server {name} can't be used, and {whose}");
    notices::warn(&message, Some(&obstacle.text));
}

fn in_doubt(in_hand: &InHand, reason: &str) -> Vec<RecipientResult> {
    let result = |_| RecipientResult::of(Verdict::InDoubt, format!("{DOUBT}: {reason}"));
    in_hand.addressees.iter().map(result).collect()
}
