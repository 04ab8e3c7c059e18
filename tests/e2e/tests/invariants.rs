//! Tests of the invariants themselves: hostile peers that try to break each of them, and proofs
//! that the checks can fail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Invariants, Open, Peer, Script, Session, invariants};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn app(database: &Database, peer: &Peer) -> Session {
    database.role_for("127.0.0.1", peer.port())
}

/// Text injected after the 220 is never taken for a reply.
#[test]
fn starttls_rejects_buffered_plaintext() {
    let peer = Peer::start(
        Script::greeting()
            .on("EHLO", "250-peer\r\n250 STARTTLS")
            .on("STARTTLS", "220 go\r\n250-x\r\n250 AUTH LOGIN"),
    );
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let database = Database::new();
    database.set(
        "utl_smtp.wallet_roots",
        &wallet.path().display().to_string(),
    );
    let mut session = app(&database, &peer);
    let invariants = Invariants::record(&mut session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .wallet(&wallet.locator())
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    smtp.starttls(&mut session).unwrap_err().expect("U8860");
    invariants::assert_over(&mut session, &smtp);
    invariants.check(&mut session, &[]);
    let record = peer.finish();
    assert_eq!(
        record.only().lines(),
        ["EHLO client.example.test", "STARTTLS"]
    );
}

/// An endless reply ends at a cap, before memory runs out.
#[test]
fn an_endless_reply_costs_no_memory() {
    let peer = Peer::start(
        Script::greeting()
            .line()
            .send("250-x\r\n".repeat(1_000_000))
            .send("250 end\r\n"),
    );
    let database = Database::new();
    let mut session = app(&database, &peer);
    let invariants = Invariants::record(&mut session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test")
        .unwrap_err()
        .expect("U9278");
    invariants::assert_over(&mut session, &smtp);
    invariants.check(&mut session, &[]);
    assert!(!peer.finish().only().completed(), "all of it was read");
}

/// The secret of a failed AUTH appears nowhere, even if the server repeats it.
#[test]
fn a_refused_password_appears_nowhere() {
    let secret = "tOp-seCret-9";
    let response = STANDARD.encode(format!("\0alice\0{secret}"));
    let echo = format!("535 5.7.8 no such secret: {response} {secret}\r\n");
    let peer = Peer::start(
        Script::greeting()
            .on("EHLO", "250-peer\r\n250 AUTH PLAIN")
            .expect(format!("AUTH PLAIN {response}"))
            .send(echo)
            .quit(),
    );
    let database = Database::new();
    database.set("utl_smtp.allow_cleartext_auth", "on");
    let mut session = app(&database, &peer);
    session.run("SET utl_smtp.trace = 'notice'; SET client_min_messages = debug5");
    let invariants = Invariants::record(&mut session);
    let smtp = Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    smtp.ehlo(&mut session, "client.example.test").unwrap();
    let failure = smtp
        .auth(&mut session, "alice", secret, "PLAIN")
        .unwrap_err()
        .expect("U9279");
    invariants::no_secret(&failure.to_string(), &[secret], "the error");
    smtp.quit(&mut session).unwrap();
    invariants.check(&mut session, &[secret]);
    peer.finish();
}

#[test]
fn the_invariants_detect_an_open_connection() {
    let peer = Peer::start(Script::greeting().line());
    let database = Database::new();
    let mut session = app(&database, &peer);
    let invariants = Invariants::record(&mut session);
    Open::to("127.0.0.1", peer.port())
        .open(&mut session)
        .unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| invariants.check(&mut session, &[])));
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("U3"), "{message}");
}

#[test]
fn the_invariants_detect_leaked_memory_and_a_secret_in_the_log() {
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    session.run(
        "SET work_mem = '64MB'; SELECT set_config('e2e.ballast', repeat('x', 2000000), false)",
    );
    let outcome = catch_unwind(AssertUnwindSafe(|| invariants.check(&mut session, &[])));
    assert!(
        outcome
            .unwrap_err()
            .downcast::<String>()
            .unwrap()
            .starts_with("U4")
    );

    let invariants = Invariants::record(&mut session);
    session.run("DO $$ BEGIN RAISE LOG 'said: %', encode('aNother-hIdden-word', 'base64'); END $$");
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        invariants.check(&mut session, &["aNother-hIdden-word"])
    }));
    assert!(
        outcome
            .unwrap_err()
            .downcast::<String>()
            .unwrap()
            .starts_with("U5")
    );
}
