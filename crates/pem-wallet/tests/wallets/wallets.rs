//! Wallets on disk: what is read, what is skipped with a warning, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use pem_wallet::{
    BlockProblem, CertificateKind, FileProblem, Locator, OtherFormat, Wallet, WalletCache,
    WalletError, WalletSource, Warning,
};
use tempfile::TempDir;

use crate::support::{Credentials, directory, leaf_params, root};

/// The longest wait for an event, however busy the machine is.
const BOUND: Duration = Duration::from_secs(60);

fn file(file: &str, problem: FileProblem) -> Warning {
    Warning::File {
        file: file.into(),
        problem,
    }
}

fn source(path: &Path) -> WalletSource {
    let locator = Locator::parse(path.to_str().unwrap()).unwrap();
    locator.resolve(None).unwrap()
}

#[test]
fn every_certificate_is_listed() {
    let root = root("root");
    let client = Credentials::issued(leaf_params(&["client"]), &root);
    let identity = client.key.serialize_pem() + &client.pem;
    let place = directory(&[
        ("b.crt", &root.pem()),
        ("a.pem", &identity),
        ("notes.txt", &root.pem()),
        ("c.CER", &root.pem()),
    ]);
    let wallet = Wallet::open(place.path()).unwrap();
    let listed: Vec<_> = wallet
        .certificates()
        .iter()
        .map(|info| {
            (
                info.file.as_str(),
                info.kind.name(),
                info.subject.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("a.pem", "client certificate", Some("CN=the server")),
            ("b.crt", "trust anchor", Some("CN=root")),
            ("c.CER", "trust anchor", Some("CN=root")),
        ]
    );
    let info = &wallet.certificates()[1];
    assert_eq!(info.kind, CertificateKind::TrustAnchor);
    assert_eq!(info.issuer, "CN=root");
    assert_eq!(info.not_before, 157_766_400);
    assert_eq!(info.sha256_fingerprint.len(), 64);
}

#[test]
fn a_wallet_without_a_certificate_is_refused() {
    let error = Wallet::open(Path::new("/no-such-directory")).unwrap_err();
    assert!(matches!(error, WalletError::Unreadable { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "\"/no-such-directory\": no such file or directory"
    );
    let error = Wallet::open(directory(&[]).path()).unwrap_err();
    assert!(
        matches!(&error, WalletError::NoCertificate { warnings, .. } if warnings.is_empty()),
        "{error:?}"
    );
    let garbage = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    let broken = Warning::Block {
        file: "x.pem".into(),
        line: 1,
        problem: BlockProblem::NotCertificate,
    };
    for (content, warning) in [
        ("", file("x.pem", FileProblem::NoPem)),
        ("hunter2", file("x.pem", FileProblem::NoPem)),
        (garbage, broken),
    ] {
        let place = directory(&[("x.pem", content)]);
        let error = Wallet::open(place.path()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("c2Vj"),
            "{text}"
        );
        assert!(text.contains(&format!("; {warning}")), "{text}");
        let WalletError::NoCertificate { warnings, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(warnings, [warning]);
    }
    let place = directory(&[("x.pem", &root("root").pem())]);
    let error = Wallet::open(&place.path().join("x.pem")).unwrap_err();
    assert!(matches!(error, WalletError::NotADirectory(_)), "{error:?}");
}

#[test]
fn a_broken_block_is_left_out_with_a_warning() {
    let root = root("root").pem();
    let broken = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    let place = directory(&[("mixed.pem", &format!("{broken}{root}"))]);
    let wallet = Wallet::open(place.path()).unwrap();
    assert_eq!(wallet.certificates().len(), 1);
    assert_eq!(
        wallet.warnings(),
        [Warning::Block {
            file: "mixed.pem".into(),
            line: 1,
            problem: BlockProblem::NotCertificate,
        }]
    );
    assert_eq!(
        wallet.warnings()[0].to_string(),
        "file \"mixed.pem\", line 1: this block is not used: it is not a certificate"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_fine() {
    let text = format!("\u{feff}{}", root("root").pem().replace('\n', "\r\n"));
    let place = directory(&[("w.crt", &text)]);
    let wallet = Wallet::open(place.path()).unwrap();
    assert_eq!(wallet.certificates().len(), 1);
    assert!(wallet.warnings().is_empty());
}

#[test]
fn der_is_read_from_files_that_may_hold_it() {
    let root = root("root");
    let place = directory(&[]);
    fs::write(place.path().join("x.cer"), root.der()).unwrap();
    assert_eq!(Wallet::open(place.path()).unwrap().certificates().len(), 1);
    fs::rename(place.path().join("x.cer"), place.path().join("x.pem")).unwrap();
    let error = Wallet::open(place.path()).unwrap_err();
    let WalletError::NoCertificate { warnings, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(warnings, [file("x.pem", FileProblem::DerNamedPem)]);
}

#[test]
fn wallets_in_other_formats_are_recognized() {
    for (files, formats) in [
        (&["ewallet.p12"][..], &[OtherFormat::Pkcs12][..]),
        (&["EWALLET.P12", "notes.txt"], &[OtherFormat::Pkcs12]),
        (&["cwallet.sso"], &[OtherFormat::AutoLogin]),
        (
            &["cwallet.sso", "ewallet.p12"],
            &[OtherFormat::AutoLogin, OtherFormat::Pkcs12],
        ),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|name| (*name, "x")).collect();
        let place = directory(&files);
        let error = Wallet::open(place.path()).unwrap_err();
        let WalletError::NoCertificate {
            location,
            other_formats,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(*location, place.path().display().to_string());
        assert_eq!(other_formats.len(), formats.len());
        assert!(formats.iter().all(|format| other_formats.contains(format)));
    }
}

#[test]
fn only_regular_files_are_opened() {
    let place = directory(&[("good.pem", &root("root").pem())]);
    let fifo = place.path().join("fifo.pem");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", place.path().join("zero.pem")).unwrap();
    symlink("nothing", place.path().join("dangling.pem")).unwrap();
    fs::create_dir(place.path().join("directory.pem")).unwrap();
    let wallet = Wallet::open(place.path()).unwrap();
    assert_eq!(wallet.certificates().len(), 1);
    assert_eq!(
        wallet.warnings(),
        [
            file("dangling.pem", FileProblem::DanglingLink),
            file("directory.pem", FileProblem::NotRegular),
            file("fifo.pem", FileProblem::NotRegular),
            file("zero.pem", FileProblem::NotRegular),
        ]
    );
}

#[test]
fn a_file_that_is_a_link_out_of_the_roots_is_left_out() {
    let outside = directory(&[("secret.pem", &root("outside").pem())]);
    let place = directory(&[("good.pem", &root("root").pem())]);
    symlink(
        outside.path().join("secret.pem"),
        place.path().join("a.pem"),
    )
    .unwrap();
    symlink(outside.path().join("nothing"), place.path().join("b.pem")).unwrap();
    symlink("good.pem", place.path().join("c.pem")).unwrap();
    let locator = Locator::parse(place.path().to_str().unwrap()).unwrap();
    let roots = [place.path().to_owned()];
    let source = locator.resolve(Some(&roots)).unwrap();
    let mut cache = WalletCache::default();
    let wallet = cache.open(&source).unwrap();
    let files: Vec<&str> = wallet
        .certificates()
        .iter()
        .map(|c| c.file.as_str())
        .collect();
    assert_eq!(files, ["c.pem", "good.pem"]);
    // The same for a target that exists and one that does not.
    assert_eq!(
        wallet.warnings(),
        [
            file("a.pem", FileProblem::LeavesRoots),
            file("b.pem", FileProblem::LeavesRoots),
        ]
    );
    // Without roots, and from the same cache, it is used.
    let open = cache.open(&locator.resolve(None).unwrap()).unwrap();
    assert_eq!(open.certificates().len(), 3);
}

/// A root with the wallets `a`, `a/sub`, `b` (a link to `secret` outside, which looks like `a`) and
/// `linked` (with a link to a file in `a/sub`), and the source that `path` below the root
/// resolved to.
struct SwapFixture {
    place: TempDir,
    source: WalletSource,
}

impl SwapFixture {
    fn new(path: &str) -> Self {
        let place = directory(&[]);
        for (side, name) in [("root/a", "inside"), ("secret", "outside")] {
            let side = place.path().join(side);
            fs::create_dir_all(side.join("sub")).unwrap();
            for file in [side.join(format!("{name}.pem")), side.join("sub/ca.pem")] {
                fs::write(file, root(name).pem()).unwrap();
            }
        }
        symlink(place.path().join("secret"), place.path().join("root/b")).unwrap();
        fs::create_dir(place.path().join("root/linked")).unwrap();
        symlink("../a/sub/ca.pem", place.path().join("root/linked/ca.pem")).unwrap();
        let roots = [place.path().join("root")];
        let locator = Locator::parse(roots[0].join(path).to_str().unwrap()).unwrap();
        let source = locator.resolve(Some(&roots)).unwrap();
        Self { place, source }
    }

    fn swap(place: &Path) {
        let (a, b) = (place.join("root/a"), place.join("root/b"));
        renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
    }

    /// Panics if an outcome shows anything from outside.
    fn check(outcome: &Result<Arc<Wallet>, WalletError>) {
        let text = match outcome {
            Ok(wallet) => format!("{:?} {:?}", wallet.certificates(), wallet.warnings()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!text.contains("outside"), "{text}");
    }
}

/// The directory, or one above it, becomes a link out of the roots after it was resolved.
#[test]
fn a_directory_that_becomes_a_link_out_of_the_roots_is_not_read() {
    for path in ["a", "a/sub"] {
        let fixture = SwapFixture::new(path);
        let mut cache = WalletCache::default();
        assert!(cache.open(&fixture.source).is_ok());
        SwapFixture::swap(fixture.place.path());
        for _ in 0..2 {
            let outcome = cache.open(&fixture.source);
            SwapFixture::check(&outcome);
            assert!(outcome.is_err(), "{path}");
        }
        SwapFixture::swap(fixture.place.path());
        assert!(cache.open(&fixture.source).is_ok());
    }
}

/// The same in a loop: whenever it happens, neither certificates nor file names from outside are
/// shown.
#[test]
fn a_directory_that_is_swapped_all_the_time_shows_nothing_from_outside() {
    for path in ["a", "a/sub", "linked"] {
        swap_in_a_loop(path);
    }
}

fn swap_in_a_loop(wallet: &str) {
    let fixture = SwapFixture::new(wallet);
    let path = fixture.place.path().to_owned();
    let roots = [path.join("root")];
    let locator = Locator::parse(roots[0].join(wallet).to_str().unwrap()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                SwapFixture::swap(&path);
            }
        });
        let result = std::panic::catch_unwind(|| {
            let mut cache = WalletCache::default();
            let (mut read, mut refused) = (0, 0);
            let begun = Instant::now();
            while (read < 300 || refused < 300) && begun.elapsed() < Duration::from_secs(60) {
                let source = locator.resolve(Some(&roots));
                let outcome = source.and_then(|source| cache.open(&source));
                SwapFixture::check(&outcome);
                match outcome {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
            assert!(read > 0 && refused > 0, "{read} {refused}");
        });
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// A link to nothing causes a warning, and the wallet is cached all the same.
#[test]
fn a_wallet_with_a_dangling_link_is_cached() {
    let place = directory(&[("good.pem", &root("root").pem())]);
    let link = place.path().join("dangling.pem");
    symlink("nothing", &link).unwrap();
    for roots in [None, Some(&[place.path().to_owned()][..])] {
        let locator = Locator::parse(place.path().to_str().unwrap()).unwrap();
        let source = locator.resolve(roots).unwrap();
        let mut cache = WalletCache::default();
        let first = cache.open(&source).unwrap();
        assert_eq!(first.warnings().len(), 1);
        assert!(Arc::ptr_eq(&first, &cache.open(&source).unwrap()));
        // Once the target exists, the wallet is read again.
        fs::write(place.path().join("nothing"), root("new").pem()).unwrap();
        assert_eq!(cache.open(&source).unwrap().certificates().len(), 2);
        fs::remove_file(place.path().join("nothing")).unwrap();
        assert_eq!(cache.open(&source).unwrap().certificates().len(), 1);
    }
}

#[test]
fn an_oversized_wallet_is_refused_quickly() {
    let begun = Instant::now();
    let place = directory(&[("many.pem", &root("root").pem().repeat(5000))]);
    let error = Wallet::open(place.path()).unwrap_err();
    assert!(matches!(error, WalletError::TooManyBlocks), "{error:?}");

    let place = directory(&[("good.pem", &root("root").pem())]);
    let big = fs::File::create(place.path().join("big.pem")).unwrap();
    big.set_len(10 << 30).unwrap();
    let error = Wallet::open(place.path()).unwrap_err();
    assert!(
        matches!(&error, WalletError::FileTooLarge(file) if file == "big.pem"),
        "{error:?}"
    );

    let megabytes = "#".repeat(3 << 20);
    let files: Vec<(String, &str)> = (0..6)
        .map(|n| (format!("{n}.pem"), megabytes.as_str()))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    let error = Wallet::open(directory(&files).path()).unwrap_err();
    assert!(matches!(error, WalletError::TooLarge(_)), "{error:?}");
    assert!(begun.elapsed() < BOUND);
}

#[test]
fn a_directory_that_others_may_write_to_causes_a_warning() {
    let place = directory(&[("good.pem", &root("root").pem())]);
    for (mode, warned) in [(0o755, false), (0o775, true), (0o757, true)] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let wallet = Wallet::open(place.path()).unwrap();
        let warning = Warning::DirectoryWritable(place.path().display().to_string());
        let expected = if warned { vec![warning] } else { Vec::new() };
        assert_eq!(wallet.warnings(), expected, "{mode:o}");
    }
}

#[test]
fn a_changed_wallet_is_read_again_and_an_unchanged_one_is_not() {
    let place = directory(&[("a.pem", &root("one").pem())]);
    let source = source(place.path());
    let mut cache = WalletCache::default();
    let first = cache.open(&source).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.open(&source).unwrap()));
    // Written again in place, of the same length as before.
    let same_length = fs::read_to_string(place.path().join("a.pem")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(place.path().join("a.pem"), same_length).unwrap();
    let second = cache.open(&source).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    // A file replaced by another.
    fs::write(place.path().join("new"), root("two").pem()).unwrap();
    fs::rename(place.path().join("new"), place.path().join("a.pem")).unwrap();
    let third = cache.open(&source).unwrap();
    assert_eq!(third.certificates()[0].subject.as_deref(), Some("CN=two"));
    // A file added, and taken away.
    fs::write(place.path().join("b.pem"), root("three").pem()).unwrap();
    assert_eq!(cache.open(&source).unwrap().certificates().len(), 2);
    fs::remove_file(place.path().join("b.pem")).unwrap();
    assert_eq!(cache.open(&source).unwrap().certificates().len(), 1);
    // All files are gone: the cached wallet is not used.
    fs::remove_file(place.path().join("a.pem")).unwrap();
    assert!(cache.open(&source).is_err());
}

#[test]
fn the_system_store_is_read_once() {
    let mut cache = WalletCache::default();
    let system = Locator::parse("system:")
        .unwrap()
        .resolve(Some(&[]))
        .unwrap();
    let Ok(wallet) = cache.open(&system) else {
        // A machine without a trust store: nothing to find twice.
        return;
    };
    assert!(!wallet.certificates().is_empty());
    assert!(Arc::ptr_eq(&wallet, &cache.open(&system).unwrap()));
}

#[test]
fn failures_leave_nothing_open() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let place = directory(&[("x.pem", "nothing")]);
    let before = descriptors();
    for _ in 0..1000 {
        assert!(Wallet::open(place.path()).is_err());
    }
    // Other tests open and close theirs meanwhile.
    assert!(descriptors() < before + 200);
}

/// Without padding, with white space.
#[test]
fn sloppy_base64_is_read() {
    let der = root("root").der().to_vec();
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&der);
    let (one, two) = text.split_at(100);
    let pem = format!("-----BEGIN CERTIFICATE-----\n  {one}\n\n{two}  \n-----END CERTIFICATE-----");
    let place = directory(&[("x.pem", &pem)]);
    assert!(Wallet::open(place.path()).is_ok());
}
