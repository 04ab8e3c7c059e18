//! Debian's prometheus-postgres-exporter with the queries of `monitoring/postgres_exporter.yml`.

use super::{Day, path, text};
use e2e::cluster::Cluster;
use e2e::ports::free_port;
use e2e::process::wait_until;
use e2e::{Database, Session};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The exporter, as a role in a database. Stopped when dropped.
struct Exporter {
    process: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Exporter {
    fn start(database: &Database, role: &str) -> Self {
        let cluster = Cluster::shared();
        let (port, log) = (free_port(), tempfile::NamedTempFile::new().unwrap());
        let output = || Stdio::from(File::options().append(true).open(log.path()).unwrap());
        let source = format!(
            "postgresql://{role}@{}:{}/{}?sslmode=disable",
            cluster.host,
            cluster.port,
            database.name()
        );
        // Its own metrics are not those of every version of PostgreSQL.
        let process = Command::new("prometheus-postgres-exporter")
            .args(["--disable-default-metrics", "--disable-settings-metrics"])
            .args(["--no-collector.database", "--no-collector.bgwriter"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--extend.query-path")
            .arg(path("postgres_exporter.yml"))
            .env("DATA_SOURCE_NAME", source)
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus-postgres-exporter: {error}"));
        let exporter = Self { process, port, log };
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("the exporter listens", listens);
        exporter
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// One scrape.
    fn metrics(&self) -> Metrics {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        Metrics(body.lines().filter_map(series).collect())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The value of each series, without the labels that say where it comes from.
pub struct Metrics(BTreeMap<String, f64>);

/// A line of the text format, such as `name{label="value",other="value"} 1`. A comment is none.
fn series(line: &str) -> Option<(String, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    if line.starts_with('#') {
        return None;
    }
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series.to_owned(), value.parse().unwrap()));
    };
    let labels: Vec<&str> = labels
        .trim_end_matches('}')
        .split_inclusive("\",")
        .map(|label| label.trim_end_matches(','))
        .filter(|label| !label.starts_with("database=") && !label.starts_with("server="))
        .collect();
    let value = value.parse().unwrap();
    Some((format!("{name}{{{}}}", labels.join(",")), value))
}

impl Metrics {
    /// Those of a scrape of everything, in which no query failed.
    pub fn of(day: &Day) -> Self {
        let exporter = Exporter::start(&day.fixture.database, &day.monitor);
        let metrics = exporter.metrics();
        assert_eq!(metrics.value("pg_up{}"), 1.0);
        let failed = metrics.value("pg_exporter_last_scrape_error{}");
        assert_eq!(failed, 0.0, "{}", exporter.log_text());
        let loaded = metrics
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("pg_exporter_user_queries_load_error{"));
        assert_eq!(loaded.map(|(_, value)| *value).collect::<Vec<_>>(), [0.0]);
        metrics
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        // A series without labels has its braces only where labels were left out.
        let bare = series.trim_end_matches("{}");
        let value = self.0.get(series).or_else(|| self.0.get(bare));
        *value.unwrap_or_else(|| panic!("no {series} in {:#?}", self.own()))
    }

    pub fn has(&self, metric: &str) -> bool {
        let labelled = format!("{metric}{{");
        self.0
            .keys()
            .any(|name| name == metric || name.starts_with(&labelled))
    }

    /// Whether a series has this label, as in `state="ok"`.
    pub fn has_label(&self, label: &str) -> bool {
        self.own().iter().any(|(name, _)| name.contains(label))
    }

    fn own(&self) -> Vec<(&String, &f64)> {
        let own = self.0.iter();
        own.filter(|(name, _)| name.starts_with("utl_smtp_"))
            .collect()
    }
}

#[test]
fn the_metrics_are_those_of_the_day() {
    let day = Day::new();
    let metrics = Metrics::of(&day);
    for (series, value) in DELIVERY.iter().chain(SERVERS).chain(RESULTS) {
        assert_eq!(
            metrics.value(&format!("utl_smtp_{series}")),
            *value,
            "{series}"
        );
    }
    for (percentile, seconds) in [("p50", 10.0), ("p95", 86.5), ("p99", 97.3)] {
        let latency = |server: &str| {
            let series =
                format!("utl_smtp_last5m_latency_{percentile}_seconds{{mail_server=\"{server}\"}}");
            metrics.value(&series)
        };
        assert!((latency("office") - seconds).abs() < 0.01, "{percentile}");
        assert!(latency("spare").is_nan());
    }
    let overdue = |server: &str| {
        metrics.value(&format!(
            "utl_smtp_server_overdue_seconds{{mail_server=\"{server}\"}}"
        ))
    };
    assert!((1200.0..1300.0).contains(&overdue("office")));
    assert!((0.0..100.0).contains(&overdue("down")) && overdue("down") > 0.0);
    assert_eq!(overdue("spare"), 0.0);
    // A state of each server that the role has USAGE on, all of the servers of this extension, and
    // what was counted here: nothing else is said.
    let counted = DELIVERY.len() + SERVERS.len() + RESULTS.len();
    let others = 3 * 3 + 3;
    let own = metrics.own();
    assert_eq!(own.len(), counted + others, "{own:#?}");
}

const DELIVERY: &[(&str, f64)] = &[
    ("delivery_up{}", 0.0),
    ("delivery_connections{}", 0.0),
    ("delivery_queued{}", 5.0),
    ("delivery_deferred{}", 1.0),
    ("delivery_held{}", 3.0),
    (r#"delivery_state_active{state="running"}"#, 0.0),
    (r#"delivery_state_active{state="idle"}"#, 0.0),
    (r#"delivery_state_active{state="stopped"}"#, 1.0),
    (r#"delivery_state_active{state="off"}"#, 0.0),
    (r#"delivery_state_active{state="absent"}"#, 0.0),
    (r#"delivery_state_active{state="outdated"}"#, 0.0),
];

const SERVERS: &[(&str, f64)] = &[
    (r#"server_paused{mail_server="office"}"#, 0.0),
    (r#"server_queued{mail_server="office"}"#, 2.0),
    (r#"server_sending{mail_server="office"}"#, 1.0),
    (r#"server_deferred{mail_server="office"}"#, 1.0),
    (r#"server_held_copy{mail_server="office"}"#, 2.0),
    (r#"server_held_crashed{mail_server="office"}"#, 1.0),
    (r#"server_paused{mail_server="spare"}"#, 1.0),
    (r#"server_queued{mail_server="spare"}"#, 1.0),
    (r#"server_sending{mail_server="spare"}"#, 0.0),
    (r#"server_deferred{mail_server="spare"}"#, 0.0),
    (r#"server_held_copy{mail_server="spare"}"#, 0.0),
    (r#"server_held_crashed{mail_server="spare"}"#, 0.0),
    (r#"server_paused{mail_server="down"}"#, 0.0),
    (r#"server_queued{mail_server="down"}"#, 1.0),
    (r#"server_sending{mail_server="down"}"#, 0.0),
    (r#"server_deferred{mail_server="down"}"#, 0.0),
    (r#"server_held_copy{mail_server="down"}"#, 0.0),
    (r#"server_held_crashed{mail_server="down"}"#, 0.0),
    (
        r#"server_state_active{mail_server="office",state="ok"}"#,
        1.0,
    ),
    (
        r#"server_state_active{mail_server="office",state="backed off"}"#,
        0.0,
    ),
    (
        r#"server_state_active{mail_server="office",state="paused"}"#,
        0.0,
    ),
    (
        r#"server_state_active{mail_server="office",state="limited"}"#,
        0.0,
    ),
    (r#"server_state_active{mail_server="down",state="ok"}"#, 0.0),
    (
        r#"server_state_active{mail_server="down",state="backed off"}"#,
        1.0,
    ),
    (
        r#"server_state_active{mail_server="down",state="paused"}"#,
        0.0,
    ),
    (
        r#"server_state_active{mail_server="down",state="limited"}"#,
        0.0,
    ),
    // Whole days: the tenth has begun.
    (
        r#"wallet_days_left{file="ca.pem",kind="trust anchor",mail_server="office"}"#,
        9.0,
    ),
];

const RESULTS: &[(&str, f64)] = &[
    (r#"last5m_accepted{mail_server="office"}"#, 4.0),
    (r#"last5m_failed{mail_server="office"}"#, 4.0),
    (r#"last5m_bounced{mail_server="office"}"#, 2.0),
    (r#"last5m_suppressed{mail_server="office"}"#, 1.0),
    (r#"last5m_expired{mail_server="office"}"#, 1.0),
    (r#"last5m_cancelled{mail_server="office"}"#, 1.0),
    (r#"last5m_unknown{mail_server="office"}"#, 1.0),
    (r#"last5m_bytes{mail_server="office"}"#, 4000.0),
    (r#"last5m_accepted{mail_server="spare"}"#, 0.0),
    (r#"last5m_failed{mail_server="spare"}"#, 0.0),
    (r#"last5m_bounced{mail_server="spare"}"#, 0.0),
    (r#"last5m_suppressed{mail_server="spare"}"#, 0.0),
    (r#"last5m_expired{mail_server="spare"}"#, 0.0),
    (r#"last5m_cancelled{mail_server="spare"}"#, 0.0),
    (r#"last5m_unknown{mail_server="spare"}"#, 0.0),
    (r#"last5m_bytes{mail_server="spare"}"#, 0.0),
    (r#"last5m_accepted{mail_server="down"}"#, 0.0),
    (r#"last5m_failed{mail_server="down"}"#, 0.0),
    (r#"last5m_bounced{mail_server="down"}"#, 0.0),
    (r#"last5m_suppressed{mail_server="down"}"#, 0.0),
    (r#"last5m_expired{mail_server="down"}"#, 0.0),
    (r#"last5m_cancelled{mail_server="down"}"#, 0.0),
    (r#"last5m_unknown{mail_server="down"}"#, 0.0),
    (r#"last5m_bytes{mail_server="down"}"#, 0.0),
    (
        r#"last5m_failed_by_reason_recipients{code="550",mail_server="office",status="5.1.1"}"#,
        2.0,
    ),
    (
        r#"last5m_failed_by_reason_recipients{code="554",mail_server="office",status="5.7.1"}"#,
        1.0,
    ),
    (
        r#"last5m_failed_by_reason_recipients{code="none",mail_server="office",status="none"}"#,
        1.0,
    ),
];

/// What the rule about failing queries stands on. The other queries still answer.
#[test]
fn a_wallet_that_the_role_may_not_use_is_an_error_of_the_scrape() {
    let day = Day::new();
    day.fixture.database.set("utl_smtp.wallet_roots", "");
    let exporter = Exporter::start(&day.fixture.database, &day.monitor);
    let metrics = exporter.metrics();
    assert_eq!(metrics.value("pg_exporter_last_scrape_error{}"), 1.0);
    assert_eq!(metrics.value("utl_smtp_delivery_held{}"), 3.0);
    assert!(!metrics.has("utl_smtp_wallet_days_left"));
    assert!(exporter.log_text().contains("utl_smtp_wallet"));
}

/// Where nothing is wrong, and nothing there.
#[test]
fn an_empty_database_that_delivers_is_up() {
    let database = Database::new();
    let monitor = database.role("monitor");
    let mut superuser = database.superuser();
    superuser.run(&format!("GRANT pg_monitor TO {monitor}"));
    // Starts the launcher, where none was.
    superuser.run("SELECT utl_smtp.start_delivery()");
    let up = "SELECT state IN ('running', 'idle') FROM utl_smtp.delivery_status()";
    wait_until("there is a launcher", || superuser.value::<bool>(up));
    let exporter = Exporter::start(&database, &monitor);
    let metrics = exporter.metrics();
    assert_eq!(
        metrics.value("pg_exporter_last_scrape_error{}"),
        0.0,
        "{}",
        exporter.log_text()
    );
    assert_eq!(metrics.value("utl_smtp_delivery_up{}"), 1.0);
    assert_eq!(metrics.value("utl_smtp_delivery_queued{}"), 0.0);
}

/// A log of millions is asked by its index.
#[test]
fn no_query_reads_the_whole_log() {
    let day = Day::new();
    let mut session = day.fixture.database.connect(&day.monitor);
    let queries = queries();
    let about_the_log = queries.iter().filter(|query| query.contains("mail_log"));
    assert_eq!(about_the_log.clone().count(), 2);
    for query in about_the_log {
        assert_restricted(&mut session, query);
    }
}

/// Asserts that every look at the log has a first moment.
#[track_caller]
pub fn assert_restricted(session: &mut Session, query: &str) {
    let plan = session
        .query(&format!("EXPLAIN (VERBOSE) {query}"), &[])
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    let calls: Vec<&str> = plan.split("view_mail_log(NULL::bigint, ").skip(1).collect();
    assert!(!calls.is_empty(), "{plan}");
    for call in calls {
        assert!(!call.starts_with("NULL"), "{plan}");
    }
}

/// The values of `query: |` in the exporter's file.
fn queries() -> Vec<String> {
    let file = text("postgres_exporter.yml");
    let blocks = file.split("  query: |\n").skip(1);
    let query = |block: &str| {
        let lines = block.lines().take_while(|line| line.starts_with("    "));
        lines.collect::<Vec<_>>().join("\n")
    };
    blocks.map(query).collect()
}
