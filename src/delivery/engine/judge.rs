//! Judging a message anew before it is sent: anybody with rights on the tables may have written it, and since it was
//! queued, roles, servers, rights and rules may have changed. Within the transaction that claims it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use mail_queue::server::ServerFailure;
use pgrx::pg_sys;
use smtp_core::command::Command;
use smtp_core::envelope::{Envelope, Recipient};
use smtp_core::text::{Mailbox, Parameters, ReversePath};

use super::group::Login;
use super::job::{Job, JobContent};
use crate::access::{self, Privilege};
use crate::conversation::opening::Opening;
use crate::delivery::store::claim::{Claimed, ClaimedRecipient};
use crate::errors::Report;
use crate::pg::query::StoredText;
use crate::servers::{Mapping, Server};

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

/// Why a server can't be used for a message.
#[derive(Clone)]
pub struct Obstacle {
    pub scope: Scope,
    pub failure: ServerFailure,
    pub text: String,
}

impl Obstacle {
    fn new(scope: Scope, failure: ServerFailure, report: &Report) -> Self {
        Self {
            scope,
            failure,
            text: report.line(),
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

/// Mail with equal keys may share connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WayKey {
    pub mapping: Option<pg_sys::Oid>,
    /// The owner, where rules deny him addresses that others may be connected to.
    pub owner: Option<pg_sys::Oid>,
    /// Of the options of server and mapping.
    digest: [u8; 32],
}

impl WayKey {
    /// Whether this is the same login by other options.
    pub fn is_outdated_by(&self, other: &Self) -> bool {
        (self.mapping, self.owner) == (other.mapping, other.owner) && self.digest != other.digest
    }
}

impl Way {
    /// What connections are opened with.
    pub fn login(&self) -> Result<Login, Obstacle> {
        let opening = Opening::of_server(&self.server, self.mapping.as_deref(), self.owner, None);
        let opening = opening
            .map_err(|report| Obstacle::new(Scope::Server, report.server_failure(), &report))?;
        Ok(Login {
            server: Arc::clone(&self.server),
            mapping: self.mapping.clone(),
            opening,
        })
    }
}

/// Answers that hold for the rest of a transaction.
#[derive(Default)]
pub struct Judge {
    servers: HashMap<pg_sys::Oid, Result<Arc<Server>, Obstacle>>,
    ways: HashMap<(pg_sys::Oid, pg_sys::Oid), Result<Way, Obstacle>>,
}

/// What a message is, once its words are parsed.
pub enum Letter {
    /// It can be sent, but for these recipients.
    Sendable {
        job: Job,
        /// Of the recipients in the envelope.
        numbers: Vec<i32>,
        unsendable: Vec<(i32, String)>,
    },
    /// It can't, for this reason.
    Nonsense(String),
}

impl Judge {
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
}

fn server(oid: pg_sys::Oid) -> Result<Arc<Server>, Obstacle> {
    let server = Server::of(oid)
        .map_err(|report| Obstacle::new(Scope::Server, ServerFailure::Mapping, &report))?;
    let server = server.ok_or_else(|| Obstacle {
        scope: Scope::Server,
        failure: ServerFailure::Missing,
        text: "the mail server does not exist any more".to_owned(),
    })?;
    let (host, port) = (&server.address.host, server.address.port);
    access::require(server.owner, host, port, Privilege::Converse)
        .map_err(|report| Obstacle::new(Scope::Server, ServerFailure::Access, &report))?;
    Ok(Arc::new(server))
}

fn way(server: Arc<Server>, owner: pg_sys::Oid) -> Result<Way, Obstacle> {
    let of_owner =
        |failure| move |report: Report| Obstacle::new(Scope::Owner(owner), failure, &report);
    server
        .require_usage(owner)
        .map_err(of_owner(ServerFailure::Usage))?;
    let (host, port) = (&server.address.host, server.address.port);
    access::require_not_denied(owner, host, port, Privilege::Converse)
        .map_err(of_owner(ServerFailure::Access))?;
    let mapping = server
        .mapping(owner)
        .map_err(of_owner(ServerFailure::Mapping))?;
    let key = WayKey {
        mapping: mapping.as_ref().map(|mapping| mapping.token_key.mapping),
        owner: access::may_be_denied_addresses(owner, Privilege::Converse).then_some(owner),
        digest: mapping
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

/// Parses what a message says.
pub fn letter(claimed: &mut Claimed) -> Letter {
    match envelope(claimed) {
        Ok(letter) => letter,
        Err(reason) => Letter::Nonsense(format!("not sent: {reason}")),
    }
}

fn envelope(claimed: &mut Claimed) -> Result<Letter, String> {
    let sender = text(&claimed.sender).and_then(|text| {
        ReversePath::parse(text).map_err(|error| format!("the sender is invalid: {error}"))
    })?;
    let parameters = parameters(&claimed.parameters)?;
    Command::Mail(sender.clone(), parameters.clone())
        .line()
        .map_err(|error| error.to_string())?;
    let content = content(claimed)?;
    let (mut recipients, mut numbers) = (Vec::new(), Vec::new());
    let mut unsendable = Vec::new();
    for claimed in &claimed.recipients {
        match recipient(claimed) {
            Ok(recipient) => {
                recipients.push(recipient);
                numbers.push(claimed.number);
            }
            Err(reason) => unsendable.push((claimed.number, format!("not sent: {reason}"))),
        }
    }
    let job = Job {
        message_id: claimed.message_id,
        envelope: Envelope {
            sender,
            parameters,
            recipients,
        },
        content,
        size: claimed.content.size,
    };
    Ok(Letter::Sendable {
        job,
        numbers,
        unsendable,
    })
}

fn content(claimed: &mut Claimed) -> Result<JobContent, String> {
    let content = &mut claimed.content;
    let complete = (1..).zip(&content.pieces).all(|(at, number)| at == *number);
    if content.pieces.is_empty() || !complete {
        return Err("a piece of its content is missing".to_owned());
    }
    Ok(match content.whole.take() {
        Some(octets) if content.pieces.len() == 1 => JobContent::Whole(octets),
        _ => JobContent::Pieces(std::mem::take(&mut content.pieces)),
    })
}

fn recipient(claimed: &ClaimedRecipient) -> Result<Recipient, String> {
    let mailbox = text(&claimed.address).and_then(|text| {
        Mailbox::parse(text).map_err(|error| format!("the address is invalid: {error}"))
    })?;
    let parameters = parameters(&claimed.parameters)?;
    Command::Rcpt(mailbox.clone(), parameters.clone())
        .line()
        .map_err(|error| error.to_string())?;
    Ok(Recipient {
        mailbox,
        parameters,
    })
}

fn parameters(stored: &StoredText) -> Result<Parameters, String> {
    text(stored).and_then(|text| {
        Parameters::parse(text).map_err(|error| format!("the parameters are invalid: {error}"))
    })
}

fn text(stored: &StoredText) -> Result<&str, String> {
    stored
        .0
        .as_deref()
        .map_err(|error| format!("its text can't be used: {error}"))
}
