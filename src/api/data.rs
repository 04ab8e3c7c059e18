//! Message data: `data`, `open_data`, `write_data`, `write_raw_data`, `close_data` (RFC 5321
//! §4.1.1.4, §4.5.2).

use pgrx::prelude::*;
use smtp_client::connection::Io;
use smtp_client::wait::Deadline;
use smtp_core::command::Command;

use super::rows::ReplyRow;
use super::{Failures, converse, with_session};
use crate::conversation::Problem;
use crate::conversation::registry::{Handle, Session};
use crate::errors::Report;
use crate::errors::hints::Flaw;
use crate::pg::datum::Bytes;
use crate::pg::encoding::{EncodingError, MessageText};
use crate::pg::notices::warn;

/// `utl_smtp.data`: the whole message in one call.
#[pg_extern(sql = false)]
fn data(c: Option<Handle>, body: Option<Bytes<'_>>) -> ReplyRow {
    let body = text("body", body);
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let body = body?;
        // One limit for DATA, the text and the reply to the dot together.
        let deadline = session.dialogue.deadline();
        let reply = session.dialogue.open_data(deadline, io)?;
        if reply.is_failure() {
            return Ok(reply);
        }
        body.each_piece(|piece| write(session, Some(deadline), piece, io))?;
        session.dialogue.end_data(deadline, io)
    }))
}

/// `utl_smtp.open_data`: DATA.
#[pg_extern(sql = false)]
fn open_data(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        session.dialogue.command(&Command::Data, io)
    }))
}

/// `utl_smtp.write_data`: a piece of the message, as text.
#[pg_extern(sql = false)]
fn write_data(c: Option<Handle>, data: Option<Bytes<'_>>) {
    piece(c, text("data", data));
}

/// `utl_smtp.write_raw_data`: a piece of the message, as bytes.
#[pg_extern(sql = false)]
fn write_raw_data(c: Option<Handle>, data: Option<Bytes<'_>>) {
    piece(c, octets("data", data));
}

/// `utl_smtp.close_data`: the final dot, and the reply to it.
#[pg_extern(sql = false)]
fn close_data(c: Option<Handle>) -> ReplyRow {
    ReplyRow(converse(c, Failures::AsSet, |session, io| {
        let deadline = session.dialogue.deadline();
        session.dialogue.end_data(deadline, io)
    }))
}

fn piece(c: Option<Handle>, data: Result<MessageText<'_>, Report>) {
    // There is no reply to return, so failures are raised whatever the setting.
    let written = with_session(c, |session, io| {
        let data = data?;
        // One piece, as nearly always, leaves it to the first wait to look at the clock.
        let deadline = data.is_in_pieces().then(|| session.dialogue.deadline());
        data.each_piece(|piece| write(session, deadline, piece, io))
    });
    written.unwrap_or_else(|report| report.raise())
}

/// Fetched and checked before the session is taken: PostgreSQL's errors leave the connection as it
/// was.
pub fn text<'a>(
    argument: &'static str,
    data: Option<Bytes<'a>>,
) -> Result<MessageText<'a>, Report> {
    let data = data.ok_or_else(|| Report::null_argument(argument))?;
    MessageText::new(data.get()).map_err(|error| Report::encoding(argument, error))
}

/// The same for bytes.
pub fn octets<'a>(
    argument: &'static str,
    data: Option<Bytes<'a>>,
) -> Result<MessageText<'a>, Report> {
    let data = data.ok_or_else(|| Report::null_argument(argument))?.get();
    if memchr::memchr(0, data).is_some() {
        let reason = "a NUL, which no message may hold";
        return Err(Report::flawed(argument, reason, Flaw::Nul));
    }
    Ok(MessageText::Ready(data.into()))
}

fn write(
    session: &mut Session,
    deadline: Option<Deadline>,
    data: &[u8],
    io: &Io<'_>,
) -> Result<(), Problem> {
    if session.dialogue.write(deadline, data, io)? {
        warn_of_8bit();
    }
    Ok(())
}

/// The one warning of a message.
pub fn warn_of_8bit() {
    warn(
        "the message has 8-bit characters, and the server did not offer 8BITMIME",
        Some("They are sent as they are; a server may refuse or change them."),
    );
}

/// All of a text is checked before it is sent: see [`MessageText::new`].
impl From<EncodingError> for Problem {
    fn from(error: EncodingError) -> Self {
        Report::encoding("data", error).into()
    }
}
