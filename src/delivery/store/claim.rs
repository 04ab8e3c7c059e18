//! Claiming messages: in a short transaction, committed before the first byte goes out.
//!
//! A claim is fenced: the rows are locked in a common table expression that is materialized, so
//! that no plan locks more of them than it takes. What others have locked is left out.

use std::collections::HashMap;

use pgrx::IntoDatum;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use crate::pg::datum::text_datum;
use crate::pg::owner::Plan;
use crate::pg::query::{Rows, StoredText, Timestamp};

/// A place in the order in which a server's mail is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    pub next_attempt_at: pg_sys::TimestampTz,
    pub message_id: i64,
}

impl Position {
    /// Before all others.
    pub const FIRST: Self = Self {
        next_attempt_at: pg_sys::TimestampTz::MIN,
        message_id: i64::MIN,
    };
}

/// Who claims, and when.
#[derive(Clone, Copy)]
pub struct Claimer {
    pub lease: i64,
    pub now: pg_sys::TimestampTz,
    /// When push_queue() was last called; it makes deferred recipients due.
    pub pushed_at: Option<pg_sys::TimestampTz>,
}

/// A message that was claimed, as it is in the tables: anybody with rights on them may have written
/// it.
pub struct Claimed {
    pub message_id: i64,
    pub server: pg_sys::Oid,
    pub owner: pg_sys::Oid,
    pub sender: StoredText,
    pub parameters: StoredText,
    pub at_most_once: bool,
    pub home: StoredText,
    pub due_at: pg_sys::TimestampTz,
    pub position: Position,
    /// Those that are due.
    pub recipients: Vec<ClaimedRecipient>,
    /// Whether the message has recipients that are not among them.
    pub has_others: bool,
    pub content: Content,
}

/// A recipient of a message that was claimed.
pub struct ClaimedRecipient {
    pub number: i32,
    pub address: StoredText,
    pub parameters: StoredText,
}

/// The content of a message.
#[derive(Default)]
pub struct Content {
    /// Octets.
    pub size: u64,
    /// The numbers of its pieces.
    pub pieces: Vec<i32>,
    /// All of it, where that is little.
    pub whole: Option<Vec<u8>>,
}

/// Octets of a content that is read with the claim.
const LITTLE: i32 = 32 * 1024;

/// Due recipients of one claim of a message. The others are due when these are settled.
pub const MOST_RECIPIENTS: usize = 1000;

/// How `last_reply` of a recipient in doubt begins.
pub const DOUBT: &str = "outcome unknown";

/// Claims the messages that are chosen by a condition on `m`, in an order, if any.
macro_rules! claim {
    ($($chosen:expr),+) => {
        c_text!(
            "WITH due AS MATERIALIZED (
                 SELECT m.message_id FROM utl_smtp.message AS m WHERE ",
            $($chosen),+,
            " FOR UPDATE SKIP LOCKED)
             UPDATE utl_smtp.message AS m
             SET lease = CASE WHEN m.at_most_once THEN -$1 ELSE $1 END, last_attempt_at = $2
             FROM due WHERE m.message_id = due.message_id
             RETURNING m.message_id, m.server, m.owner, m.sender, m.parameters, m.at_most_once, m.home, m.due_at,
                       m.next_attempt_at"
        )
    };
}

macro_rules! is_due {
    () => {
        "m.lease IS NULL AND m.held_reason IS NULL AND m.next_attempt_at <= $2"
    };
}

/// From a position on, for a server, but for some owners.
macro_rules! in_order {
    () => {
        " AND m.crashes <= 0 AND m.server = $3 AND (m.next_attempt_at, m.message_id) > ($4, $5)
          AND m.owner <> ALL ($6)"
    };
}

const IN_ORDER_TYPES: &[pg_sys::Oid] = &[
    pg_sys::INT8OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::OIDOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::OIDARRAYOID,
    pg_sys::INT8OID,
];

thread_local! {
    static IN_ORDER: Plan = const {
        Plan::new(
            claim!(
                is_due!(), in_order!(),
                " ORDER BY m.next_attempt_at, m.message_id LIMIT $7"
            ),
            IN_ORDER_TYPES,
        )
    };
    /// These. `IS TRUE` keeps the planner from the index of due messages, which it would read from
    /// end to end.
    static BY_NUMBER: Plan = const {
        Plan::new(
            claim!(
                "m.message_id = ANY ($4) AND (", is_due!(),
                " AND m.crashes <= 0 AND m.server = $3 AND m.owner <> ALL ($5)) IS TRUE"
            ),
            &[
                pg_sys::INT8OID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::OIDOID,
                pg_sys::INT8ARRAYOID,
                pg_sys::OIDARRAYOID,
            ],
        )
    };
    /// One of those that were in flight at a crash.
    static SUSPECT: Plan = const {
        Plan::new(
            claim!(
                is_due!(),
                " AND m.crashes > 0 AND m.server = ANY ($3) ORDER BY m.next_attempt_at, m.message_id LIMIT 1"
            ),
            &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::OIDARRAYOID],
        )
    };
    /// As in order, without those that may have arrived already.
    static CERTAIN: Plan = const {
        Plan::new(
            claim!(
                is_due!(), in_order!(),
                " AND NOT EXISTS (SELECT FROM utl_smtp.message_recipient AS r
                                  WHERE r.message_id = m.message_id AND r.last_reply LIKE 'outcome unknown%')
                  ORDER BY m.next_attempt_at, m.message_id LIMIT $7"
            ),
            IN_ORDER_TYPES,
        )
    };
    /// Those that were due before a moment, of some owners or of all.
    static OLD: Plan = const {
        Plan::new(
            claim!(
                is_due!(),
                " AND m.server = $3 AND m.due_at < $4 AND ($5 IS NULL OR m.owner = ANY ($5))
                  ORDER BY m.next_attempt_at, m.message_id LIMIT $6"
            ),
            &[
                pg_sys::INT8OID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::OIDOID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::OIDARRAYOID,
                pg_sys::INT8OID,
            ],
        )
    };
    static BEGUN: Plan = const {
        Plan::new(
            c"WITH free AS MATERIALIZED (
                  SELECT m.message_id FROM utl_smtp.message AS m
                  WHERE m.message_id = ANY ($2) AND m.lease = -$1 FOR UPDATE SKIP LOCKED)
              UPDATE utl_smtp.message AS m SET lease = $1
              FROM free WHERE m.message_id = free.message_id RETURNING m.message_id",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
    static RECIPIENTS: Plan = const {
        Plan::new(
            c"SELECT r.message_id, r.recipient_no, r.recipient, r.parameters,
                     r.next_attempt_at <= $2 OR coalesce(r.attempts > 0 AND r.last_attempt_at < $3, false)
              FROM utl_smtp.message_recipient AS r WHERE r.message_id = ANY ($1)
              ORDER BY r.message_id, r.recipient_no",
            &[
                pg_sys::INT8ARRAYOID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::TIMESTAMPTZOID,
            ],
        )
    };
    static CONTENT: Plan = const {
        Plan::new(
            c"SELECT c.message_id, c.piece_no, pg_catalog.octet_length(c.piece),
                     CASE WHEN c.piece_no = 1 AND pg_catalog.octet_length(c.piece) <= $2 THEN c.piece END
              FROM utl_smtp.message_content AS c WHERE c.message_id = ANY ($1)
              ORDER BY c.message_id, c.piece_no",
            &[pg_sys::INT8ARRAYOID, pg_sys::INT4OID],
        )
    };
    static ADOPTED: Plan = const {
        Plan::new(
            c"SELECT FROM utl_smtp.adopted_home AS a WHERE a.home = $1 AND a.adopted = $2",
            &[pg_sys::TEXTOID, pg_sys::TEXTOID],
        )
    };
    static PIECE: Plan = const {
        Plan::new(
            c"SELECT c.piece FROM utl_smtp.message_content AS c WHERE c.message_id = $1 AND c.piece_no = $2",
            &[pg_sys::INT8OID, pg_sys::INT4OID],
        )
    };
}

/// Which messages of a server.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    pub server: pg_sys::Oid,
    pub behind: Position,
    /// The owners of those that are left alone.
    pub but_for: &'a [pg_sys::Oid],
    /// Leave those alone that may have arrived already.
    pub only_certain: bool,
}

/// Claims up to `limit` messages that are due, in the order in which they are.
pub fn in_order(
    client: &mut SpiClient<'_>,
    by: Claimer,
    chosen: Chosen<'_>,
    limit: usize,
) -> Vec<Claimed> {
    let values = [
        Some(by.lease.into()),
        Some(by.now.into()),
        Some(chosen.server.into()),
        Some(chosen.behind.next_attempt_at.into()),
        Some(chosen.behind.message_id.into()),
        chosen.but_for.to_vec().into_datum(),
        Some((limit as i64).into()),
    ];
    let plan = match chosen.only_certain {
        true => &CERTAIN,
        false => &IN_ORDER,
    };
    let claimed = plan.with(|plan| messages(plan.rows(client, &values)));
    complete(client, by, claimed)
}

/// Claims up to `limit` messages that were due before a moment, without their content: those of
/// some owners, or of all.
pub fn old(
    client: &mut SpiClient<'_>,
    by: Claimer,
    server: pg_sys::Oid,
    due_before: pg_sys::TimestampTz,
    owners: Option<&[pg_sys::Oid]>,
    limit: usize,
) -> Vec<Claimed> {
    let values = [
        Some(by.lease.into()),
        Some(by.now.into()),
        Some(server.into()),
        Some(due_before.into()),
        owners.and_then(|owners| owners.to_vec().into_datum()),
        Some((limit as i64).into()),
    ];
    let mut claimed = OLD.with(|plan| messages(plan.rows(client, &values)));
    with_recipients(client, by, &mut claimed);
    claimed
}

/// Notes that at_most_once messages are handed out now; returns those that are still this worker's,
/// without those that somebody else has locked.
pub fn begin(client: &mut SpiClient<'_>, lease: i64, numbers: &[i64]) -> Vec<i64> {
    let values = [Some(lease.into()), numbers.to_vec().into_datum()];
    BEGUN.with(|plan| {
        let rows = plan.rows(client, &values);
        (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
    })
}

/// Claims those of these messages that are of a server and due, but for those of some owners.
pub fn by_number(
    client: &mut SpiClient<'_>,
    by: Claimer,
    server: pg_sys::Oid,
    numbers: &[i64],
    but_for: &[pg_sys::Oid],
) -> Vec<Claimed> {
    let values = [
        Some(by.lease.into()),
        Some(by.now.into()),
        Some(server.into()),
        numbers.to_vec().into_datum(),
        but_for.to_vec().into_datum(),
    ];
    let claimed = BY_NUMBER.with(|plan| messages(plan.rows(client, &values)));
    complete(client, by, claimed)
}

/// Claims one message of these servers that was in flight at a crash.
pub fn suspect(
    client: &mut SpiClient<'_>,
    by: Claimer,
    servers: &[pg_sys::Oid],
) -> Option<Claimed> {
    let values = [
        Some(by.lease.into()),
        Some(by.now.into()),
        servers.to_vec().into_datum(),
    ];
    let claimed = SUSPECT.with(|plan| messages(plan.rows(client, &values)));
    complete(client, by, claimed).pop()
}

/// Whether this installation sends what another one has queued.
pub fn is_adopted(client: &mut SpiClient<'_>, home: &str, adopted: &str) -> bool {
    let values = [Some(text_datum(home)), Some(text_datum(adopted))];
    ADOPTED.with(|plan| plan.run(client, &values) > 0)
}

/// A piece of a content; `None` where it is gone.
pub fn piece(client: &mut SpiClient<'_>, message_id: i64, piece_no: i32) -> Option<Vec<u8>> {
    let values = [Some(message_id.into()), Some(piece_no.into())];
    PIECE.with(|plan| {
        let rows = plan.rows(client, &values);
        (rows.len() > 0).then(|| rows.get(0, 1)).flatten()
    })
}

fn messages(rows: Rows<'_>) -> Vec<Claimed> {
    let nothing = || StoredText(Ok(String::new()));
    let moment = |row, column| {
        rows.get::<Timestamp>(row, column)
            .map_or(0, |moment| moment.0)
    };
    let mut claimed: Vec<Claimed> = (0..rows.len())
        .map(|row| {
            let message_id = rows.get(row, 1).unwrap_or_default();
            Claimed {
                message_id,
                server: rows.get(row, 2).unwrap_or(pg_sys::InvalidOid),
                owner: rows.get(row, 3).unwrap_or(pg_sys::InvalidOid),
                sender: rows.get(row, 4).unwrap_or_else(nothing),
                parameters: rows.get(row, 5).unwrap_or_else(nothing),
                at_most_once: rows.get(row, 6).unwrap_or_default(),
                home: rows.get(row, 7).unwrap_or_else(nothing),
                due_at: moment(row, 8),
                position: Position {
                    next_attempt_at: moment(row, 9),
                    message_id,
                },
                recipients: Vec::new(),
                has_others: false,
                content: Content::default(),
            }
        })
        .collect();
    claimed.sort_unstable_by_key(|message| message.position);
    claimed
}

/// Adds recipients and content.
fn complete(client: &mut SpiClient<'_>, by: Claimer, mut claimed: Vec<Claimed>) -> Vec<Claimed> {
    with_recipients(client, by, &mut claimed);
    with_content(client, &mut claimed);
    claimed
}

/// The numbers of messages, and where each of them is.
fn numbered(claimed: &[Claimed]) -> (Vec<i64>, HashMap<i64, usize>) {
    let numbers: Vec<i64> = claimed.iter().map(|message| message.message_id).collect();
    let places = (0..).zip(&numbers).map(|(at, id)| (*id, at)).collect();
    (numbers, places)
}

fn with_recipients(client: &mut SpiClient<'_>, by: Claimer, claimed: &mut [Claimed]) {
    if claimed.is_empty() {
        return;
    }
    let (numbers, places) = numbered(claimed);
    recipients(client, by, &numbers, |message_id, recipient| {
        let Some(message) = places.get(&message_id).map(|at| &mut claimed[*at]) else {
            return;
        };
        match recipient {
            Some(recipient) if message.recipients.len() < MOST_RECIPIENTS => {
                message.recipients.push(recipient);
            }
            _ => message.has_others = true,
        }
    });
}

fn with_content(client: &mut SpiClient<'_>, claimed: &mut [Claimed]) {
    if claimed.is_empty() {
        return;
    }
    let (numbers, places) = numbered(claimed);
    contents(client, &numbers, |message_id, piece_no, size, piece| {
        let Some(message) = places.get(&message_id).map(|at| &mut claimed[*at]) else {
            return;
        };
        let content = &mut message.content;
        content.whole = piece.filter(|_| content.pieces.is_empty());
        content.pieces.push(piece_no);
        content.size += size;
    });
}

/// Shows the recipients of messages; `None` for one who is not due.
fn recipients(
    client: &mut SpiClient<'_>,
    by: Claimer,
    numbers: &[i64],
    mut see: impl FnMut(i64, Option<ClaimedRecipient>),
) {
    let values = [
        numbers.to_vec().into_datum(),
        Some(by.now.into()),
        by.pushed_at.map(Into::into),
    ];
    let nothing = || StoredText(Ok(String::new()));
    RECIPIENTS.with(|plan| {
        let rows = plan.rows(client, &values);
        for row in 0..rows.len() {
            let is_due: bool = rows.get(row, 5).unwrap_or_default();
            let recipient = is_due.then(|| ClaimedRecipient {
                number: rows.get(row, 2).unwrap_or_default(),
                address: rows.get(row, 3).unwrap_or_else(nothing),
                parameters: rows.get(row, 4).unwrap_or_else(nothing),
            });
            see(rows.get(row, 1).unwrap_or_default(), recipient);
        }
    });
}

fn contents(
    client: &mut SpiClient<'_>,
    numbers: &[i64],
    mut see: impl FnMut(i64, i32, u64, Option<Vec<u8>>),
) {
    let values = [numbers.to_vec().into_datum(), Some(LITTLE.into())];
    CONTENT.with(|plan| {
        let rows = plan.rows(client, &values);
        for row in 0..rows.len() {
            let size: i32 = rows.get(row, 3).unwrap_or_default();
            see(
                rows.get(row, 1).unwrap_or_default(),
                rows.get(row, 2).unwrap_or_default(),
                u64::try_from(size).unwrap_or_default(),
                rows.get(row, 4),
            );
        }
    });
}

/// As PostgreSQL wants it in arrays.
pub(super) fn moment(time: pg_sys::TimestampTz) -> TimestampWithTimeZone {
    TimestampWithTimeZone::try_from(time)
        .unwrap_or_else(|_| TimestampWithTimeZone::positive_infinity())
}
