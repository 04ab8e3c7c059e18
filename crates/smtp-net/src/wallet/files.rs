//! The files of a wallet: which ones they are, whether they may be opened, and their bytes, within the limits.
//!
//! Only regular files are opened, without ever blocking on one that is something else by then.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use smtp_core::limits;
use zeroize::Zeroizing;

use super::locator::is_under;
use crate::error::NetError;
use crate::memory;

/// Where distributions keep their trust store, most common first. Environment variables that would point elsewhere
/// are not asked: they belong to whoever started the server.
const SYSTEM_STORES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// Oracle's own formats: not read, but worth a hint.
const FOREIGN: [&str; 2] = ["ewallet.p12", "cwallet.sso"];

/// All that a wallet is read from.
pub(super) struct Listing {
    pub location: String,
    pub files: Vec<WalletFile>,
    /// The files in Oracle's formats.
    pub foreign: Vec<String>,
    pub warnings: Vec<String>,
}

/// One file, read.
pub(super) struct WalletFile {
    pub name: String,
    pub mode: u32,
    pub owner: u32,
    pub content: Zeroizing<Vec<u8>>,
}

impl WalletFile {
    pub fn is_called_pem(&self) -> bool {
        has_suffix(&self.name, &["pem"])
    }
}

/// What tells one state of a file or directory from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    name: String,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn new(name: String, metadata: &Metadata) -> Self {
        Self {
            name,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The state of a directory and of each file in it that matters; `None` if it can't be told.
pub(super) fn directory_stamps(directory: &Path) -> Option<Vec<Stamp>> {
    let mut stamps = vec![Stamp::new(String::new(), &fs::metadata(directory).ok()?)];
    for name in names(directory).ok()?.certificates {
        let metadata = fs::metadata(directory.join(&name)).ok()?;
        stamps.push(Stamp::new(name, &metadata));
    }
    Some(stamps)
}

/// The state of the system's trust store.
pub(super) fn system_stamps() -> Option<Vec<Stamp>> {
    let store = system_store()?;
    let metadata = fs::metadata(store).ok()?;
    Some(vec![Stamp::new(store.to_owned(), &metadata)])
}

/// Reads a directory. With `roots`, a file that is a link to somewhere outside of them is left out.
pub(super) fn directory(directory: &Path, roots: Option<&[PathBuf]>) -> Result<Listing, NetError> {
    let location = directory.display().to_string();
    let failed = |error: io::Error| NetError::unreadable(directory, &error);
    let metadata = fs::metadata(directory).map_err(failed)?;
    if !metadata.is_dir() {
        return Err(NetError::Wallet {
            detail: format!("\"{location}\" is not a directory"),
            hint: Some("name the directory that holds the PEM files".into()),
        });
    }
    let mut warnings = Vec::new();
    if metadata.mode() & 0o022 != 0 {
        warnings.push(format!(
            "wallet directory \"{location}\" can be written by others than its owner"
        ));
    }
    let names = names(directory).map_err(failed)?;
    if names.certificates.len() > limits::WALLET_FILES {
        return Err(NetError::wallet(format!(
            "\"{location}\" has more than {} files",
            limits::WALLET_FILES
        )));
    }
    let mut files = Vec::new();
    let mut total = 0;
    for name in names.certificates {
        match read_file(&directory.join(&name), name, roots)? {
            Ok(file) => {
                total += file.content.len() as u64;
                files.push(file);
            }
            Err(warning) => warnings.push(warning),
        }
        if total > limits::WALLET_BYTES {
            return Err(NetError::wallet(format!(
                "the files in \"{location}\" have more than {} bytes together",
                limits::WALLET_BYTES
            )));
        }
    }
    Ok(Listing {
        location,
        files,
        foreign: names.foreign,
        warnings,
    })
}

/// Reads the machine's own trust store.
pub(super) fn system() -> Result<Listing, NetError> {
    let Some(store) = system_store() else {
        return Err(NetError::Wallet {
            detail: "this machine has no trust store in any of the usual places".into(),
            hint: Some("install the package ca-certificates, or name a wallet directory".into()),
        });
    };
    let file = read_file(Path::new(store), store.to_owned(), None)?.map_err(NetError::wallet)?;
    Ok(Listing {
        location: "system:".into(),
        files: vec![file],
        foreign: Vec::new(),
        warnings: Vec::new(),
    })
}

fn system_store() -> Option<&'static str> {
    SYSTEM_STORES
        .into_iter()
        .find(|store| Path::new(store).is_file())
}

struct Names {
    certificates: Vec<String>,
    foreign: Vec<String>,
}

/// The names of interest in a directory, sorted. A name that is not UTF-8 is of none.
fn names(directory: &Path) -> io::Result<Names> {
    let mut names = Names {
        certificates: Vec::new(),
        foreign: Vec::new(),
    };
    for entry in fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if has_suffix(&name, &["pem", "crt", "cer"]) {
            names.certificates.push(name);
            // Enough to see that there are too many.
            if names.certificates.len() > limits::WALLET_FILES {
                break;
            }
        } else if FOREIGN.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            names.foreign.push(name);
        }
    }
    names.certificates.sort();
    Ok(names)
}

fn has_suffix(name: &str, suffixes: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| {
        suffixes
            .iter()
            .any(|suffix| end.eq_ignore_ascii_case(suffix))
    })
}

/// One file: its bytes, or a warning why it is left out. What can't be read at all fails the wallet: it might be
/// the revocation list that matters.
fn read_file(
    path: &Path,
    name: String,
    roots: Option<&[PathBuf]>,
) -> Result<Result<WalletFile, String>, NetError> {
    let failed = |error: io::Error| NetError::unreadable(path, &error);
    let resolved = fs::canonicalize(path);
    if let Some(roots) = roots
        && !resolved.as_ref().is_ok_and(|path| is_under(path, roots))
    {
        return Ok(Err(format!(
            "file \"{name}\" is not used: it is a link that leaves the allowed directories"
        )));
    }
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(format!(
                "file \"{name}\" is not used: it is a link to nothing"
            )));
        }
        Err(error) => return Err(failed(error)),
    };
    let not_regular = || {
        Ok(Err(format!(
            "\"{name}\" is not used: it is not a regular file"
        )))
    };
    if !fs::metadata(&resolved).map_err(failed)?.is_file() {
        return not_regular();
    }
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY).bits())
        .open(&resolved)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return not_regular();
    }
    let content = read_capped(&mut file, metadata.size(), failed)?;
    let Some(content) = content else {
        return Err(NetError::wallet(format!(
            "file \"{name}\" has more than {} bytes",
            limits::WALLET_FILE
        )));
    };
    Ok(Ok(WalletFile {
        name,
        mode: metadata.mode(),
        owner: metadata.uid(),
        content,
    }))
}

/// All of a file; `None` if it is too long.
fn read_capped(
    file: &mut File,
    size: u64,
    failed: impl FnOnce(io::Error) -> NetError,
) -> Result<Option<Zeroizing<Vec<u8>>>, NetError> {
    if size > limits::WALLET_FILE {
        return Ok(None);
    }
    // Room for all of it at once, so that no copy of a key is left behind by growing.
    let mut content = Zeroizing::new(Vec::new());
    memory::reserve(&mut content, size as usize + 1)?;
    let mut file = file.take(limits::WALLET_FILE + 1);
    memory::fallible(|| file.read_to_end(&mut content)).map_err(failed)?;
    Ok((content.len() as u64 <= limits::WALLET_FILE).then_some(content))
}
