//! Every wait of a conversation against everything that may end it, and signals at the worst of times.

mod endings;

use e2e::cluster::Cluster;
use e2e::resolver::{Answer, Resolver};
use e2e::waiting::{SilentNameServer, WaitPoint, await_waits, name_look_up, timed, wait_points};
use e2e::{
    Database, Failure, Open, OwnCluster, Peer, Script, Session, Smtp, Vigil, own_cluster, process,
    vigil,
};
use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a wait may outlast its end by.
const LATE: Duration = Duration::from_millis(250);
/// How often a wait is tried again that was late: a machine can be busy, a bug is late each time.
const TRIES: usize = 3;
/// Long enough to never be what ended a wait.
const PATIENT: u32 = 60;

/// A backend at a wait point.
struct Waiting {
    point: WaitPoint,
    pid: i32,
    watch: Watch,
    began: Instant,
    thread: JoinHandle<(Session, Result<(), Failure>, Instant)>,
}

/// What a wait ended in, and how late.
struct Ended {
    point: WaitPoint,
    session: Session,
    watch: Watch,
    outcome: Result<(), Failure>,
    late: Duration,
}

impl Ended {
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

    /// The session of SMTP is over, and nothing of it is left.
    #[track_caller]
    fn leaves_nothing(mut self) {
        let name = self.point.name;
        // It is for the wait, not for what is looked at here.
        self.session.run("RESET statement_timeout");
        if self.point.has_connection() {
            let smtp = WaitPoint::connection(&mut self.session);
            vigil::assert_over(&mut self.session, &smtp);
        }
        let open: i64 = self
            .session
            .value("SELECT count(*) FROM utl_smtp.connections()");
        assert_eq!(open, 0, "{name}");
        self.watch.end(&mut self.session);
        self.point.finish();
    }
}

/// What must hold once the session of SMTP is over.
enum Watch {
    Shared(Vigil),
    /// In a cluster of its own: how many sockets the backend had.
    Own(usize),
}

impl Watch {
    #[track_caller]
    fn end(self, session: &mut Session) {
        match self {
            Self::Shared(vigil) => vigil.end(session, &[]),
            Self::Own(before) => {
                assert_eq!(session.value::<i32>("SELECT 1"), 1);
                // A look-up that was given up keeps its sockets until the resolver gives up, too.
                let pid = session.pid();
                let closed = || sockets(pid) <= before;
                assert!(process::time_until(Duration::from_secs(20), closed).is_some());
            }
        }
    }
}

fn sockets(pid: i32) -> usize {
    let open = vigil::descriptors(pid);
    open.iter().filter(|one| one.starts_with("socket")).count()
}

/// Where the sessions of a table are opened.
enum Place {
    Shared(Database),
    Own(OwnCluster),
}

impl Place {
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

    fn watch(&self, session: &mut Session) -> Watch {
        match self {
            Self::Shared(_) => Watch::Shared(Vigil::begin(session)),
            Self::Own(_) => Watch::Own(sockets(session.pid())),
        }
    }

    /// Brings a session to the point and leaves it waiting there, in `WHEN OTHERS` if it is to be tempted.
    fn start(&self, point: WaitPoint, tx_timeout: u32, setting: &str, tempted: bool) -> Waiting {
        let mut session = self.session();
        let watch = self.watch(&mut session);
        point.prepare(&mut session, tx_timeout);
        session.run(setting);
        let wait = point.waiting(tx_timeout);
        let sql = match tempted {
            true => format!("DO $$ BEGIN PERFORM {wait}; EXCEPTION WHEN OTHERS THEN NULL; END $$"),
            false => format!("SELECT {wait}"),
        };
        let pid = session.pid();
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let (outcome, at) = timed(&mut session, &sql);
            (session, outcome, at)
        });
        Waiting {
            point,
            pid,
            watch,
            began,
            thread,
        }
    }
}

impl Waiting {
    /// When it ended, counted from `due`.
    fn join(self, due: Instant) -> Ended {
        let (session, outcome, at) = self.thread.join().unwrap();
        Ended {
            point: self.point,
            session,
            watch: self.watch,
            outcome,
            late: at.saturating_duration_since(due),
        }
    }
}

/// Runs a row of the table for each point, and again for those that were late.
fn each_point(
    points: impl Fn() -> Vec<WaitPoint>,
    row: impl Fn(Vec<WaitPoint>) -> Vec<(&'static str, Duration)>,
) {
    let mut wanted: Option<Vec<&str>> = None;
    for attempt in 1..=TRIES {
        let mut chosen = points();
        if let Some(names) = &wanted {
            chosen.retain(|point| names.contains(&point.name));
        }
        let late: Vec<_> = row(chosen)
            .into_iter()
            .filter(|(_, late)| *late > LATE)
            .collect();
        if late.is_empty() {
            return;
        }
        assert!(attempt < TRIES, "late {TRIES} times: {late:?}");
        wanted = Some(late.iter().map(|(name, _)| *name).collect());
    }
}

/// Brings a backend to each point in turn and sends it something.
fn interrupt_each(
    place: &Place,
    points: Vec<WaitPoint>,
    tempted: bool,
    send: &str,
    judge: impl Fn(Ended),
) -> Vec<(&'static str, Duration)> {
    let mut observer = place.session();
    let interrupted = points.into_iter().map(|point| {
        let name = point.name;
        let one = place.start(point, PATIENT, "", tempted);
        await_waits(&mut observer, &[one.pid], name);
        let due = Instant::now();
        assert!(observer.value::<bool>(&format!("SELECT {send}({})", one.pid)));
        let ended = one.join(due);
        let late = ended.late;
        judge(ended);
        (name, late)
    });
    interrupted.collect()
}

/// Lets a time limit end all waits at once; the limit counts from the start of the waiting statement.
fn let_expire(
    place: &Place,
    points: Vec<WaitPoint>,
    tx_timeout: u32,
    setting: &str,
    limit: Duration,
    judge: impl Fn(Ended),
) -> Vec<(&'static str, Duration)> {
    let tempted = tx_timeout == PATIENT;
    let waiting: Vec<_> = points
        .into_iter()
        .map(|point| place.start(point, tx_timeout, setting, tempted))
        .collect();
    let expired = waiting.into_iter().map(|one| {
        let name = one.point.name;
        let began = one.began;
        let mut ended = one.join(began);
        assert!(ended.late >= limit, "{name}: ended after {:?}", ended.late);
        ended.late -= limit;
        let late = ended.late;
        judge(ended);
        (name, late)
    });
    expired.collect()
}

const CANCELLED: &str = "canceling statement due to user request";

#[test]
fn a_cancel_ends_every_wait_and_when_others_does_not_keep_it() {
    let place = Place::shared();
    each_point(wait_points, |points| {
        interrupt_each(&place, points, true, "pg_cancel_backend", |ended| {
            ended.expect("57014", CANCELLED);
            ended.leaves_nothing();
        })
    });
}

#[test]
fn statement_timeout_ends_every_wait() {
    let place = Place::shared();
    let limit = Duration::from_millis(300);
    each_point(wait_points, |points| {
        let setting = "SET statement_timeout = 300";
        let_expire(&place, points, PATIENT, setting, limit, |ended| {
            ended.expect("57014", "canceling statement due to statement timeout");
            ended.leaves_nothing();
        })
    });
}

/// From PostgreSQL 17 on.
#[test]
fn transaction_timeout_ends_every_wait_and_the_backend() {
    transactions_time_out(&Place::shared(), wait_points);
}

fn transactions_time_out(place: &Place, points: impl Fn() -> Vec<WaitPoint>) {
    let version = "SELECT current_setting('server_version_num')::integer";
    if place.session().value::<i32>(version) < 170_000 {
        eprintln!("not tried: there is no transaction_timeout before PostgreSQL 17");
        return;
    }
    let limit = Duration::from_millis(300);
    each_point(points, |points| {
        let setting = "SET transaction_timeout = 300";
        let_expire(place, points, PATIENT, setting, limit, |ended| {
            let failure = ended.outcome.expect_err(ended.point.name);
            assert!(
                ["25P04", ""].contains(&failure.sqlstate.as_str()),
                "{failure}"
            );
            let pid = ended.session.pid();
            let gone = process::time_until(Duration::from_secs(1), || !process::is_alive(pid));
            assert!(gone.is_some(), "{}", ended.point.name);
            ended.point.finish();
        })
    });
}

/// The limit is the command's, however the peer spends it.
#[test]
fn tx_timeout_ends_every_wait() {
    let place = Place::shared();
    let limit = Duration::from_secs(1);
    each_point(wait_points, |points| {
        let_expire(&place, points, 1, "", limit, |ended| {
            // QUIT is over whatever the server says.
            if ended.point.name == "QUIT" {
                assert_eq!(ended.outcome, Ok(()));
            } else {
                ended.expect("U9278", "421 Service not available");
            }
            ended.leaves_nothing();
        })
    });
}

#[test]
fn a_terminated_backend_goes_from_every_wait() {
    let place = Place::shared();
    each_point(wait_points, |points| {
        interrupt_each(&place, points, true, "pg_terminate_backend", |ended| {
            gone(place.cluster().0, ended);
        })
    });
}

fn gone(cluster: &Cluster, ended: Ended) {
    let limit = Duration::from_secs(1);
    let pid = ended.session.pid();
    assert!(
        process::time_until(limit, || !process::is_alive(pid)).is_some(),
        "{}: the process is still there",
        ended.point.name
    );
    assert_terminated(cluster, pid, &ended);
    ended.point.finish();
}

/// The client may see the end of its connection before the error that explains it; the log has it in any case.
#[track_caller]
fn assert_terminated(cluster: &Cluster, pid: i32, ended: &Ended) {
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

/// A client that can be killed, in the middle of a statement that waits.
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

    fn leave(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The time from a client's death to the end of its backend, for each point.
fn clients_leave(place: &Place, points: Vec<WaitPoint>) -> Vec<(&'static str, Duration)> {
    let interval = Duration::from_millis(100);
    let (cluster, database) = place.cluster();
    let mut observer = place.session();
    let left = points.into_iter().enumerate().map(|(number, point)| {
        let name = format!("leaving_{number}");
        let mut statements = point.preparations(PATIENT);
        statements.push(format!("SELECT {}", point.waiting(PATIENT)));
        let client = Client::start(cluster, database, &name, &statements);
        let pid = backend_of(&mut observer, database, &name);
        await_waits(&mut observer, &[pid], point.name);
        client.leave();
        let time = process::time_until(Duration::from_secs(5), || !process::is_alive(pid));
        let time = time.unwrap_or_else(|| panic!("{}: the backend stayed", point.name));
        let row = (point.name, time.saturating_sub(interval));
        point.finish();
        row
    });
    left.collect()
}

fn backend_of(observer: &mut Session, database: &str, application: &str) -> i32 {
    let sql = format!(
        "SELECT max(pid) FROM pg_stat_activity
          WHERE datname = '{database}' AND application_name = '{application}'"
    );
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(pid) = observer.value::<Option<i32>>(&sql) {
            return pid;
        }
        assert!(Instant::now() < end, "{application} did not connect");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_backend_whose_client_is_gone_goes_from_every_wait() {
    let place = Place::shared();
    each_point(wait_points, |points| clients_leave(&place, points));
}

/// PostgreSQL ends the backend between two calls, and the server sees the end of the connection.
#[test]
fn an_idle_transaction_that_times_out_takes_its_connection_along() {
    let database = Database::new();
    let peer = e2e::Peer::start(e2e::Script::greeting().line());
    let mut session = database.superuser();
    session.run("SET idle_in_transaction_session_timeout = '200ms'");
    session.run(&format!(
        "BEGIN; SELECT utl_smtp.open_connection('127.0.0.1', {}, 10)",
        peer.port()
    ));
    let pid = session.pid();
    let gone = process::time_until(Duration::from_secs(20), || !process::is_alive(pid));
    assert!(gone.is_some());
    assert!(session.try_run("SELECT 1").is_err());
    assert_eq!(peer.finish().only().plain, b"");
}
