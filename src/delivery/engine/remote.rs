//! The questions of a connection's thread: they are put to the thread that may ask PostgreSQL.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use dkim_sign::Domain;
use oauth2_token::Token;
use pem_wallet::Wallet;
use pgrx::pg_sys;
use smtp_client::tls::TlsCache;
use smtp_client::wait::Interrupted;
use smtp_core::host::Host;

use super::channel::Channel;
use super::group::Group;
use super::job::Event;
use crate::conversation::authority::{Authority, Backend, Destination};
use crate::conversation::registry::Descriptor;
use crate::conversation::token::TokenSource;
use crate::delivery::dkim::{self, Key};
use crate::delivery::store::claim;
use crate::errors::{Report, sqlstate};
use crate::pg::owner::with_owner_rights;
use crate::servers::token::TokenKey;
use crate::servers::{Mapping, Server};

/// Something to be done by the thread that runs PostgreSQL's code, within a transaction. Its end of
/// a channel goes with it: if it is dropped, whoever has asked gets no answer.
pub enum Question {
    /// A question that reads.
    Read(Box<dyn FnOnce() + Send>),
    /// Where an access token comes from.
    Token {
        group: Arc<Group>,
        answer: mpsc::Sender<Result<Option<TokenSource>, Report>>,
    },
    /// What a token endpoint granted, or why it did not.
    Granted {
        group: Arc<Group>,
        granted: Box<Result<Token, Report>>,
        answer: mpsc::Sender<Result<(), Report>>,
    },
}

/// How a thread asks.
pub struct Remote<'a> {
    pub channel: &'a Channel,
    pub group: &'a Arc<Group>,
    /// The TLS sessions of the worker.
    pub sessions: &'a Arc<TlsCache>,
}

impl Remote<'_> {
    /// A piece of a message's content; `None` where it is gone.
    pub fn piece(&self, message_id: i64, piece_no: i32) -> Result<Option<Vec<u8>>, Interrupted> {
        let piece = move || {
            with_owner_rights(|client| claim::piece(client, message_id, piece_no)).flatten()
        };
        self.read(piece).map_err(|_| Interrupted)
    }

    /// The DKIM keys of these domains, as they are now.
    pub fn keys(&self, domains: Vec<Domain>) -> Result<Vec<Key>, Report> {
        self.read(move || dkim::keys_of(&domains))?
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Report> {
        let (answer, answered) = mpsc::channel();
        self.ask(Question::Read(Box::new(move || {
            // The thread that asked may be gone.
            let _ = answer.send(work());
        })));
        answered.recv().map_err(|_| no_answer())
    }

    fn ask(&self, question: Question) {
        self.channel.post(Event::Question(question));
    }
}

impl Authority for Remote<'_> {
    fn permitted(
        &self,
        destination: Destination,
        found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Report> {
        self.read(move || Backend.permitted(destination, found))?
    }

    fn may_use_client_certificates(
        &self,
        role: pg_sys::Oid,
        host: &Host,
        port: u16,
    ) -> Result<bool, Report> {
        let host = host.clone();
        self.read(move || Backend.may_use_client_certificates(role, &host, port))?
    }

    fn default_wallet(&self, path: Option<&str>) -> Result<Arc<Wallet>, Report> {
        let path = path.map(str::to_owned);
        self.read(move || Backend.default_wallet(path.as_deref()))?
    }

    fn tls_sessions(&self) -> Arc<TlsCache> {
        Arc::clone(self.sessions)
    }

    fn token(&self, _: &Server, _: &Mapping) -> Result<Option<TokenSource>, Report> {
        let (answer, answered) = mpsc::channel();
        let group = Arc::clone(self.group);
        self.ask(Question::Token { group, answer });
        answered.recv().map_err(|_| no_answer())?
    }

    fn token_granted(&self, _: &Mapping, granted: Result<&Token, &Report>) -> Result<(), Report> {
        let (answer, answered) = mpsc::channel();
        let granted = granted.cloned().map_err(Report::clone);
        self.ask(Question::Granted {
            group: Arc::clone(self.group),
            granted: Box::new(granted),
            answer,
        });
        answered.recv().map_err(|_| no_answer())?
    }

    fn token_refused(&self, key: &TokenKey) {
        let key = *key;
        let _ = self.read(move || Backend.token_refused(&key));
    }

    fn descriptor(&self) -> Result<Option<Descriptor>, Report> {
        Ok(None)
    }

    fn warn(&self, message: &str, detail: Option<&str>) {
        if !self.channel.is_news(message) {
            return;
        }
        let (message, detail) = (message.to_owned(), detail.map(str::to_owned));
        let _ = self.read(move || Backend.warn(&message, detail.as_deref()));
    }

    fn warn_of_anchor(&self, subject: &str, not_after: i64) {
        if !self.channel.is_news(subject) {
            return;
        }
        let subject = subject.to_owned();
        let _ = self.read(move || Backend.warn_of_anchor(&subject, not_after));
    }
}

/// The question failed, or the worker stops.
fn no_answer() -> Report {
    Report::new(
        sqlstate::INSUFFICIENT_RESOURCES,
        "the worker could not look it up",
    )
}
