//! A wallet with any content is read or refused without a panic, trusts only certificates that it
//! lists, and quotes no file content in a warning or an error.
#![no_main]

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pem_wallet::{Wallet, WalletError};
use smtp_core::secret::Secret;
use tempfile::TempDir;

/// What a file may hold and nobody may see.
const CONTENT: &str = "hunter2secret";

thread_local! {
    static DIRECTORY: RefCell<TempDir> = RefCell::new(directory());
}

fuzz_target!(|input: &[u8]| {
    DIRECTORY.with_borrow(|directory| check(directory.path(), input));
});

fn check(directory: &Path, input: &[u8]) {
    // Several files in one input: a certificate means another thing with a key beside it.
    let files = input.split(|byte| *byte == 0x1c).take(3);
    let names = ["a.pem", "b.crt", "c.cer"];
    for (name, content) in names.iter().zip(files.chain([&b""[..]; 3])) {
        write(&directory.join(name), content);
    }
    let texts = match Wallet::open(directory) {
        Ok(wallet) => {
            assert!(
                wallet
                    .certificates()
                    .iter()
                    .all(|info| names.contains(&info.file.as_str()))
            );
            let warnings = wallet.warnings();
            let mut texts: Vec<String> = warnings.iter().map(|w| format!("{w} {w:?}")).collect();
            for password in [None, Some(Secret::new("password"))] {
                let outcome = wallet.client_identity(password.as_ref(), &mut || Ok(()));
                if let Err::<_, WalletError>(error) = outcome {
                    texts.push(format!("{error} {error:?}"));
                }
            }
            texts
        }
        Err(error) => vec![format!("{error} {error:?}")],
    };
    for text in texts {
        assert!(
            !text.contains(CONTENT) && !text.contains(char::is_control),
            "{text:?}"
        );
    }
}

fn write(path: &Path, content: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .expect("the directory is ours");
}

/// In memory where that is possible: it is written to thousands of times a second.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if fs::metadata(memory).is_ok() {
        memory
    } else {
        Path::new("/tmp")
    };
    tempfile::tempdir_in(parent).expect("a directory can be made")
}
