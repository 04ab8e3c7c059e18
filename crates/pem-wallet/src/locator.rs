//! The location of a wallet: `file:/dir`, `file:///dir`, `/dir`, or `system:`.
//!
//! Symbolic links are resolved before a path is compared with the allowed directories, and the
//! resolved path is the one that is opened. Outside of the allowed directories, the error is the
//! same for a path that exists and one that does not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::WalletError;

/// The location of a wallet, as its user gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// The trust store of the system.
    System,
    /// A directory of PEM files, by its absolute path.
    Directory(PathBuf),
}

/// The place of a wallet, with links resolved and permission checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalletSource {
    /// The trust store of the system.
    System,
    /// A directory, by its canonical path.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The canonical directories that its files must be in, links resolved; `None` is no
        /// restriction.
        roots: Option<Vec<PathBuf>>,
    },
}

/// Why a text is not the location of a wallet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocatorError {
    /// It has a control character.
    #[error("it holds the control character U+{:04X}", u32::from(*.0))]
    ControlCharacter(char),
    /// Neither a URL nor an absolute path.
    #[error("\"{0}\" is not an absolute path")]
    NotAbsolute(String),
    /// A path with a drive letter.
    #[error("\"{0}\" is a path of another operating system")]
    OtherSystem(String),
    /// A URL whose host is another machine.
    #[error("\"{0}\" names another machine")]
    OtherMachine(String),
    /// A URL without a path.
    #[error("\"{0}\" has no path")]
    NoPath(String),
    /// A URL with another scheme than `file`.
    #[error("\"{0}:\" is not a kind of wallet known here")]
    UnknownScheme(String),
}

impl Locator {
    /// Parses `system:`, an absolute path, `file:` before an absolute path, or a URL `file:///dir`.
    /// After `file:`, `%` begins an octet in hexadecimal.
    ///
    /// # Errors
    /// The text is none of these.
    pub fn parse(text: &str) -> Result<Self, LocatorError> {
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(LocatorError::ControlCharacter(c));
        }
        if text.eq_ignore_ascii_case("system:") {
            return Ok(Self::System);
        }
        if text.starts_with('/') {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(LocatorError::NotAbsolute(text.to_owned()));
        };
        if is_drive(scheme) {
            return Err(LocatorError::OtherSystem(text.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("file") {
            return Err(LocatorError::UnknownScheme(scheme.to_owned()));
        }
        let path = Self::from_file_url(rest).map_err(|error| error(text.to_owned()))?;
        match path.as_os_str().as_bytes().contains(&0) {
            true => Err(LocatorError::ControlCharacter('\0')),
            false => Ok(Self::Directory(path)),
        }
    }

    /// Parses what follows `file:`. The error is made of the whole text.
    fn from_file_url(rest: &str) -> Result<PathBuf, fn(String) -> LocatorError> {
        let path = match rest.strip_prefix("//") {
            Some(url) => {
                let slash = url.find('/').ok_or(LocatorError::NoPath as fn(_) -> _)?;
                let (host, path) = url.split_at(slash);
                if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                    return Err(LocatorError::OtherMachine);
                }
                path
            }
            None => rest,
        };
        if let Some((drive, _)) = path.trim_start_matches('/').split_once(':')
            && is_drive(drive)
        {
            return Err(LocatorError::OtherSystem);
        }
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        if decoded.first() != Some(&b'/') {
            return Err(LocatorError::NotAbsolute);
        }
        Ok(PathBuf::from(OsStr::from_bytes(&decoded)))
    }

    /// Resolves the location. With `roots`, the directory must be one of them or below one;
    /// without, any directory is allowed. The trust store of the system is always allowed.
    ///
    /// # Errors
    /// [`WalletError::Forbidden`], or [`WalletError::Unreadable`] for a directory that does not
    /// exist.
    pub fn resolve(&self, roots: Option<&[PathBuf]>) -> Result<WalletSource, WalletError> {
        let path = match self {
            Self::System => return Ok(WalletSource::System),
            Self::Directory(path) => path,
        };
        let Some(roots) = roots else {
            let path =
                fs::canonicalize(path).map_err(|error| WalletError::unreadable(path, error))?;
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
            Err(error) if would_be_under(path, &roots) => Err(WalletError::unreadable(path, error)),
            _ => Err(WalletError::Forbidden),
        }
    }
}

/// Whether a canonical path is one of the roots or below one.
pub(crate) fn is_under(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}

/// Whether a path that does not exist would be below a root. Only then does the error say that it
/// does not exist. The part that exists must be below a root already, and the rest must be plain
/// names.
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
    use std::io::ErrorKind;
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
            let parsed = Locator::parse(text);
            assert!(
                matches!(&parsed, Err(error) if !matches!(error, LocatorError::ControlCharacter(_))),
                "{text}"
            );
        }
        for text in ["file:/a\0b", "file:/a%00b"] {
            assert!(
                matches!(
                    Locator::parse(text),
                    Err(LocatorError::ControlCharacter('\0'))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn outside_of_the_roots_the_error_tells_nothing() {
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
                matches!(outcome, Err(WalletError::Forbidden)),
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
            Err(WalletError::Forbidden)
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
        assert!(
            matches!(&missing, Err(WalletError::Unreadable { path, source })
                if *path == root.join("typo") && source.kind() == ErrorKind::NotFound),
            "{missing:?}"
        );
        // Without roots, anywhere.
        assert!(Locator::Directory(canonical).resolve(None).is_ok());
    }
}
