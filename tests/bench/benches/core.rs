//! Micro-benchmarks of smtp-core, without sockets and PostgreSQL: `cargo bench --package bench`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_core::auth::{self, Credentials, Scheme};
use smtp_core::data::DataEncoder;
use smtp_core::ehlo::Capabilities;
use smtp_core::parser::ReplyParser;
use smtp_core::secret::Secret;
use std::hint::black_box;

const EHLO: &[u8] = b"250-smtp.example.com Hello [192.0.2.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n\
    250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH LOGIN XOAUTH2\r\n250-8BITMIME\r\n250-BINARYMIME\r\n\
    250-CHUNKING\r\n250 SMTPUTF8\r\n";

fn reply_parser(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply parser");
    for (name, input) in [("one line", &b"250 2.1.0 Ok\r\n"[..]), ("EHLO", EHLO)] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        let mut parser = ReplyParser::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| parser.feed(black_box(input)).unwrap().1.unwrap());
        });
        group.bench_function(format!("{name}, a byte at a time"), |bencher| {
            bencher.iter(|| {
                let mut bytes = black_box(input).chunks(1);
                loop {
                    let byte = bytes.next().unwrap();
                    if let (_, Some(reply)) = parser.feed(byte).unwrap() {
                        break reply;
                    }
                }
            });
        });
    }
}

fn capabilities(criterion: &mut Criterion) {
    let reply = ReplyParser::default().feed(EHLO).unwrap().1.unwrap();
    criterion.bench_function("capabilities of EHLO", |bencher| {
        bencher.iter(|| Capabilities::parse(black_box(&reply)));
    });
}

/// Beside it what the least is that any encoder must do: to copy.
fn data_encoder(criterion: &mut Criterion) {
    const SIZE: usize = 1 << 20;
    let line = |columns: usize| "x".repeat(columns) + "\r\n";
    let bodies = [
        ("76-column lines", line(76).repeat(SIZE / 78)),
        (
            "lines with LF alone",
            (line(75).replace('\r', "")).repeat(SIZE / 76),
        ),
        ("one long line", "x".repeat(SIZE)),
        ("nothing but dots", ".\r\n".repeat(SIZE / 3)),
    ];
    let mut group = criterion.benchmark_group("data encoder");
    let mut out = Vec::with_capacity(4 * SIZE);
    for (name, body) in &bodies {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                out.clear();
                DataEncoder::default().encode(black_box(body.as_bytes()), &mut out);
                out.len()
            });
        });
    }
    let body = bodies[0].1.as_bytes();
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("memcpy, for comparison", |bencher| {
        bencher.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(body));
            out.len()
        });
    });
}

/// The exchange of RFC 7677, of 4,096 iterations; nearly all of it is PBKDF2.
fn scram(criterion: &mut Criterion) {
    let challenge =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let credentials = Credentials {
        username: "user".to_owned(),
        password: Secret::new("pencil"),
        host: "smtp.example.com".to_owned(),
        port: 587,
        nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
    };
    criterion.bench_function("SCRAM-SHA-256", |bencher| {
        bencher.iter(|| {
            let mut scram = auth::mechanism(Scheme::ScramSha256, credentials.clone()).unwrap();
            scram.initial_response();
            scram.respond(black_box(challenge), &mut || {}).unwrap()
        });
    });
}

criterion_group!(benches, reply_parser, capabilities, data_encoder, scram);
criterion_main!(benches);
