//! Settling: records the results of claimed messages.
//!
//! Each statement has the lease as its guard: what was taken away from this worker meanwhile stays
//! as it is.

use std::collections::HashSet;
use std::thread::LocalKey;

use pgrx::pg_sys;
use pgrx::spi::SpiClient;
use pgrx::{IntoDatum, datum::TimestampWithTimeZone};

use super::claim::moment;
use crate::pg::datum::Text;
use crate::pg::owner::Plan;
use crate::pg::query::Rows;

/// The results of a message.
pub struct Settlement {
    pub message_id: i64,
    pub recipients: Vec<Settled>,
}

/// The result of a recipient.
pub struct Settled {
    pub number: i32,
    pub result: Outcome,
    /// Whether this was an attempt.
    pub tried: bool,
    /// `None`: as it was.
    pub reply: Option<String>,
    /// The server that was talked to.
    pub remote: Option<String>,
}

/// The end of it, or not.
pub enum Outcome {
    /// In this state of the log.
    Final(&'static str),
    /// The next attempt is not before this moment.
    Deferred(pg_sys::TimestampTz),
    /// As before.
    Waiting,
}

thread_local! {
    /// Those of these messages that are still this worker's, once nobody else has them locked.
    static OWN: Plan = const {
        Plan::new(
            c"SELECT m.message_id FROM utl_smtp.message AS m
              WHERE m.message_id = ANY ($2) AND m.lease IN ($1, -$1) FOR UPDATE",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
    /// The same, without those that somebody else has locked.
    static FREE: Plan = const {
        Plan::new(
            c"SELECT m.message_id FROM utl_smtp.message AS m
              WHERE m.message_id = ANY ($2) AND m.lease IN ($1, -$1) FOR UPDATE SKIP LOCKED",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
    /// Recipients that are over.
    static FINAL: Plan = const {
        Plan::new(
            c"WITH verdict AS MATERIALIZED (
                  SELECT v.* FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                                             pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7))
                                  AS v (message_id, recipient_no, state, tried, reply, remote)),
              r AS (
                  DELETE FROM utl_smtp.message_recipient AS r USING verdict AS v
                  WHERE r.message_id = v.message_id AND r.recipient_no = v.recipient_no
                  RETURNING r.message_id, r.recipient_no, r.recipient, v.state, v.remote,
                            least(r.attempts, 2147483646) + v.tried AS attempts, coalesce(v.reply, r.last_reply) AS reply)
              INSERT INTO utl_smtp.delivery_log AS l
                  (message_id, recipient_no, recipient, state, server, server_name, owner, owner_name, sender, subject,
                   size, submitted_at, attempts, finished_at, last_reply, remote)
              SELECT m.message_id, r.recipient_no, r.recipient, r.state, m.server, m.server_name, m.owner,
                     m.owner_name, m.sender, m.subject, m.size, m.submitted_at, r.attempts, $1, r.reply, r.remote
              FROM r JOIN utl_smtp.message AS m ON m.message_id = r.message_id ON CONFLICT DO NOTHING",
            VERDICT_TYPES,
        )
    };
    /// Recipients that are tried again.
    static DEFERRED: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message_recipient AS r
              SET attempts = least(r.attempts, 2147483646) + v.tried, last_attempt_at = $1, next_attempt_at = v.next_attempt_at,
                  last_reply = coalesce(v.reply, r.last_reply)
              FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                              pg_catalog.unnest($5), pg_catalog.unnest($6))
                   AS v (message_id, recipient_no, next_attempt_at, tried, reply)
              WHERE r.message_id = v.message_id AND r.recipient_no = v.recipient_no",
            &[
                pg_sys::TIMESTAMPTZOID,
                pg_sys::INT8ARRAYOID,
                pg_sys::INT4ARRAYOID,
                pg_sys::TIMESTAMPTZARRAYOID,
                pg_sys::INT4ARRAYOID,
                pg_sys::TEXTARRAYOID,
            ],
        )
    };
    /// Messages that have no recipients left.
    static OVER: Plan = const {
        Plan::new(
            c"WITH m AS (
                  DELETE FROM utl_smtp.message AS m
                  WHERE m.message_id = ANY ($1)
                    AND NOT EXISTS (SELECT FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id)
                  RETURNING m.message_id),
              content AS (
                  DELETE FROM utl_smtp.message_content AS c USING m WHERE c.message_id = m.message_id)
              SELECT m.message_id FROM m",
            &[pg_sys::INT8ARRAYOID],
        )
    };
    /// The others, of which some were tried: those of `$2`.
    static GIVEN_BACK: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message AS m
              SET lease = NULL, crashes = CASE WHEN m.message_id = ANY ($2) THEN 0 ELSE m.crashes END,
                  next_attempt_at = (SELECT coalesce(pg_catalog.min(r.next_attempt_at), m.next_attempt_at)
                                     FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id)
              WHERE m.message_id = ANY ($1)",
            &[pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
        )
    };
    /// Those of these messages that are still this worker's.
    static CLAIMED: Plan = const {
        Plan::new(
            c"SELECT m.message_id FROM utl_smtp.message AS m
              WHERE m.message_id = ANY ($2) AND m.lease IN ($1, -$1)",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
    /// Messages that were not tried.
    static RELEASED: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message AS m SET lease = NULL
              WHERE m.message_id = ANY ($2) AND m.lease IN ($1, -$1)",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
    static HELD: Plan = const {
        Plan::new(
            c"UPDATE utl_smtp.message AS m SET lease = NULL, held_reason = 'copy'
              WHERE m.message_id = ANY ($2) AND m.lease IN ($1, -$1)",
            &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
        )
    };
}

const VERDICT_TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8ARRAYOID,
    pg_sys::INT4ARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::INT4ARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
];

/// Who settles, and when.
#[derive(Clone, Copy)]
pub struct Settler {
    pub lease: i64,
    pub now: pg_sys::TimestampTz,
    /// Whether it waits for whoever has locked messages: there is no later.
    pub waits: bool,
}

/// Messages of a worker.
pub struct Locked {
    /// Those that it has locked, and may settle.
    pub own: HashSet<i64>,
    /// Those that somebody else has locked: they are to be settled later.
    pub by_others: HashSet<i64>,
}

/// Locks those of these messages that are still this worker's. `waits`: until whoever has locked
/// some has let go of them, or the worker's lock_timeout is over, which is an error.
pub fn lock(client: &mut SpiClient<'_>, lease: i64, numbers: &[i64], waits: bool) -> Locked {
    let mut ids = |plan: &'static LocalKey<Plan>, numbers: Vec<i64>| -> HashSet<i64> {
        let values = [Some(lease.into()), numbers.into_datum()];
        plan.with(|plan| ids(plan.rows(client, &values)).collect())
    };
    let own = ids(if waits { &OWN } else { &FREE }, numbers.to_vec());
    let others = numbers.iter().filter(|number| !own.contains(number));
    let others: Vec<i64> = others.copied().collect();
    let by_others = match others.is_empty() {
        true => HashSet::new(),
        false => ids(&CLAIMED, others),
    };
    Locked { own, by_others }
}

/// Records the results of messages, which are locked.
pub fn settle(client: &mut SpiClient<'_>, now: pg_sys::TimestampTz, settled: &[&Settlement]) {
    if !settled.is_empty() {
        log(client, now, settled);
        defer(client, now, settled);
        give_back(client, settled);
    }
}

/// Gives messages back that were not tried.
pub fn release(client: &mut SpiClient<'_>, lease: i64, numbers: &[i64]) {
    if !numbers.is_empty() {
        let values = [Some(lease.into()), numbers.to_vec().into_datum()];
        RELEASED.with(|plan| plan.run(client, &values));
    }
}

/// Holds messages that another installation has queued.
pub fn hold(client: &mut SpiClient<'_>, lease: i64, numbers: &[i64]) {
    if !numbers.is_empty() {
        let values = [Some(lease.into()), numbers.to_vec().into_datum()];
        HELD.with(|plan| plan.run(client, &values));
    }
}

/// Moves the recipients that are over to the log.
fn log(client: &mut SpiClient<'_>, now: pg_sys::TimestampTz, settled: &[&Settlement]) {
    let mut verdicts = Verdicts::default();
    for settlement in settled {
        for recipient in &settlement.recipients {
            if let Outcome::Final(state) = recipient.result {
                verdicts.push(settlement.message_id, recipient, state);
            }
        }
    }
    if verdicts.messages.is_empty() {
        return;
    }
    let values = [
        Some(now.into()),
        verdicts.messages.into_datum(),
        verdicts.recipients.into_datum(),
        verdicts.states.into_datum(),
        verdicts.tried.into_datum(),
        verdicts.replies.into_datum(),
        verdicts.remotes.into_datum(),
    ];
    FINAL.with(|plan| plan.run(client, &values));
}

/// As columns.
#[derive(Default)]
struct Verdicts {
    messages: Vec<i64>,
    recipients: Vec<i32>,
    states: Vec<Text>,
    tried: Vec<i32>,
    replies: Vec<Option<Text>>,
    remotes: Vec<Option<Text>>,
}

impl Verdicts {
    fn push(&mut self, message_id: i64, recipient: &Settled, state: &str) {
        self.messages.push(message_id);
        self.recipients.push(recipient.number);
        self.states.push(Text(state.to_owned()));
        self.tried.push(recipient.tried.into());
        self.replies.push(recipient.reply.clone().map(Text));
        self.remotes.push(recipient.remote.clone().map(Text));
    }
}

fn defer(client: &mut SpiClient<'_>, now: pg_sys::TimestampTz, settled: &[&Settlement]) {
    let mut columns = Verdicts::default();
    let mut times: Vec<TimestampWithTimeZone> = Vec::new();
    for settlement in settled {
        for recipient in &settlement.recipients {
            if let Outcome::Deferred(time) = recipient.result {
                columns.push(settlement.message_id, recipient, "");
                times.push(moment(time));
            }
        }
    }
    if times.is_empty() {
        return;
    }
    let values = [
        Some(now.into()),
        columns.messages.into_datum(),
        columns.recipients.into_datum(),
        times.into_datum(),
        columns.tried.into_datum(),
        columns.replies.into_datum(),
    ];
    DEFERRED.with(|plan| plan.run(client, &values));
}

/// Deletes messages that are over, and gives the others back.
fn give_back(client: &mut SpiClient<'_>, settled: &[&Settlement]) {
    let numbers: Vec<i64> = settled
        .iter()
        .map(|settlement| settlement.message_id)
        .collect();
    let over: HashSet<i64> =
        OVER.with(|plan| ids(plan.rows(client, &[numbers.into_datum()])).collect());
    let (mut left, mut tried) = (Vec::new(), Vec::new());
    for settlement in settled {
        if over.contains(&settlement.message_id) {
            continue;
        }
        left.push(settlement.message_id);
        if settlement.recipients.iter().any(|settled| settled.tried) {
            tried.push(settlement.message_id);
        }
    }
    if !left.is_empty() {
        GIVEN_BACK.with(|plan| plan.run(client, &[left.into_datum(), tried.into_datum()]));
    }
}

fn ids(rows: Rows<'_>) -> impl Iterator<Item = i64> {
    (0..rows.len()).filter_map(move |row| rows.get(row, 1))
}
