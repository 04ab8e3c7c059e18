//! Invariants that hold after every hostile test: the backend answers, the server log is clean, no
//! descriptor or memory leaks, no secret appears anywhere, and the session is either in step or
//! closed.

use crate::cluster::{Cluster, Session};
use crate::process;
use crate::smtp::Smtp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};

/// In kB.
const MEMORY: u64 = 1024;

/// A snapshot from before a hostile test, checked after it, once its session is closed.
pub struct Invariants {
    descriptors: usize,
    threads: usize,
    memory: u64,
    log_offset: u64,
    /// The number of notices so far.
    notices: usize,
}

impl Invariants {
    /// Takes the snapshot. Loads the library first, so that its memory does not count as a leak.
    pub fn record(session: &mut Session) -> Self {
        let _ = session.batch_execute("SELECT utl_smtp.close_all_connections()");
        let log = fs::metadata(&Cluster::shared().log).unwrap();
        Self {
            descriptors: descriptors(session.pid()).len(),
            threads: process::threads(session.pid()),
            memory: anonymous_memory(session.pid()),
            log_offset: log.len(),
            notices: session.notices().len(),
        }
    }

    /// Checks the invariants. Secrets are searched as plain text and in base64.
    #[track_caller]
    pub fn check(self, session: &mut Session, secrets: &[&str]) {
        assert_eq!(session.value::<i32>("SELECT 1"), 1, "U1");
        self.check_log(secrets);
        // An abandoned look-up keeps its descriptors until its thread ends.
        process::wait_until("only the backend's own threads are left", || {
            process::threads(session.pid()) <= self.threads
        });
        let left = descriptors(session.pid());
        assert!(
            left.len() <= self.descriptors,
            "U3: descriptors left open: {left:?}"
        );
        let grown = anonymous_memory(session.pid()).saturating_sub(self.memory);
        assert!(grown < MEMORY, "U4: the backend has grown by {grown} kB");
        self.check_client(session, secrets);
    }

    fn check_log(&self, secrets: &[&str]) {
        let mut log = fs::File::open(&Cluster::shared().log).unwrap();
        log.seek(SeekFrom::Start(self.log_offset)).unwrap();
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for word in ["terminated by signal", "PANIC", "leaked"] {
            let line = text.lines().find(|line| line.contains(word));
            assert!(line.is_none(), "U2: in the server log: {line:?}");
        }
        no_secret(&text, secrets, "the server log");
    }

    fn check_client(&self, session: &mut Session, secrets: &[&str]) {
        for notice in &session.notices()[self.notices..] {
            no_secret(&format!("{notice:?}"), secrets, "a notice");
        }
        let activity = "SELECT string_agg(query, ' ') FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let database: String = session.value("SELECT current_database()::text");
        let cluster = Cluster::shared();
        let mut other = cluster.connect(&database, &cluster.superuser);
        no_secret(
            &other.value::<String>(activity),
            secrets,
            "pg_stat_activity",
        );
    }
}

/// Asserts that the session is closed: the next call fails with a clean 421, never with another
/// command's reply.
#[track_caller]
pub fn assert_over(session: &mut Session, smtp: &Smtp) {
    let failure = smtp
        .noop(session)
        .expect_err("the session should be over")
        .expect("U9278");
    assert!(failure.message.contains("421"), "{failure}");
}

/// Fails if the text contains one of the secrets, as plain text or in base64 at any alignment.
#[track_caller]
pub fn no_secret(text: &str, secrets: &[&str], place: &str) {
    for secret in secrets {
        assert!(!text.contains(secret), "U5: a secret in {place}: {text}");
        for form in base64_forms(secret) {
            assert!(
                !text.contains(&form),
                "U5: a secret in base64 in {place}: {text}"
            );
        }
    }
}

/// The part of the secret's base64 that does not depend on the surrounding text, for each of the
/// three alignments.
fn base64_forms(secret: &str) -> Vec<String> {
    let encode = |skip: usize| {
        let padded = [&b"\0\0"[..skip], secret.as_bytes()].concat();
        let whole = padded.len() / 3 * 4;
        let head = [0, 2, 3][skip];
        let text = STANDARD_NO_PAD.encode(&padded);
        text[head..whole].to_owned()
    };
    (0..3).map(encode).filter(|form| form.len() >= 6).collect()
}

/// The open descriptors of a backend, without those in the data directory.
pub fn descriptors(pid: i32) -> Vec<String> {
    let data = &Cluster::shared().data_directory;
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.starts_with(data))
        .collect()
}

/// The private memory of a backend in kB, without shared buffers.
pub fn anonymous_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_base64_at_any_alignment() {
        for before in ["", "x", "xy", "xyz", "\0user\0"] {
            let hidden = STANDARD_NO_PAD.encode(format!("{before}correct-horse\x01"));
            let found = std::panic::catch_unwind(|| no_secret(&hidden, &["correct-horse"], "it"));
            assert!(found.is_err(), "missed after {before:?}");
        }
        no_secret("nothing here", &["correct-horse"], "it");
    }
}
