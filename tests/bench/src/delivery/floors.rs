//! The floors of a drain: what the SQL alone takes, and what the wire alone takes.

use crate::baseline::PlainDialogue;
use crate::cost::Run;
use e2e::Session;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The statements of F1.
pub struct Statements<'a> {
    /// `$1`: how many messages. Returns a row for each, with its number first.
    pub claim: &'a str,
    /// `$1`: the numbers of the messages. Returns what would be sent.
    pub read: &'a str,
    /// `$1`: the numbers of the messages.
    pub settle: &'a str,
}

/// F1: claims and settles all mail in batches, each in two transactions as the worker does it, and
/// sends nothing.
pub fn claim_and_settle(session: &mut Session, statements: &Statements<'_>, batch: i64) -> Run {
    let claim = session.prepare(statements.claim).unwrap();
    let read = session.prepare(statements.read).unwrap();
    let settle = session.prepare(statements.settle).unwrap();
    let (begun, mut units) = (Instant::now(), 0);
    loop {
        let mut transaction = session.transaction().unwrap();
        let claimed = transaction.query(&claim, &[&batch]).unwrap();
        let numbers: Vec<i64> = claimed.iter().map(|row| row.get(0)).collect();
        transaction.query(&read, &[&numbers]).unwrap();
        transaction.commit().unwrap();
        if numbers.is_empty() {
            break;
        }
        session.execute(&settle, &[&numbers]).unwrap();
        units += numbers.len() as u64;
    }
    Run {
        units,
        wall: begun.elapsed(),
        cpu: Duration::ZERO,
    }
}

/// F2: a bare client sends the mails over these many connections, each mail in two round trips.
/// Opening is not measured.
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
