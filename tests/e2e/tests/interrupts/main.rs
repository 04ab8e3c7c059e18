//! Every wait of a conversation combined with everything that can end it, and signals at bad
//! moments.
//!
//! Nothing is timed here, except that a limit must not end a wait too early. Limits that are not
//! under test are minutes away ([`process::NEVER`]). Whatever ends a wait within [`process::BOUND`]
//! is therefore what was sent to it.

mod shutdown;

use e2e::cluster::Cluster;
use e2e::process::{LIMITS, NEVER, wait_until};
use e2e::resolver::{Answer, Resolver};
use e2e::wait_points::{SILENT_NAME, WaitPoint, await_wait, is_waiting, name_look_up, wait_points};
use e2e::{
    Database, Failure, Invariants, Open, OwnCluster, Peer, Script, Session, invariants,
    own_cluster, process,
};
use postgres::NoTls;
use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Attempts for a wait that may end by itself before it is interrupted. A bug ends it that way
/// every time.
const TRIES: usize = 20;

/// A backend at a wait point.
struct WaitingBackend {
    point: WaitPoint,
    pid: i32,
    leak_check: LeakCheck,
    thread: JoinHandle<(Session, Result<(), Failure>, Duration)>,
}

/// How a wait ended, and after how long.
struct WaitOutcome {
    point: WaitPoint,
    session: Session,
    leak_check: LeakCheck,
    outcome: Result<(), Failure>,
    took: Duration,
}

impl WaitOutcome {
    #[track_caller]
    fn expect(&self, sqlstate: &str, message: &str) {
        let failure = self.outcome.clone().expect_err(self.point.name);
        assert_eq!(failure.sqlstate, sqlstate, "{}: {failure}", self.point.name);
        assert!(
            failure.message.contains(message),
            "{}: {failure}",
            self.point.name
        );
    }

    /// Asserts that the SMTP session is closed and left nothing behind.
    #[track_caller]
    fn assert_closed(mut self) {
        let name = self.point.name;
        if self.point.has_connection() {
            let smtp = WaitPoint::connection(&mut self.session);
            invariants::assert_over(&mut self.session, &smtp);
        }
        let open: i64 = self
            .session
            .value("SELECT count(*) FROM utl_smtp.connections()");
        assert_eq!(open, 0, "{name}");
        self.leak_check.check(&mut self.session);
        self.point.finish();
    }
}

/// What to check once the SMTP session is closed.
enum LeakCheck {
    Shared(Invariants),
    /// In a private cluster: the number of sockets before.
    Own(usize),
}

impl LeakCheck {
    #[track_caller]
    fn check(self, session: &mut Session) {
        match self {
            Self::Shared(invariants) => invariants.check(session, &[]),
            Self::Own(before) => {
                assert_eq!(session.value::<i32>("SELECT 1"), 1);
                // An abandoned look-up keeps its sockets until the resolver gives up, too.
                let pid = session.pid();
                wait_until("the sockets are closed", || sockets(pid) <= before);
            }
        }
    }
}

fn sockets(pid: i32) -> usize {
    let open = invariants::descriptors(pid);
    open.iter().filter(|one| one.starts_with("socket")).count()
}

/// The server for the sessions of a test.
enum TestServer {
    Shared(Database),
    Own(OwnCluster),
}

impl TestServer {
    fn shared() -> Self {
        Self::Shared(Database::new())
    }

    fn session(&self) -> Session {
        match self {
            Self::Shared(database) => database.superuser(),
            Self::Own(cluster) => cluster.superuser(),
        }
    }

    fn cluster(&self) -> (&Cluster, &str) {
        match self {
            Self::Shared(database) => (Cluster::shared(), database.name()),
            Self::Own(cluster) => (cluster, "postgres"),
        }
    }

    fn begin_leak_check(&self, session: &mut Session) -> LeakCheck {
        match self {
            Self::Shared(_) => LeakCheck::Shared(Invariants::record(session)),
            Self::Own(_) => LeakCheck::Own(sockets(session.pid())),
        }
    }

    /// Brings a session to the point and leaves it waiting there. `caught` wraps the statement in a
    /// handler for `WHEN OTHERS`. `setting` applies to the waiting statement only. An error is from
    /// the statements before it.
    fn start(
        &self,
        point: WaitPoint,
        tx_timeout: i32,
        setting: &str,
        caught: bool,
    ) -> Result<WaitingBackend, Failure> {
        let mut session = self.session();
        let leak_check = self.begin_leak_check(&mut session);
        point.prepare(&mut session, tx_timeout)?;
        let wait = point.waiting(tx_timeout);
        let sql = match caught {
            true => format!("DO $$ BEGIN PERFORM {wait}; EXCEPTION WHEN OTHERS THEN NULL; END $$"),
            false => format!("SELECT {wait}"),
        };
        let pid = session.pid();
        let statements = format!("{setting}; {sql}");
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let outcome = session.try_run(&statements);
            (session, outcome, began.elapsed())
        });
        Ok(WaitingBackend {
            point,
            pid,
            leak_check,
            thread,
        })
    }

    /// Like [`TestServer::start`], without a limit.
    fn start_without_limit(&self, point: WaitPoint, caught: bool) -> WaitingBackend {
        self.start(point, NEVER, "", caught)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }
}

impl WaitingBackend {
    /// Waits until the backend waits at its point, or its statement has ended; returns whether it
    /// waits.
    #[track_caller]
    fn await_wait(&self, observer: &mut Session) -> bool {
        let mut waits = false;
        let name = self.point.name;
        wait_until(format_args!("{name}: the backend waits"), || {
            waits = self.point.is_reached() && is_waiting(observer, self.pid);
            waits || self.thread.is_finished()
        });
        waits
    }

    #[track_caller]
    fn join(self) -> WaitOutcome {
        let (session, outcome, took) = process::join(self.point.name, self.thread);
        WaitOutcome {
            point: self.point,
            session,
            leak_check: self.leak_check,
            outcome,
            took,
        }
    }
}

/// A new wait point with this name.
fn point_named(points: &impl Fn() -> Vec<WaitPoint>, name: &str) -> WaitPoint {
    let found = points().into_iter().find(|point| point.name == name);
    found.unwrap()
}

/// QUIT stops waiting by itself after some seconds.
fn ends_by_itself(point: &WaitPoint) -> bool {
    point.name == "QUIT"
}

/// The limit in seconds that ends the wait at this point: QUIT stops waiting by itself after five.
fn limit_at(point: &WaitPoint, limit: i32) -> i32 {
    if ends_by_itself(point) {
        limit.min(4)
    } else {
        limit
    }
}

/// Brings a backend to each point in turn and sends it a signal.
fn interrupt_each(
    server: &TestServer,
    points: impl Fn() -> Vec<WaitPoint>,
    send: &str,
    check: impl Fn(WaitOutcome),
) {
    let mut observer = server.session();
    for mut point in points() {
        for attempt in 1.. {
            let name = point.name;
            let one = server.start_without_limit(point, true);
            one.await_wait(&mut observer);
            // The function returns false, with a warning, if the backend is gone.
            assert!(observer.value::<bool>(&format!("SELECT {send}({})", one.pid)));
            let ended = one.join();
            if ends_by_itself(&ended.point) && ended.outcome.is_ok() && attempt < TRIES {
                point = point_named(&points, name);
                continue;
            }
            check(ended);
            break;
        }
    }
}

/// Lets a setting end all waits at once. It counts from the start of the waiting statement, and
/// may be over before the wait.
fn expire_setting(
    server: &TestServer,
    points: impl Fn() -> Vec<WaitPoint>,
    setting: &str,
    check: impl Fn(WaitOutcome),
) {
    let mut observer = server.session();
    let start = |point: WaitPoint, limit: i32| {
        let setting = format!("{setting} = '{}s'", limit_at(&point, limit));
        let one = server
            .start(point, NEVER, &setting, true)
            .unwrap_or_else(|failure| panic!("{failure}"));
        one.await_wait(&mut observer).then_some(one)
    };
    expire(points, start, check);
}

/// Like [`expire_setting`], with `tx_timeout`, which also applies to the calls before the point.
fn expire_tx_timeout(
    server: &TestServer,
    points: impl Fn() -> Vec<WaitPoint>,
    check: impl Fn(WaitOutcome),
) {
    let start = |point, limit| server.start(point, limit, "", false).ok();
    expire(points, start, check);
}

/// Lets a limit in seconds end all waits at once. Where `start` returns nothing, the limit was over
/// before the wait, and the next limit is tried.
fn expire(
    points: impl Fn() -> Vec<WaitPoint>,
    mut start: impl FnMut(WaitPoint, i32) -> Option<WaitingBackend>,
    check: impl Fn(WaitOutcome),
) {
    let mut left = points();
    for limit in LIMITS {
        let mut missed = Vec::new();
        let mut waiting = Vec::new();
        for point in left {
            let name = point.name;
            match start(point, limit) {
                Some(one) => waiting.push(one),
                None => missed.push(name),
            }
        }
        for ended in waiting.into_iter().map(WaitingBackend::join) {
            let (name, took) = (ended.point.name, ended.took);
            let limit = limit_at(&ended.point, limit);
            let limit = Duration::from_secs(limit.try_into().unwrap());
            assert!(took >= limit, "{name}: ended after {took:?}");
            check(ended);
        }
        if missed.is_empty() {
            return;
        }
        left = missed
            .iter()
            .map(|name| point_named(&points, name))
            .collect();
    }
    panic!(
        "these points were not reached: {:?}",
        left.iter().map(|point| point.name).collect::<Vec<_>>()
    );
}

const CANCELLED: &str = "canceling statement due to user request";

#[test]
fn a_cancel_ends_every_wait_and_when_others_does_not_catch_it() {
    let server = TestServer::shared();
    interrupt_each(&server, wait_points, "pg_cancel_backend", |ended| {
        ended.expect("57014", CANCELLED);
        ended.assert_closed();
    });
}

/// A waiting backend does not poll: whatever ends the wait wakes it.
#[test]
fn a_waiting_backend_does_not_poll() {
    let peer = Peer::start(Script::greeting().line().hold());
    let database = Database::new();
    let mut session = database.superuser();
    let open = Open::to("127.0.0.1", peer.port()).timeout(NEVER);
    let smtp = open.open(&mut session).unwrap();
    let (pid, token) = (session.pid(), session.cancel_token());
    let waiting = std::thread::spawn(move || smtp.noop(&mut session));
    peer.await_hold();
    await_wait(&mut database.superuser(), pid, "NOOP");
    // Activity in other databases may wake it now and then.
    wait_until("the backend sleeps for two seconds on end", || {
        let before = process::sleeps(pid);
        std::thread::sleep(Duration::from_secs(2));
        process::sleeps(pid) == before
    });
    token.cancel_query(NoTls).unwrap();
    let outcome = process::join("the wait", waiting);
    outcome.unwrap_err().expect("57014");
    peer.finish();
}

#[test]
fn statement_timeout_ends_every_wait() {
    let setting = "SET LOCAL statement_timeout";
    expire_setting(&TestServer::shared(), wait_points, setting, |ended| {
        ended.expect("57014", "canceling statement due to statement timeout");
        ended.assert_closed();
    });
}

/// `transaction_timeout` exists since PostgreSQL 17.
#[test]
fn transaction_timeout_ends_every_wait_and_the_backend() {
    transactions_time_out(&TestServer::shared(), wait_points);
}

fn transactions_time_out(server: &TestServer, points: impl Fn() -> Vec<WaitPoint>) {
    let version = "SELECT current_setting('server_version_num')::integer";
    if server.session().value::<i32>(version) < 170_000 {
        eprintln!("not tried: there is no transaction_timeout before PostgreSQL 17");
        return;
    }
    expire_setting(server, points, "SET transaction_timeout", |ended| {
        let failure = ended.outcome.expect_err(ended.point.name);
        assert!(
            ["25P04", ""].contains(&failure.sqlstate.as_str()),
            "{failure}"
        );
        await_end(ended.session.pid(), ended.point.name);
        ended.point.finish();
    });
}

#[track_caller]
fn await_end(pid: i32, name: &str) {
    wait_until(format_args!("{name}: the backend ends"), || {
        !process::is_alive(pid)
    });
}

/// The limit applies to the whole command, however the peer spends it.
#[test]
fn tx_timeout_ends_every_wait() {
    expire_tx_timeout(&TestServer::shared(), wait_points, |ended| {
        // QUIT always succeeds.
        if ended.point.name == "QUIT" {
            assert_eq!(ended.outcome, Ok(()));
        } else {
            ended.expect("U9278", "421 Service not available");
        }
        ended.assert_closed();
    });
}

#[test]
fn pg_terminate_backend_ends_every_wait() {
    let server = TestServer::shared();
    interrupt_each(&server, wait_points, "pg_terminate_backend", |ended| {
        gone(server.cluster().0, ended);
    });
}

fn gone(cluster: &Cluster, ended: WaitOutcome) {
    let pid = ended.session.pid();
    await_end(pid, ended.point.name);
    assert_terminated(cluster, pid, &ended);
    ended.point.finish();
}

/// The client may see the end of its connection before the error that explains it. The log has it
/// in any case.
#[track_caller]
fn assert_terminated(cluster: &Cluster, pid: i32, ended: &WaitOutcome) {
    let name = ended.point.name;
    let failure = ended.outcome.as_ref().expect_err(name);
    if !failure.sqlstate.is_empty() {
        assert_eq!(failure.sqlstate, "57P01", "{name}: {failure}");
    }
    let log = std::fs::read(&cluster.log).unwrap();
    let log = String::from_utf8_lossy(&log);
    let said = log.lines().any(|line| {
        line.contains(&format!("[{pid}]"))
            && line.contains("FATAL:  terminating connection due to administrator command")
    });
    assert!(said, "{name}: {failure}");
}

/// A client process that can be killed while its statement waits.
struct Client(Child);

impl Client {
    fn start(cluster: &Cluster, database: &str, name: &str, statements: &[String]) -> Self {
        let mut command = Command::new(format!("{}/psql", cluster.bin));
        command
            .args(["-X", "-q", "-h", &cluster.host, "-U", &cluster.superuser])
            .args(["-p", &cluster.port.to_string(), "-d", database])
            .env("PGAPPNAME", name)
            .env("PGOPTIONS", "-c client_connection_check_interval=100ms")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for statement in statements {
            command.args(["-c", statement]);
        }
        Self(command.spawn().unwrap())
    }

    fn has_left(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn leave(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Kills a client at each point; its backend must end.
fn clients_leave(server: &TestServer, points: impl Fn() -> Vec<WaitPoint>) {
    for (number, point) in points().into_iter().enumerate() {
        let name = point.name;
        let mut point = Some(point);
        let left = (0..TRIES).any(|attempt| {
            let point = point.take().unwrap_or_else(|| point_named(&points, name));
            client_leaves(server, point, &format!("leaving_{number}_{attempt}"))
        });
        assert!(left, "{name}: the client had no wait to leave");
    }
}

/// Returns false if the wait ended by itself before the client could be killed.
fn client_leaves(server: &TestServer, point: WaitPoint, application: &str) -> bool {
    let (cluster, database) = server.cluster();
    let mut observer = server.session();
    let mut statements = point.preparations(NEVER);
    statements.push(format!("SELECT {}", point.waiting(NEVER)));
    let mut client = Client::start(cluster, database, application, &statements);
    let mut pid = None;
    wait_until(format_args!("{}: the backend waits", point.name), || {
        pid = backend_of(&mut observer, application);
        client.has_left()
            || pid.is_some_and(|pid| point.is_reached() && is_waiting(&mut observer, pid))
    });
    if client.has_left() {
        assert!(ends_by_itself(&point), "{}: psql ended", point.name);
        return false;
    }
    client.leave();
    await_end(pid.unwrap(), point.name);
    point.finish();
    true
}

fn backend_of(observer: &mut Session, application: &str) -> Option<i32> {
    observer.value(&format!(
        "SELECT max(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = '{application}'"
    ))
}

#[test]
fn the_death_of_the_client_ends_every_wait() {
    clients_leave(&TestServer::shared(), wait_points);
}

/// PostgreSQL ends the backend between two calls, and the peer sees the connection end.
#[test]
fn an_idle_transaction_timeout_closes_the_connection() {
    let database = Database::new();
    let peer = e2e::Peer::start(e2e::Script::greeting().line());
    let mut session = database.superuser();
    session.run("SET idle_in_transaction_session_timeout = '200ms'");
    session.run(&format!(
        "BEGIN; SELECT utl_smtp.open_connection('127.0.0.1', {}, 60)",
        peer.port()
    ));
    let pid = session.pid();
    await_end(pid, "idle in a transaction");
    assert!(session.try_run("SELECT 1").is_err());
    assert_eq!(peer.finish().only().plain, b"");
}
