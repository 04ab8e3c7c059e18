//! The contents of a wallet.

use super::{app, refused, set_mode, subjects, wallet_of};
use e2e::certs::{Authority, Identity, Wallet};
use e2e::invariants::{anonymous_memory, descriptors};
use e2e::process::processor_time;
use e2e::test_bed::{CLIENT, NAME};
use e2e::{Database, Open, Peer, Script, Session, TestBed};
use std::path::Path;
use std::time::Duration;

const MARK: &str = "cOntent-of-a-file";

fn superuser() -> (Database, Session) {
    let database = Database::new();
    let session = database.superuser();
    (database, session)
}

/// The warnings from listing a wallet.
fn warnings(session: &mut Session, wallet: &Wallet) -> Vec<String> {
    let before = session.notices().len();
    subjects(session, &wallet.locator()).unwrap();
    let said = session.notices().split_off(before);
    said.iter()
        .map(|warning| {
            assert_eq!(warning.severity(), "WARNING");
            format!(
                "{} {}",
                warning.message(),
                warning.detail().unwrap_or_default()
            )
        })
        .collect()
}

fn broken_block() -> String {
    format!("-----BEGIN CERTIFICATE-----\n{MARK}\n-----END CERTIFICATE-----\n")
}

#[test]
fn a_wallet_without_one_certificate_is_none() {
    let (_database, mut session) = superuser();
    let key = Authority::new("Key").issue(&[NAME]).key.serialize_pem();
    let der = Authority::new("DER").der();
    let good = Authority::new("X").pem();
    let broken = broken_block();
    let cases: [(&str, &[u8], u32); 7] = [
        ("README.txt", b"trust me", 0o644),
        ("ca.txt", good.as_bytes(), 0o644),
        ("key.pem", key.as_bytes(), 0o644),
        ("garbage.pem", b"garbage", 0o644),
        ("broken.pem", broken.as_bytes(), 0o644),
        ("der.pem", &der, 0o644),
        ("unreadable.pem", good.as_bytes(), 0),
    ];
    refused(&mut session, &Wallet::new().locator()).expect("U8759");
    for (file, content, mode) in cases {
        let wallet = Wallet::new();
        wallet.add_with_mode(file, "", mode);
        std::fs::write(wallet.path().join(file), content).unwrap();
        let failure = refused(&mut session, &wallet.locator());
        assert_eq!(failure.sqlstate, "U8759", "{file}: {failure}");
        assert!(failure.message.contains("ORA-28759"), "{file}: {failure}");
    }
    // One that can't be read beside a good one might be the revocation list that matters.
    let wallet = wallet_of("Good");
    wallet.add_with_mode("locked.pem", &Authority::new("Locked").pem(), 0);
    refused(&mut session, &wallet.locator()).expect("U8759");
    let closed = wallet_of("Closed");
    set_mode(closed.path(), 0o700);
    refused(&mut session, &closed.locator()).expect("U8759");
    let gone = {
        let wallet = wallet_of("Gone");
        wallet.locator()
    };
    refused(&mut session, &gone).expect("U8759");
}

/// Oracle's own formats, and how to convert them.
#[test]
fn an_oracle_wallet_gets_the_command_that_converts_it() {
    let (_database, mut session) = superuser();
    for (files, hint) in [
        (&["ewallet.p12"][..], "openssl pkcs12 -in"),
        (&["cwallet.sso"], "openssl pkcs12 -in"),
        (&["ewallet.p12", "cwallet.sso"], "/ewallet.p12"),
        (&["EWALLET.P12"], "openssl pkcs12 -in"),
    ] {
        let wallet = Wallet::new();
        for file in files {
            wallet.add(file, "\u{1}binary");
        }
        let failure = refused(&mut session, &wallet.locator());
        assert!(failure.hint.contains(hint), "{files:?}: {failure}");
        failure.expect("U8759");
        // Beside certificates they do no harm.
        wallet.add("ca.pem", &Authority::new("Converted").pem());
        assert_eq!(
            subjects(&mut session, &wallet.locator()).unwrap(),
            ["CN=Converted"]
        );
        assert_eq!(warnings(&mut session, &wallet), [""; 0]);
    }
}

#[test]
fn a_byte_order_mark_crlf_and_der_are_fine() {
    let (_database, mut session) = superuser();
    let wallet = Wallet::new();
    let pem = |name: &str| Authority::new(name).pem();
    wallet.add("bom.pem", &format!("\u{feff}{}", pem("BOM")));
    wallet.add("crlf.pem", &pem("CRLF").replace('\n', "\r\n"));
    wallet.add(
        "mac.pem",
        &format!("comment\nsubject=x\n\n{}trailing", pem("Comment")),
    );
    wallet.add("UPPER.CRT", &pem("Upper"));
    wallet.add("two.cer", &(pem("One") + &pem("Two")));
    std::fs::write(wallet.path().join("der.cer"), Authority::new("DER").der()).unwrap();
    let expected = ["BOM", "CRLF", "Comment", "DER", "One", "Two", "Upper"];
    let mut found = subjects(&mut session, &wallet.locator()).unwrap();
    found.sort();
    assert_eq!(found, expected.map(|name| format!("CN={name}")));
    assert_eq!(warnings(&mut session, &wallet), [""; 0]);
}

/// Valid blocks are used. Broken blocks are reported by file and line and never quoted.
#[test]
fn a_broken_block_is_named_and_the_rest_is_used() {
    let (_database, mut session) = superuser();
    let (good, other) = (Authority::new("Good"), Authority::new("Other"));
    let lines_of_good = good.pem().lines().count();
    let wallet = Wallet::new();
    wallet.add(
        "mixed.pem",
        &format!("{}{}{}", good.pem(), broken_block(), other.pem()),
    );
    wallet.add(
        "half.pem",
        &format!("{MARK}\n-----BEGIN CERTIFICATE-----\n{MARK}\n"),
    );
    wallet.add(
        "kind.pem",
        &broken_block().replace("CERTIFICATE", "SSH KEY"),
    );
    wallet.add("text.pem", MARK);
    let said = warnings(&mut session, &wallet);
    assert_eq!(
        subjects(&mut session, &wallet.locator()).unwrap(),
        ["CN=Good", "CN=Other"]
    );
    assert_eq!(said.len(), 4, "{said:?}");
    let line = format!("line {}", lines_of_good + 1);
    assert!(
        said.iter()
            .any(|text| text.contains("\"mixed.pem\"") && text.contains(&line)),
        "{said:?}"
    );
    for file in ["half.pem", "kind.pem", "text.pem"] {
        assert!(
            said.iter()
                .any(|text| text.contains(&format!("\"{file}\""))),
            "{said:?}"
        );
    }
    assert!(!said.concat().contains(MARK), "{said:?}");
}

/// Errors quote no file content, whatever the file contains.
#[test]
fn no_error_prints_what_a_file_holds() {
    let (_database, mut session) = superuser();
    let contents = [
        MARK.to_owned(),
        broken_block(),
        format!("-----BEGIN {MARK}-----\nAAAA\n-----END {MARK}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"),
        format!("-----BEGIN CERTIFICATE-----\n{MARK}"),
        format!("-----BEGIN CERTIFICATE-----\nMIIB\n-----END {MARK}-----\n"),
        format!("-----BEGIN X509 CRL-----\n{MARK}\n-----END X509 CRL-----\n"),
        format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: {MARK}\n"),
    ];
    for content in contents {
        for file in ["ca.pem", "ca.crt", "ca.cer"] {
            let wallet = Wallet::new();
            wallet.add(file, &content);
            let failure = refused(&mut session, &wallet.locator()).expect("U8759");
            assert!(
                !failure.to_string().contains(MARK),
                "{content:?}: {failure}"
            );
        }
    }
    let said = session.notice_texts().concat();
    assert!(!said.contains(MARK), "{said}");
}

#[test]
fn a_wallet_that_is_too_big_is_refused_and_costs_nothing() {
    let mut bed = TestBed::new();
    let pem = Authority::new("One of many").pem();
    let many = Wallet::new();
    for file in 0..10 {
        many.add(&format!("{file}.pem"), &pem.repeat(1000));
    }
    let large = Wallet::new();
    large.add("ca.pem", &pem);
    large.add("large.pem", &"x".repeat(50 << 20));
    let sum = Wallet::new();
    for file in 0..20 {
        sum.add(
            &format!("{file}.pem"),
            &format!("{pem}{}", "x".repeat(1 << 20)),
        );
    }
    let files = Wallet::new();
    for file in 0..1100 {
        files.add(&format!("{file}.pem"), &pem);
    }
    for (wallet, why) in [
        (many, "PEM blocks"),
        (large, "bytes"),
        (sum, "bytes together"),
        (files, "files"),
    ] {
        let pid = bed.session.pid();
        let refuse = |session: &mut Session| {
            let failure = refused(session, &wallet.locator()).expect("U8759");
            assert!(failure.detail.contains(why), "{failure}");
            anonymous_memory(pid)
        };
        let computed = processor_time(pid);
        let before = refuse(&mut bed.session);
        let open = descriptors(pid);
        let after = (0..6).map(|_| refuse(&mut bed.session)).last().unwrap();
        let grown = after.saturating_sub(before);
        assert!(grown < 1024, "{why}: the backend has grown by {grown} kB");
        assert_eq!(descriptors(pid), open, "{why}");
        let computed = processor_time(pid) - computed;
        assert!(computed < Duration::from_secs(10), "{why}: {computed:?}");
    }
}

/// Wallets up to the limit are read, once.
#[test]
fn a_large_wallet_is_read_once() {
    let (_database, mut session) = superuser();
    let wallet = Wallet::new();
    let pem = Authority::new("One of many").pem();
    for file in 0..4 {
        wallet.add(&format!("{file}.pem"), &pem.repeat(1000));
    }
    let computed = processor_time(session.pid());
    assert_eq!(
        subjects(&mut session, &wallet.locator()).unwrap().len(),
        4000
    );
    let computed = processor_time(session.pid()) - computed;
    assert!(computed < Duration::from_secs(5), "{computed:?}");
}

/// Which of two servers, each with its own CA, the wallet trusts now.
fn trusted(session: &mut Session, wallet: &Wallet, servers: &[Identity; 2]) -> [bool; 2] {
    servers.each_ref().map(|identity| {
        let peer = Peer::start(
            Script::new()
                .handshake(identity.server())
                .send("220 peer\r\n")
                .quit(),
        );
        let locator = wallet.locator();
        let open = Open::to("127.0.0.1", peer.port())
            .wallet(&locator)
            .secure_host(NAME)
            .implicit_tls();
        match open.open(session) {
            Ok(smtp) => {
                smtp.quit(session).unwrap();
                true
            }
            Err(failure) => {
                failure.expect("U9024");
                false
            }
        }
    })
}

/// Replaced, added and removed files are noticed by the next opening in the same session.
#[test]
fn a_changed_wallet_is_noticed_by_the_next_opening() {
    let mut bed = TestBed::new();
    let authorities = ["One", "Two"].map(Authority::new);
    let servers = authorities
        .each_ref()
        .map(|authority| authority.issue(&[NAME]));
    let [one, two] = authorities.each_ref().map(Authority::pem);
    let wallet = Wallet::new();
    wallet.add("ca.pem", &one);
    bed.check_invariants(&[], |session| {
        assert_eq!(trusted(session, &wallet, &servers), [true, false]);
        replace(wallet.path(), &two);
        assert_eq!(trusted(session, &wallet, &servers), [false, true]);
        wallet.add("ca.pem", &one);
        assert_eq!(trusted(session, &wallet, &servers), [true, false]);
        wallet.add("second.pem", &two);
        assert_eq!(trusted(session, &wallet, &servers), [true, true]);
        std::fs::remove_file(wallet.path().join("ca.pem")).unwrap();
        assert_eq!(trusted(session, &wallet, &servers), [false, true]);
    });
}

/// An atomic replacement, by renaming the file.
fn replace(directory: &Path, pem: &str) {
    let new = directory.join(".new");
    std::fs::write(&new, pem).unwrap();
    std::fs::rename(&new, directory.join("ca.pem")).unwrap();
}

/// The reference promises STARTTLS "the wallet given to open_connection": what was trusted then.
#[test]
fn starttls_uses_the_wallet_that_open_connection_read() {
    let mut bed = TestBed::new();
    let [given, later] = ["Given", "Later"].map(Authority::new);
    let script = || {
        Script::greeting()
            .on("EHLO", "250-peer\r\n250 STARTTLS")
            .starttls(given.issue(&[NAME]).server())
    };
    let wallet = Wallet::of(&given);
    let locator = wallet.locator();
    bed.check_invariants(&[], |session| {
        let peers = [script().quit(), script()].map(Peer::start);
        let [kept, changed] = peers.each_ref().map(|peer| {
            Open::to("127.0.0.1", peer.port())
                .wallet(&locator)
                .secure_host(NAME)
        });
        let smtp = kept.open(session).unwrap();
        smtp.ehlo(session, CLIENT).unwrap();
        replace(wallet.path(), &later.pem());
        smtp.starttls(session).unwrap();
        smtp.quit(session).unwrap();
        // The next opening reads it anew.
        let smtp = changed.open(session).unwrap();
        smtp.ehlo(session, CLIENT).unwrap();
        smtp.starttls(session).unwrap_err().expect("U9024");
    });
}

#[test]
fn a_directory_that_others_can_write_to_is_warned_of() {
    let database = Database::new();
    database.set("utl_smtp.wallet_roots", "/tmp");
    let (_, app) = app(&database);
    for mut session in [app, database.superuser()] {
        let wallet = wallet_of("Writable");
        for (mode, expected) in [(0o755, 0), (0o555, 0), (0o775, 1), (0o757, 1), (0o1777, 1)] {
            set_mode(wallet.path(), mode);
            let said = warnings(&mut session, &wallet);
            assert_eq!(said.len(), expected, "{mode:o}: {said:?}");
            assert!(
                said.iter().all(|text| text.contains("written by others")),
                "{said:?}"
            );
        }
    }
}
