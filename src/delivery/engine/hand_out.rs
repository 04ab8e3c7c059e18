//! Claimed messages go to groups of connections.

use std::collections::VecDeque;
use std::sync::Arc;

use mail_queue::suppression::CanonicalAddress;
use pgrx::pg_sys;

use super::Engine;
use super::group::{Group, Login};
use super::job::{GroupId, Job};
use super::judge::{Judged, Sendable, Sentence, Way, WayKey};
use super::limits::Room;
use crate::delivery::store::settle::Settled;

/// A group of connections, as the thread sees it that feeds it.
pub struct Member {
    pub group: Arc<Group>,
    pub server: pg_sys::Oid,
    pub key: WayKey,
    pub owner: pg_sys::Oid,
    /// Connections, also those that are being opened, or are to be closed.
    pub connections: usize,
    pub opening: usize,
    pub closing: usize,
    /// Messages that were handed out.
    pub jobs: usize,
    /// Messages that are handed out when a connection is free: they are to be sent at most once.
    pub reserved: VecDeque<Job>,
    /// Whether a connection was ready for mail since the last that failed.
    pub is_proven: bool,
    pub is_retired: bool,
}

impl Member {
    /// Whether it has more messages than connections.
    pub fn is_hungry(&self) -> bool {
        !self.is_retired
            && self.jobs + self.reserved.len() + self.closing > self.connections
            && self.jobs + self.reserved.len() > 0
    }

    /// Connections without a message.
    pub fn idle(&self) -> usize {
        let ready = self.connections.saturating_sub(self.opening + self.closing);
        ready.saturating_sub(self.jobs)
    }

    pub fn has_idle(&self) -> bool {
        self.idle() > 0
    }
}

/// A message that is claimed.
pub struct InHand {
    /// Whose mail it is.
    pub server: pg_sys::Oid,
    /// Whose connections it goes by, perhaps those of another server.
    pub group: GroupId,
    pub due_at: pg_sys::TimestampTz,
    pub at_most_once: bool,
    /// Whether the message has no recipients but these.
    pub is_whole: bool,
    /// The recipients that it is sent to.
    pub addressees: Vec<Addressee>,
    /// Results of recipients who are not sent to.
    pub settled: Vec<Settled>,
}

/// A recipient that a message is sent to.
pub struct Addressee {
    pub number: i32,
    pub address: CanonicalAddress,
}

impl Engine {
    /// Hands a claimed message out, or takes note of what is to become of it instead. False where
    /// nothing more can be sent to its server now.
    pub(super) fn take(&mut self, server: pg_sys::Oid, message: Judged) -> bool {
        let message_id = message.message_id;
        match message.sentence {
            Sentence::Hold => self.unsettled.hold(message_id),
            Sentence::Settle(recipients) => {
                self.note_settlement(server, message_id, !message.has_others, recipients);
            }
            Sentence::Wait(obstacle) => {
                self.unsettled.release(message_id);
                self.server_failed(server, obstacle, None);
            }
            Sentence::Send(sendable) => {
                let mut sendable = *sendable;
                let is_whole = !message.has_others;
                let Some(group) = self.group_of(&sendable.way, sendable.login.take()) else {
                    self.unsettled.release(message_id);
                    return true;
                };
                let Some(is_whole) = self.fit(&mut sendable, is_whole) else {
                    self.unsettled.release(message_id);
                    if let Some(queue) = self.queues.get_mut(&server) {
                        queue.start_anew();
                    }
                    return false;
                };
                if let Some(queue) = self.queues.get_mut(&server) {
                    queue.claimed += 1;
                    queue.blocks.admit_owner(message.owner);
                    queue
                        .blocks
                        .note_login(message.owner, sendable.way.key.mapping);
                }
                self.in_hand.insert(
                    message_id,
                    InHand {
                        server,
                        group,
                        due_at: message.due_at,
                        at_most_once: message.at_most_once,
                        is_whole,
                        addressees: sendable.addressees,
                        settled: sendable.settled,
                    },
                );
                self.push_job(group, sendable.job, message.at_most_once);
            }
        }
        true
    }

    fn push_job(&mut self, group: GroupId, job: Job, at_most_once: bool) {
        let Some(member) = self.groups.get_mut(&group) else {
            return;
        };
        if at_most_once {
            member.reserved.push_back(job);
        } else {
            member.jobs += 1;
            member.group.push(job);
        }
    }

    /// Hands messages out that are now noted as begun.
    pub(super) fn begun(&mut self, numbers: &[i64]) {
        for member in self.groups.values_mut() {
            let (begun, reserved): (VecDeque<Job>, _) = std::mem::take(&mut member.reserved)
                .into_iter()
                .partition(|job| numbers.contains(&job.message_id));
            member.reserved = reserved;
            for job in begun {
                member.jobs += 1;
                member.group.push(job);
            }
        }
    }

    /// Messages that are to be sent at most once, and that a connection is free for.
    pub(super) fn to_begin(&self) -> Vec<i64> {
        let members = self.groups.values();
        let free = members.flat_map(|member| member.reserved.iter().take(member.idle()));
        free.map(|job| job.message_id).collect()
    }

    /// Keeps to the limits of the server that it is sent by. Whether the message has no recipients
    /// but those that are left; `None` if it can't be sent now.
    fn fit(&mut self, sendable: &mut Sendable, is_whole: bool) -> Option<bool> {
        let moment = self.moment();
        let queue = self.queues.entry(sendable.way.server.oid).or_default();
        match queue.limits.take(sendable.addressees.len(), moment) {
            Room::All => Some(is_whole),
            Room::Some(count) => {
                sendable.addressees.truncate(count);
                sendable.job.envelope.recipients.truncate(count);
                Some(false)
            }
            Room::None => None,
        }
    }

    /// The group of a way: the one there is, or a new one.
    pub(super) fn group_of(&mut self, way: &Way, login: Option<Login>) -> Option<GroupId> {
        let server = way.server.oid;
        let is_same = |member: &Member| {
            member.server == server && member.key == way.key && !member.is_retired
        };
        let mut known = self.groups.iter();
        if let Some((id, _)) = known.find(|(_, member)| is_same(member)) {
            return Some(*id);
        }
        let login = login?;
        // One of other options: they have been altered.
        let groups = self.groups.iter();
        let outdated: Vec<GroupId> = groups
            .filter(|(_, member)| member.server == server && member.key.is_outdated_by(&way.key))
            .map(|(id, _)| *id)
            .collect();
        for id in outdated {
            self.retire(id);
        }
        self.last_number += 1;
        let id = GroupId(self.last_number);
        let member = Member {
            group: Arc::new(Group::new(login)),
            server,
            key: way.key,
            owner: way.owner,
            connections: 0,
            opening: 0,
            closing: 0,
            jobs: 0,
            reserved: VecDeque::new(),
            is_proven: false,
            is_retired: false,
        };
        self.groups.insert(id, member);
        Some(id)
    }
}
