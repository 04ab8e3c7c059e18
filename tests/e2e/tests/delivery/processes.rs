//! Clusters of which a test watches the launcher and the workers.

use e2e::process::{self, wait_until};
use e2e::{OwnCluster, Session};

/// Loads the library with the server.
pub const PRELOAD: &str = "shared_preload_libraries = 'utl_smtp'";

/// With the library preloaded, and without.
pub const BOTH: [&[&str]; 2] = [&[PRELOAD], &[]];

/// A process of the extension's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub database: Option<String>,
}

fn processes(session: &mut Session, kind: &str) -> Vec<Process> {
    let query =
        "SELECT pid, datname::text FROM pg_stat_activity WHERE backend_type = $1 ORDER BY datname";
    let rows = session.query(query, &[&kind]).unwrap();
    rows.iter()
        .map(|row| Process {
            pid: row.get(0),
            database: row.get(1),
        })
        .collect()
}

/// The launcher, if there is one.
pub fn launcher(session: &mut Session) -> Option<Process> {
    let mut found = processes(session, "utl_smtp launcher");
    // One that has found another one ends at once.
    (found.len() == 1).then(|| found.remove(0))
}

/// The workers.
pub fn workers(session: &mut Session) -> Vec<Process> {
    processes(session, "utl_smtp delivery")
}

/// The worker of a database, if there is one.
pub fn worker_of(session: &mut Session, database: &str) -> Option<i32> {
    let mut workers = workers(session).into_iter();
    let found = workers.find(|worker| worker.database.as_deref() == Some(database));
    found.map(|worker| worker.pid)
}

/// Waits for a worker of a database. It may have been refused, or be about to leave.
#[track_caller]
pub fn await_worker(session: &mut Session, database: &str) -> i32 {
    let mut pid = None;
    wait_until(format_args!("{database} has a worker"), || {
        pid = worker_of(session, database);
        pid.is_some()
    });
    pid.unwrap()
}

/// Waits until the session's own database has a worker that may send, and returns its process.
#[track_caller]
pub fn await_sender(session: &mut Session) -> i32 {
    let query = "SELECT pid FROM utl_smtp.worker_state JOIN pg_stat_activity USING (pid)
                 WHERE backend_type = 'utl_smtp delivery' AND datname = current_database()";
    let mut pid = None;
    wait_until("a worker may send", || {
        pid = session.query_opt(query, &[]).unwrap().map(|row| row.get(0));
        pid.is_some()
    });
    pid.unwrap()
}

/// Waits until the worker has had several occasions to look at the queue of the session's database:
/// it looks once a second, and wakes up twice.
#[track_caller]
pub fn await_looks(session: &mut Session) {
    let worker = await_sender(session);
    let before = process::sleeps(worker);
    wait_until("the worker has looked at the queue", || {
        process::sleeps(worker) >= before + 6
    });
}

#[track_caller]
pub fn await_no_worker(session: &mut Session, database: &str) {
    wait_until(format_args!("{database} has no worker"), || {
        worker_of(session, database).is_none()
    });
}

#[track_caller]
pub fn await_launcher(session: &mut Session) -> i32 {
    let mut pid = None;
    wait_until("there is a launcher", || {
        pid = launcher(session).map(|launcher| launcher.pid);
        pid.is_some()
    });
    pid.unwrap()
}

/// A database with the extension and a mail server `office`, at a port that nobody listens on.
pub fn create_database(cluster: &OwnCluster, name: &str) -> Session {
    if name != "postgres" {
        cluster.superuser().run(&format!("CREATE DATABASE {name}"));
    }
    let mut session = cluster.connect(name, &cluster.superuser);
    session.run(&format!(
        "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS utl_smtp; RESET client_min_messages; {}",
        office(e2e::closed_port())
    ));
    session
}

/// Creates the mail server `office`.
pub fn office(port: u16) -> String {
    format!(
        "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '127.0.0.1', port '{port}', security 'none')"
    )
}

/// Queues a message.
pub const SUBMIT: &str = "SELECT utl_smtp.submit('office', 'app@example.com', ARRAY['bob@localhost'], E'Subject: x\\n\\nhello')";

/// Lines of the log that have this text.
pub fn log_lines(cluster: &OwnCluster, text: &str) -> Vec<String> {
    let log = cluster.log_text();
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

/// Fails the test if a process of the server has crashed.
#[track_caller]
pub fn assert_no_crash(cluster: &OwnCluster) {
    for text in [
        "PANIC",
        "was terminated by signal",
        "all server processes terminated",
        "terminating any other active server processes",
    ] {
        assert_eq!(log_lines(cluster, text), Vec::<String>::new());
    }
}

/// Ends a process by SIGTERM and waits for it to be gone.
#[track_caller]
pub fn terminate(session: &mut Session, pid: i32) {
    session
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .unwrap();
    wait_until(format_args!("process {pid} ends"), || {
        !process::is_alive(pid)
    });
}
