//! What an earlier worker had claimed when it ended.

use mail_queue::state::MOST_CRASHES;
use pgrx::pg_sys;
use pgrx::spi::SpiClient;

use crate::delivery::home;
use crate::pg::datum::text_datum;
use crate::pg::owner::Plan;

/// What is written of recipients whose mail was being sent.
const REASON: &str = "outcome unknown: the worker ended while the message was being sent";

/// Whether a message `m` was queued here, or by an installation that this one goes on for; its
/// stamp is a parameter.
macro_rules! is_own {
    ($stamp:literal) => {
        concat!(
            "(m.home = ",
            $stamp,
            " OR m.home IN (SELECT a.adopted FROM utl_smtp.adopted_home AS a WHERE a.home = ",
            $stamp,
            "))"
        )
    };
}

/// Chooses messages `m` that another worker has claimed and may have sent. There is one worker, so
/// that one has ended. What came by replication may be in the hands of the publisher's.
macro_rules! left_behind {
    ($stamp:literal) => {
        concat!(
            "m.lease IS NOT NULL AND m.lease > 0 AND m.lease <> $1 AND ",
            is_own!($stamp)
        )
    };
}

/// Whether a recipient `r` was due when his message was claimed.
macro_rules! was_due {
    () => {
        "(r.next_attempt_at <= m.last_attempt_at
          OR coalesce(r.attempts > 0 AND r.last_attempt_at < c.pushed_at AND c.pushed_at <= m.last_attempt_at, false))"
    };
}

macro_rules! control {
    () => {
        "LEFT JOIN (SELECT pushed_at FROM utl_smtp.delivery_control LIMIT 1) AS c ON true "
    };
}

thread_local! {
    /// Claimed by a worker that had not begun to send them.
    static RESERVED: Plan = const {
        Plan::new(
            c_text!(
                "UPDATE utl_smtp.message AS m SET lease = NULL
                 WHERE m.lease IS NOT NULL AND m.lease < 0 AND m.lease <> -$1 AND ", is_own!("$2")
            ),
            &[pg_sys::INT8OID, pg_sys::TEXTOID],
        )
    };
    static UNKNOWN: Plan = const {
        Plan::new(
            c_text!(
                "WITH r AS (
                     DELETE FROM utl_smtp.message_recipient AS r USING utl_smtp.message AS m ", control!(),
                "    WHERE ", left_behind!("$3"), " AND m.at_most_once AND r.message_id = m.message_id AND ", was_due!(),
                "    RETURNING r.*)
                 INSERT INTO utl_smtp.delivery_log
                     (message_id, recipient_no, recipient, state, server, server_name, owner, owner_name, sender, subject,
                      size, submitted_at, attempts, finished_at, last_reply)
                 SELECT m.message_id, r.recipient_no, r.recipient, 'unknown', m.server, m.server_name, m.owner,
                        m.owner_name, m.sender, m.subject, m.size, m.submitted_at, least(r.attempts, 2147483646) + 1,
                        pg_catalog.clock_timestamp(), $2
                 FROM r JOIN utl_smtp.message AS m ON m.message_id = r.message_id
                 ON CONFLICT DO NOTHING"
            ),
            &[pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::TEXTOID],
        )
    };
    static ATTEMPTED: Plan = const {
        Plan::new(
            c_text!(
                "UPDATE utl_smtp.message_recipient AS r
                 SET attempts = least(r.attempts, 2147483646) + 1, last_attempt_at = m.last_attempt_at, last_reply = $2
                 FROM utl_smtp.message AS m ", control!(),
                "WHERE ", left_behind!("$3"), " AND NOT m.at_most_once AND r.message_id = m.message_id AND ", was_due!()
            ),
            &[pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::TEXTOID],
        )
    };
    static EMPTY: Plan = const {
        Plan::new(
            c_text!(
                "WITH m AS (
                     DELETE FROM utl_smtp.message AS m
                     WHERE ", left_behind!("$2"), " AND m.at_most_once
                       AND NOT EXISTS (SELECT FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id)
                     RETURNING m.message_id)
                 DELETE FROM utl_smtp.message_content AS c USING m WHERE c.message_id = m.message_id"
            ),
            &[pg_sys::INT8OID, pg_sys::TEXTOID],
        )
    };
    static RESCUED: Plan = const {
        Plan::new(
            c_text!(
                "UPDATE utl_smtp.message AS m
                 SET lease = NULL, crashes = least(m.crashes, 32766) + 1,
                     held_reason = CASE WHEN m.crashes + 1 >= $2 THEN 'crashed' END,
                     next_attempt_at = (SELECT coalesce(pg_catalog.min(r.next_attempt_at), m.next_attempt_at)
                                        FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id)
                 WHERE ", left_behind!("$3")
            ),
            &[pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::TEXTOID],
        )
    };
    static HELD: Plan = const {
        Plan::new(
            c_text!(
                "UPDATE utl_smtp.message AS m SET held_reason = 'copy'
                 WHERE m.lease IS NOT NULL AND m.held_reason IS NULL AND NOT ", is_own!("$1")
            ),
            &[pg_sys::TEXTOID],
        )
    };
}

/// Takes over what other workers than this one had claimed: a message that was being sent may have
/// arrived, which counts as an attempt, and what was in flight at the third crash is held. What
/// another installation has in flight is held as it is. Returns how many messages were taken over.
pub fn rescue(client: &mut SpiClient<'_>, lease: i64) -> u64 {
    let lease = Some(pg_sys::Datum::from(lease));
    let stamp = home::stamp();
    let stamp = || Some(text_datum(&stamp));
    let reason = || Some(text_datum(REASON));
    HELD.with(|plan| plan.run(client, &[stamp()]));
    RESERVED.with(|plan| plan.run(client, &[lease, stamp()]));
    UNKNOWN.with(|plan| plan.run(client, &[lease, reason(), stamp()]));
    ATTEMPTED.with(|plan| plan.run(client, &[lease, reason(), stamp()]));
    EMPTY.with(|plan| plan.run(client, &[lease, stamp()]));
    let most = Some((MOST_CRASHES as i32).into());
    RESCUED.with(|plan| plan.run(client, &[lease, most, stamp()]))
}
