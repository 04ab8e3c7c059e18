//! The queue, its workers and what happens to them.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mail_queue::retry::{Next, Schedule};
use mail_queue::state::{Event, FinalState, HeldReason, State};
use mail_queue::verdict::Verdict;

pub use server::Answer;
use server::Server;

/// Message and recipient.
type Key = (u64, usize);

#[derive(Clone, Debug)]
pub enum Action {
    /// A message, in a transaction that isn't committed yet. The number selects one of the messages
    /// that exist.
    Submit {
        recipients: usize,
        at_most_once: bool,
    },
    Commit(usize),
    RollBack(usize),
    /// The worker claims what is due first; perhaps its first recipient is suppressed.
    Claim {
        suppressed: bool,
    },
    /// A claimed message goes to the server.
    Send {
        flight: usize,
        answers: Vec<Answer>,
        kept: bool,
        pipelining: bool,
    },
    /// The verdicts on a message are recorded.
    Settle(usize),
    Crash,
    /// A worker starts, unless there is one.
    Start,
    /// A worker that was replaced records what it still knows.
    SettleLate(usize),
    Cancel(usize),
    Retry(usize),
    /// From here on it is a copy of the installation that is looked at.
    Copy,
    Adopt {
        send: bool,
    },
    /// So many seconds pass.
    Pass(u64),
}

#[derive(Clone, Debug)]
struct Message {
    at_most_once: bool,
    home: u32,
    due_at: Duration,
    lease: Option<u64>,
    crashes: u32,
    rows: BTreeMap<usize, Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    state: State,
    attempts: u32,
    next_at: Duration,
}

/// A claimed message in the memory of a worker.
#[derive(Clone, Debug)]
struct Flight {
    message: u64,
    lease: u64,
    recipients: Vec<usize>,
    verdicts: Option<Vec<Verdict>>,
}

#[derive(Debug)]
pub struct World {
    now: Duration,
    schedule: Schedule,
    ids: u64,
    home: u32,
    /// The lease of the last worker, and what the present one holds, if there is one.
    lease: u64,
    worker: Option<Vec<Flight>>,
    replaced: Vec<Flight>,
    uncommitted: BTreeMap<u64, Message>,
    queue: BTreeMap<u64, Message>,
    log: BTreeMap<Key, FinalState>,
    /// What was ever committed, and whether at most once.
    committed: BTreeMap<Key, bool>,
    /// How often the outcome for somebody was in doubt.
    doubts: BTreeMap<Key, u32>,
    server: Server,
}

impl World {
    pub fn new() -> Self {
        let second = Duration::from_secs(1);
        Self {
            now: 1_000_000 * second,
            schedule: Schedule::new(300 * second, 4000 * second, 432_000 * second),
            ids: 0,
            home: 1,
            lease: 0,
            worker: None,
            replaced: Vec::new(),
            uncommitted: BTreeMap::new(),
            queue: BTreeMap::new(),
            log: BTreeMap::new(),
            committed: BTreeMap::new(),
            doubts: BTreeMap::new(),
            server: Server::default(),
        }
    }

    pub fn act(&mut self, action: Action) {
        match action {
            Action::Submit {
                recipients,
                at_most_once,
            } => self.submit(recipients, at_most_once),
            Action::Commit(index) => self.commit(index),
            Action::RollBack(index) => {
                if let Some(id) = select(&self.uncommitted, index) {
                    self.uncommitted.remove(&id);
                }
            }
            Action::Claim { suppressed } => self.claim(suppressed),
            Action::Send {
                flight,
                answers,
                kept,
                pipelining,
            } => {
                self.send(flight, answers, kept, pipelining);
            }
            Action::Settle(index) => {
                if let Some(flight) = self.worker.as_mut().and_then(|all| take_judged(all, index)) {
                    self.settle(flight);
                }
            }
            Action::Crash => self
                .replaced
                .extend(self.worker.take().into_iter().flatten()),
            Action::Start => self.start(),
            Action::SettleLate(index) => {
                if let Some(flight) = take_judged(&mut self.replaced, index) {
                    self.settle(flight);
                }
            }
            Action::Cancel(index) => self.all_rows(index, Event::Cancel),
            Action::Retry(index) => self.all_rows(index, Event::Retry),
            Action::Copy => {
                self.worker = None;
                self.replaced.clear();
                self.home += 1;
            }
            Action::Adopt { send } => self.adopt(send),
            Action::Pass(seconds) => self.now += Duration::from_secs(seconds),
        }
    }

    fn submit(&mut self, recipients: usize, at_most_once: bool) {
        self.ids += 1;
        let row = Row {
            state: State::Queued,
            attempts: 0,
            next_at: self.now,
        };
        let message = Message {
            at_most_once,
            home: self.home,
            due_at: self.now,
            lease: None,
            crashes: 0,
            rows: (0..recipients).map(|number| (number, row)).collect(),
        };
        self.uncommitted.insert(self.ids, message);
    }

    fn commit(&mut self, index: usize) {
        if let Some(id) = select(&self.uncommitted, index)
            && let Some(message) = self.uncommitted.remove(&id)
        {
            let keys = message.rows.keys().map(|number| (id, *number));
            self.committed
                .extend(keys.map(|key| (key, message.at_most_once)));
            self.queue.insert(id, message);
        }
    }

    /// Claims the message that has been due for the longest time.
    fn claim(&mut self, suppressed: bool) {
        if self.worker.is_none() {
            return;
        }
        let (now, home) = (self.now, self.home);
        let due = |message: &Message| {
            let rows = message.rows.values();
            let waiting = rows.filter(|row| row.state.after(Event::Claim, row.attempts).is_some());
            waiting.map(|row| row.next_at).filter(|at| *at <= now).min()
        };
        let claimable = |message: &Message| message.lease.is_none() && message.home == home;
        let messages = self.queue.iter().filter(|(_, message)| claimable(message));
        let first = messages
            .filter_map(|(id, message)| Some((due(message)?, *id)))
            .min();
        let Some((_, id)) = first else { return };
        if suppressed && let Some(&number) = self.queue[&id].rows.keys().next() {
            self.apply((id, number), Event::Refuse(FinalState::Suppressed));
        }
        let Some(message) = self.queue.get_mut(&id) else {
            return;
        };
        let mut recipients = Vec::new();
        for (number, row) in &mut message.rows {
            if row.next_at <= now
                && let Some(state) = row.state.after(Event::Claim, row.attempts)
            {
                row.state = state;
                row.attempts += 1;
                recipients.push(*number);
            }
        }
        if recipients.is_empty() {
            return;
        }
        message.lease = Some(self.lease);
        let flight = Flight {
            message: id,
            lease: self.lease,
            recipients,
            verdicts: None,
        };
        self.worker
            .iter_mut()
            .for_each(|flights| flights.push(flight.clone()));
    }

    fn send(&mut self, index: usize, answers: Vec<Answer>, kept: bool, pipelining: bool) {
        let flights = self.worker.iter_mut().flatten();
        let mut unsent: Vec<_> = flights.filter(|flight| flight.verdicts.is_none()).collect();
        if unsent.is_empty() {
            return;
        }
        let flight = unsent.swap_remove(index % unsent.len());
        let numbers = &flight.recipients;
        let verdicts = self
            .server
            .send(flight.message, numbers, answers, kept, pipelining);
        flight.verdicts = Some(verdicts);
    }

    /// Records verdicts, unless the message was claimed by somebody else meanwhile.
    fn settle(&mut self, flight: Flight) {
        let Some(message) = self.queue.get_mut(&flight.message) else {
            return;
        };
        if message.lease != Some(flight.lease) {
            return;
        }
        message.lease = None;
        let age = self.now - message.due_at;
        let at_most_once = message.at_most_once;
        for (number, verdict) in flight.recipients.iter().zip(flight.verdicts.unwrap()) {
            let key = (flight.message, *number);
            if verdict == Verdict::InDoubt {
                *self.doubts.entry(key).or_default() += 1;
            }
            let next = self.schedule.next(verdict, at_most_once, age, 0.5);
            let row = self.row(key);
            match next {
                Next::Defer(delay) => row.1.next_at = row.0 + delay,
                Next::Wait => row.1.attempts -= 1,
                Next::Final(_) => {}
            }
            assert!(self.apply(key, Event::Settle(next)), "{key:?} {next:?}");
        }
    }

    /// A worker looks at what it finds: mail of another home, and what was in flight.
    fn start(&mut self) {
        if self.worker.is_some() {
            return;
        }
        self.lease += 1;
        self.worker = Some(Vec::new());
        let ids: Vec<_> = self.queue.keys().copied().collect();
        for id in ids {
            let message = self.queue.get_mut(&id).unwrap();
            let at_most_once = message.at_most_once;
            message.crashes += u32::from(message.lease.take().is_some());
            let event = match message.home == self.home {
                true => Event::Crash {
                    crashes: message.crashes,
                    at_most_once,
                },
                false => Event::FoundCopied { at_most_once },
            };
            let rows: Vec<_> = message
                .rows
                .iter()
                .map(|(number, row)| (*number, *row))
                .collect();
            for (number, row) in rows {
                if row.state == State::Sending {
                    *self.doubts.entry((id, number)).or_default() += 1;
                }
                self.apply((id, number), event);
            }
        }
    }

    fn adopt(&mut self, send: bool) {
        let (now, home) = (self.now, self.home);
        let ids: Vec<_> = self.queue.keys().copied().collect();
        for id in ids {
            let message = self.queue.get_mut(&id).unwrap();
            let held = |row: &Row| row.state == State::Held(HeldReason::Copy);
            if !message.rows.values().any(held) {
                continue;
            }
            message.home = home;
            message.due_at = now;
            let numbers: Vec<_> = message.rows.keys().copied().collect();
            for number in numbers {
                self.apply((id, number), Event::Adopt { send });
            }
        }
    }

    fn all_rows(&mut self, index: usize, event: Event) {
        let Some(id) = select(&self.queue, index) else {
            return;
        };
        let numbers: Vec<_> = self.queue[&id].rows.keys().copied().collect();
        for number in numbers {
            let now = self.now;
            if self.apply((id, number), event) && event == Event::Retry {
                self.row((id, number)).1.next_at = now;
            }
        }
    }

    fn row(&mut self, (id, number): Key) -> (Duration, &mut Row) {
        let message = self.queue.get_mut(&id).unwrap();
        (self.now, message.rows.get_mut(&number).unwrap())
    }

    /// Gives a recipient its next state, if the event has one for it. Final rows move to the log.
    fn apply(&mut self, key: Key, event: Event) -> bool {
        let (_, row) = self.row(key);
        let Some(state) = row.state.after(event, row.attempts) else {
            return false;
        };
        row.state = state;
        if let State::Final(last) = state {
            let message = self.queue.get_mut(&key.0).unwrap();
            message.rows.remove(&key.1);
            if message.rows.is_empty() {
                self.queue.remove(&key.0);
            }
            assert_eq!(self.log.insert(key, last), None, "{key:?} ended twice");
        }
        true
    }

    /// What has to be true at every moment.
    pub fn check(&self) {
        let waiting = self.queue.iter();
        let waiting: BTreeSet<Key> = waiting
            .flat_map(|(id, message)| message.rows.keys().map(|number| (*id, *number)))
            .collect();
        for (key, at_most_once) in &self.committed {
            let last = self.log.get(key);
            assert!(
                waiting.contains(key) != last.is_some(),
                "{key:?} is lost or has two states"
            );
            let copies = self.copies(key.0, key.1);
            let doubts = self.doubts.get(key).copied().unwrap_or(0);
            let most = if *at_most_once { 1 } else { 1 + doubts };
            assert!(
                copies <= most,
                "{key:?}: {copies} copies, {doubts} times in doubt"
            );
            match last {
                Some(FinalState::Sent) => assert!(copies >= 1, "{key:?} was not sent"),
                Some(FinalState::Unknown) => assert!(*at_most_once && doubts == 1, "{key:?}"),
                Some(_) => assert!(copies <= doubts, "{key:?} was sent"),
                None => {}
            }
        }
        for key in self.server.copies.keys() {
            assert!(
                self.committed.contains_key(key),
                "{key:?} was never committed"
            );
        }
        for message in self.queue.values() {
            let mut states = message.rows.values().map(|row| row.state);
            assert!(states.clone().all(|state| !state.is_final()));
            assert!(message.lease.is_some() || states.all(|state| state != State::Sending));
        }
    }

    /// From here on nothing goes wrong. Everybody gets a final state in a few rounds.
    pub fn drain(&mut self) {
        self.act(Action::Crash);
        self.uncommitted.clear();
        self.act(Action::Start);
        for _ in 0..8 {
            self.act(Action::Adopt { send: true });
            let ids: Vec<_> = self.queue.keys().copied().collect();
            for id in ids {
                let numbers: Vec<_> = self.queue[&id].rows.keys().copied().collect();
                for number in numbers {
                    self.apply((id, number), Event::Retry);
                }
            }
            self.act(Action::Pass(5000));
            while let Some(flight) = self.claim_next() {
                let numbers = flight.recipients.clone();
                let verdicts = self
                    .server
                    .send(flight.message, &numbers, Vec::new(), false, true);
                self.settle(Flight {
                    verdicts: Some(verdicts),
                    ..flight
                });
            }
        }
        assert!(self.queue.is_empty(), "{:#?}", self.queue);
        assert_eq!(self.log.len(), self.committed.len());
    }

    fn claim_next(&mut self) -> Option<Flight> {
        self.act(Action::Claim { suppressed: false });
        self.worker.as_mut()?.pop()
    }

    /// How often the server got a message for a recipient.
    pub fn copies(&self, message: u64, recipient: usize) -> u32 {
        let copies = self.server.copies.get(&(message, recipient));
        copies.copied().unwrap_or(0)
    }

    /// How many messages the worker holds.
    pub fn in_flight(&self) -> usize {
        self.worker.as_ref().map_or(0, Vec::len)
    }
}

fn select(messages: &BTreeMap<u64, Message>, index: usize) -> Option<u64> {
    let ids: Vec<_> = messages.keys().copied().collect();
    (!ids.is_empty()).then(|| ids[index % ids.len()])
}

/// One of the flights that have verdicts.
fn take_judged(flights: &mut Vec<Flight>, index: usize) -> Option<Flight> {
    let judged = (0..flights.len()).filter(|number| flights[*number].verdicts.is_some());
    let judged: Vec<_> = judged.collect();
    (!judged.is_empty()).then(|| flights.remove(judged[index % judged.len()]))
}
