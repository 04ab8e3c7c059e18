//! Reads the files of a wallet, within limits of their number and size.
//!
//! A directory is opened once and its files through its descriptor, so a change of the path in
//! between has no effect. Only regular files are opened, and without blocking: a file may have
//! become a pipe since it was looked at.

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
use smtp_core::memory;
use zeroize::Zeroizing;

use crate::error::{OtherFormat, WalletError};
use crate::locator::is_under;
use crate::warning::{FileProblem, Warning};

/// Files of a wallet.
pub(crate) const MOST_FILES: usize = 1024;
/// Octets of one file.
pub(crate) const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Octets of all files of a wallet together.
pub(crate) const WALLET_BYTES: u64 = 16 * 1024 * 1024;

/// The trust stores of the usual distributions, the most common first. Environment variables that
/// name another one are ignored: they come from whoever started the server.
const SYSTEM_STORES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// File names of wallets in other formats.
const OTHER_FORMATS: [(&str, OtherFormat); 2] = [
    ("ewallet.p12", OtherFormat::Pkcs12),
    ("cwallet.sso", OtherFormat::AutoLogin),
];

/// The files of a wallet.
pub(crate) struct Listing {
    pub location: String,
    pub files: Vec<WalletFile>,
    pub other_formats: Vec<OtherFormat>,
    pub warnings: Vec<Warning>,
}

/// One file, read.
pub(crate) struct WalletFile {
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

/// The state of a file or directory, to detect a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    name: String,
    /// Device, inode, size, and the times of modification and change; `None` for a link to
    /// nothing.
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

/// The state of the system's trust store; `None` without one.
pub(crate) fn system_stamps() -> Option<Vec<Stamp>> {
    let store = system_store()?;
    let stat = stat(store).ok()?;
    Some(vec![Stamp::new(store.to_owned(), Some(&stat))])
}

/// A wallet's directory, opened.
pub(crate) struct Directory<'a> {
    path: &'a Path,
    /// The canonical directories that files must be in, links resolved; `None` is no restriction.
    roots: Option<&'a [PathBuf]>,
    handle: Dir,
    stat: FileStat,
    names: Names,
}

impl<'a> Directory<'a> {
    /// Opens a directory and lists it. With `roots`, the path must be canonical and below one of
    /// them.
    pub fn open(path: &'a Path, roots: Option<&'a [PathBuf]>) -> Result<Self, WalletError> {
        let failed = |error: Errno| WalletError::unreadable(path, error);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let opened = match roots {
            Some(roots) => parent_below(roots, path)
                .and_then(|(parent, name)| open_at(parent, name, flags | OFlag::O_NOFOLLOW)),
            None => open_at(AT_FDCWD, path, flags),
        };
        let mut handle = match opened {
            Ok(descriptor) => Dir::from_fd(descriptor).map_err(failed)?,
            Err(Errno::ENOTDIR) => return Err(WalletError::NotADirectory(path.to_owned())),
            Err(error) => return Err(failed(error)),
        };
        let stat = fstat(&handle).map_err(failed)?;
        let names = Names::of(&mut handle).map_err(failed)?;
        if names.certificates.len() > MOST_FILES {
            return Err(WalletError::TooManyFiles(path.to_owned()));
        }
        Ok(Self {
            path,
            roots,
            handle,
            stat,
            names,
        })
    }

    /// The state of the directory and of each of its files that belong to the wallet.
    pub fn stamps(&self) -> Vec<Stamp> {
        let files = self.names.certificates.iter().map(|name| {
            let stat = fstatat(&self.handle, name.as_str(), AtFlags::empty());
            Stamp::new(name.clone(), stat.ok().as_ref())
        });
        once(Stamp::new(String::new(), Some(&self.stat)))
            .chain(files)
            .collect()
    }

    /// Reads its files, except links out of the roots.
    pub fn read(self) -> Result<Listing, WalletError> {
        let location = self.path.display().to_string();
        let mut warnings = Vec::new();
        if self.stat.st_mode & 0o022 != 0 {
            warnings.push(Warning::DirectoryWritable(location.clone()));
        }
        let mut files = Vec::new();
        let mut total = 0;
        for name in &self.names.certificates {
            match self.read_file(name)? {
                Ok(file) => {
                    total += file.content.len() as u64;
                    files.push(file);
                }
                Err(problem) => warnings.push(Warning::File {
                    file: name.clone(),
                    problem,
                }),
            }
            if total > WALLET_BYTES {
                return Err(WalletError::TooLarge(location));
            }
        }
        Ok(Listing {
            location,
            files,
            other_formats: self.names.other_formats,
            warnings,
        })
    }

    /// Reads one file, or says why it is not used. A file that can't be read is an error: it might
    /// be the revocation list that matters.
    fn read_file(&self, name: &str) -> Result<Result<WalletFile, FileProblem>, WalletError> {
        let path = self.path.join(name);
        let Some(roots) = self.roots else {
            return read_at(&self.handle, Path::new(name), OFlag::empty(), name, &path);
        };
        let failed = |error: Errno| WalletError::unreadable(&path, error);
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
            _ => Ok(Err(FileProblem::LeavesRoots)),
        }
    }
}

/// Opens the directory of a canonical path below one of the roots, and returns it with the last
/// name of the path. Each directory is opened from the one before without following a link, so a
/// path that has changed since it was resolved is an error.
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

/// Reads the trust store of the system.
pub(crate) fn system() -> Result<Listing, WalletError> {
    let Some(store) = system_store() else {
        return Err(WalletError::NoSystemStore);
    };
    let path = Path::new(store);
    let file = read_at(AT_FDCWD, path, OFlag::empty(), store, path)?.map_err(|problem| {
        WalletError::SystemStore {
            file: store.to_owned(),
            problem,
        }
    })?;
    Ok(Listing {
        location: "system:".into(),
        files: vec![file],
        other_formats: Vec::new(),
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
    other_formats: Vec<OtherFormat>,
}

impl Names {
    /// The files in a directory that belong to a wallet, sorted. Names that are not UTF-8 are
    /// skipped.
    fn of(directory: &mut Dir) -> nix::Result<Self> {
        let mut names = Self {
            certificates: Vec::new(),
            other_formats: Vec::new(),
        };
        for entry in directory.iter() {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if has_suffix(name, &["pem", "crt", "cer"]) {
                names.certificates.push(name.to_owned());
                // One more than allowed is enough to refuse the wallet.
                if names.certificates.len() > MOST_FILES {
                    break;
                }
            } else {
                let format = OTHER_FORMATS
                    .iter()
                    .find(|(known, _)| name.eq_ignore_ascii_case(known));
                names
                    .other_formats
                    .extend(format.map(|(_, format)| *format));
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

/// Reads a file, or says why it is not used.
///
/// - `parent`, `path`: an open directory, and the path of the file from there.
/// - `links`: `O_NOFOLLOW`, or nothing.
/// - `name`: its name in the wallet.
/// - `shown`: its path for errors.
fn read_at(
    parent: impl AsFd,
    path: &Path,
    links: OFlag,
    name: &str,
    shown: &Path,
) -> Result<Result<WalletFile, FileProblem>, WalletError> {
    let failed = |error: io::Error| WalletError::unreadable(shown, error);
    let follow = match links {
        OFlag::O_NOFOLLOW => AtFlags::AT_SYMLINK_NOFOLLOW,
        _ => AtFlags::empty(),
    };
    match fstatat(&parent, path, follow) {
        Ok(stat) if is_kind(&stat, SFlag::S_IFREG) => {}
        Ok(_) => return Ok(Err(FileProblem::NotRegular)),
        Err(Errno::ENOENT) => return Ok(Err(FileProblem::DanglingLink)),
        Err(error) => return Err(failed(error.into())),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | links;
    let mut file = open_at(&parent, path, flags)
        .map(File::from)
        .map_err(|error| failed(error.into()))?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Ok(Err(FileProblem::NotRegular));
    }
    let content = read_capped(&mut file, metadata.size(), failed)?;
    let Some(content) = content else {
        return Err(WalletError::FileTooLarge(name.to_owned()));
    };
    Ok(Ok(WalletFile {
        name: name.to_owned(),
        mode: metadata.mode(),
        owner: metadata.uid(),
        content,
    }))
}

/// The content of a file; `None` if it is too long.
fn read_capped(
    file: &mut File,
    size: u64,
    failed: impl FnOnce(io::Error) -> WalletError,
) -> Result<Option<Zeroizing<Vec<u8>>>, WalletError> {
    if size > FILE_BYTES {
        return Ok(None);
    }
    // Reserved at once: a buffer that grows leaves copies of a key behind.
    let mut content = Zeroizing::new(Vec::new());
    memory::reserve(&mut content, size as usize + 1)?;
    let mut file = file.take(FILE_BYTES + 1);
    memory::fallible(|| file.read_to_end(&mut content)).map_err(failed)?;
    Ok((content.len() as u64 <= FILE_BYTES).then_some(content))
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

    /// A change of the path of an open directory has no effect.
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
