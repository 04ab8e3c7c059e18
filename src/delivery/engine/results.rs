//! Results of messages, until they are recorded.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use mail_queue::clock;
use mail_queue::retry::Next;
use mail_queue::state::FinalState;
use mail_queue::suppression::{CanonicalAddress, Counted};
use mail_queue::verdict::Verdict;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::hand_out::InHand;
use super::job::RecipientResult;
use super::{Engine, jitter, schedule};
use crate::delivery::store::settle::{self, Locked, Outcome, Settled, Settlement, Settler};
use crate::delivery::store::suppression::{self, Bounce, Bounced};
use crate::pg::{notices, transaction};
use crate::settings;

/// Results are written down together: so many, or after so long.
const BATCH: usize = 100;
pub const BATCH_TIME: Duration = Duration::from_millis(50);

/// What is to be written down.
#[derive(Default)]
pub struct Unsettled {
    settlements: Vec<Settlement>,
    /// Messages that were not tried.
    released: Vec<i64>,
    /// Messages that another installation has queued.
    held: Vec<i64>,
    lists: Lists,
    since: Option<Instant>,
}

/// What follows for the suppression list.
#[derive(Default)]
struct Lists {
    hard: Vec<BouncedAddress>,
    withdrawn: Vec<CanonicalAddress>,
    /// Failures of the mailbox.
    soft: Vec<BouncedAddress>,
    /// Other final results.
    ended: Vec<CanonicalAddress>,
}

struct BouncedAddress {
    address: CanonicalAddress,
    reply: String,
    message_id: i64,
}

impl Unsettled {
    pub fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// How many more make it worth being written down.
    pub fn missing(&self) -> usize {
        BATCH.saturating_sub(self.settlements.len() + self.released.len() + self.held.len())
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.missing() == 0 || self.due_at().is_some_and(|due| due <= now)
    }

    pub fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + BATCH_TIME)
    }

    pub fn settle(&mut self, settlement: Settlement) {
        self.settlements.push(settlement);
        self.begin();
    }

    pub fn release(&mut self, message_id: i64) {
        self.released.push(message_id);
        self.begin();
    }

    pub fn hold(&mut self, message_id: i64) {
        self.held.push(message_id);
        self.begin();
    }

    /// The first of them is known since then.
    pub fn have_waited(&mut self, since: Instant) {
        if let Some(known) = &mut self.since {
            *known = since.min(*known);
        }
    }

    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Keeps of what was written down only what somebody else had locked.
    pub fn keep(&mut self, written: Self, locked: &HashSet<i64>, since: Instant) {
        if locked.is_empty() {
            return;
        }
        let settlements = written.settlements.into_iter();
        let is_locked = |settlement: &Settlement| locked.contains(&settlement.message_id);
        self.settlements.extend(settlements.filter(is_locked));
        let is_locked = |message_id: &i64| locked.contains(message_id);
        self.released
            .extend(written.released.into_iter().filter(is_locked));
        self.held.extend(written.held.into_iter().filter(is_locked));
        self.since = Some(since);
    }

    /// Takes back what could not be written.
    pub fn take_back(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        self.settlements.extend(other.settlements);
        self.released.extend(other.released);
        self.held.extend(other.held);
        self.lists.hard.extend(other.lists.hard);
        self.lists.withdrawn.extend(other.lists.withdrawn);
        self.lists.soft.extend(other.lists.soft);
        self.lists.ended.extend(other.lists.ended);
        self.begin();
    }

    /// Each message by itself, and what follows for the suppression list.
    pub fn into_parts(self) -> Vec<Self> {
        let since = self.since;
        let settlements = self.settlements.into_iter().map(|settlement| Self {
            settlements: vec![settlement],
            since,
            ..Self::default()
        });
        let released = self.released.into_iter().map(|message_id| Self {
            released: vec![message_id],
            since,
            ..Self::default()
        });
        let held = self.held.into_iter().map(|message_id| Self {
            held: vec![message_id],
            since,
            ..Self::default()
        });
        let lists = Self {
            lists: self.lists,
            since,
            ..Self::default()
        };
        settlements
            .chain(released)
            .chain(held)
            .chain([lists])
            .collect()
    }

    /// Writes it down, as far as messages are still this worker's. Returns those that somebody else
    /// has locked.
    pub fn write(&self, client: &mut SpiClient<'_>, by: Settler) -> HashSet<i64> {
        let settlements = self.settlements.iter();
        let mut numbers: Vec<i64> = settlements
            .map(|settlement| settlement.message_id)
            .collect();
        numbers.extend(self.released.iter().chain(&self.held));
        let Locked { own, by_others } = settle::lock(client, by.lease, &numbers, by.waits);
        let settlements = self.settlements.iter();
        let settlements: Vec<&Settlement> = settlements
            .filter(|settlement| own.contains(&settlement.message_id))
            .collect();
        let own = |numbers: &[i64]| -> Vec<i64> {
            let numbers = numbers.iter().copied();
            numbers.filter(|number| own.contains(number)).collect()
        };
        settle::settle(client, by.now, &settlements);
        settle::release(client, by.lease, &own(&self.released));
        settle::hold(client, by.lease, &own(&self.held));
        self.lists.write(client, by.now);
        by_others
    }
}

impl Lists {
    fn write(&self, client: &mut SpiClient<'_>, now: pg_sys::TimestampTz) {
        suppression::add(client, Bounce::Hard, &bounced(&self.hard));
        suppression::withdraw(client, &self.withdrawn);
        if let Some(limit) = settings::soft_bounce_limit() {
            suppression::end_mailbox_failures(client, &self.ended);
            let counted_from =
                settings::log_retention().map(|time| now.saturating_sub(time.as_micros() as i64));
            let soft = bounced(&self.soft);
            suppression::count_mailbox_failures(client, &soft, limit, counted_from);
        }
    }
}

fn bounced(addresses: &[BouncedAddress]) -> Vec<Bounced<'_>> {
    let bounced = addresses.iter().map(|bounced| Bounced {
        address: &bounced.address,
        reply: &bounced.reply,
        message_id: bounced.message_id,
    });
    bounced.collect()
}

/// A recipient whose mail is over without an attempt.
pub fn final_without_attempt(number: i32, state: FinalState, reply: String) -> Settled {
    Settled {
        number,
        result: Outcome::Final(name(state)),
        tried: false,
        reply: Some(reply),
        remote: None,
    }
}

impl Engine {
    /// Takes the results of a message. `remote`: the server that was talked to.
    pub(super) fn note_results(
        &mut self,
        message_id: i64,
        in_hand: InHand,
        results: Vec<RecipientResult>,
        remote: Option<&str>,
    ) {
        self.note_bounces(message_id, &in_hand, &results);
        let (schedule, now) = (schedule(), transaction::now());
        let age = self.pauses.age(in_hand.server, in_hand.due_at, now);
        let is_stopping = self.channel.stop.is_told();
        let mut recipients = in_hand.settled;
        for (addressee, result) in in_hand.addressees.into_iter().zip(results) {
            let verdict = result.verdict;
            let next = match verdict {
                // That is nobody's failure.
                Verdict::NotTried if is_stopping => Next::Wait,
                _ => schedule.next(verdict, in_hand.at_most_once, age, jitter()),
            };
            self.note_mailbox(message_id, &addressee.address, &next, &result);
            recipients.push(Settled {
                number: addressee.number,
                result: match next {
                    Next::Final(state) => Outcome::Final(name(state)),
                    Next::Defer(delay) => Outcome::Deferred(clock::later(now, delay)),
                    Next::Wait => Outcome::Waiting,
                },
                tried: verdict != Verdict::NotTried,
                reply: result.reply.filter(|_| verdict != Verdict::NotTried),
                remote: remote.map(str::to_owned),
            });
        }
        self.note_settlement(in_hand.server, message_id, in_hand.is_whole, recipients);
    }

    /// Takes the results of the recipients of a message. `is_whole`: it has no other recipients.
    pub(super) fn note_settlement(
        &mut self,
        server: pg_sys::Oid,
        message_id: i64,
        is_whole: bool,
        recipients: Vec<Settled>,
    ) {
        let is_waiting = |settled: &Settled| matches!(settled.result, Outcome::Waiting);
        if recipients.iter().any(is_waiting) || !is_whole {
            // It is due as before.
            if let Some(queue) = self.queues.get_mut(&server) {
                queue.start_anew();
            }
        }
        match !recipients.is_empty() && recipients.iter().all(is_waiting) {
            true => self.unsettled.release(message_id),
            false => self.unsettled.settle(Settlement {
                message_id,
                recipients,
            }),
        }
    }

    /// Hard bounces, unless the server refuses nearly everybody.
    fn note_bounces(&mut self, message_id: i64, in_hand: &InHand, results: &[RecipientResult]) {
        if !settings::auto_suppress() {
            return;
        }
        let Some(queue) = self.queues.get_mut(&in_hand.server) else {
            return;
        };
        let counted = in_hand.addressees.iter().zip(results);
        let counted = counted.filter_map(|(addressee, result)| {
            Some(match result.counted? {
                Counted::Taken => Counted::Taken,
                Counted::Refused => Counted::Refused,
                Counted::HardBounce(()) => Counted::HardBounce(addressee.address.clone()),
            })
        });
        let advice = queue.guard.count(counted);
        let name = queue.name().unwrap_or_default();
        if advice.warn {
            notices::warn(
                &format!("mail server \"{name}\" refuses most recipients"),
                Some("Addresses that it refuses are not added to the suppression list meanwhile."),
            );
        }
        let reply_to = |address: &CanonicalAddress| {
            let mut replies = in_hand.addressees.iter().zip(results);
            let found = replies.find(|(addressee, _)| addressee.address == *address);
            found.and_then(|(_, result)| result.reply.clone())
        };
        let lists = &mut self.unsettled.lists;
        lists.withdrawn.extend(advice.withdraw);
        for address in advice.suppress {
            let reply = reply_to(&address).unwrap_or_default();
            lists.hard.push(BouncedAddress {
                address,
                reply,
                message_id,
            });
        }
    }

    /// Failures of the mailbox in a row.
    fn note_mailbox(
        &mut self,
        message_id: i64,
        address: &CanonicalAddress,
        next: &Next,
        result: &RecipientResult,
    ) {
        let Next::Final(state) = next else {
            return;
        };
        let (lists, address) = (&mut self.unsettled.lists, address.clone());
        let failed = matches!(state, FinalState::Failed | FinalState::Expired);
        match failed && result.is_mailbox_failure {
            true => lists.soft.push(BouncedAddress {
                address,
                reply: result.reply.clone().unwrap_or_default(),
                message_id,
            }),
            false => lists.ended.push(address),
        }
    }
}

fn name(state: FinalState) -> &'static str {
    match state {
        FinalState::Sent => "sent",
        FinalState::Failed => "failed",
        FinalState::Suppressed => "suppressed",
        FinalState::Expired => "expired",
        FinalState::Cancelled => "cancelled",
        FinalState::Unknown => "unknown",
    }
}
