//! The peers of a drain: Postfix with the same mails in its queue, and an outbox table with a
//! program of its own.

use super::bed::{Bed, Queue};
use crate::cost::Run;
use crate::message;
use e2e::cluster::Cluster;
use e2e::own_cluster::is_root;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Senders, and so connections, of the outbox; as many as a worker has.
const SENDERS: u32 = 20;

/// A Postfix whose queue is filled.
pub struct Postfix {
    directory: PathBuf,
}

impl Postfix {
    pub fn filled(bed: &Bed, mails: u64) -> Self {
        let directory = bed.directory.join("postfix");
        let file = bed.directory.join("message");
        // smtp-source adds an empty line, and Postfix a Received field: the mail is longer by that.
        fs::write(&file, message::small().replace("\r\n", "\n").trim_end()).unwrap();
        let postfix = Self { directory };
        let (port, mails) = (bed.sink.queue.near.to_string(), mails.to_string());
        postfix.script("fill", &[&port, &mails, &file.display().to_string()]);
        postfix
    }

    /// Drains the queue: 20 connections at once.
    pub fn drain(&self, bed: &mut Bed, mails: u64) -> Run {
        bed.drain(mails, || self.script("release", &[]))
    }

    fn script(&self, action: &str, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/bench-postfix.sh");
        let mut command = Command::new(if is_root() { "env" } else { "sudo" });
        command.arg(script).arg(action).arg(&self.directory);
        // Daemons must not inherit a pipe.
        let log = self.directory.with_extension("log");
        let output = fs::File::create(&log).unwrap();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let status = command.status().unwrap();
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "bench-postfix.sh {action}: {said}");
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.script("stop", &[]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Fills the outbox, and has it sent: so many mails a transaction.
pub fn drain_outbox(bed: &mut Bed, queue: &mut Queue, mails: u64, batch: u32) -> Run {
    queue.owner.run(&format!(
        "TRUNCATE outbox;
         INSERT INTO outbox (sender, recipient, message)
         SELECT 'alice@example.test', 'bob@example.test', bench.message() FROM generate_series(1, {mails});
         ANALYZE outbox;
         CHECKPOINT"
    ));
    let mut senders = None;
    let port = bed.sink.queue.near;
    let run = bed.drain(mails, || senders = Some(outbox(queue, port, batch)));
    let status = senders.unwrap().wait().unwrap();
    assert!(status.success(), "outbox.py: {status}");
    run
}

fn outbox(queue: &Queue, port: u16, batch: u32) -> Child {
    let cluster = Cluster::shared();
    let database = format!(
        "host={} port={} dbname={} user={}",
        cluster.host,
        cluster.port,
        queue.database.name(),
        cluster.superuser
    );
    Command::new("/usr/bin/python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/outbox.py"))
        .args([
            database,
            port.to_string(),
            SENDERS.to_string(),
            batch.to_string(),
        ])
        .spawn()
        .unwrap()
}
