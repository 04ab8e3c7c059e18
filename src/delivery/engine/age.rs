//! How old mail is: the time since it was due, without the times in which it was kept waiting on
//! purpose.

use std::time::Duration;

use mail_queue::clock;
use pgrx::pg_sys::{self, TimestampTz};

use crate::delivery::store::upkeep::Pause;

/// The times in which mail did not age, by their beginning.
#[derive(Default)]
pub struct Pauses(Vec<Pause>);

impl Pauses {
    /// `pauses`: by their beginning.
    pub fn new(pauses: Vec<Pause>) -> Self {
        Self(pauses)
    }

    /// Whether a pause of this server is noted that has not ended.
    pub fn is_open(&self, server: pg_sys::Oid) -> bool {
        let mut pauses = self.0.iter();
        pauses.any(|pause| pause.server == server && pause.ended_at.is_none())
    }

    /// The age of mail of a server that is due since a moment.
    pub fn age(&self, server: pg_sys::Oid, due_at: TimestampTz, now: TimestampTz) -> Duration {
        let paused: i64 = self
            .within(server, due_at, now)
            .map(|(began, ended)| ended - began)
            .sum();
        clock::age(now.saturating_sub(paused), due_at)
    }

    /// Since when mail is due that has this age.
    pub fn due_at(&self, server: pg_sys::Oid, age: Duration, now: TimestampTz) -> TimestampTz {
        let mut left = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let mut until = now;
        let pauses: Vec<_> = self.within(server, TimestampTz::MIN, now).collect();
        for (began, ended) in pauses.into_iter().rev() {
            let aged = until.saturating_sub(ended);
            if aged >= left {
                break;
            }
            left -= aged;
            until = began;
        }
        until.saturating_sub(left)
    }

    /// The pauses of a server within a time, none of which overlap.
    fn within(
        &self,
        server: pg_sys::Oid,
        from: TimestampTz,
        to: TimestampTz,
    ) -> impl Iterator<Item = (TimestampTz, TimestampTz)> {
        let mut covered = from;
        let mut pauses = Vec::new();
        for pause in &self.0 {
            let concerns = pause.server == pg_sys::InvalidOid || pause.server == server;
            let began = pause.began_at.max(covered);
            let ended = pause.ended_at.unwrap_or(to).min(to);
            if concerns && began < ended {
                pauses.push((began, ended));
                covered = ended;
            }
        }
        pauses.into_iter()
    }
}
