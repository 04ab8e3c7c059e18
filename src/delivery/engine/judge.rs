//! Judging a message anew before it is sent: since it was queued, roles, servers, rights and rules
//! may have changed, and anybody with rights on the tables may have written it. Within the
//! transaction that claims it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mail_queue::server::ServerFailure;
use mail_queue::state::FinalState;
use mail_queue::suppression::CanonicalAddress;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use super::group::Login;
use super::hand_out::Addressee;
use super::job::Job;
use super::letter::Letter;
use super::results::final_without_attempt;
use crate::access::{self, Privilege};
use crate::conversation::opening::Opening;
use crate::delivery::store::claim::{self, Claimed};
use crate::delivery::store::settle::Settled;
use crate::delivery::store::suppression;
use crate::errors::Report;
use crate::pg::roles;
use crate::servers::options::Security;
use crate::servers::{Mapping, Server, cache};

/// Whom a failure to use a server concerns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Everybody.
    Server,
    /// Those who log in by this mapping, or by none.
    Login(Option<pg_sys::Oid>),
    /// One owner of mail.
    Owner(pg_sys::Oid),
}

/// Why a server can't be used.
#[derive(Clone, Debug)]
pub struct Obstacle {
    pub scope: Scope,
    pub failure: ServerFailure,
    pub text: String,
    /// Of the connection that met it, see [`WayKey::options`].
    pub options: Option<[u8; 32]>,
}

impl Obstacle {
    fn new(scope: Scope, failure: ServerFailure, report: &Report) -> Self {
        Self {
            scope,
            failure,
            text: report.line(),
            options: None,
        }
    }
}

/// How an owner's mail goes to a server.
#[derive(Clone)]
pub struct Way {
    pub server: Arc<Server>,
    pub mapping: Option<Arc<Mapping>>,
    pub owner: pg_sys::Oid,
    pub key: WayKey,
}

/// Mail with equal keys may share connections to a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WayKey {
    pub mapping: Option<pg_sys::Oid>,
    /// The owner, where rules deny him addresses that others may be connected to.
    pub owner: Option<pg_sys::Oid>,
    /// SHA-256 of the options of server and mapping.
    pub options: [u8; 32],
}

impl WayKey {
    /// Whether this is the same login by other options.
    pub fn is_outdated_by(&self, other: &Self) -> bool {
        (self.mapping, self.owner) == (other.mapping, other.owner) && self.options != other.options
    }
}

/// The ways that there are connections for.
pub type KnownWays = HashSet<(pg_sys::Oid, WayKey)>;

impl Way {
    /// With what connections are opened by, where there are none yet.
    pub fn with_login(self, known: &KnownWays) -> Result<(Self, Option<Login>), Obstacle> {
        if known.contains(&(self.server.oid, self.key)) {
            return Ok((self, None));
        }
        let opening = Opening::of_server(&self.server, self.mapping.as_deref(), self.owner, None);
        let opening = opening
            .map_err(|report| Obstacle::new(Scope::Server, report.server_failure(), &report))?;
        let login = Login {
            server: Arc::clone(&self.server),
            mapping: self.mapping.clone(),
            opening,
        };
        Ok((self, Some(login)))
    }
}

/// A message that was claimed and judged.
pub struct Judged {
    pub message_id: i64,
    pub owner: pg_sys::Oid,
    pub due_at: pg_sys::TimestampTz,
    pub at_most_once: bool,
    pub has_others: bool,
    pub sentence: Sentence,
}

/// What is to be done with a message.
pub enum Sentence {
    Send(Box<Sendable>),
    /// It is over, for these recipients.
    Settle(Vec<Settled>),
    /// The server can't be used for it.
    Wait(Obstacle),
    /// Another installation has queued it.
    Hold,
}

/// A message that can be sent.
pub struct Sendable {
    pub job: Job,
    pub addressees: Vec<Addressee>,
    pub settled: Vec<Settled>,
    pub way: Way,
    pub login: Option<Login>,
}

/// Answers that hold for the rest of a transaction.
#[derive(Default)]
pub struct Judge {
    servers: HashMap<pg_sys::Oid, Result<Arc<Server>, Obstacle>>,
    ways: HashMap<(pg_sys::Oid, pg_sys::Oid), Result<Way, Obstacle>>,
    adopted: HashMap<String, bool>,
}

impl Judge {
    /// A server that its owner may have mail sent by.
    pub fn server(&mut self, oid: pg_sys::Oid) -> Result<Arc<Server>, Obstacle> {
        match self.servers.entry(oid) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(server(oid)).clone(),
        }
    }

    /// How the mail of an owner goes to a server.
    pub fn way(&mut self, server: pg_sys::Oid, owner: pg_sys::Oid) -> Result<Way, Obstacle> {
        if let Some(known) = self.ways.get(&(server, owner)) {
            return known.clone();
        }
        let way = self.server(server).and_then(|server| way(server, owner));
        self.ways.insert((server, owner), way.clone());
        way
    }

    /// The server that mail goes to while this one can't be used. Never one of weaker security.
    pub fn fallback(&mut self, server: &Server) -> Option<Arc<Server>> {
        let name = server.options.queue.fallback.as_deref()?;
        let fallback = self.server(Server::oid_of(name)?).ok()?;
        let is_weaker = fallback.options.security == Security::None
            && server.options.security != Security::None;
        let is_usable = !is_weaker && fallback.oid != server.oid && !fallback.options.queue.paused;
        is_usable.then_some(fallback)
    }

    /// Judges messages that were claimed. `by`: the server that they go by. `stamp`: this
    /// installation.
    pub fn messages(
        &mut self,
        client: &mut SpiClient<'_>,
        claimed: Vec<Claimed>,
        by: pg_sys::Oid,
        stamp: &str,
        known: &KnownWays,
    ) -> Vec<Judged> {
        let mut letters: Vec<(Claimed, Result<Letter, Sentence>)> = claimed
            .into_iter()
            .map(|mut claimed| {
                let letter = self.letter(client, &mut claimed, stamp);
                (claimed, letter)
            })
            .collect();
        suppress(client, &mut letters);
        let judged = letters.into_iter().map(|(claimed, letter)| {
            let sentence = letter.map(|letter| self.sentence(letter, by, claimed.owner, known));
            Judged {
                message_id: claimed.message_id,
                owner: claimed.owner,
                due_at: claimed.due_at,
                at_most_once: claimed.at_most_once,
                has_others: claimed.has_others,
                sentence: sentence.unwrap_or_else(|sentence| sentence),
            }
        });
        judged.collect()
    }

    fn letter(
        &mut self,
        client: &mut SpiClient<'_>,
        claimed: &mut Claimed,
        stamp: &str,
    ) -> Result<Letter, Sentence> {
        if !self.is_own(client, claimed, stamp) {
            return Err(Sentence::Hold);
        }
        let failed = |reason: &str, claimed: &Claimed| {
            let settled = claimed.recipients.iter().map(|recipient| {
                let reason = format!("not sent: {reason}");
                final_without_attempt(recipient.number, FinalState::Failed, reason)
            });
            Sentence::Settle(settled.collect())
        };
        if !roles::exists(claimed.owner) {
            return Err(failed("its owner was dropped", claimed));
        }
        Letter::parse(claimed).map_err(|reason| failed(&reason, claimed))
    }

    /// Whether this installation, or one that it goes on for, has queued a message.
    pub fn is_own(&mut self, client: &mut SpiClient<'_>, claimed: &Claimed, stamp: &str) -> bool {
        let home = claimed.home.0.as_deref().unwrap_or_default();
        if home == stamp {
            return true;
        }
        if let Some(known) = self.adopted.get(home) {
            return *known;
        }
        let adopted = claim::is_adopted(client, stamp, home);
        self.adopted.insert(home.to_owned(), adopted);
        adopted
    }

    fn sentence(
        &mut self,
        letter: Letter,
        by: pg_sys::Oid,
        owner: pg_sys::Oid,
        known: &KnownWays,
    ) -> Sentence {
        if letter.addressees.is_empty() {
            return Sentence::Settle(letter.settled);
        }
        match self.way(by, owner).and_then(|way| way.with_login(known)) {
            Ok((way, login)) => Sentence::Send(Box::new(Sendable {
                job: letter.job,
                addressees: letter.addressees,
                settled: letter.settled,
                way,
                login,
            })),
            Err(obstacle) => Sentence::Wait(obstacle),
        }
    }
}

/// The suppression list is asked once for all messages.
fn suppress(client: &mut SpiClient<'_>, letters: &mut [(Claimed, Result<Letter, Sentence>)]) {
    let sendable = letters
        .iter()
        .filter_map(|(_, letter)| letter.as_ref().ok());
    let addresses: Vec<CanonicalAddress> = sendable
        .flat_map(|letter| &letter.addressees)
        .map(|addressee| addressee.address.clone())
        .collect();
    let marks = suppression::suppressed(client, &addresses);
    if !marks.contains(&true) {
        return;
    }
    let hit = addresses.into_iter().zip(&marks);
    let hit: Vec<_> = hit
        .filter_map(|(address, hit)| hit.then_some(address))
        .collect();
    suppression::note_hits(client, &hit);
    let mut marks = &marks[..];
    for (_, letter) in letters {
        if let Ok(letter) = letter {
            let (own, rest) = marks.split_at(letter.addressees.len());
            letter.suppress(own);
            marks = rest;
        }
    }
}

fn server(oid: pg_sys::Oid) -> Result<Arc<Server>, Obstacle> {
    let mapping = |report| Obstacle::new(Scope::Server, ServerFailure::Mapping, &report);
    let server = match cache::of(oid).map_err(mapping)? {
        Some(server) => Some(server),
        // With options that can't be read, or none.
        None => Server::of(oid).map_err(mapping)?.map(Arc::new),
    };
    let server = server.ok_or_else(|| Obstacle {
        scope: Scope::Server,
        failure: ServerFailure::Missing,
        text: "the mail server does not exist any more".to_owned(),
        options: None,
    })?;
    let (host, port) = (&server.address.host, server.address.port);
    access::require(server.owner, host, port, Privilege::Converse)
        .map_err(|report| Obstacle::new(Scope::Server, ServerFailure::Access, &report))?;
    Ok(server)
}

fn way(server: Arc<Server>, owner: pg_sys::Oid) -> Result<Way, Obstacle> {
    let of_owner =
        |failure| move |report: Report| Obstacle::new(Scope::Owner(owner), failure, &report);
    let usage = server.require_usage(owner);
    usage.map_err(of_owner(ServerFailure::Usage))?;
    let (host, port) = (&server.address.host, server.address.port);
    access::require_not_denied(owner, host, port, Privilege::Converse)
        .map_err(of_owner(ServerFailure::Access))?;
    let mapping = server.mapping(owner);
    let mapping = mapping.map_err(of_owner(ServerFailure::Mapping))?;
    let key = WayKey {
        mapping: mapping.as_ref().map(|mapping| mapping.token_key.mapping),
        owner: access::may_be_denied_addresses(owner, Privilege::Converse).then_some(owner),
        options: mapping
            .as_ref()
            .map_or_else(|| server.digest(), |mapping| mapping.token_key.digest),
    };
    Ok(Way {
        server,
        mapping: mapping.map(Arc::new),
        owner,
        key,
    })
}
