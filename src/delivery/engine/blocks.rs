//! Logins and owners of mail that a server can't be used by, while others can.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mail_queue::backoff::{Admission, Backoff, Ticket};
use mail_queue::clock::{self, Moment};
use pgrx::pg_sys;

use super::judge::{Obstacle, Scope};
use super::server_queue::FailureTime;

/// Those who can't use a server.
#[derive(Default)]
pub struct Blocks {
    blocks: HashMap<Scope, Block>,
    /// By which mapping owners log in.
    logins: HashMap<pg_sys::Oid, Option<pg_sys::Oid>>,
}

#[derive(Default)]
struct Block {
    backoff: Backoff,
    ticket: Option<Ticket>,
    until: pg_sys::TimestampTz,
    /// What the login was that failed.
    options: Option<[u8; 32]>,
}

impl Block {
    /// Whether it has to be tried again now.
    fn is_over(&mut self, now: Moment) -> bool {
        match self.backoff.admit(now) {
            Admission::Open(ticket) | Admission::Trial(ticket) => {
                self.ticket = Some(ticket);
                true
            }
            Admission::TrialUnderWay => true,
            Admission::Wait(_) => false,
        }
    }

    fn fail(&mut self, obstacle: &Obstacle, time: &FailureTime<'_>) -> bool {
        let ticket = match self.backoff.admit(time.moment) {
            Admission::Open(ticket) | Admission::Trial(ticket) => Some(ticket),
            Admission::TrialUnderWay => self.ticket,
            Admission::Wait(_) => None,
        };
        self.options = obstacle.options;
        let begins = ticket.is_some_and(|ticket| {
            let (schedule, jitter) = (time.schedule, time.jitter);
            self.backoff
                .fail(ticket, obstacle.failure, schedule, jitter, time.moment)
        });
        if let Some(left) = self.backoff.remaining(time.moment) {
            self.until = clock::later(time.wall, left);
        }
        begins
    }
}

impl Blocks {
    /// An owner's mail goes by this login.
    pub fn note_login(&mut self, owner: pg_sys::Oid, mapping: Option<pg_sys::Oid>) {
        self.logins.insert(owner, mapping);
    }

    /// True where a back-off begins.
    pub fn fail(&mut self, obstacle: &Obstacle, time: &FailureTime<'_>) -> bool {
        let block = self.blocks.entry(obstacle.scope).or_default();
        block.fail(obstacle, time)
    }

    /// A message got through by this login.
    pub fn succeed(&mut self, mapping: Option<pg_sys::Oid>) {
        self.blocks.remove(&Scope::Login(mapping));
    }

    /// An owner may use the server.
    pub fn admit_owner(&mut self, owner: pg_sys::Oid) {
        self.blocks.remove(&Scope::Owner(owner));
    }

    /// The owners whose mail is left alone.
    pub fn owners(&mut self, now: Moment) -> Vec<pg_sys::Oid> {
        let blocks = self.blocks.iter_mut();
        let blocked: HashSet<Scope> = blocks
            .filter_map(|(scope, block)| (!block.is_over(now)).then_some(*scope))
            .collect();
        let mut owners: Vec<_> = blocked
            .iter()
            .flat_map(|scope| self.owners_of(*scope))
            .collect();
        owners.sort_unstable_by_key(|owner| owner.to_u32());
        owners.dedup();
        owners
    }

    /// The owners that a failure concerns, if not all.
    pub fn owners_of(&self, scope: Scope) -> Vec<pg_sys::Oid> {
        match scope {
            Scope::Server => Vec::new(),
            Scope::Owner(owner) => vec![owner],
            Scope::Login(mapping) => self
                .logins
                .iter()
                .filter(|(_, login)| **login == mapping)
                .map(|(owner, _)| *owner)
                .collect(),
        }
    }

    pub fn next_trial(&mut self, now: Moment) -> Option<Duration> {
        let blocks = self.blocks.values_mut();
        blocks
            .filter_map(|block| block.backoff.remaining(now))
            .min()
    }

    /// When the first of them is tried again, as it is shown.
    pub fn until(&self) -> Option<pg_sys::TimestampTz> {
        let blocks = self.blocks.values();
        let failed = blocks.filter(|block| block.backoff.failure().is_some());
        failed.map(|block| block.until).min()
    }

    /// Drops those whose obstacle is gone. It is asked with the owners that a block concerns, and
    /// with the options of the login that failed.
    pub fn retain(
        &mut self,
        mut stands: impl FnMut(Scope, &[pg_sys::Oid], Option<[u8; 32]>) -> bool,
    ) {
        let scopes: Vec<Scope> = self.blocks.keys().copied().collect();
        for scope in scopes {
            let owners = self.owners_of(scope);
            let options = self.blocks.get(&scope).and_then(|block| block.options);
            if !stands(scope, &owners, options) {
                self.blocks.remove(&scope);
            }
        }
    }
}
