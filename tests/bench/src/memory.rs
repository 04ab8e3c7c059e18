//! Memory: what a message and a session take, and that a backend that sends and sends does not grow.

use crate::message;
use crate::plot::{self, Curve};
use crate::report::{Table, group};
use crate::stage::{Key, Stage};
use e2e::Session;
use std::path::Path;

/// Sessions that are open at the same time: as many as a backend may have.
const SESSIONS: i32 = 16;
/// How often the backend is looked at while it sends.
const LOOKS: i64 = 10;

/// Measures, writes the plot, and returns the text.
pub fn report(stage: &mut Stage, mails: i64, output: &Path) -> String {
    let messages = messages(stage);
    let sessions = sessions(stage);
    let (flat, svg) = many(stage, mails);
    std::fs::write(output.join("memory.svg"), svg).unwrap();
    format!("{messages}\n{sessions}\n{flat}\n![resident memory over many mails](memory.svg)\n")
}

fn messages(stage: &Stage) -> String {
    let mut table = Table::new(&["size of the message", "growth, KiB"]);
    for octets in [1 << 10, 1 << 20, 10 << 20, 100 << 20] {
        let lines = i32::try_from(message::lines_of(octets)).unwrap();
        let growth = |session: &mut Session, lines: i32| -> i64 {
            let statement = "SELECT bench.ours_growth($1, $2)";
            let port = i32::from(stage.sink.plain);
            session
                .query_one(statement, &[&port, &lines])
                .unwrap()
                .get(0)
        };
        // A fresh session, so that nothing is left of a larger message; its first call loads what later ones find.
        let mut session = stage.session();
        growth(&mut session, 10);
        let growth = growth(&mut session, lines);
        let size = format!("{} KiB", group(octets as u64 >> 10));
        table.push(vec![size, kibibytes(growth)]);
    }
    format!(
        "Peak of the backend during one `data()` call, beyond what it held when the call began, which is the message and \
         what is always there:\n\n{}",
        table.to_markdown(1)
    )
}

fn sessions(stage: &Stage) -> String {
    let mut table = Table::new(&["open connection", "resident, KiB each"]);
    for (name, port, wallet) in [
        ("plain", stage.sink.plain, None),
        (
            "TLS",
            stage.sink.tls(Key::Ecdsa).resuming,
            Some(stage.wallet(Key::Ecdsa)),
        ),
    ] {
        let mut session = stage.session();
        let mut held = || -> i64 {
            let statement = "SELECT bench.ours_held($1, $2, $3)";
            let arguments: [&(dyn postgres::types::ToSql + Sync); 3] =
                [&i32::from(port), &SESSIONS, &wallet];
            session.query_one(statement, &arguments).unwrap().get(0)
        };
        table.push(vec![
            name.to_owned(),
            kibibytes(held() / i64::from(SESSIONS)),
        ]);
    }
    format!(
        "What {SESSIONS} open connections add to a fresh backend, the first one's share of loading code and catalogs \
         included:\n\n{}",
        table.to_markdown(1)
    )
}

/// One backend, one connection a mail: everything that a mail needs is made and dropped each time.
fn many(stage: &mut Stage, mails: i64) -> (String, String) {
    let mut session = stage.session();
    let port = i32::from(stage.sink.plain);
    let mut send = |mails: i64| -> i64 {
        let statement = "SELECT bench.ours_each($1, $2)";
        session.execute(statement, &[&port, &mails]).unwrap();
        let resident = "SELECT resident FROM bench.memory(false)";
        session.query_one(resident, &[]).unwrap().get(0)
    };
    let mut table = Table::new(&["mails sent by one backend", "resident, KiB"]);
    let mut points = Vec::new();
    let before = stage.sink.counts().mails;
    send(100);
    let mut sent = 100;
    for _ in 0..LOOKS {
        let resident = send(mails / LOOKS);
        sent += mails / LOOKS;
        table.push(vec![group(sent as u64), kibibytes(resident)]);
        points.push((sent as f64, resident as f64 / 1024.0));
    }
    let arrived = stage.sink.counts().mails - before;
    assert_eq!(arrived, sent as u64, "mails were lost");
    let curve = Curve {
        name: "one connection a mail".to_owned(),
        points,
    };
    let title = "Resident memory of one backend";
    let svg = plot::curves(title, "mails sent", "KiB", &[curve]);
    let text = format!(
        "One backend, a connection a mail:\n\n{}",
        table.to_markdown(0)
    );
    (text, svg)
}

fn kibibytes(octets: i64) -> String {
    match u64::try_from(octets) {
        Ok(octets) => group(octets >> 10),
        Err(_) => "0".to_owned(),
    }
}
