//! D7: what DKIM costs a drain, and the processor.

use super::bed::{Bed, Queue};
use super::figures::{Figures, Target, rate, ratios};
use crate::cost::CpuClock;
use std::process::Command;

const MAILS: u64 = 10_000;
const ROUNDS: usize = 3;
/// The domain of the messages' From.
const DOMAIN: &str = "example.test";

/// Mails a second, and mails a second of processor time that the worker takes.
type Rates = (Vec<f64>, Vec<f64>);

pub fn report(bed: &mut Bed) -> String {
    let mut plain = bed.queue();
    let mut rsa = signed(
        bed,
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    );
    let mut ed25519 = signed(bed, &["-algorithm", "ed25519"]);
    let mut rates: [Rates; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (queue, (wall, cpu)) in [&mut plain, &mut rsa, &mut ed25519]
            .into_iter()
            .zip(&mut rates)
        {
            let (mails, mails_of_processor) = drain(queue, bed);
            wall.push(mails);
            cpu.push(mails_of_processor);
        }
    }
    let [(plain, plain_cpu), (rsa, rsa_cpu), (ed25519, ed25519_cpu)] = rates;
    let title = format!("D7: {MAILS} queued 1 KiB mails, signed by DKIM");
    let mut figures = Figures::new(&title, "mails a second");
    for (name, values) in [
        ("unsigned", &plain),
        ("RSA of 2048 bits", &rsa),
        ("Ed25519", &ed25519),
        ("unsigned, of a processor", &plain_cpu),
        ("RSA of 2048 bits, of a processor", &rsa_cpu),
        ("Ed25519, of a processor", &ed25519_cpu),
    ] {
        figures.figure(name, values);
    }
    let thousands: Vec<f64> = rsa_cpu.iter().map(|rate| rate / 1000.0).collect();
    figures.compare(
        "RSA of 2048 bits, thousands a second and processor",
        &thousands,
        Target::AtLeast(1.0),
    );
    figures.compare(
        "Ed25519 / unsigned",
        &ratios(&ed25519, &plain),
        Target::AtLeast(0.7),
    );
    figures.text()
}

/// A database whose mail is signed with a key of this kind, in the words of `openssl genpkey`.
fn signed(bed: &Bed, kind: &[&str]) -> Queue {
    let mut queue = bed.queue();
    let key = Command::new("openssl")
        .arg("genpkey")
        .args(kind)
        .output()
        .unwrap();
    assert!(key.status.success(), "openssl genpkey");
    let key = String::from_utf8(key.stdout).unwrap();
    let set = "SELECT utl_smtp.set_dkim_key($1, 'bench', $2)";
    queue.owner.execute(set, &[&DOMAIN, &key]).unwrap();
    queue
}

fn drain(queue: &mut Queue, bed: &mut Bed) -> (f64, f64) {
    let run = queue.drain(bed, "near", MAILS);
    // The worker was started for this drain.
    let cpu = CpuClock::of(queue.worker()).now();
    queue.clear();
    (rate(run), MAILS as f64 / cpu.as_secs_f64())
}
