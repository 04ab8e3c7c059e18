//! One command and its reply: `command`, `helo`, `ehlo`, `starttls`, `mail`, `rcpt`, `rset`,
//! `noop`, `vrfy`, `help`.

use pem_wallet::ServerIdentity;
use pgrx::prelude::*;
use smtp_client::connection::Io;
use smtp_core::command::Command;
use smtp_core::reply::Reply;
use smtp_core::text::{
    Domain, Mailbox, Parameters, RawCommand, RawCommandError, ReversePath, printable,
};

use super::arguments::{non_empty, required};
use super::rows::{ReplyRow, ReplyRows};
use super::{Failures, converse};
use crate::access::senders;
use crate::conversation::Problem;
use crate::conversation::registry::{Handle, Session};
use crate::errors::{OfArgument, Report};
use crate::pg::datum::Bytes;
use crate::pg::roles;
use crate::settings;

/// `utl_smtp.command`: any line, RFC 5321 §4.1.
#[pg_extern(sql = false)]
fn command(c: Option<Handle>, cmd: Option<Bytes<'_>>, arg: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        raw(session, cmd, arg, io)
    }))
}

/// `utl_smtp.command_replies`: the same, with all lines of the reply, whatever it is.
#[pg_extern(sql = false)]
fn command_replies(c: Option<Handle>, cmd: Option<Bytes<'_>>, arg: Option<Bytes<'_>>) -> ReplyRows {
    ReplyRows(converse(c, Failures::Returned, |session, io| {
        raw(session, cmd, arg, io)
    }))
}

/// `utl_smtp.helo`: RFC 5321 §4.1.1.1.
#[pg_extern(sql = false)]
fn helo(c: Option<Handle>, domain: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        hello(session, domain, Command::Helo, io)
    }))
}

/// `utl_smtp.ehlo`: RFC 5321 §4.1.1.1.
#[pg_extern(sql = false)]
fn ehlo(c: Option<Handle>, domain: Option<Bytes<'_>>) -> ReplyRows {
    ReplyRows(converse(c, Failures::AsSet, |session, io| {
        hello(session, domain, Command::Ehlo, io)
    }))
}

/// `utl_smtp.starttls`: RFC 3207.
#[pg_extern(sql = false)]
fn starttls(c: Option<Handle>, secure_host: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        session.dialogue.admit_start_tls()?;
        let secure_host = non_empty("secure_host", secure_host)?;
        let identity = secure_host
            .map(|name| ServerIdentity::parse(&name).of_argument("secure_host"))
            .transpose()?;
        let Session {
            dialogue, opening, ..
        } = session;
        dialogue.start_tls(opening, identity, io)
    }))
}

/// `utl_smtp.mail`: RFC 5321 §4.1.1.2.
#[pg_extern(sql = false)]
fn mail(c: Option<Handle>, sender: Option<Bytes<'_>>, parameters: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let sender = ReversePath::parse(&required("sender", sender)?).of_argument("sender")?;
        senders::require_approved(roles::current(), &sender)?;
        let command = Command::Mail(sender, esmtp_parameters(parameters)?);
        session.dialogue.command(&command, io)
    }))
}

/// `utl_smtp.rcpt`: RFC 5321 §4.1.1.3.
#[pg_extern(sql = false)]
fn rcpt(
    c: Option<Handle>,
    recipient: Option<Bytes<'_>>,
    parameters: Option<Bytes<'_>>,
) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let recipient =
            Mailbox::parse(&required("recipient", recipient)?).of_argument("recipient")?;
        let command = Command::Rcpt(recipient, esmtp_parameters(parameters)?);
        session.dialogue.command(&command, io)
    }))
}

/// `utl_smtp.rset`: RFC 5321 §4.1.1.5.
#[pg_extern(sql = false)]
fn rset(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        session.dialogue.command(&Command::Rset, io)
    }))
}

/// `utl_smtp.noop`: RFC 5321 §4.1.1.9.
#[pg_extern(sql = false)]
fn noop(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        session.dialogue.command(&Command::Noop, io)
    }))
}

/// `utl_smtp.vrfy`: RFC 5321 §4.1.1.6. Any reply passes through.
#[pg_extern(sql = false)]
fn vrfy(c: Option<Handle>, recipient: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::Returned, |session, io| {
        let recipient = required("recipient", recipient)?;
        printable(&recipient).of_argument("recipient")?;
        if recipient.trim().is_empty() {
            return Err(Report::argument("recipient", "it is empty").into());
        }
        let command = Command::Vrfy(recipient.into_owned());
        session.dialogue.command(&command, io)
    }))
}

/// `utl_smtp.help`: RFC 5321 §4.1.1.8. Any reply passes through.
#[pg_extern(sql = false)]
fn help(c: Option<Handle>, command: Option<Bytes<'_>>) -> ReplyRows {
    ReplyRows(converse(c, Failures::Returned, |session, io| {
        let topic = non_empty("command", command)?;
        if let Some(topic) = &topic {
            printable(topic).of_argument("command")?;
        }
        let command = Command::Help(topic.map(|topic| topic.into_owned()));
        session.dialogue.command(&command, io)
    }))
}

fn raw(
    session: &mut Session,
    cmd: Option<Bytes<'_>>,
    arg: Option<Bytes<'_>>,
    io: &Io<'_>,
) -> Result<Reply, Problem> {
    let cmd = required("cmd", cmd)?;
    let arg = non_empty("arg", arg)?;
    let is_challenge = session.dialogue.session().phase().is_challenge();
    let line = match is_challenge {
        true => RawCommand::parse_response(&cmd, arg.as_deref()),
        false => RawCommand::parse(&cmd, arg.as_deref()),
    };
    let line = line.or_else(|error| match error {
        RawCommandError::Command(error) => Err(error).of_argument("cmd"),
        RawCommandError::Argument(error) => Err(error).of_argument("arg"),
    })?;
    if !is_challenge {
        senders::require_approved_line(roles::current(), &line)?;
    }
    session
        .dialogue
        .allow_cleartext_auth(settings::allow_cleartext_auth());
    session.dialogue.command(&Command::Raw(line), io)
}

pub fn esmtp_parameters(parameters: Option<Bytes<'_>>) -> Result<Parameters, Report> {
    let parameters = non_empty("parameters", parameters)?;
    Parameters::parse(parameters.as_deref().unwrap_or_default()).of_argument("parameters")
}

/// Looking up the own name, where none is given, is part of the command's time.
fn hello(
    session: &mut Session,
    domain: Option<Bytes<'_>>,
    command: fn(Domain) -> Command,
    io: &Io<'_>,
) -> Result<Reply, Problem> {
    let domain = non_empty("domain", domain)?
        .map(|domain| Domain::parse(&domain).of_argument("domain"))
        .transpose()?;
    session.dialogue.hello(domain, command, io)
}
