//! What is to be done for each server, decided before the transaction that does it.

use std::time::{Duration, Instant};

use mail_queue::backoff::{Admission, Ticket};
use mail_queue::clock::Moment;
use pgrx::pg_sys;

use super::Engine;
use super::limits;
use super::server_queue::{Aging, ServerQueue};
use crate::delivery::store::claim::Position;

/// Messages that are claimed ahead of the connections, at most.
const MOST_AHEAD: usize = 400;
/// The time that they last for.
const AHEAD: Duration = Duration::from_millis(100);

/// What is to be done in one transaction.
#[derive(Default)]
pub struct Orders {
    pub servers: Vec<Order>,
    /// Messages that are to be sent at most once, and that a connection is free for.
    pub begin: Vec<i64>,
    /// The servers of which one message may be claimed that was in flight at a crash.
    pub suspects_of: Vec<pg_sys::Oid>,
}

/// What is to be done for one server.
pub struct Order {
    pub server: pg_sys::Oid,
    pub action: Action,
}

pub enum Action {
    /// Nobody knows whether the server can be used: a connection is opened, before anything is
    /// claimed.
    Probe {
        owner: pg_sys::Oid,
        ticket: Ticket,
    },
    Claim(Claim),
    /// Mail that is too old by now expires, where this is in its way.
    Expire(Aging),
}

/// Which messages of a server are claimed.
pub struct Claim {
    pub fresh: Vec<i64>,
    pub behind: Position,
    pub but_for: Vec<pg_sys::Oid>,
    pub limit: usize,
    /// The limits that were kept to when this was decided.
    pub limits: Option<limits::Options>,
    /// They go by the server's fallback.
    pub by_fallback: bool,
}

impl Orders {
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.begin.is_empty() && self.suspects_of.is_empty()
    }
}

/// What a server may get.
struct Supply {
    /// Connections that it has.
    used: usize,
    /// Places for connections that are free.
    free: usize,
    /// Connections that it may have.
    most: usize,
    /// Messages that its limits allow now.
    room: usize,
    limits: Option<limits::Options>,
}

impl Engine {
    /// What is to be done now.
    pub(super) fn orders(&mut self) -> Orders {
        let connections = self.connections_by_server();
        let mut free = self.free_slots();
        let mut orders = Orders {
            begin: self.to_begin(),
            ..Orders::default()
        };
        let mut probes: Vec<(bool, Option<Instant>, pg_sys::Oid)> = Vec::new();
        let mut starving = 0;
        let servers: Vec<pg_sys::Oid> = self.queues.keys().copied().collect();
        for server in servers {
            let used = connections.get(&server).copied().unwrap_or_default();
            if let Some(queue) = self.queues.get_mut(&server) {
                let aging = queue.aging.drain(..);
                orders.servers.extend(aging.map(|aging| Order {
                    server,
                    action: Action::Expire(aging),
                }));
            }
            match self.need(server, used, free) {
                Need::Nothing => {}
                Need::Probe(place) => probes.push(place),
                Need::Place => starving += 1,
                Need::Claim(claim) => orders.servers.push(Order {
                    server,
                    action: Action::Claim(*claim),
                }),
            }
        }
        // Those that have not failed come first, and of those, and of the others, whoever was not
        // tried for longest.
        probes.sort_by_key(|(has_failed, probed_at, _)| (*has_failed, *probed_at));
        for (_, _, server) in probes {
            if free == 0 {
                starving += 1;
            } else if let Some(order) = self.probe(server) {
                free -= 1;
                orders.servers.push(order);
            }
        }
        self.is_crowded = starving > 0;
        self.make_room(starving);
        if self.has_suspects && self.suspect.is_none() {
            orders.suspects_of = self.usable_servers();
        }
        orders
    }

    /// What a server's mail needs next. `used`: its connections. `free`: how many more there may
    /// be.
    fn need(&mut self, server: pg_sys::Oid, used: usize, free: usize) -> Need {
        let moment = self.moment();
        let Some(queue) = self.queues.get_mut(&server) else {
            return Need::Nothing;
        };
        if !queue.has_due() || queue.is_paused {
            return Need::Nothing;
        }
        if queue.is_proven {
            let supply = queue.supply(used, free, moment);
            return queue.claim(&supply, false, moment);
        }
        let failure = queue.backoff.failure();
        let left = queue.backoff.remaining(moment);
        if left.is_some_and(|left| !left.is_zero()) || failure.is_some() && used > 0 {
            let supply = failure
                .filter(|failure| failure.allows_fallback())
                .and_then(|_| self.fallback_supply(server, free));
            return match (supply, self.queues.get_mut(&server)) {
                (Some(supply), Some(queue)) => queue.claim(&supply, true, moment),
                _ => Need::Nothing,
            };
        }
        match used {
            0 => Need::Probe((failure.is_some(), queue.probed_at, server)),
            // It is being opened.
            _ => Need::Nothing,
        }
    }

    /// What the fallback of a server may get; `None` where there is none, or it can't be used
    /// either.
    fn fallback_supply(&mut self, server: pg_sys::Oid, free: usize) -> Option<Supply> {
        let moment = self.moment();
        let fallback = self.queues.get(&server)?.fallback?;
        let connections = self.connections_by_server();
        let used = connections.get(&fallback).copied().unwrap_or_default();
        let queue = self.queues.entry(fallback).or_default();
        let is_usable = queue.backoff.failure().is_none() && !queue.is_paused;
        is_usable.then(|| queue.supply(used, free, moment))
    }

    fn probe(&mut self, server: pg_sys::Oid) -> Option<Order> {
        let moment = self.moment();
        let queue = self.queues.get_mut(&server)?;
        let owner = queue.owner?;
        match queue.backoff.admit(moment) {
            Admission::Open(ticket) | Admission::Trial(ticket) => {
                queue.probed_at = Some(Instant::now());
                Some(Order {
                    server,
                    action: Action::Probe { owner, ticket },
                })
            }
            Admission::Wait(_) | Admission::TrialUnderWay => None,
        }
    }

    /// Servers that are known to take mail.
    fn usable_servers(&self) -> Vec<pg_sys::Oid> {
        let queues = self.queues.iter();
        let usable = queues.filter(|(_, queue)| {
            queue.is_proven && queue.backoff.failure().is_none() && !queue.is_paused
        });
        usable.map(|(server, _)| *server).collect()
    }
}

enum Need {
    Nothing,
    Claim(Box<Claim>),
    /// Whether the server has failed, and when it was last tried.
    Probe((bool, Option<Instant>, pg_sys::Oid)),
    /// A place for a connection.
    Place,
}

impl ServerQueue {
    fn supply(&mut self, used: usize, free: usize, moment: Moment) -> Supply {
        Supply {
            used,
            free,
            most: self.most_connections(),
            room: self.limits.room(MOST_AHEAD, moment),
            limits: self.limits.options(),
        }
    }

    /// As much mail as connections can take, and some ahead.
    fn claim(&mut self, supply: &Supply, by_fallback: bool, moment: Moment) -> Need {
        let on_trial = !by_fallback && self.backoff.failure().is_some();
        let target = match on_trial {
            // The connection on trial gets one message.
            true => supply.used.min(1),
            false => {
                let connections = (supply.used + supply.free).min(supply.most);
                if connections == 0 {
                    return Need::Place;
                }
                let ahead = self.rate.within(AHEAD);
                connections + ahead.clamp(connections, MOST_AHEAD.max(connections))
            }
        };
        let limit = target.saturating_sub(self.claimed).min(supply.room);
        if limit == 0 || self.claimed * 2 > target {
            return Need::Nothing;
        }
        Need::Claim(Box::new(Claim {
            fresh: self.take_fresh(limit),
            behind: self.position(),
            but_for: self.blocks.owners(moment),
            limit,
            limits: supply.limits,
            by_fallback,
        }))
    }
}
