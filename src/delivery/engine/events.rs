//! What the threads report.

use std::time::Instant;

use mail_queue::retry::Next;
use mail_queue::server::ServerFailure;
use mail_queue::verdict::Verdict;
use mail_queue::{clock, state};
use pgrx::pg_sys;

use super::job::{Closed, Done, Event, GroupId, NotOpened, RecipientVerdict};
use super::judge::{Obstacle, Scope};
use super::server_queue::LastError;
use super::{Engine, InHand, jitter, schedule};
use crate::delivery::store::claim::DOUBT;
use crate::delivery::store::settle::{Outcome, Settled, Settlement};
use crate::pg::{notices, transaction};

impl Engine {
    pub(super) fn take_events(&mut self) {
        for event in self.channel.take() {
            match event {
                Event::Opened(id) => self.opened(id),
                Event::NotOpened(report) => self.not_opened(report),
                Event::Done(done) => self.done(done),
                Event::Closed(closed) => self.closed(closed),
                Event::Question(question) => self.questions.add(question),
            }
        }
    }

    fn opened(&mut self, id: GroupId) {
        let Some(member) = self.groups.get_mut(&id) else {
            return;
        };
        member.opening = member.opening.saturating_sub(1);
        member.is_proven = true;
        if let Some(queue) = self.queues.get_mut(&member.server) {
            queue.is_proven = true;
        }
    }

    fn not_opened(&mut self, report: NotOpened) {
        let Some(member) = self.groups.get_mut(&report.group) else {
            return;
        };
        member.connections -= 1;
        member.opening = member.opening.saturating_sub(1);
        let server = member.server;
        if let Some(message_id) = report.message_id {
            self.give_back(message_id);
        }
        match report.failure {
            Some((failure, text)) => {
                member_scope(self, report.group, failure).map_or((), |scope| {
                    let obstacle = Obstacle {
                        scope,
                        failure,
                        text,
                    };
                    self.server_failed(server, &obstacle, Some(report.ticket));
                });
            }
            None => {
                if let Some(queue) = self.queues.get_mut(&server) {
                    queue.backoff.abandon(report.ticket);
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        let Some(in_hand) = self.take_in_hand(done.message_id) else {
            return;
        };
        let server = in_hand.server;
        let verdicts = done.verdicts.into_iter();
        let remote = Some(done.remote);
        self.settled(
            done.message_id,
            in_hand,
            verdicts.collect(),
            remote.as_deref(),
        );
        match done.failure {
            Some((failure, text)) => {
                if let Some(scope) = member_scope(self, done.group, failure) {
                    let obstacle = Obstacle {
                        scope,
                        failure,
                        text,
                    };
                    self.server_failed(server, &obstacle, Some(done.ticket));
                }
            }
            None => {
                let mapping = self
                    .groups
                    .get(&done.group)
                    .map(|member| member.key.mapping);
                if let Some(queue) = self.queues.get_mut(&server) {
                    queue.succeed(done.ticket, mapping.flatten());
                    queue.rate.count(Instant::now());
                }
            }
        }
    }

    fn closed(&mut self, closed: Closed) {
        if let Some(message_id) = closed.message_id
            && let Some(in_hand) = self.take_in_hand(message_id)
        {
            // The thread has panicked: nobody knows how far it got.
            let verdicts = in_doubt(&in_hand, "the connection's thread ended");
            self.settled(message_id, in_hand, verdicts, None);
        }
        let Some(member) = self.groups.get_mut(&closed.group) else {
            return;
        };
        member.connections -= 1;
        if let Some(queue) = self.queues.get_mut(&member.server) {
            queue.backoff.abandon(closed.ticket);
        }
        if member.is_retired && member.connections == 0 {
            self.groups.remove(&closed.group);
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
        if let Some(in_hand) = self.take_in_hand(message_id) {
            if let Some(queue) = self.queues.get_mut(&in_hand.server) {
                queue.start_anew();
            }
            match in_hand.others.is_empty() {
                true => self.unsettled.released.push(message_id),
                false => self.unsettled.settlements.push(Settlement {
                    message_id,
                    is_whole: false,
                    recipients: in_hand.others,
                }),
            }
            self.unsettled.since.get_or_insert_with(Instant::now);
        }
    }

    /// Takes note of what became of a message.
    fn settled(
        &mut self,
        message_id: i64,
        in_hand: InHand,
        verdicts: Vec<RecipientVerdict>,
        remote: Option<&str>,
    ) {
        let (schedule, now) = (schedule(), transaction::now());
        let age = clock::age(now, in_hand.due_at);
        let mut recipients = in_hand.others;
        let numbers = in_hand.numbers.iter();
        for (number, RecipientVerdict { verdict, reply }) in numbers.zip(verdicts) {
            let next = schedule.next(verdict, in_hand.at_most_once, age, jitter());
            recipients.push(Settled {
                number: *number,
                result: match next {
                    Next::Final(state) => Outcome::Final(name(state)),
                    Next::Defer(delay) => Outcome::Deferred(clock::later(now, delay)),
                    Next::Wait => Outcome::Waiting,
                },
                tried: verdict != Verdict::NotTried,
                reply,
                remote: remote.map(str::to_owned),
            });
        }
        let is_waiting = |settled: &Settled| matches!(settled.result, Outcome::Waiting);
        match recipients.iter().all(is_waiting) {
            true => {
                self.unsettled.released.push(message_id);
                if let Some(queue) = self.queues.get_mut(&in_hand.server) {
                    queue.start_anew();
                }
            }
            false => self.unsettled.settlements.push(Settlement {
                message_id,
                is_whole: in_hand.is_whole,
                recipients,
            }),
        }
        self.unsettled.since.get_or_insert_with(Instant::now);
    }

    /// The server can't be used: its mail waits, and what is claimed of it is given back.
    pub(super) fn server_failed(
        &mut self,
        server: pg_sys::Oid,
        obstacle: &Obstacle,
        ticket: Option<mail_queue::backoff::Ticket>,
    ) {
        let moment = self.moment();
        let queue = self.queues.entry(server).or_default();
        let begins = queue.fail(obstacle, ticket, &schedule(), jitter(), moment);
        queue.last_error = Some(LastError {
            text: obstacle.text.clone(),
            at: transaction::now(),
        });
        if begins {
            self.warn_of(server, obstacle);
        }
        let groups: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, member)| member.server == server && is_about(member, obstacle.scope))
            .map(|(id, _)| *id)
            .collect();
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
        for job in member.group.take_back() {
            self.give_back(job.message_id);
        }
    }

    /// Has all connections of a group closed, and another group take its place.
    pub(super) fn retire(&mut self, id: GroupId) {
        self.drain(id);
        let Some(member) = self.groups.get_mut(&id) else {
            return;
        };
        member.group.retire();
        member.is_retired = true;
        if member.connections == 0 {
            self.groups.remove(&id);
        }
    }

    fn warn_of(&self, server: pg_sys::Oid, obstacle: &Obstacle) {
        let name = self
            .groups
            .values()
            .find(|member| member.server == server)
            .map(|member| member.group.login.server.name.clone());
        let name = name.map_or_else(
            || format!("with OID {server}"),
            |name| format!("\"{name}\""),
        );
        let whose = match obstacle.scope {
            Scope::Server => "its mail waits",
            Scope::Login(_) => "mail that is sent by this login waits",
            Scope::Owner(_) => "mail of one role waits",
        };
        notices::warn(
            &format!(
                "mail server {name} can't be used, and {whose}: {}",
                obstacle.text
            ),
            None,
        );
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
                let verdicts = in_doubt(&in_hand, "the worker was stopped");
                self.settled(message_id, in_hand, verdicts, None);
            }
        }
    }
}

/// Whom a failure that a connection met concerns.
fn member_scope(engine: &Engine, id: GroupId, failure: ServerFailure) -> Option<Scope> {
    let member = engine.groups.get(&id)?;
    Some(match failure {
        ServerFailure::Auth | ServerFailure::Token | ServerFailure::Mapping => {
            Scope::Login(member.key.mapping)
        }
        ServerFailure::Usage | ServerFailure::Access => Scope::Owner(member.owner),
        _ => Scope::Server,
    })
}

fn is_about(member: &super::Member, scope: Scope) -> bool {
    match scope {
        Scope::Server => true,
        Scope::Login(mapping) => member.key.mapping == mapping,
        Scope::Owner(owner) => member.owner == owner,
    }
}

fn in_doubt(in_hand: &InHand, reason: &str) -> Vec<RecipientVerdict> {
    let verdict = |_: &i32| RecipientVerdict {
        verdict: Verdict::InDoubt,
        reply: Some(format!("{DOUBT}: {reason}")),
    };
    in_hand.numbers.iter().map(verdict).collect()
}

fn name(state: state::FinalState) -> &'static str {
    use state::FinalState::{Cancelled, Expired, Failed, Sent, Suppressed, Unknown};
    match state {
        Sent => "sent",
        Failed => "failed",
        Suppressed => "suppressed",
        Expired => "expired",
        Cancelled => "cancelled",
        Unknown => "unknown",
    }
}
