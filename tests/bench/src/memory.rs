//! Memory: what a message and a session need, and that a backend does not grow while it sends.

use crate::message;
use crate::plot::{self, Curve};
use crate::report::{Table, group};
use crate::test_bed::{Key, TestBed};
use e2e::Session;
use std::path::Path;

/// Sessions open at the same time: the limit of a backend.
const SESSIONS: i32 = 16;
/// How often the backend's memory is sampled while it sends.
const SAMPLES: i64 = 10;

/// Measures, writes the plot, and returns the text.
pub fn report(bed: &mut TestBed, mails: i64, output: &Path) -> String {
    let messages = messages(bed);
    let attachments = attachments(bed);
    let sessions = sessions(bed);
    let (flat, svg) = many(bed, mails);
    std::fs::write(output.join("memory.svg"), svg).unwrap();
    format!(
        "{messages}\n{attachments}\n{sessions}\n{flat}\n![resident memory over many mails](memory.svg)\n"
    )
}

fn messages(bed: &TestBed) -> String {
    let mut table = Table::new(&["size of the message", "growth, KiB"]);
    for octets in [1 << 10, 1 << 20, 10 << 20, 100 << 20] {
        let lines = i32::try_from(message::lines_of(octets)).unwrap();
        let growth = |session: &mut Session, lines: i32| -> i64 {
            let statement = "SELECT bench.ours_growth($1, $2)";
            let port = i32::from(bed.sink.plain);
            session
                .query_one(statement, &[&port, &lines])
                .unwrap()
                .get(0)
        };
        // A fresh session without remains of a larger message. The first call loads the library.
        let mut session = bed.session();
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

fn attachments(bed: &TestBed) -> String {
    let mut table = Table::new(&[
        "size of the attachment",
        "utl_mail, KiB",
        "email.message, KiB",
    ]);
    for octets in [1 << 20, 10 << 20, 100 << 20] {
        let lines = i32::try_from(message::lines_of(octets)).unwrap();
        let growth = |statement: &str| -> String {
            let mut session = bed.session();
            let port = i32::from(bed.sink.plain);
            let mut grown = |lines: i32| -> i64 {
                session
                    .query_one(statement, &[&port, &lines])
                    .unwrap()
                    .get(0)
            };
            grown(10);
            kibibytes(grown(lines))
        };
        let ours = growth("SELECT bench.ours_attachment_growth($1, $2)");
        let content = "convert_to(repeat(bench.line(), $2), 'UTF8')";
        let python = growth(&format!(
            "SELECT bench.python_attachment_growth($1, {content})"
        ));
        let size = format!("{} KiB", group(octets as u64 >> 10));
        table.push(vec![size, ours, python]);
    }
    format!(
        "Peak of the backend during one call of `utl_mail.send_message` with one attachment, beyond what it held when the \
         call began, which is the attachment and what is always there; and with Python's `email.message` and smtplib:\n\n{}",
        table.to_markdown(1)
    )
}

fn sessions(bed: &TestBed) -> String {
    let mut table = Table::new(&["open connection", "resident, KiB each"]);
    for (name, port, wallet) in [
        ("plain", bed.sink.plain, None),
        (
            "TLS",
            bed.sink.tls(Key::Ecdsa).resuming,
            Some(bed.wallet(Key::Ecdsa)),
        ),
    ] {
        let mut session = bed.session();
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

/// One backend, one connection per mail: everything is allocated and freed for each mail.
fn many(bed: &mut TestBed, mails: i64) -> (String, String) {
    let mut session = bed.session();
    let port = i32::from(bed.sink.plain);
    let mut send = |mails: i64| -> i64 {
        let statement = "SELECT bench.ours_each($1, $2)";
        session.execute(statement, &[&port, &mails]).unwrap();
        let resident = "SELECT resident FROM bench.memory(false)";
        session.query_one(resident, &[]).unwrap().get(0)
    };
    let mut table = Table::new(&["mails sent by one backend", "resident, KiB"]);
    let mut points = Vec::new();
    let before = bed.sink.counts().mails;
    send(100);
    let mut sent = 100;
    for _ in 0..SAMPLES {
        let resident = send(mails / SAMPLES);
        sent += mails / SAMPLES;
        table.push(vec![group(sent as u64), kibibytes(resident)]);
        points.push((sent as f64, resident as f64 / 1024.0));
    }
    let arrived = bed.sink.counts().mails - before;
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
