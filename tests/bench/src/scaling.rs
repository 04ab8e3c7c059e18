//! Scaling: the cost of a unit against the number of mails, recipients, octets, open sessions,
//! entries and backends.

use crate::client::{Argument, Client, Delivery, Role};
use crate::cost::{Run, median};
use crate::message;
use crate::plot::{self, Curve};
use crate::report::{Table, figure, group};
use crate::test_bed::TestBed;
use crate::workloads::session_with_entries;
use std::path::Path;

/// Runs per point.
const ROUNDS: usize = 5;

/// One quantity that grows.
struct Direction {
    file: &'static str,
    title: &'static str,
    /// Label of the x axis.
    across: &'static str,
    /// The unit of the y axis.
    unit: &'static str,
    curves: Vec<(&'static str, Vec<Point>)>,
}

/// The x value, the client, the units per run, and the units of the plot per unit of the run.
struct Point {
    at: u64,
    client: Client,
    units: u64,
    parts: f64,
}

/// Measures everything, writes the plots and returns the text.
pub fn report(bed: &mut TestBed, output: &Path) -> String {
    let mut text = String::new();
    for make in [mails, recipients, octets, sessions, entries, backends] {
        let direction = make(bed);
        text.push_str(&direction.measure(bed, output));
    }
    text
}

impl Direction {
    fn measure(mut self, bed: &mut TestBed, output: &Path) -> String {
        self.warm_up(bed);
        let mut runs: Vec<Vec<Vec<Run>>> = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(self.round(bed));
        }
        let mut table = Table::new(&["", self.across, &format!("µs a {}", self.unit), "CPU µs"]);
        let mut curves = Vec::new();
        for (line, (name, points)) in self.curves.iter().enumerate() {
            let mut curve = Vec::new();
            for (index, point) in points.iter().enumerate() {
                let of = |value: fn(&Run) -> f64| {
                    median(runs.iter().map(|round| value(&round[line][index]))) / point.parts
                };
                let (wall, cpu) = (of(Run::wall_each), of(Run::cpu_each));
                table.push(vec![
                    (*name).to_owned(),
                    group(point.at),
                    figure(wall),
                    figure(cpu),
                ]);
                curve.push((point.at as f64, wall));
            }
            curves.push(Curve {
                name: (*name).to_owned(),
                points: curve,
            });
        }
        let up = format!("µs a {}", self.unit);
        let svg = plot::curves(self.title, self.across, &up, &curves);
        std::fs::write(output.join(self.file), svg).unwrap();
        let (title, file) = (self.title, self.file);
        let text = format!(
            "## {title}\n\n{}\n![{title}]({file})\n\n",
            table.to_markdown(1)
        );
        println!("{text}");
        text
    }

    fn warm_up(&mut self, bed: &mut TestBed) {
        for point in self.curves.iter_mut().flat_map(|(_, points)| points) {
            point.client.run(point.units.min(2), &mut bed.sink);
        }
    }

    /// One run of each point of each curve.
    fn round(&mut self, bed: &mut TestBed) -> Vec<Vec<Run>> {
        let mut runs = Vec::new();
        for (_, points) in &mut self.curves {
            let line = points
                .iter_mut()
                .map(|point| point.client.run(point.units, &mut bed.sink));
            runs.push(line.collect());
        }
        runs
    }
}

fn mails(bed: &TestBed) -> Direction {
    let delivery = Delivery::Mail(bed.wire().len() as u64);
    let port = bed.sink.plain;
    let point = |make: &dyn Fn() -> Client| {
        let point = |&at: &u64| Point {
            at,
            client: make().delivering(delivery),
            units: at,
            parts: 1.0,
        };
        [1, 10, 100, 1_000, 10_000].iter().map(point).collect()
    };
    let ours = || {
        let statement = "SELECT bench.ours_kept($1, $2)";
        Client::sql(
            "utl_smtp",
            Role::Peer,
            bed.session(),
            statement,
            port,
            Vec::new(),
        )
    };
    Direction {
        file: "scaling-mails.svg",
        title: "Cost of a mail against the number of mails over one connection",
        across: "mails",
        unit: "mail",
        curves: vec![
            ("utl_smtp", point(&ours)),
            (
                "baseline",
                point(&|| Client::baseline_kept(port, bed.wire())),
            ),
        ],
    }
}

/// A statement that takes the size of a mail in its own unit.
fn ours(bed: &TestBed, statement: &str, size: i32) -> Client {
    let arguments: Vec<Argument> = vec![Box::new(size)];
    let port = bed.sink.plain;
    Client::timed_sql(
        "utl_smtp",
        Role::Peer,
        bed.session(),
        statement,
        port,
        arguments,
    )
}

fn recipients(bed: &TestBed) -> Direction {
    let delivery = Delivery::Mail(bed.wire().len() as u64);
    let statement = "SELECT * FROM bench.ours_recipients($1, $2, $3)";
    let point = |&recipients: &u64| Point {
        at: recipients,
        client: ours(bed, statement, recipients as i32).delivering(delivery),
        units: (2_000 / recipients).max(2),
        parts: recipients as f64,
    };
    Direction {
        file: "scaling-recipients.svg",
        title: "Cost of a recipient against the number of recipients of a mail",
        across: "recipients",
        unit: "recipient",
        curves: vec![("utl_smtp", [1, 10, 100, 1_000].iter().map(point).collect())],
    }
}

fn octets(bed: &TestBed) -> Direction {
    let sizes: [u64; 6] = [1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20, 100 << 20];
    let shape = |octets: u64| {
        let lines = message::lines_of(octets as usize);
        let size = (lines * message::line().len() + 3) as u64;
        let units = ((200 << 20) / octets).clamp(1, 500);
        (lines, size, units)
    };
    let statement = "SELECT * FROM bench.ours_data($1, $2, $3)";
    let ours = |&octets: &u64| {
        let (lines, size, units) = shape(octets);
        Point {
            at: octets >> 10,
            client: ours(bed, statement, lines as i32).delivering(Delivery::Mail(size)),
            units,
            parts: octets as f64 / 1024.0,
        }
    };
    let baseline = |&octets: &u64| {
        let (lines, size, units) = shape(octets);
        Point {
            at: octets >> 10,
            client: Client::baseline_data(bed.sink.plain, lines).delivering(Delivery::Mail(size)),
            units,
            parts: octets as f64 / 1024.0,
        }
    };
    Direction {
        file: "scaling-size.svg",
        title: "Cost of a KiB against the size of a message, by data()",
        across: "KiB",
        unit: "KiB",
        curves: vec![
            ("utl_smtp", sizes.iter().map(ours).collect()),
            ("baseline", sizes.iter().map(baseline).collect()),
        ],
    }
}

fn sessions(bed: &TestBed) -> Direction {
    let delivery = Delivery::Mail(bed.wire().len() as u64);
    let statement = "SELECT * FROM bench.ours_sessions($1, $2, $3)";
    let point = |&sessions: &u64| Point {
        at: sessions,
        client: ours(bed, statement, sessions as i32).delivering(delivery),
        units: 2_000,
        parts: 1.0,
    };
    Direction {
        file: "scaling-sessions.svg",
        title: "Cost of a mail against the number of open connections, used in turn",
        across: "open connections",
        unit: "mail",
        curves: vec![("utl_smtp", [1, 2, 4, 8, 16].iter().map(point).collect())],
    }
}

fn entries(bed: &TestBed) -> Direction {
    let point = |&entries: &u64| {
        let (session, database) = session_with_entries(entries as i32);
        let statement = "SELECT bench.ours_open($1, $2)";
        let port = bed.sink.plain;
        let client = Client::sql("utl_smtp", Role::Peer, session, statement, port, Vec::new());
        Point {
            at: entries,
            client: client.keeping(database).delivering(Delivery::Conversation),
            units: 1_000,
            parts: 1.0,
        }
    };
    Direction {
        file: "scaling-entries.svg",
        title: "Cost of open_connection and quit against the length of the access control list",
        across: "entries",
        unit: "connection",
        curves: vec![(
            "utl_smtp",
            [1, 10, 100, 1_000, 10_000].iter().map(point).collect(),
        )],
    }
}

fn backends(bed: &TestBed) -> Direction {
    let delivery = Delivery::Mail(bed.wire().len() as u64);
    let port = bed.sink.plain;
    let points = |make: &dyn Fn() -> Client| {
        let point = |&at: &u64| Point {
            at,
            client: Client::at_once((0..at).map(|_| make()).collect()).delivering(delivery),
            units: 2_000 * at,
            parts: 1.0,
        };
        [1, 2, 4, 8].iter().map(point).collect()
    };
    let ours = || {
        let statement = "SELECT bench.ours_kept($1, $2)";
        Client::sql(
            "utl_smtp",
            Role::Peer,
            bed.session(),
            statement,
            port,
            Vec::new(),
        )
    };
    Direction {
        file: "scaling-backends.svg",
        title: "Time by mails sent, against the number of backends that send at once",
        across: "backends",
        unit: "mail",
        curves: vec![
            ("utl_smtp", points(&ours)),
            (
                "baseline",
                points(&|| Client::baseline_kept(port, bed.wire())),
            ),
        ],
    }
}
