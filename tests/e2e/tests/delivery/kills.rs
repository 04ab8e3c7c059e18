//! Crashes: processes of a server are killed, and the server comes back.

use super::processes::worker_of;
use e2e::process::{self, wait_for_work, wait_until};
use e2e::{OwnCluster, Recorder, Session};
use std::path::{Path, PathBuf};

/// With the library preloaded, and as durable as a server can be.
pub const DURABLE: [&str; 4] = [
    super::processes::PRELOAD,
    "fsync = on",
    "full_page_writes = on",
    "synchronous_commit = on",
];

/// A way for a server to go down without warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// SIGKILL for the worker: the postmaster ends all processes and starts anew.
    Worker,
    /// The same by a session's backend.
    Backend,
    /// SIGKILL for the postmaster.
    Postmaster,
    /// A shutdown in immediate mode.
    Immediate,
}

impl Kill {
    pub const ALL: [Self; 4] = [
        Self::Worker,
        Self::Backend,
        Self::Postmaster,
        Self::Immediate,
    ];

    /// Kills, and waits until the server is back. What was in flight in the worker of the database
    /// `postgres`, if it has one, is over then.
    #[track_caller]
    pub fn strike(self, cluster: &OwnCluster) {
        let mut session = connect(cluster);
        let worker = worker_of(&mut session, "postgres");
        match self {
            Self::Worker => {
                // It may have left a moment ago.
                let victim = worker.unwrap_or_else(|| session.pid());
                crash(cluster, session, victim);
            }
            Self::Backend => {
                let victim = session.pid();
                crash(cluster, session, victim);
            }
            Self::Postmaster => {
                process::signal(postmaster(cluster), "KILL");
                wait_until("all processes of the server have ended", || {
                    !has_processes(cluster)
                });
                // Until somebody waits for it, its number is taken for that of a process that
                // lives.
                let socket_lock = format!(".s.PGSQL.{}.lock", cluster.port);
                let socket_lock = Path::new(&cluster.socket_directory).join(socket_lock);
                for file in [pid_file(cluster), socket_lock] {
                    std::fs::remove_file(file).unwrap();
                }
                start(cluster);
            }
            Self::Immediate => {
                stop(cluster, "immediate");
                start(cluster);
            }
        }
        if let Some(worker) = worker {
            wait_until("the worker has ended", || !process::is_alive(worker));
        }
    }
}

/// A session of the superuser in the database `postgres`, as soon as there can be one.
#[track_caller]
pub fn connect(cluster: &OwnCluster) -> Session {
    let mut session = None;
    wait_until("the server accepts connections", || {
        session = cluster.try_connect("postgres", &cluster.superuser).ok();
        session.is_some()
    });
    session.unwrap()
}

/// Kills a process of the server, of which the session is another one or the same, and waits until
/// the server has recovered.
#[track_caller]
fn crash(cluster: &OwnCluster, mut session: Session, victim: i32) {
    process::signal(victim, "KILL");
    wait_until("the crash ends all sessions", || {
        session.try_run("SELECT").is_err()
    });
    drop(connect(cluster));
}

/// Shuts the server down in a mode of pg_ctl's.
pub fn stop(cluster: &OwnCluster, mode: &str) {
    let (bin, data) = (&cluster.bin, &cluster.data_directory);
    cluster.as_server(&format!(
        "{bin}/pg_ctl stop -w -s -t 300 -m {mode} -D {data} </dev/null"
    ));
}

/// Asks the server to shut down in fast mode, and does not wait.
pub fn begin_shut_down(cluster: &OwnCluster) {
    process::signal(postmaster(cluster), "INT");
}

/// Starts a server that is down.
pub fn start(cluster: &OwnCluster) {
    let (bin, data) = (&cluster.bin, &cluster.data_directory);
    let (port, log) = (cluster.port, &cluster.log);
    cluster.as_server(&format!(
        "{bin}/pg_ctl start -w -s -t 300 -D {data} -l {log} -o '-p {port}' </dev/null"
    ));
}

fn postmaster(cluster: &OwnCluster) -> i32 {
    let text = std::fs::read_to_string(pid_file(cluster)).unwrap();
    text.lines().next().unwrap().trim().parse().unwrap()
}

fn pid_file(cluster: &OwnCluster) -> PathBuf {
    Path::new(&cluster.data_directory).join("postmaster.pid")
}

/// Whether a process of the server is left: attached to the shared memory that `postmaster.pid`
/// names. Its working directory would not do: a killed worker loses that with its main thread,
/// while other threads may still be ending.
fn has_processes(cluster: &OwnCluster) -> bool {
    const KEY_AND_ID: usize = 6;
    const ATTACHED: usize = 6;
    let text = std::fs::read_to_string(pid_file(cluster)).unwrap();
    let id = text.lines().nth(KEY_AND_ID).unwrap();
    let id = id.split_whitespace().nth(1).unwrap();
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let mut segments = segments
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    segments.any(|segment| segment[1] == id && segment[ATTACHED] != "0")
}

/// Creates a mail server that is this recorder.
pub fn create_server(session: &mut Session, name: &str, recorder: &Recorder) {
    session.run(&format!(
        "CREATE SERVER {name} FOREIGN DATA WRAPPER utl_smtp
         OPTIONS (host '127.0.0.1', port '{}', security 'none')",
        recorder.port()
    ));
}

/// The statement that queues a message for `bob@example.com`.
pub fn submit(server: &str, sender: &str) -> String {
    format!(
        "SELECT utl_smtp.submit('{server}', '{sender}', ARRAY['bob@example.com'], E'Subject: {sender}\\n\\nhello')"
    )
}

/// Waits until no recipient is left in the queue.
#[track_caller]
pub fn await_empty_queue(session: &mut Session) {
    wait_for_work("the queue is emptied", || {
        session.value("SELECT count(*) FROM utl_smtp.mail_queue")
    });
}
