//! Message data: `data`, `open_data`, `write_data`, `write_raw_data`, `close_data` (RFC 5321 §4.1.1.4, §4.5.2).

use pgrx::prelude::*;
use smtp_core::command::Command;
use smtp_net::connection::Io;
use smtp_net::wait::Deadline;

use super::{Failures, Problem, converse, warn, with_session};
use crate::datum::{Bytes, ReplyRow};
use crate::encoding;
use crate::errors::Report;
use crate::registry::{Handle, Session};

/// `utl_smtp.data`: the whole message in one call.
#[pg_extern(sql = false)]
fn data(c: Option<Handle>, body: Option<Bytes<'_>>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let body = body.ok_or_else(|| Report::null_argument("body"))?;
        let body = encoding::to_utf8("body", body.0)?;
        // One limit for DATA, the text and the reply to the dot together.
        let deadline = session.connection.deadline();
        let connection = &mut session.connection;
        let reply = connection.command_by(deadline, &Command::Data, io)?;
        if reply.is_failure() {
            return Ok(reply);
        }
        write(session, Some(deadline), &body, io)?;
        Ok(session.connection.end_data(deadline, io)?)
    }))
}

/// `utl_smtp.open_data`: DATA.
#[pg_extern(sql = false)]
fn open_data(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        Ok(session.connection.command(&Command::Data, io)?)
    }))
}

/// `utl_smtp.write_data`: a piece of the message, as text.
#[pg_extern(sql = false)]
fn write_data(c: Option<Handle>, data: Option<Bytes<'_>>) {
    piece(c, data, |data| encoding::to_utf8("data", data))
}

/// `utl_smtp.write_raw_data`: a piece of the message, as bytes.
#[pg_extern(sql = false)]
fn write_raw_data(c: Option<Handle>, data: Option<Bytes<'_>>) {
    piece(c, data, |data| {
        if memchr::memchr(0, data).is_some() {
            return Err(Report::argument("data", "a NUL, which no message may hold"));
        }
        Ok(data.into())
    })
}

/// `utl_smtp.close_data`: the final dot, and the reply to it.
#[pg_extern(sql = false)]
fn close_data(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let deadline = session.connection.deadline();
        Ok(session.connection.end_data(deadline, io)?)
    }))
}

fn piece<'a>(
    c: Option<Handle>,
    data: Option<Bytes<'a>>,
    bytes: impl FnOnce(&'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Report>,
) {
    // There is no reply to return, so failures are raised whatever the setting.
    let written = with_session(c, |session, io| {
        let data = data.ok_or_else(|| Report::null_argument("data"))?;
        write(session, None, &bytes(data.0)?, io)
    });
    written.unwrap_or_else(|report| report.raise())
}

fn write(
    session: &mut Session,
    deadline: Option<Deadline>,
    data: &[u8],
    io: &Io<'_>,
) -> Result<(), Problem> {
    if session.connection.write(deadline, data, io)? {
        warn(
            "the message has 8-bit characters, and the server did not offer 8BITMIME",
            Some("They are sent as they are; a server may refuse or change them."),
        );
    }
    Ok(())
}
