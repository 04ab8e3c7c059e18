//! A conversation as the SQL functions see it: with a server, or recorded for later.

use pem_wallet::ServerIdentity;
use smtp_client::connection::{Connection, Farewell, Io, Statistics};
use smtp_client::send::Verdict;
use smtp_client::tls::TlsInfo;
use smtp_client::wait::Deadline;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::command::Command;
use smtp_core::envelope::Envelope;
use smtp_core::reply::Reply;
use smtp_core::session::Session;
use smtp_core::text::Domain;

use super::authority::Environment;
use super::opening::Opening;
use super::recorded::Draft;
use super::registry::Descriptor;
use super::{Problem, login};
use crate::errors::{Report, hints};
use crate::servers::{Mapping, Server};

/// A conversation under way.
pub enum Dialogue {
    Live(Box<Live>),
    Recorded(Box<Draft>),
}

/// A conversation with a server.
pub struct Live {
    pub connection: Connection,
    #[expect(dead_code, reason = "held for as long as the socket is open")]
    pub descriptor: Descriptor,
}

impl Dialogue {
    pub fn live(connection: Connection, descriptor: Descriptor) -> Self {
        Self::Live(Box::new(Live {
            connection,
            descriptor,
        }))
    }

    /// The connection to a server; `None` where there is none.
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Live(live) => Some(&live.connection),
            Self::Recorded(_) => None,
        }
    }

    pub fn session(&self) -> &Session {
        match self {
            Self::Live(live) => live.connection.session(),
            Self::Recorded(draft) => draft.session(),
        }
    }

    pub fn statistics(&self) -> &Statistics {
        match self {
            Self::Live(live) => &live.connection.statistics,
            Self::Recorded(draft) => &draft.statistics,
        }
    }

    pub fn tls(&self) -> Option<&TlsInfo> {
        self.connection()?.tls()
    }

    /// What `connections()` calls it.
    pub fn delivery(&self) -> &'static str {
        match self {
            Self::Live(_) => "immediate",
            Self::Recorded(_) => "on_commit",
        }
    }

    /// The number in the queue of the message that was sent last.
    pub fn queued(&self) -> Option<i64> {
        match self {
            Self::Live(_) => None,
            Self::Recorded(draft) => draft.queued(),
        }
    }

    pub fn is_over(&self) -> bool {
        match self {
            Self::Live(live) => live.connection.is_over(),
            Self::Recorded(draft) => draft.is_over(),
        }
    }

    /// When a call that begins now has to be over. A recorded conversation waits for nobody.
    pub fn deadline(&self) -> Deadline {
        match self {
            Self::Live(live) => live.connection.deadline(),
            Self::Recorded(_) => Deadline::never(),
        }
    }

    pub fn allow_cleartext_auth(&mut self, allow: bool) {
        match self {
            Self::Live(live) => live.connection.allow_cleartext_auth(allow),
            Self::Recorded(draft) => draft.allow_cleartext_auth(allow),
        }
    }

    /// One command and its reply.
    pub fn command(&mut self, command: &Command, io: &Io<'_>) -> Result<Reply, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.command(command, io)?),
            Self::Recorded(draft) => draft.command(command, io),
        }
    }

    /// DATA, as a part of a call that began with this deadline.
    pub fn open_data(&mut self, deadline: Deadline, io: &Io<'_>) -> Result<Reply, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.command_by(deadline, &Command::Data, io)?),
            Self::Recorded(draft) => draft.command(&Command::Data, io),
        }
    }

    /// EHLO or HELO; without a domain, by this machine's name.
    pub fn hello(
        &mut self,
        domain: Option<Domain>,
        command: fn(Domain) -> Command,
        io: &Io<'_>,
    ) -> Result<Reply, Problem> {
        match (self, domain) {
            (Self::Live(live), domain) => {
                let environment = Environment::of_backend(io);
                login::hello(&mut live.connection, domain, command, &environment)
            }
            (Self::Recorded(draft), Some(domain)) => draft.command(&command(domain), io),
            (Self::Recorded(draft), None) => draft.hello(command, io),
        }
    }

    /// Refuses STARTTLS where it has no place, before anything is looked at for it.
    pub fn admit_start_tls(&mut self) -> Result<(), Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.admit_start_tls()?),
            Self::Recorded(draft) => draft.admit(&Command::StartTls),
        }
    }

    /// STARTTLS and the handshake.
    pub fn start_tls(
        &mut self,
        opening: &Opening,
        identity: Option<ServerIdentity>,
        io: &Io<'_>,
    ) -> Result<Reply, Problem> {
        match self {
            Self::Live(live) => {
                let environment = Environment::of_backend(io);
                opening.start_tls(&mut live.connection, identity, &environment)
            }
            Self::Recorded(draft) => draft.command(&Command::StartTls, io),
        }
    }

    /// AUTH by the first of `schemes` that is offered.
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
        io: &Io<'_>,
    ) -> Result<Reply, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.authenticate(schemes, credentials, io)?),
            Self::Recorded(draft) => draft.authenticate(schemes, credentials, io),
        }
    }

    /// AUTH by the mapping of a server, which must be the one at the other end.
    pub fn set_credential(
        &mut self,
        opening: &Opening,
        server: &Server,
        mapping: &Mapping,
        schemes: Option<&SchemeList>,
        io: &Io<'_>,
    ) -> Result<Reply, Problem> {
        let reply = match self {
            Self::Live(live) => {
                let connection = &mut live.connection;
                login::require_server(connection, opening, server)?;
                let environment = Environment::of_backend(io);
                login::authenticate(connection, opening, server, mapping, schemes, &environment)?
            }
            Self::Recorded(draft) => draft.set_credential(server, mapping, schemes, io)?,
        };
        Ok(reply.ok_or_else(|| Report::option_missing("password", hints::MAPPING_PASSWORD))?)
    }

    /// A piece of the message. True where its 8-bit characters deserve the message's one warning.
    pub fn write(
        &mut self,
        deadline: Option<Deadline>,
        data: &[u8],
        io: &Io<'_>,
    ) -> Result<bool, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.write(deadline, data, io)?),
            Self::Recorded(draft) => draft.write(data, io),
        }
    }

    /// The end of the message, and the verdict on it.
    pub fn end_data(&mut self, deadline: Deadline, io: &Io<'_>) -> Result<Reply, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.end_data(deadline, io)?),
            Self::Recorded(draft) => draft.end_data(io),
        }
    }

    /// One whole message, see [`Connection::send`].
    pub fn send<B>(
        &mut self,
        envelope: &Envelope,
        body: B,
        max_recipients: usize,
        io: &Io<'_>,
    ) -> Result<Verdict, Problem>
    where
        B: Clone + IntoIterator<Item: AsRef<[u8]>>,
    {
        match self {
            Self::Live(live) => Ok(live.connection.send(envelope, body, max_recipients, io)?),
            Self::Recorded(draft) => draft.send(envelope, body, io),
        }
    }

    /// QUIT. The conversation is over whatever happens, but where the command has no place.
    pub fn quit(&mut self, io: &Io<'_>) -> Result<Farewell, Problem> {
        match self {
            Self::Live(live) => Ok(live.connection.quit(io)?),
            Self::Recorded(draft) => draft.command(&Command::Quit, io).map(Farewell::Reply),
        }
    }

    /// Ends the conversation without QUIT.
    pub fn hang_up(&mut self) {
        match self {
            Self::Live(live) => live.connection.hang_up(),
            Self::Recorded(draft) => draft.hang_up(),
        }
    }
}
