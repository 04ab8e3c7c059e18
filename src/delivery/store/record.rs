//! Writing a message into the queue, at one moment of the caller's transaction.

use std::ffi::CStr;

use pgrx::{check_for_interrupts, pg_sys};

use crate::conversation::recorded::Letter;
use crate::conversation::recorded::content::Content;
use crate::delivery::{home, wake};
use crate::errors::Report;
use crate::pg::datum::{OctetBuffer, text_datum};
use crate::pg::insertion::{Insertion, Target};
use crate::pg::{memory, owner, roles, sequence, transaction};

/// Octets of a piece of the content.
const PIECE: usize = 256 * 1024;

/// The attributes of `utl_smtp.message`.
const MESSAGE: [pg_sys::Oid; 18] = [
    pg_sys::INT8OID,
    pg_sys::OIDOID,
    pg_sys::TEXTOID,
    pg_sys::OIDOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INT8OID,
    pg_sys::BOOLOID,
    pg_sys::TEXTOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::INT2OID,
    pg_sys::TEXTOID,
];

/// The attributes of `utl_smtp.message_recipient`.
const RECIPIENT: [pg_sys::Oid; 8] = [
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TEXTOID,
];

/// The attributes of `utl_smtp.message_content`.
const CONTENT: [pg_sys::Oid; 3] = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::BYTEAOID];

/// Writes a message; returns its number. It is delivered if the (sub)transaction that is current
/// here commits.
pub fn record(letter: &Letter<'_>, content: &mut dyn Content) -> Result<i64, Report> {
    let room = usize::try_from(content.size()).map_or(PIECE, |size| size.min(PIECE));
    let buffer = OctetBuffer::new(room)?;
    let written = owner::as_owner(|| write(letter, content, buffer));
    let message_id = written.unwrap_or_else(|| Err(Report::queue_missing()))?;
    wake::message_queued();
    Ok(message_id)
}

fn write(
    letter: &Letter<'_>,
    content: &mut dyn Content,
    buffer: OctetBuffer,
) -> Result<i64, Report> {
    let table = |name: &CStr| owner::table(name).ok_or_else(Report::queue_missing);
    let message_id = sequence::next(table(c"message_id")?);
    let insertion = Insertion::begin();
    let open = |name: &CStr, types: &[pg_sys::Oid]| {
        let target = insertion.open(table(name)?, types);
        target.ok_or_else(Report::queue_missing)
    };
    let mut pieces = Pieces {
        target: open(c"message_content", &CONTENT)?,
        message_id,
        piece_no: 0,
        buffer,
    };
    content.each_piece(&mut |octets| pieces.put(octets))?;
    pieces.finish();
    let now = transaction::now();
    let due = letter.send_at.map_or(now, |send_at| send_at.max(now));
    let mut recipients = open(c"message_recipient", &RECIPIENT)?;
    for (index, recipient) in letter.envelope.recipients.iter().enumerate() {
        recipients.insert(&[
            Some(message_id.into()),
            Some((index as i32 + 1).into()),
            Some(text_datum(recipient.mailbox.as_str())),
            Some(text_datum(recipient.parameters.as_str())),
            Some(0_i32.into()),
            None,
            Some(due.into()),
            None,
        ]);
    }
    recipients.close();
    let mut messages = open(c"message", &MESSAGE)?;
    messages.insert(&message(message_id, letter, content, (now, due)));
    messages.close();
    insertion.end();
    Ok(message_id)
}

/// A row of `utl_smtp.message`.
fn message(
    message_id: i64,
    letter: &Letter<'_>,
    content: &dyn Content,
    (now, due): (pg_sys::TimestampTz, pg_sys::TimestampTz),
) -> [Option<pg_sys::Datum>; 18] {
    [
        Some(message_id.into()),
        Some(letter.server.into()),
        Some(text_datum(letter.server_name)),
        Some(letter.owner.into()),
        Some(text_datum(&roles::name(letter.owner))),
        Some(text_datum(letter.envelope.sender.as_str())),
        Some(text_datum(letter.envelope.parameters.as_str())),
        content.subject().map(text_datum),
        Some((content.size() as i64).into()),
        Some(letter.at_most_once.into()),
        Some(text_datum(&home::stamp())),
        Some(now.into()),
        Some(due.into()),
        Some(due.into()),
        None,
        None,
        Some(0_i16.into()),
        None,
    ]
}

/// Writes a content in pieces.
struct Pieces {
    target: Target,
    message_id: i64,
    piece_no: i32,
    buffer: OctetBuffer,
}

impl Pieces {
    /// The next octets of the content.
    fn put(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            octets = self.buffer.fill(octets);
            if !octets.is_empty() {
                self.flush();
            }
        }
    }

    fn finish(mut self) {
        // A message without any octet has one piece, too: a missing content is told from an empty
        // one.
        if self.buffer.len() > 0 || self.piece_no == 0 {
            self.flush();
        }
        self.target.close();
    }

    fn flush(&mut self) {
        check_for_interrupts!();
        memory::check();
        self.piece_no += 1;
        self.target.insert(&[
            Some(self.message_id.into()),
            Some(self.piece_no.into()),
            Some(self.buffer.datum()),
        ]);
        self.buffer.clear();
    }
}
