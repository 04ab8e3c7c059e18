//! `utl_smtp.submit`: a whole message for the queue.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::arguments::required;
use super::data::{octets, text};
use super::message::Addressed;
use super::{admit, caller};
use crate::conversation::recorded::Letter;
use crate::conversation::recorded::content::{Content, Whole};
use crate::delivery::store::record::record;
use crate::errors::Report;
use crate::pg::datum::{Bytes, TextArray};
use crate::pg::encoding::MessageText;
use crate::pg::transaction;
use crate::servers::Server;

/// The arguments but for the message.
struct Arguments<'a> {
    server: Option<Bytes<'a>>,
    sender: Option<Bytes<'a>>,
    recipients: Option<TextArray<'a>>,
    send_at: Option<TimestampWithTimeZone>,
    at_most_once: Option<bool>,
}

/// `utl_smtp.submit`, with a message of type text.
#[pg_extern(sql = false)]
fn submit(
    server: Option<Bytes<'_>>,
    sender: Option<Bytes<'_>>,
    recipients: Option<TextArray<'_>>,
    message: Option<Bytes<'_>>,
    send_at: Option<TimestampWithTimeZone>,
    at_most_once: Option<bool>,
) -> i64 {
    let arguments = Arguments {
        server,
        sender,
        recipients,
        send_at,
        at_most_once,
    };
    queue(arguments, text("message", message)).unwrap_or_else(|report| report.raise())
}

/// `utl_smtp.submit`, with a message of type bytea.
#[pg_extern(sql = false)]
fn submit_raw(
    server: Option<Bytes<'_>>,
    sender: Option<Bytes<'_>>,
    recipients: Option<TextArray<'_>>,
    message: Option<Bytes<'_>>,
    send_at: Option<TimestampWithTimeZone>,
    at_most_once: Option<bool>,
) -> i64 {
    let arguments = Arguments {
        server,
        sender,
        recipients,
        send_at,
        at_most_once,
    };
    queue(arguments, octets("message", message)).unwrap_or_else(|report| report.raise())
}

fn queue(
    arguments: Arguments<'_>,
    message: Result<MessageText<'_>, Report>,
) -> Result<i64, Report> {
    let role = caller()?;
    admit()?;
    let name = required("server", arguments.server)?;
    let addressed = Addressed::parse(arguments.sender, arguments.recipients, None)?;
    let send_at = arguments
        .send_at
        .map(|send_at| moment("send_at", send_at))
        .transpose()?;
    let message = message?;
    let server = Server::usable(&name, role)?;
    server.require_access(role)?;
    transaction::require_writable(c"utl_smtp.submit()");
    let mut content = Whole::new(&message, &addressed.envelope.sender)?;
    server.require_size(content.size())?;
    let letter = Letter {
        server: server.oid,
        server_name: &server.name,
        owner: role,
        envelope: &addressed.envelope,
        at_most_once: arguments.at_most_once.unwrap_or(false),
        send_at,
    };
    record(&letter, &mut content)
}

fn moment(argument: &str, value: TimestampWithTimeZone) -> Result<pg_sys::TimestampTz, Report> {
    let moment = pg_sys::TimestampTz::from(value);
    match transaction::is_finite(moment) {
        true => Ok(moment),
        false => Err(Report::argument(argument, "it is infinite")),
    }
}
