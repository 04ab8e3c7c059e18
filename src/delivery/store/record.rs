//! Writing a message into the queue, at one moment of the caller's transaction.

use pgrx::spi::SpiClient;
use pgrx::{check_for_interrupts, pg_sys};
use smtp_core::envelope::Envelope;

use crate::conversation::recorded::Letter;
use crate::conversation::recorded::content::Content;
use crate::delivery::{home, wake};
use crate::errors::{Report, sqlstate};
use crate::pg::datum::{OctetBuffer, text_datum};
use crate::pg::owner::{self, Plan};
use crate::pg::{memory, roles, sequence, transaction};

/// Octets of a piece of the content.
const PIECE: usize = 256 * 1024;

/// Writes a content in pieces.
struct Sink<'a, 'conn> {
    client: &'a mut SpiClient<'conn>,
    message_id: i64,
    piece_no: i32,
    buffer: OctetBuffer,
}

thread_local! {
    static MESSAGE: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.message (message_id, server, server_name, owner, owner_name, sender, parameters, \
                subject, size, at_most_once, home, submitted_at, due_at, next_attempt_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
            &[
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
            ],
        )
    };
    static RECIPIENT: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.message_recipient (message_id, recipient_no, recipient, parameters, next_attempt_at) \
              VALUES ($1, $2, $3, $4, $5)",
            &[
                pg_sys::INT8OID,
                pg_sys::INT4OID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TIMESTAMPTZOID,
            ],
        )
    };
    static PIECE_OF_CONTENT: Plan = const {
        Plan::new(
            c"INSERT INTO utl_smtp.message_content (message_id, piece_no, piece) VALUES ($1, $2, $3)",
            &[pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::BYTEAOID],
        )
    };
}

/// Writes a message; returns its number. It is delivered if the (sub)transaction that is current here commits.
pub fn record(letter: &Letter<'_>, content: &mut dyn Content) -> Result<i64, Report> {
    let room = usize::try_from(content.size()).map_or(PIECE, |size| size.min(PIECE));
    let buffer = OctetBuffer::new(room)?;
    let written = owner::with_owner_rights(|client| {
        let message_id = sequence::next(owner::table(c"message_id").ok_or_else(no_queue)?);
        let mut sink = Sink {
            client,
            message_id,
            piece_no: 0,
            buffer,
        };
        content.each_piece(&mut |octets| sink.put(octets))?;
        sink.finish();
        let now = transaction::now();
        let due = letter.send_at.map_or(now, |send_at| send_at.max(now));
        recipients(client, message_id, letter.envelope, due);
        message(client, message_id, letter, &*content, (now, due));
        Ok(message_id)
    });
    let message_id = written.unwrap_or_else(|| Err(no_queue()))?;
    wake::message_queued();
    Ok(message_id)
}

impl Sink<'_, '_> {
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
        // A message without any octet has one piece, too: a missing content is told from an empty one.
        if self.buffer.len() > 0 || self.piece_no == 0 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        check_for_interrupts!();
        memory::check();
        self.piece_no += 1;
        let values = [
            Some(self.message_id.into()),
            Some(self.piece_no.into()),
            Some(self.buffer.datum()),
        ];
        PIECE_OF_CONTENT.with(|plan| plan.run(self.client, &values));
        self.buffer.clear();
    }
}

fn recipients(
    client: &mut SpiClient<'_>,
    message_id: i64,
    envelope: &Envelope,
    due: pg_sys::TimestampTz,
) {
    RECIPIENT.with(|plan| {
        for (index, recipient) in envelope.recipients.iter().enumerate() {
            let values = [
                Some(message_id.into()),
                Some((index as i32 + 1).into()),
                Some(text_datum(recipient.mailbox.as_str())),
                Some(text_datum(recipient.parameters.as_str())),
                Some(due.into()),
            ];
            plan.run(client, &values);
        }
    });
}

fn message(
    client: &mut SpiClient<'_>,
    message_id: i64,
    letter: &Letter<'_>,
    content: &dyn Content,
    (now, due): (pg_sys::TimestampTz, pg_sys::TimestampTz),
) {
    let values = [
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
    ];
    MESSAGE.with(|plan| plan.run(client, &values));
}

fn no_queue() -> Report {
    Report::new(
        sqlstate::UNDEFINED_TABLE,
        "the extension utl_smtp of this database has no queue",
    )
    .hint("ALTER EXTENSION utl_smtp UPDATE;")
}
