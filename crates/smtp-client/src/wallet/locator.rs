//! The text that names a wallet, and who may name which: `file:/dir`, `file:///dir`, `/dir`, or `system:`.
//!
//! A path is resolved, links and all, before it is compared with the allowed directories, and it is the resolved
//! path that is opened. To a caller who is held to those directories, everything outside of them looks the same,
//! there or not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::NetError;

/// Where a wallet is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// The machine's own trust store.
    System,
    /// A directory of PEM files, by an absolute path.
    Directory(PathBuf),
}

/// Where a wallet is, after links are followed and permission is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalletSource {
    /// The machine's own trust store.
    System,
    /// A directory, by its canonical path.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The canonical directories that no file of it may leave by a link; `None` if it may.
        roots: Option<Vec<PathBuf>>,
    },
}

impl Locator {
    /// Reads a location as Oracle writes it, or as a URL, or as a plain path.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        let bad = |detail: String| NetError::Locator { detail };
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(NetError::LocatorCharacter(c));
        }
        if text.eq_ignore_ascii_case("system:") {
            return Ok(Self::System);
        }
        if text.starts_with('/') {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(bad(format!("\"{text}\" is not an absolute path")));
        };
        if is_drive(scheme) {
            return Err(bad(format!(
                "\"{text}\" is a path of another operating system"
            )));
        }
        if !scheme.eq_ignore_ascii_case("file") {
            return Err(bad(format!(
                "\"{scheme}:\" is not a kind of wallet known here"
            )));
        }
        match Self::from_file_url(rest) {
            Ok(path) if path.as_os_str().as_bytes().contains(&0) => {
                Err(NetError::LocatorCharacter('\0'))
            }
            Ok(path) => Ok(Self::Directory(path)),
            Err(reason) => Err(bad(format!("\"{text}\" {reason}"))),
        }
    }

    /// What follows `file:`.
    fn from_file_url(rest: &str) -> Result<PathBuf, String> {
        let path = match rest.strip_prefix("//") {
            Some(url) => {
                let slash = url.find('/').ok_or("has no path")?;
                let (host, path) = url.split_at(slash);
                if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                    return Err("names another machine".into());
                }
                path
            }
            None => rest,
        };
        if let Some((drive, _)) = path.trim_start_matches('/').split_once(':')
            && is_drive(drive)
        {
            return Err("is a path of another operating system".into());
        }
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        if decoded.first() != Some(&b'/') {
            return Err("is not an absolute path".into());
        }
        Ok(PathBuf::from(OsStr::from_bytes(&decoded)))
    }

    /// Finds the place. With `roots`, a directory must lie under one of them, or be one; without, any will do.
    /// The system's trust store is open to all.
    pub fn resolve(&self, roots: Option<&[PathBuf]>) -> Result<WalletSource, NetError> {
        let path = match self {
            Self::System => return Ok(WalletSource::System),
            Self::Directory(path) => path,
        };
        let Some(roots) = roots else {
            let path =
                fs::canonicalize(path).map_err(|error| NetError::unreadable(path, &error))?;
            return Ok(WalletSource::Directory { path, roots: None });
        };
        let roots: Vec<PathBuf> = roots
            .iter()
            .filter_map(|root| fs::canonicalize(root).ok())
            .collect();
        match fs::canonicalize(path) {
            Ok(found) if is_under(&found, &roots) => Ok(WalletSource::Directory {
                path: found,
                roots: Some(roots),
            }),
            Err(error) if would_be_under(path, &roots) => Err(NetError::unreadable(path, &error)),
            _ => Err(NetError::WalletForbidden),
        }
    }
}

/// Whether a canonical path is one of the roots or below one.
pub(super) fn is_under(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// Whether a path that leads nowhere would lie under a root: only then may its absence be told. What exists of it
/// must be under a root already, and what doesn't must be plain names.
fn would_be_under(path: &Path, roots: &[PathBuf]) -> bool {
    for ancestor in path.ancestors() {
        if let Ok(found) = fs::canonicalize(ancestor) {
            return is_under(&found, roots);
        }
        let is_plain = matches!(
            ancestor.components().next_back(),
            Some(Component::Normal(_))
        );
        if !is_plain || fs::symlink_metadata(ancestor).is_ok() {
            return false;
        }
    }
    false
}

fn is_drive(scheme: &str) -> bool {
    scheme.len() == 1 && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(path: &str) -> Locator {
        Locator::Directory(PathBuf::from(path))
    }

    #[test]
    fn every_spelling_of_a_directory_is_read() {
        for text in [
            "/etc/w x",
            "file:/etc/w%20x",
            "FILE:/etc/w x",
            "File:///etc/w%20x",
            "file://localhost/etc/w%20x",
        ] {
            assert_eq!(
                Locator::parse(text).unwrap(),
                directory("/etc/w x"),
                "{text}"
            );
        }
        // A plain path is not a URL.
        assert_eq!(Locator::parse("/a%20b").unwrap(), directory("/a%20b"));
        assert_eq!(Locator::parse("System:").unwrap(), Locator::System);
    }

    #[test]
    fn other_locations_are_refused() {
        for text in [
            "",
            "wallet",
            "./wallet",
            "file:",
            "file://",
            "file:wallet",
            "file://server/wallet",
            "C:\\wallet",
            "file:C:\\wallet\\",
            "file:///C:/wallet",
            "https://example.com/w",
            "system:/etc",
        ] {
            assert!(
                matches!(Locator::parse(text), Err(NetError::Locator { .. })),
                "{text}"
            );
        }
        for text in ["file:/a\0b", "file:/a%00b"] {
            assert!(
                matches!(Locator::parse(text), Err(NetError::LocatorCharacter('\0'))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_lies_outside_the_roots_looks_the_same_there_or_not() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("allowed");
        fs::create_dir_all(root.join("mail")).unwrap();
        fs::create_dir(place.path().join("secret")).unwrap();
        symlink(place.path().join("secret"), root.join("out")).unwrap();
        symlink(place.path().join("nothing"), root.join("dangling")).unwrap();
        let roots = [root.clone()];
        let refused = |path: PathBuf| {
            let outcome = Locator::Directory(path.clone()).resolve(Some(&roots));
            assert!(
                matches!(outcome, Err(NetError::WalletForbidden)),
                "{path:?}: {outcome:?}"
            );
        };
        for path in [
            "/etc/passwd",
            "/etc/no-such",
            "/etc/passwd/x",
            "/proc/self/environ",
            "/dev/zero",
            "/",
            "/no-such/../etc",
        ] {
            refused(PathBuf::from(path));
        }
        for path in [
            "out",
            "out/x",
            "dangling",
            "dangling/x",
            "../secret",
            "../nothing",
            "mail/../../secret",
            "no-such/../../secret",
            "../allowedx",
        ] {
            refused(root.join(path));
        }
        // The same without any root.
        assert!(matches!(
            directory("/etc").resolve(Some(&[])),
            Err(NetError::WalletForbidden)
        ));
    }

    #[test]
    fn paths_under_a_root_are_resolved() {
        let place = tempfile::tempdir().unwrap();
        let canonical = fs::canonicalize(place.path()).unwrap();
        let root = canonical.join("allowed");
        fs::create_dir_all(root.join("mail")).unwrap();
        symlink(&root, canonical.join("link")).unwrap();
        let roots = [canonical.join("link")];
        for path in [
            "allowed/mail/",
            "allowed/./mail",
            "link//mail",
            "link/mail/../mail",
        ] {
            let locator = Locator::Directory(canonical.join(path));
            let Ok(WalletSource::Directory { path: found, .. }) = locator.resolve(Some(&roots))
            else {
                panic!("{path}")
            };
            assert_eq!(found, root.join("mail"), "{path}");
        }
        assert!(
            Locator::Directory(root.clone())
                .resolve(Some(&roots))
                .is_ok()
        );
        let missing = Locator::Directory(root.join("typo")).resolve(Some(&roots));
        let Err(NetError::Wallet { detail, .. }) = missing else {
            panic!("{missing:?}")
        };
        assert!(detail.ends_with("no such file or directory"), "{detail}");
        // Without roots, anywhere.
        assert!(Locator::Directory(canonical).resolve(None).is_ok());
    }
}
