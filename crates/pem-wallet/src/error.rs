//! Why a wallet, or its private key, can't be used.
//!
//! The errors name files, lines of files and names found in certificates, which are escaped and cut
//! short. They never contain the content of a file, a key or a password.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use smtp_core::memory::OutOfMemory;

use crate::files;
use crate::reader;
use crate::warning::{FileProblem, Warning};

/// Why a wallet can't be used as a whole, or its private key can't.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The system does not let this process read the wallet, or a file of it.
    #[error("\"{}\": {}", .path.display(), io_text(.source))]
    Unreadable {
        /// The directory or the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The path names a file.
    #[error("\"{}\" is not a directory", .0.display())]
    NotADirectory(PathBuf),

    /// The path is outside of the allowed directories. The same for a path that exists and one that
    /// does not.
    #[error("the wallet location is not allowed")]
    Forbidden,

    /// The directory has more files than a wallet may have.
    #[error("\"{}\" has more than {} files", .0.display(), files::MOST_FILES)]
    TooManyFiles(PathBuf),

    /// A file is larger than a file of a wallet may be.
    #[error("file \"{0}\" has more than {max} bytes", max = files::FILE_BYTES)]
    FileTooLarge(String),

    /// The files are larger together than a wallet may be.
    #[error("the files in \"{0}\" have more than {max} bytes together", max = files::WALLET_BYTES)]
    TooLarge(String),

    /// The files have more PEM blocks than a wallet may have.
    #[error("the wallet has more than {max} PEM blocks", max = reader::MOST_BLOCKS)]
    TooManyBlocks,

    /// The wallet has no certificate.
    #[error(
        "\"{location}\" has no certificate that can be used in any file named *.pem, *.crt or \
         *.cer{}",
        Listed(.warnings)
    )]
    NoCertificate {
        /// The directory, or `system:`.
        location: String,
        /// The wallets in other formats that are in the directory.
        other_formats: Vec<OtherFormat>,
        /// Why its files and blocks are not used.
        warnings: Vec<Warning>,
    },

    /// None of the usual places has a trust store of the system.
    #[error("this machine has no trust store in any of the usual places")]
    NoSystemStore,

    /// The trust store of the system is not a regular file.
    #[error("file \"{file}\" is not used: {problem}")]
    SystemStore {
        /// The path of the trust store.
        file: String,
        /// What is wrong with it.
        problem: FileProblem,
    },

    /// The private key can't be used.
    #[error("the private key in file \"{file}\" {problem}")]
    Key {
        /// The file in the wallet's directory.
        file: String,
        /// What is wrong with the key.
        problem: KeyProblem,
    },

    /// Memory could not be allocated.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// A format of wallets that this crate does not read but can be converted to PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherFormat {
    /// `ewallet.p12`: PKCS#12 (RFC 7292), which a password protects.
    Pkcs12,
    /// `cwallet.sso`: the auto-login copy of an `ewallet.p12`, which only its vendor's programs can
    /// read.
    AutoLogin,
}

/// Why a private key can't be used. The `Display` text follows "the private key".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// The mode or the owner of its file lets other users read it.
    #[error("can be read by others, or belongs to another user")]
    Exposed,
    /// The encryption can't be parsed.
    #[error("is damaged")]
    Damaged,
    /// The key can't be parsed, or its algorithm is not supported.
    #[error("is damaged or of an unsupported kind")]
    Unsupported,
    /// The key is encrypted and the caller gave no password.
    #[error("is encrypted and no password was given")]
    PasswordMissing,
    /// The result of the decryption is not a key.
    #[error("can't be decrypted with the password given")]
    WrongPassword,
    /// The key derivation asks for more rounds or memory than allowed.
    #[error("asks for too much work to be decrypted")]
    TooMuchWork,
    /// The key is encrypted by another scheme than PBES2 with AES or triple DES in CBC mode.
    #[error("is encrypted in a way that is not supported")]
    UnsupportedEncryption,
    /// No certificate in the file has the public key of this private key.
    #[error("does not match any certificate in the same file")]
    NoCertificate,
}

impl WalletError {
    /// The error for a file or directory that the system does not let this process read.
    pub(crate) fn unreadable(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::OutOfMemory => OutOfMemory.into(),
            _ => Self::Unreadable {
                path: path.into(),
                source,
            },
        }
    }
}

/// Warnings behind the text of an error.
struct Listed<'a>(&'a [Warning]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|warning| write!(f, "; {warning}"))
    }
}

/// The text of a system error: in English whatever the locale, in lower case, without the number.
pub fn io_text(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    };
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_are_in_lower_case_and_without_a_number() {
        let refused = io::Error::from(Errno::ECONNREFUSED);
        assert_eq!(io_text(&refused), "connection refused");
    }
}
