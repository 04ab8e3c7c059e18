//! Scaling: the cost of a unit against the number of mails, recipients, octets, open sessions, entries and backends.

use crate::contender::{Argument, Arrives, Contender, Role};
use crate::cost::{Run, median};
use crate::message;
use crate::plot::{self, Curve};
use crate::report::{Table, figure, group};
use crate::stage::Stage;
use crate::workloads::session_with_entries;
use std::path::Path;

/// Runs of each point.
const ROUNDS: usize = 5;

/// One direction of growth.
struct Direction {
    file: &'static str,
    title: &'static str,
    /// What grows.
    across: &'static str,
    /// What a point counts.
    unit: &'static str,
    curves: Vec<(&'static str, Vec<Point>)>,
}

/// Where on the axis, who runs, how many units a run has, and how many units of the plot are in one of those.
struct Point {
    at: u64,
    contender: Contender,
    units: u64,
    parts: f64,
}

/// Measures all directions; writes the plots and returns the text.
pub fn report(stage: &mut Stage, output: &Path) -> String {
    let mut text = String::new();
    for make in [mails, recipients, octets, sessions, entries, backends] {
        let direction = make(stage);
        text.push_str(&direction.measure(stage, output));
    }
    text
}

impl Direction {
    fn measure(mut self, stage: &mut Stage, output: &Path) -> String {
        self.warm_up(stage);
        let mut runs: Vec<Vec<Vec<Run>>> = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(self.round(stage));
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

    fn warm_up(&mut self, stage: &mut Stage) {
        for point in self.curves.iter_mut().flat_map(|(_, points)| points) {
            point.contender.run(point.units.min(2), &mut stage.sink);
        }
    }

    /// A run of each point of each curve.
    fn round(&mut self, stage: &mut Stage) -> Vec<Vec<Run>> {
        let mut runs = Vec::new();
        for (_, points) in &mut self.curves {
            let line = points
                .iter_mut()
                .map(|point| point.contender.run(point.units, &mut stage.sink));
            runs.push(line.collect());
        }
        runs
    }
}

fn mails(stage: &Stage) -> Direction {
    let arrives = Arrives::Mail(stage.wire().len() as u64);
    let port = stage.sink.plain;
    let point = |make: &dyn Fn() -> Contender| {
        let point = |&at: &u64| Point {
            at,
            contender: make().delivering(arrives),
            units: at,
            parts: 1.0,
        };
        [1, 10, 100, 1_000, 10_000].iter().map(point).collect()
    };
    let ours = || {
        let statement = "SELECT bench.ours_kept($1, $2)";
        Contender::sql(
            "utl_smtp",
            Role::Peer,
            stage.session(),
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
                "floor",
                point(&|| Contender::floor_kept(port, stage.wire())),
            ),
        ],
    }
}

/// A statement that is told the size of a mail in its own measure.
fn ours(stage: &Stage, statement: &str, size: i32) -> Contender {
    let arguments: Vec<Argument> = vec![Box::new(size)];
    let port = stage.sink.plain;
    Contender::timed_sql(
        "utl_smtp",
        Role::Peer,
        stage.session(),
        statement,
        port,
        arguments,
    )
}

fn recipients(stage: &Stage) -> Direction {
    let arrives = Arrives::Mail(stage.wire().len() as u64);
    let statement = "SELECT * FROM bench.ours_recipients($1, $2, $3)";
    let point = |&recipients: &u64| Point {
        at: recipients,
        contender: ours(stage, statement, recipients as i32).delivering(arrives),
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

fn octets(stage: &Stage) -> Direction {
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
            contender: ours(stage, statement, lines as i32).delivering(Arrives::Mail(size)),
            units,
            parts: octets as f64 / 1024.0,
        }
    };
    let floor = |&octets: &u64| {
        let (lines, size, units) = shape(octets);
        Point {
            at: octets >> 10,
            contender: Contender::floor_data(stage.sink.plain, lines)
                .delivering(Arrives::Mail(size)),
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
            ("floor", sizes.iter().map(floor).collect()),
        ],
    }
}

fn sessions(stage: &Stage) -> Direction {
    let arrives = Arrives::Mail(stage.wire().len() as u64);
    let statement = "SELECT * FROM bench.ours_sessions($1, $2, $3)";
    let point = |&sessions: &u64| Point {
        at: sessions,
        contender: ours(stage, statement, sessions as i32).delivering(arrives),
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

fn entries(stage: &Stage) -> Direction {
    let point = |&entries: &u64| {
        let (session, database) = session_with_entries(entries as i32);
        let statement = "SELECT bench.ours_open($1, $2)";
        let port = stage.sink.plain;
        let contender =
            Contender::sql("utl_smtp", Role::Peer, session, statement, port, Vec::new());
        Point {
            at: entries,
            contender: contender
                .keeping(database)
                .delivering(Arrives::Conversation),
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

fn backends(stage: &Stage) -> Direction {
    let arrives = Arrives::Mail(stage.wire().len() as u64);
    let port = stage.sink.plain;
    let points = |make: &dyn Fn() -> Contender| {
        let point = |&at: &u64| Point {
            at,
            contender: Contender::at_once((0..at).map(|_| make()).collect()).delivering(arrives),
            units: 2_000 * at,
            parts: 1.0,
        };
        [1, 2, 4, 8].iter().map(point).collect()
    };
    let ours = || {
        let statement = "SELECT bench.ours_kept($1, $2)";
        Contender::sql(
            "utl_smtp",
            Role::Peer,
            stage.session(),
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
                "floor",
                points(&|| Contender::floor_kept(port, stage.wire())),
            ),
        ],
    }
}
