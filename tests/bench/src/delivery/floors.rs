//! The floors of a drain: what the SQL alone takes, and what the wire alone takes.

use crate::baseline::PlainDialogue;
use crate::cost::Run;
use e2e::{Failure, Session};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// F1: claims and settles all mail, each batch in two transactions as the worker does it, and sends nothing.
///
/// - `claim` takes the size of a batch as `$1`, and returns a row for each recipient claimed, with its key in the first
///   column, of type `K`. No row: the queue is empty.
/// - `settle` takes the keys as an array as `$1`.
pub fn claim_and_settle<K>(session: &mut Session, claim: &str, settle: &str, batch: i32) -> Run
where
    K: for<'a> postgres::types::FromSql<'a> + postgres::types::ToSql + Sync,
{
    let claim = session.prepare(claim).unwrap();
    let settle = session.prepare(settle).unwrap();
    let (begun, mut units) = (Instant::now(), 0);
    loop {
        let claimed = session.query(&claim, &[&batch]).map_err(Failure::from);
        let claimed = claimed.unwrap_or_else(|failure| panic!("{failure}"));
        if claimed.is_empty() {
            break;
        }
        let keys: Vec<K> = claimed.iter().map(|row| row.get(0)).collect();
        let settled = session.execute(&settle, &[&keys]).map_err(Failure::from);
        settled.unwrap_or_else(|failure| panic!("{failure}"));
        units += keys.len() as u64;
    }
    Run {
        units,
        wall: begun.elapsed(),
        cpu: Duration::ZERO,
    }
}

/// F2: a bare client sends the mails over these many connections, each mail in two round trips. Opening is not measured.
pub fn bare_pipelining(port: u16, wire: &[u8], connections: u64, mails: u64) -> Run {
    let (opened, left) = (
        Barrier::new(connections as usize + 1),
        AtomicU64::new(mails),
    );
    let one = || {
        let mut dialogue = PlainDialogue::open(port);
        dialogue.ehlo();
        opened.wait();
        while take(&left) {
            dialogue.group();
            dialogue.message(wire);
        }
        // The time is up to the last answer of all.
        opened.wait();
        dialogue.quit();
    };
    let wall = std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(one);
        }
        opened.wait();
        let begun = Instant::now();
        opened.wait();
        begun.elapsed()
    });
    Run {
        units: mails,
        wall,
        cpu: Duration::ZERO,
    }
}

/// Takes one of those that are left.
fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1))
        .is_ok()
}
