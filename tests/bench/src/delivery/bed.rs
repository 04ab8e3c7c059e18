//! The fixture: the sink, and databases whose mail servers are its ports.

use crate::cost::{Run, monotonic};
use crate::message;
use crate::sink::Sink;
use e2e::{Database, Session};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest wait for mail that must come.
const BOUND: Duration = Duration::from_secs(600);

pub struct Bed {
    /// For files of the peers.
    pub directory: PathBuf,
    pub sink: Sink,
}

/// A database with a queue.
pub struct Queue {
    pub database: Database,
    /// A session of the superuser, and one of a role that may use the servers.
    pub owner: Session,
    pub app: Session,
}

impl Bed {
    /// Uses the directory that [`crate::test_bed::certificates`] has filled.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            sink: Sink::start(directory),
        }
    }

    /// The message as it is on the wire.
    pub fn wire(&self) -> Vec<u8> {
        message::wire(&message::small())
    }

    /// Lets something send mail. Returns when each arrived, in order.
    pub fn arrivals(&mut self, mails: u64, begin: impl FnOnce()) -> Vec<Duration> {
        self.sink.arrivals();
        let before = self.sink.counts().mails;
        begin();
        let what = format!("{mails} mails arrive");
        wait_until(&what, || self.sink.counts().mails >= before + mails);
        let mut arrivals = self.sink.arrivals();
        arrivals.sort_unstable();
        assert_eq!(arrivals.len() as u64, mails, "mails arrived");
        arrivals
    }

    /// The time from the first arrival to the last.
    pub fn drain(&mut self, mails: u64, begin: impl FnOnce()) -> Run {
        let arrivals = self.arrivals(mails, begin);
        run(mails, *arrivals.last().unwrap() - arrivals[0])
    }

    /// A database whose mail servers are the ports of the sink, with an empty queue that is not
    /// delivered.
    pub fn queue(&self) -> Queue {
        let database = Database::new();
        let role = database.role("app");
        let mut owner = database.superuser();
        let message = message::small();
        owner.run(&include_str!("../../sql/delivery.sql").replace("$MESSAGE$", &message));
        let ports = self.sink.queue;
        for (name, port, options) in [
            ("near", ports.near, ""),
            ("far", ports.far, ", max_messages_per_connection '1000000'"),
            ("deferring", ports.deferring, ""),
            // 500 a second.
            ("limited", ports.near, ", max_messages_per_minute '30000'"),
            ("unkept", ports.near, ", max_messages_per_connection '1'"),
        ] {
            owner.run(&format!(
                "CREATE SERVER {name} FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '127.0.0.1', port '{port}',
                     security 'none', helo 'client.example.test'{options});
                 CREATE USER MAPPING FOR PUBLIC SERVER {name};
                 GRANT USAGE ON FOREIGN SERVER {name} TO {role}"
            ));
        }
        owner.run("SELECT utl_smtp.stop_delivery()");
        let app = database.connect(&role);
        Queue {
            database,
            owner,
            app,
        }
    }
}

impl Queue {
    /// Queues mail, in one transaction.
    pub fn fill(&mut self, server: &str, mails: u64) {
        let mails = i64::try_from(mails).unwrap();
        let queue = "SELECT bench.queue($1, $2)";
        self.app.execute(queue, &[&server, &mails]).unwrap();
    }

    /// Stops delivery, and waits until the worker has noticed: it looks once a second.
    pub fn stop(&mut self) {
        self.owner.run("SELECT utl_smtp.stop_delivery()");
        wait_until("the worker leaves", || {
            self.owner.value(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                                    WHERE backend_type = 'utl_smtp delivery' AND datname = current_database())",
            )
        });
    }

    pub fn start(&mut self) {
        self.owner.run("SELECT utl_smtp.start_delivery()");
    }

    /// Queues mail and has it sent. The time is from the first arrival until all is settled.
    pub fn drain(&mut self, bed: &mut Bed, server: &str, mails: u64) -> Run {
        self.stop();
        self.fill(server, mails);
        self.owner.run("CHECKPOINT");
        let arrivals = bed.arrivals(mails, || self.start());
        let settled = self.settled();
        run(mails, settled.max(*arrivals.last().unwrap()) - arrivals[0])
    }

    /// Waits until the queue is empty. Returns when the last mail became final, by [`monotonic`].
    pub fn settled(&mut self) -> Duration {
        wait_until("the queue is empty", || {
            self.owner
                .value("SELECT NOT EXISTS (SELECT FROM utl_smtp.message)")
        });
        let finished: f64 = self.owner.value(
            "SELECT extract(epoch FROM max(finished_at))::float8 FROM utl_smtp.delivery_log",
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ago = now.saturating_sub(Duration::from_secs_f64(finished));
        monotonic().saturating_sub(ago)
    }

    /// Fills the log with mail of the last four weeks, as much each hour as in any other.
    pub fn fill_log(&mut self, mails: u64) {
        self.owner.run(&format!(
            "INSERT INTO utl_smtp.delivery_log
                 (message_id, recipient_no, recipient, state, server, server_name, owner, owner_name, sender, subject,
                  size, submitted_at, attempts, finished_at, last_reply, remote)
             SELECT -i, 1, 'user' || i || '@example.test', 'sent', s.oid, s.srvname, s.srvowner, 'app', 'alice@example.test',
                    'how fast is it', 1024, now() - age, 1, now() - age, '250 ok', '127.0.0.1[127.0.0.1]:25'
               FROM pg_foreign_server AS s, generate_series({mails}, 1, -1) AS i,
                    LATERAL (SELECT interval '4 weeks' * i / {mails}) AS aged (age)
              WHERE s.srvname = 'near'"
        ));
        self.owner.run("VACUUM ANALYZE utl_smtp.delivery_log");
    }

    /// The worker's process.
    pub fn worker(&mut self) -> i32 {
        self.owner.value(
            "SELECT pid FROM pg_stat_activity
              WHERE backend_type = 'utl_smtp delivery' AND datname = current_database()",
        )
    }

    /// Empties the queue and the log. Nothing may be in flight.
    pub fn clear(&mut self) {
        self.owner.run(
            "TRUNCATE utl_smtp.message, utl_smtp.message_recipient, utl_smtp.message_content, utl_smtp.delivery_log,
                 bench.message, bench.message_recipient, bench.message_content",
        );
    }
}

fn run(units: u64, wall: Duration) -> Run {
    Run {
        units,
        wall,
        cpu: Duration::ZERO,
    }
}

/// Waits for an event that must come.
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
