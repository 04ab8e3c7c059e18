//! The files of a wallet: which ones they are, whether they may be opened, and their bytes, within the limits.
//!
//! A directory is opened once, and its files through its descriptor, so a path that changes
//! meanwhile changes nothing. Only regular files are opened, without ever blocking on one that is
//! something else by then.

use std::fs::{self, File};
use std::io::{self, Read};
use std::iter::once;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, stat};
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
    /// Device, inode, size, and the times of modification and change; `None` for a link that leads
    /// nowhere.
    state: Option<[i128; 7]>,
}

impl Stamp {
    fn new(name: String, stat: Option<&FileStat>) -> Self {
        let state = stat.map(|stat| {
            [
                i128::from(stat.st_dev),
                i128::from(stat.st_ino),
                i128::from(stat.st_size),
                i128::from(stat.st_mtime),
                i128::from(stat.st_mtime_nsec),
                i128::from(stat.st_ctime),
                i128::from(stat.st_ctime_nsec),
            ]
        });
        Self { name, state }
    }
}

/// The state of the system's trust store; `None` if there is none.
pub(super) fn system_stamps() -> Option<Vec<Stamp>> {
    let store = system_store()?;
    let stat = stat(store).ok()?;
    Some(vec![Stamp::new(store.to_owned(), Some(&stat))])
}

/// A wallet's directory, opened.
pub(super) struct Directory<'a> {
    path: &'a Path,
    /// The canonical directories that no file may leave by a link; `None` if it may.
    roots: Option<&'a [PathBuf]>,
    handle: Dir,
    stat: FileStat,
    names: Names,
}

impl<'a> Directory<'a> {
    /// Opens a directory and lists it. With `roots`, the path must be canonical and below one of
    /// them.
    pub fn open(path: &'a Path, roots: Option<&'a [PathBuf]>) -> Result<Self, NetError> {
        let failed = |error: Errno| NetError::unreadable(path, &error.into());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let opened = match roots {
            Some(roots) => parent_below(roots, path)
                .and_then(|(parent, name)| open_at(parent, name, flags | OFlag::O_NOFOLLOW)),
            None => open_at(AT_FDCWD, path, flags),
        };
        let mut handle = match opened {
            Ok(descriptor) => Dir::from_fd(descriptor).map_err(failed)?,
            Err(Errno::ENOTDIR) => {
                return Err(NetError::Wallet {
                    detail: format!("\"{}\" is not a directory", path.display()),
                    hint: Some("name the directory that holds the PEM files".into()),
                });
            }
            Err(error) => return Err(failed(error)),
        };
        let stat = fstat(&handle).map_err(failed)?;
        let names = Names::of(&mut handle).map_err(failed)?;
        if names.certificates.len() > limits::WALLET_FILES {
            return Err(NetError::wallet(format!(
                "\"{}\" has more than {} files",
                path.display(),
                limits::WALLET_FILES
            )));
        }
        Ok(Self {
            path,
            roots,
            handle,
            stat,
            names,
        })
    }

    /// The state of the directory and of each file in it that matters.
    pub fn stamps(&self) -> Vec<Stamp> {
        let files = self.names.certificates.iter().map(|name| {
            let stat = fstatat(&self.handle, name.as_str(), AtFlags::empty());
            Stamp::new(name.clone(), stat.ok().as_ref())
        });
        once(Stamp::new(String::new(), Some(&self.stat)))
            .chain(files)
            .collect()
    }

    /// Reads its files. One that is a link out of the roots is left out.
    pub fn read(self) -> Result<Listing, NetError> {
        let location = self.path.display().to_string();
        let mut warnings = Vec::new();
        if self.stat.st_mode & 0o022 != 0 {
            warnings.push(format!(
                "wallet directory \"{location}\" can be written by others than its owner"
            ));
        }
        let mut files = Vec::new();
        let mut total = 0;
        for name in &self.names.certificates {
            match self.read_file(name)? {
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
            foreign: self.names.foreign,
            warnings,
        })
    }

    /// One file: its bytes, or a warning why it is left out. What can't be read at all fails the
    /// wallet: it might be the revocation list that matters.
    fn read_file(&self, name: &str) -> Result<Result<WalletFile, String>, NetError> {
        let path = self.path.join(name);
        let Some(roots) = self.roots else {
            return read_at(&self.handle, Path::new(name), OFlag::empty(), name, &path);
        };
        let failed = |error: Errno| NetError::unreadable(&path, &error.into());
        let stat = fstatat(&self.handle, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        if !is_kind(&stat, SFlag::S_IFLNK) {
            return read_at(
                &self.handle,
                Path::new(name),
                OFlag::O_NOFOLLOW,
                name,
                &path,
            );
        }
        match fs::canonicalize(&path) {
            Ok(target) if is_under(&target, roots) => {
                let (parent, file) = parent_below(roots, &target).map_err(failed)?;
                read_at(parent, file, OFlag::O_NOFOLLOW, name, &path)
            }
            _ => Ok(Err(format!(
                "file \"{name}\" is not used: it is a link that leaves the allowed directories"
            ))),
        }
    }
}

/// The directory that holds what a canonical path names below one of the roots, and the name there.
/// Each step is taken from the directory before it and follows no link, so a path that has changed
/// since it was resolved is an error.
fn parent_below<'a>(roots: &[PathBuf], path: &'a Path) -> nix::Result<(OwnedFd, &'a Path)> {
    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let (root, below) = roots
        .iter()
        .find_map(|root| Some((root, path.strip_prefix(root).ok()?)))
        .ok_or(Errno::EACCES)?;
    let mut names = Vec::new();
    for component in below.components() {
        match component {
            Component::Normal(name) => names.push(Path::new(name)),
            _ => return Err(Errno::EACCES),
        }
    }
    let name = names.pop().unwrap_or(Path::new("."));
    let mut parent = open_at(AT_FDCWD, root, step)?;
    for name in names {
        parent = open_at(parent, name, step)?;
    }
    Ok((parent, name))
}

fn open_at(parent: impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    openat(parent, path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// Reads the machine's own trust store.
pub(super) fn system() -> Result<Listing, NetError> {
    let Some(store) = system_store() else {
        return Err(NetError::Wallet {
            detail: "this machine has no trust store in any of the usual places".into(),
            hint: Some("install the package ca-certificates, or name a wallet directory".into()),
        });
    };
    let path = Path::new(store);
    let file = read_at(AT_FDCWD, path, OFlag::empty(), store, path)?.map_err(NetError::wallet)?;
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

impl Names {
    /// The names of interest in a directory, sorted. A name that is not UTF-8 is of none.
    fn of(directory: &mut Dir) -> nix::Result<Self> {
        let mut names = Self {
            certificates: Vec::new(),
            foreign: Vec::new(),
        };
        for entry in directory.iter() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if has_suffix(name, &["pem", "crt", "cer"]) {
                names.certificates.push(name.to_owned());
                // Enough to see that there are too many.
                if names.certificates.len() > limits::WALLET_FILES {
                    break;
                }
            } else if FOREIGN.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                names.foreign.push(name.to_owned());
            }
        }
        names.certificates.sort();
        Ok(names)
    }
}

fn has_suffix(name: &str, suffixes: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| {
        suffixes
            .iter()
            .any(|suffix| end.eq_ignore_ascii_case(suffix))
    })
}

/// Reads a file of this name, found by a path below an open directory: its bytes, or a warning why
/// it is left out.
/// `shown` is its path for errors.
fn read_at(
    parent: impl AsFd,
    path: &Path,
    links: OFlag,
    name: &str,
    shown: &Path,
) -> Result<Result<WalletFile, String>, NetError> {
    let failed = |error: io::Error| NetError::unreadable(shown, &error);
    let not_used = |why: &str| Ok(Err(format!("file \"{name}\" is not used: {why}")));
    let follow = match links {
        OFlag::O_NOFOLLOW => AtFlags::AT_SYMLINK_NOFOLLOW,
        _ => AtFlags::empty(),
    };
    match fstatat(&parent, path, follow) {
        Ok(stat) if is_kind(&stat, SFlag::S_IFREG) => {}
        Ok(_) => return not_used("it is not a regular file"),
        Err(Errno::ENOENT) => return not_used("it is a link to nothing"),
        Err(error) => return Err(failed(error.into())),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | links;
    let mut file = open_at(&parent, path, flags)
        .map(File::from)
        .map_err(|error| failed(error.into()))?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return not_used("it is not a regular file");
    }
    let content = read_capped(&mut file, metadata.size(), failed)?;
    let Some(content) = content else {
        return Err(NetError::wallet(format!(
            "file \"{name}\" has more than {} bytes",
            limits::WALLET_FILE
        )));
    };
    Ok(Ok(WalletFile {
        name: name.to_owned(),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_below_a_root_follows_no_link_and_never_leads_up() {
        let place = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(place.path()).unwrap();
        let root = place.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(place.join("outside")).unwrap();
        symlink("a", root.join("link")).unwrap();
        let roots = [place.join("elsewhere"), root];
        let name = |path: &str| {
            let path = roots[1].join(path);
            parent_below(&roots, &path).map(|(_, name)| name.to_owned())
        };
        assert_eq!(name("a/b/ca.pem").unwrap(), Path::new("ca.pem"));
        assert_eq!(name("a").unwrap(), Path::new("a"));
        assert_eq!(name("").unwrap(), Path::new("."));
        assert_eq!(name("link/b"), Err(Errno::ENOTDIR));
        assert_eq!(name("a/../../outside"), Err(Errno::EACCES));
        assert_eq!(name("../outside"), Err(Errno::EACCES));
        assert!(parent_below(&roots, &place.join("outside")).is_err());
    }

    /// What becomes of the path of an open directory does not matter.
    #[test]
    fn an_open_directory_is_read_wherever_its_path_leads() {
        let place = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(place.path()).unwrap();
        let path = place.join("wallet");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a.pem"), "inside").unwrap();
        fs::create_dir(place.join("outside")).unwrap();
        fs::write(place.join("outside/a.pem"), "outside").unwrap();
        let roots = [place.clone()];
        let directory = Directory::open(&path, Some(&roots)).unwrap();
        fs::rename(&path, place.join("moved")).unwrap();
        symlink("outside", &path).unwrap();
        let stamps = directory.stamps();
        let files = directory.read().unwrap().files;
        assert_eq!(&**files[0].content, b"inside");
        let moved = place.join("moved");
        let moved = Directory::open(&moved, Some(&roots)).unwrap();
        assert_eq!(stamps[1], moved.stamps()[1]);
    }
}
