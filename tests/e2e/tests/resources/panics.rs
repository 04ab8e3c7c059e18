//! Checks of the sources: panics cannot become more than an error. The suite `faults` tests the
//! behaviour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::certs::{Authority, Wallet};
use e2e::{Database, Invariants, Open, Peer, Script};
use std::path::Path;

/// All profiles unwind, and the library does not compile otherwise.
#[test]
fn no_profile_aborts_on_panic() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    assert!(!manifest.contains("panic = \"abort\""));
    assert_eq!(manifest.matches("panic = \"unwind\"").count(), 2);
    let library = std::fs::read_to_string(format!("{root}/src/lib.rs")).unwrap();
    assert!(library.contains("#[cfg(not(panic = \"unwind\"))]\ncompile_error!"));
}

/// Code that can panic runs only inside a call from SQL, which pgrx guards. PostgreSQL calls
/// nothing else.
/// Where a callback is registered: at commit, and for shared memory.
const CALLBACKS: [(&str, &str); 2] = [
    ("transaction.rs", "XactCallback"),
    ("shared_memory.rs", "_hook ="),
];

/// What PostgreSQL calls where nobody could catch a panic: while it reports an error, in a signal
/// handler, at the end of a transaction or a process, when a catalog has changed. Each only stores
/// a value, sets a latch or gives memory back.
const UNGUARDED: [(&str, &str); 8] = [
    ("background.rs", "ended"),
    ("background.rs", "terminate"),
    ("foreign.rs", "changed"),
    ("foreign.rs", "mapping_changed"),
    ("report.rs", "add_to_error"),
    ("shared_memory.rs", "clear"),
    ("shared_memory.rs", "close"),
    ("transaction.rs", "ended"),
];

#[test]
fn every_way_in_is_guarded_and_no_callback_runs_outside_a_call() {
    let sources = sources(&["src"]);
    assert!(sources.len() > 10);
    let mut unguarded = Vec::new();
    for (name, text) in &sources {
        let file = name.rsplit('/').next().unwrap();
        for callback in [
            "XactCallback",
            "on_proc_exit",
            "on_shmem_exit",
            "shmem_exit_hook",
            "_hook =",
        ] {
            let is_known = CALLBACKS.contains(&(file, callback));
            assert!(is_known || !text.contains(callback), "{name}: {callback}");
        }
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some((_, rest)) = line.split_once("extern \"C-unwind\" fn ") else {
                continue;
            };
            let mut attributes = lines[..number].iter().rev();
            let attribute = attributes
                .find(|line| **line != "#[unsafe(no_mangle)]")
                .unwrap();
            if rest.ends_with('{') && !attribute.ends_with("pg_guard]") {
                unguarded.push((file.to_owned(), rest.split('(').next().unwrap().to_owned()));
            }
        }
    }
    unguarded.sort();
    let known = UNGUARDED.map(|(file, function)| (file.to_owned(), function.to_owned()));
    assert_eq!(unguarded, known);
    let routines: String = ["10_types.sql", "20_utl_smtp.sql", "30_acl_table.sql"]
        .map(|file| {
            let path = format!("{}/../../sql/install/{file}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        })
        .concat();
    for line in routines
        .lines()
        .filter(|line| line.contains("'MODULE_PATHNAME'"))
    {
        assert!(
            line.trim_end_matches([';', '\'']).ends_with("_wrapper"),
            "{line}"
        );
    }
}

/// A panic in a destructor during unwinding would abort the process, and nothing catches one at
/// backend exit. There are few destructors, and they only release resources.
#[test]
fn destructors_only_release() {
    let sources = sources(&[
        "src",
        "crates/smtp-core/src",
        "crates/pem-wallet/src",
        "crates/smtp-client/src",
    ]);
    let mut found = 0;
    for (name, text) in &sources {
        let shipped = text.split("#[cfg(test)]").next().unwrap();
        for destructor in shipped.split("fn drop(&mut self) {").skip(1) {
            let body = destructor.split("\n    }\n").next().unwrap();
            for word in [
                "unwrap",
                "expect",
                "panic",
                "assert",
                "[",
                "check_for_interrupts",
                "ereport",
                "Instant",
            ] {
                assert!(!body.contains(word), "{name}: {word} in {body}");
            }
            assert!(body.lines().count() < 10, "{name}: {body}");
            found += 1;
        }
    }
    assert!((3..10).contains(&found), "{found} destructors");
}

/// The name and the text of each file in these directories, except tests.
fn sources(directories: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Vec::new();
    for directory in directories {
        read_sources(&root.join(directory), &mut sources);
    }
    sources
}

fn read_sources(directory: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push((path.display().to_string(), text));
        }
    }
}

/// SEQUENCEs nested this many times.
fn nested(depth: usize) -> Vec<u8> {
    let mut der = Vec::new();
    for _ in 0..depth {
        let length = u16::try_from(der.len()).unwrap().to_be_bytes();
        der = [&[0x30, 0x82, length[0], length[1]][..], &der].concat();
    }
    der
}

/// A certificate nested as deeply as a TLS message allows does not overflow the stack, from the
/// peer or in the wallet.
#[test]
fn a_certificate_nested_thousands_of_times_is_a_bad_certificate() {
    let authority = Authority::new("Private CA");
    let wallet = Wallet::of(&authority);
    let database = Database::new();
    let mut session = database.superuser();
    let invariants = Invariants::record(&mut session);
    for place in [0, 1] {
        let mut identity = authority.issue(&["localhost"]);
        identity.chain.insert(place, nested(12_000).into());
        let peer = Peer::start(Script::new().handshake(identity.server()));
        let locator = wallet.locator();
        let outcome = Open::to("localhost", peer.port())
            .wallet(&locator)
            .implicit_tls()
            .open(&mut session);
        let failure = outcome.unwrap_err();
        // One that is not needed may be there; then it is the greeting that is missing.
        let expected: &[&str] = if place == 0 {
            &["U9024", "U8860"]
        } else {
            &["U9024", "U8860", "U9278"]
        };
        assert!(expected.contains(&failure.sqlstate.as_str()), "{failure}");
        peer.finish();
    }
    let wallet = Wallet::new();
    let body = STANDARD.encode(nested(16_000));
    wallet.add(
        "deep.pem",
        &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
    );
    let sql = format!(
        "SELECT count(*) FROM utl_smtp.wallet_certificates('{}')",
        wallet.locator()
    );
    session.try_run(&sql).unwrap_err().expect("U8759");
    invariants.check(&mut session, &[]);
}
