//! The queue: what may be seen of it, and what is done with its messages by hand.

use std::ffi::CStr;

use pgrx::datum::{Internal, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::caller;
use crate::delivery::store::{operate, watch};
use crate::errors::{Report, sqlstate};
use crate::pg::planner_support::{self, Comparison, Condition};
use crate::pg::row_set::OwnersRows;
use crate::pg::{cluster, roles, transaction};

/// `utl_smtp.system_identifier`: of the cluster.
#[pg_extern(sql = false)]
fn system_identifier() -> i64 {
    cluster::system_identifier() as i64
}

/// What `utl_smtp.mail_queue` is made of. Anybody may call it and its like: they return what the
/// current role may see.
#[pg_extern(sql = false)]
fn view_mail_queue(of_message: Option<i64>) -> OwnersRows {
    watch::queue(roles::current(), of_message)
}

/// What `utl_smtp.mail_log` is made of.
#[pg_extern(sql = false)]
fn view_mail_log(
    of_message: Option<i64>,
    since: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
) -> OwnersRows {
    let finished = [since, until].map(|moment| moment.map(Into::into));
    watch::log(roles::current(), of_message, finished)
}

/// Gives `view_mail_queue` and `view_mail_log` the conditions that queries of the views have.
#[pg_extern(sql = false)]
fn view_support(request: Option<Internal>) -> Internal {
    planner_support::take_conditions(request.unwrap_or_default(), &CONDITIONS)
}

/// On `message_id` in both, on `finished_at` in the log alone: there is no such column in the queue,
/// whose function has no such argument.
const CONDITIONS: [Condition; 3] = [
    condition(1, Comparison::Equal, pg_sys::INT8OID, 0),
    condition(12, Comparison::From, pg_sys::TIMESTAMPTZOID, 1),
    condition(12, Comparison::To, pg_sys::TIMESTAMPTZOID, 2),
];

const fn condition(
    column: i16,
    comparison: Comparison,
    of: pg_sys::Oid,
    argument: usize,
) -> Condition {
    Condition {
        column,
        comparison,
        of,
        argument,
    }
}

/// What `utl_smtp.server_status` is made of.
#[pg_extern(sql = false)]
fn view_server_status() -> OwnersRows {
    watch::servers(roles::current())
}

/// `utl_smtp.delivery_status`
#[pg_extern(sql = false)]
fn delivery_status() -> OwnersRows {
    watch::status(roles::current())
}

/// `utl_smtp.delivery_stats`
#[pg_extern(sql = false)]
fn delivery_stats(since: Option<TimestampWithTimeZone>) -> OwnersRows {
    let since = moment("since", since).unwrap_or_else(|report| report.raise());
    watch::statistics(roles::current(), since)
}

/// `utl_smtp.cancel`
#[pg_extern(sql = false)]
fn cancel(message_id: Option<i64>) -> i32 {
    let cancelled = own_message(c"cancel()", message_id)
        .and_then(|(message_id, role)| operate::cancel(message_id, &roles::name(role)));
    recipients(cancelled)
}

/// `utl_smtp.retry`
#[pg_extern(sql = false)]
fn retry(message_id: Option<i64>) -> i32 {
    let retried =
        own_message(c"retry()", message_id).and_then(|(message_id, _)| operate::retry(message_id));
    recipients(retried)
}

/// `utl_smtp.push_queue`
#[pg_extern(sql = false)]
fn push_queue() {
    let pushed = writer(c"push_queue()").and_then(|_| operate::push());
    pushed.unwrap_or_else(|report| report.raise());
}

/// `utl_smtp.adopt_queue`
#[pg_extern(sql = false)]
fn adopt_queue(send: Option<bool>) -> i64 {
    let adopted = writer(c"adopt_queue()").and_then(|role| {
        match send.ok_or_else(|| Report::null_argument("send"))? {
            true => operate::adopt(),
            false => operate::refuse(&roles::name(role)),
        }
    });
    adopted.unwrap_or_else(|report| report.raise()) as i64
}

/// `utl_smtp.purge`
#[pg_extern(sql = false)]
fn purge(before: Option<TimestampWithTimeZone>) -> i64 {
    let purged = writer(c"purge()").and_then(|_| operate::purge(moment("before", before)?));
    purged.unwrap_or_else(|report| report.raise()) as i64
}

/// The number of a message whose owner's privileges the current role has, and that role.
fn own_message(call: &CStr, message_id: Option<i64>) -> Result<(i64, pg_sys::Oid), Report> {
    let role = writer(call)?;
    let message_id = message_id.ok_or_else(|| Report::null_argument("message_id"))?;
    let is_own = match operate::owner_of(message_id)? {
        Some(Some(owner)) => roles::has_privileges_of(role, owner),
        Some(None) => roles::is_superuser(role),
        None => false,
    };
    match is_own {
        true => Ok((message_id, role)),
        false => Err(not_own(message_id)),
    }
}

/// The refusal. It does not tell a message of somebody else's from none.
fn not_own(message_id: i64) -> Report {
    let message = format!("permission denied for message {message_id}");
    Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
        .detail("There is no such message, or its owner is a role whose privileges you do not have.")
        .hint("SELECT * FROM utl_smtp.mail_queue; shows the messages that wait, and who their owners are.")
}

/// The current role, in a transaction that may write.
fn writer(call: &CStr) -> Result<pg_sys::Oid, Report> {
    let role = caller()?;
    transaction::require_writable(call);
    Ok(role)
}

fn recipients(count: Result<u64, Report>) -> i32 {
    let count = count.unwrap_or_else(|report| report.raise());
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn moment(
    argument: &str,
    value: Option<TimestampWithTimeZone>,
) -> Result<pg_sys::TimestampTz, Report> {
    let value = value.ok_or_else(|| Report::null_argument(argument))?;
    Ok(value.into())
}
