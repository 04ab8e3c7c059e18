//! Copies of a cluster that are started beside it.

use super::processes::await_sender;
use e2e::cluster::{Cluster, Session};
use e2e::process::wait_until;
use e2e::{OwnCluster, ports};
use std::ops::Deref;
use std::path::PathBuf;

/// A server with a base backup of another one.
pub struct Second<'a> {
    original: &'a OwnCluster,
    cluster: Cluster,
}

impl<'a> Second<'a> {
    /// Takes a base backup of a running server: `source` is the original or one of its copies.
    /// `options` are those of pg_basebackup.
    pub fn of(original: &'a OwnCluster, source: &Cluster, name: &str, options: &str) -> Self {
        let data = original.directory().join(name);
        let data = data.to_str().unwrap().to_owned();
        original.as_server(&format!(
            "{}/pg_basebackup -h {} -p {} -U {} -D {data} -c fast {options} </dev/null",
            source.bin, source.host, source.port, source.superuser
        ));
        let log = format!("{data}.log");
        let text = |text: &str| text.to_owned();
        let cluster = Cluster {
            host: text(&source.host),
            port: ports::free_port(),
            socket_directory: text(&source.socket_directory),
            superuser: text(&source.superuser),
            data_directory: data,
            log,
            postmaster: 0,
            bin: text(&source.bin),
            user: text(&source.user),
        };
        Self { original, cluster }
    }

    /// Adds lines to its configuration.
    pub fn set(&self, settings: &[&str]) {
        let file = self.file("postgresql.conf");
        let text = std::fs::read_to_string(&file).unwrap() + &settings.join("\n") + "\n";
        std::fs::write(file, text).unwrap();
    }

    /// Makes an empty file in its data directory, such as `recovery.signal`.
    pub fn touch(&self, name: &str) {
        let file = self.file(name);
        self.original
            .as_server(&format!("touch {}", file.display()));
    }

    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(&self.data_directory).join(name)
    }

    pub fn start(&self) {
        let (data, log, port) = (&self.data_directory, &self.log, self.port);
        self.control(&format!(
            "start -w -t 300 -D {data} -l {log} -o '-p {port}'"
        ));
    }

    pub fn stop(&self, mode: &str) {
        let data = &self.data_directory;
        self.control(&format!("stop -w -t 300 -D {data} -m {mode}"));
    }

    pub fn promote(&self) {
        self.control(&format!("promote -w -t 300 -D {}", self.data_directory));
    }

    fn control(&self, arguments: &str) {
        let bin = &self.bin;
        self.original
            .as_server(&format!("{bin}/pg_ctl -s {arguments} </dev/null"));
    }

    pub fn session(&self) -> Session {
        self.connect("postgres", &self.superuser)
    }

    /// Waits until everything of a source is there.
    pub fn catch_up(&self, source: &mut Session) {
        let position: String = source.value("SELECT pg_current_wal_lsn()::text");
        let mut session = self.session();
        wait_until("the standby has caught up", || {
            session.value(&format!(
                "SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
            ))
        });
    }

    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Deref for Second<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        if self.file("postmaster.pid").exists() {
            self.stop("immediate");
        }
    }
}

/// Waits for a worker to have looked at the queue of the database `postgres`; returns the queue,
/// each message as its number and why it is held.
#[track_caller]
pub fn queue(session: &mut Session) -> Vec<String> {
    session.run("SELECT utl_smtp.start_delivery()");
    await_sender(session);
    let rows = session
        .query(
            "SELECT message_id || coalesce(' ' || held_reason, '') FROM utl_smtp.mail_queue ORDER BY message_id",
            &[],
        )
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
