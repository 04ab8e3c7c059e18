//! The SQL functions of schema `utl_smtp` as Rust calls. Every argument is a bound parameter, so no
//! secret appears in a statement's text.

use crate::cluster::{Failure, Session};
use postgres::types::ToSql;

pub type Argument<'a> = &'a (dyn ToSql + Sync);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: i32,
    pub text: String,
}

/// The arguments of `open_connection`.
#[derive(Clone, Debug)]
pub struct Open<'a> {
    host: &'a str,
    port: i32,
    timeout: Option<i32>,
    wallet: Option<&'a str>,
    wallet_password: Option<&'a str>,
    implicit_tls: bool,
    secure_host: Option<&'a str>,
}

impl<'a> Open<'a> {
    /// With a timeout of a minute, so that a test fails instead of waiting.
    pub fn to(host: &'a str, port: u16) -> Self {
        Self {
            host,
            port: port.into(),
            timeout: Some(60),
            wallet: None,
            wallet_password: None,
            implicit_tls: false,
            secure_host: None,
        }
    }

    pub fn timeout(self, seconds: impl Into<Option<i32>>) -> Self {
        Self {
            timeout: seconds.into(),
            ..self
        }
    }

    pub fn wallet(self, locator: &'a str) -> Self {
        Self {
            wallet: Some(locator),
            ..self
        }
    }

    pub fn wallet_password(self, password: &'a str) -> Self {
        Self {
            wallet_password: Some(password),
            ..self
        }
    }

    pub fn implicit_tls(self) -> Self {
        Self {
            implicit_tls: true,
            ..self
        }
    }

    pub fn secure_host(self, host: &'a str) -> Self {
        Self {
            secure_host: Some(host),
            ..self
        }
    }

    pub fn open(&self, session: &mut Session) -> Result<Smtp, Failure> {
        let sql = "SELECT utl_smtp.open_connection($1, $2, $3, $4, $5, $6, $7)::text";
        Ok(Smtp {
            handle: session.query_one(sql, &self.arguments())?.get(0),
        })
    }

    /// Oracle's overload that returns the reply. There is no connection if the greeting was
    /// negative.
    pub fn open_reply(&self, session: &mut Session) -> Result<(Option<Smtp>, Reply), Failure> {
        let sql = "SELECT c::text, (reply).code, (reply).text
                     FROM utl_smtp.open_connection_reply($1, $2, $3, $4, $5, $6, $7)";
        let row = session.query_one(sql, &self.arguments())?;
        let handle: Option<String> = row.get(0);
        Ok((
            handle.map(|handle| Smtp { handle }),
            Reply {
                code: row.get(1),
                text: row.get(2),
            },
        ))
    }

    fn arguments(&self) -> [Argument<'_>; 7] {
        [
            &self.host,
            &self.port,
            &self.timeout,
            &self.wallet,
            &self.wallet_password,
            &self.implicit_tls,
            &self.secure_host,
        ]
    }
}

/// A `utl_smtp.connection` in its text form.
#[derive(Clone, Debug)]
pub struct Smtp {
    pub handle: String,
}

impl Smtp {
    pub fn helo(&self, session: &mut Session, domain: &str) -> Result<Reply, Failure> {
        self.reply(session, "helo", &[&domain])
    }

    pub fn ehlo(&self, session: &mut Session, domain: &str) -> Result<Vec<Reply>, Failure> {
        self.replies(session, "ehlo", &[&domain])
    }

    pub fn starttls(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "starttls", &[])
    }

    pub fn auth(
        &self,
        session: &mut Session,
        username: &str,
        password: &str,
        schemes: &str,
    ) -> Result<Reply, Failure> {
        self.reply(session, "auth", &[&username, &password, &schemes])
    }

    pub fn mail(&self, session: &mut Session, sender: &str) -> Result<Reply, Failure> {
        self.reply(session, "mail", &[&sender])
    }

    pub fn rcpt(&self, session: &mut Session, recipient: &str) -> Result<Reply, Failure> {
        self.reply(session, "rcpt", &[&recipient])
    }

    pub fn data(&self, session: &mut Session, body: &str) -> Result<Reply, Failure> {
        self.reply(session, "data", &[&body])
    }

    pub fn open_data(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "open_data", &[])
    }

    pub fn write_data(&self, session: &mut Session, data: &str) -> Result<(), Failure> {
        self.void(session, "write_data", &[&data])
    }

    pub fn write_raw_data(&self, session: &mut Session, data: &[u8]) -> Result<(), Failure> {
        self.void(session, "write_raw_data", &[&data])
    }

    pub fn close_data(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "close_data", &[])
    }

    /// One row per recipient.
    pub fn send_message(
        &self,
        session: &mut Session,
        sender: &str,
        recipients: &[&str],
        message: &str,
    ) -> Result<Vec<(String, Reply)>, Failure> {
        let sql = "SELECT * FROM utl_smtp.send_message($1::text::utl_smtp.connection, $2, $3, $4)";
        self.rows(session, sql, &[&sender, &recipients, &message])
    }

    /// `send_message` with bytes and parameters.
    pub fn send_raw_message(
        &self,
        session: &mut Session,
        sender: &str,
        recipients: &[&str],
        message: &[u8],
        parameters: &str,
    ) -> Result<Vec<(String, Reply)>, Failure> {
        let sql = "SELECT * FROM utl_smtp.send_message($1::text::utl_smtp.connection, $2, $3, $4::bytea, $5)";
        self.rows(session, sql, &[&sender, &recipients, &message, &parameters])
    }

    fn rows(
        &self,
        session: &mut Session,
        sql: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<(String, Reply)>, Failure> {
        let rows = session.query(sql, &self.with(arguments))?;
        let row = |row: &postgres::Row| {
            let (code, text) = (row.get("code"), row.get("text"));
            (row.get("recipient"), Reply { code, text })
        };
        Ok(rows.iter().map(row).collect())
    }

    pub fn rset(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "rset", &[])
    }

    pub fn noop(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "noop", &[])
    }

    pub fn quit(&self, session: &mut Session) -> Result<Reply, Failure> {
        self.reply(session, "quit", &[])
    }

    pub fn close_connection(&self, session: &mut Session) -> Result<(), Failure> {
        self.void(session, "close_connection", &[])
    }

    pub fn command(
        &self,
        session: &mut Session,
        command: &str,
        argument: Option<&str>,
    ) -> Result<Reply, Failure> {
        self.reply(session, "command", &[&command, &argument])
    }

    /// Calls a function that returns one reply.
    pub fn reply(
        &self,
        session: &mut Session,
        function: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Reply, Failure> {
        let sql = format!("SELECT code, text FROM {}", call(function, arguments.len()));
        let row = session.query_one(&sql, &self.with(arguments))?;
        Ok(Reply {
            code: row.get(0),
            text: row.get(1),
        })
    }

    /// Calls a function that returns an array of replies.
    pub fn replies(
        &self,
        session: &mut Session,
        function: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Reply>, Failure> {
        let sql = format!(
            "SELECT code, text FROM unnest({})",
            call(function, arguments.len())
        );
        let rows = session.query(&sql, &self.with(arguments))?;
        Ok(rows
            .iter()
            .map(|row| Reply {
                code: row.get(0),
                text: row.get(1),
            })
            .collect())
    }

    fn void(
        &self,
        session: &mut Session,
        function: &str,
        arguments: &[Argument<'_>],
    ) -> Result<(), Failure> {
        let sql = format!("SELECT FROM {}", call(function, arguments.len()));
        session.execute(&sql, &self.with(arguments))?;
        Ok(())
    }

    fn with<'a>(&'a self, arguments: &[Argument<'a>]) -> Vec<Argument<'a>> {
        std::iter::once(&self.handle as Argument<'a>)
            .chain(arguments.iter().copied())
            .collect()
    }
}

fn call(function: &str, arguments: usize) -> String {
    let more: String = (2..arguments + 2)
        .map(|number| format!(", ${number}"))
        .collect();
    format!("utl_smtp.{function}($1::text::utl_smtp.connection{more})")
}
