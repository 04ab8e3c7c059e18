//! What can go wrong below the protocol: one variant for each class of failure that a caller reports differently.
//!
//! Text of this crate and of the system may appear in these errors; text that a peer sent before it proved who it
//! is may not, except the names in its certificate, which are escaped and cut short (see `x509`).
//! No secret is ever part of an error.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use smtp_core::limits;

use crate::tls::IdentityError;
use crate::wait::Interrupted;

/// A failure of the transport. The `Display` text says what failed; [`NetError::detail`] says how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A name has no address, or the resolver failed.
    #[error("could not resolve host name \"{host}\"")]
    Resolve {
        /// The name asked for.
        host: String,
        /// What the resolver said.
        reason: String,
    },

    /// No address of the host accepted a connection.
    #[error("could not connect")]
    Connect {
        /// Each address with what it answered.
        detail: String,
    },

    /// The deadline passed.
    #[error("timed out while {what}")]
    Timeout {
        /// What was being done, such as "reading".
        what: &'static str,
        /// More about it, if there is more.
        detail: Option<String>,
    },

    /// The process was asked to stop. Implementations of [`crate::Wait`] that unwind never get here.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),

    /// The connection broke.
    #[error("connection lost while {what}")]
    Io {
        /// What was being done, such as "reading".
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },

    /// The server's certificate is not acceptable, for any reason but its name.
    #[error("certificate validation failed")]
    Certificate {
        /// Which certificate, and why.
        detail: String,
        /// What would make it acceptable.
        hint: Option<String>,
    },

    /// The server's certificate is good, but for another host.
    #[error("certificate is for another name")]
    CertificateName {
        /// The name it should have, with its kind.
        expected: String,
        /// The names it has, with their kinds.
        presented: Vec<String>,
    },

    /// The two sides have no TLS version in common.
    #[error("no TLS version in common with the server")]
    TlsVersion {
        /// What the server said.
        detail: String,
    },

    /// Any other failure of TLS.
    #[error("TLS failed")]
    Tls {
        /// What happened.
        detail: String,
    },

    /// A wallet can't be used as a whole, or its private key can't.
    #[error("could not open the wallet")]
    Wallet {
        /// What is wrong with it.
        detail: String,
        /// How to mend it.
        hint: Option<String>,
    },

    /// The text that should name a wallet doesn't.
    #[error("bad wallet location")]
    Locator {
        /// What is wrong with it.
        detail: String,
    },

    /// A control character stands in the text that should name a wallet.
    #[error("it holds the control character U+{:04X}", u32::from(*.0))]
    LocatorCharacter(char),

    /// The wallet is outside the directories this caller may name. The same for a path that exists and one that doesn't.
    #[error("this wallet location is not allowed")]
    WalletForbidden,

    /// The name that the server's certificate should have is none.
    #[error(transparent)]
    Identity(#[from] IdentityError),

    /// Memory could not be allocated.
    #[error("out of memory")]
    OutOfMemory,
}

impl NetError {
    /// What happened, in the system's words where it has some.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Resolve { host, reason } => Some(format!("\"{host}\": {reason}")),
            Self::Timeout { what, detail } => Some(match detail {
                Some(detail) => format!("timed out while {what}: {detail}"),
                None => format!("timed out while {what}"),
            }),
            Self::Io { what, source } => Some(format!("{}, while {what}", io_text(source))),
            Self::CertificateName {
                expected,
                presented,
            } => Some(format!(
                "the certificate should be for {expected}, but it is for {}",
                list(presented)
            )),
            Self::Connect { detail }
            | Self::Certificate { detail, .. }
            | Self::TlsVersion { detail }
            | Self::Tls { detail }
            | Self::Wallet { detail, .. }
            | Self::Locator { detail } => Some(detail.clone()),
            Self::Identity(_) | Self::LocatorCharacter(_) => Some(self.to_string()),
            Self::WalletForbidden | Self::OutOfMemory | Self::Interrupted(_) => None,
        }
    }

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Certificate { hint, .. } | Self::Wallet { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// Whether the network or the peer's silence is to blame, so that trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Io { .. }
        )
    }

    pub(crate) fn timeout(what: &'static str) -> Self {
        Self::Timeout { what, detail: None }
    }

    pub(crate) fn wallet(detail: impl Into<String>) -> Self {
        Self::Wallet {
            detail: detail.into(),
            hint: None,
        }
    }

    /// A file or directory of a wallet that the system does not give us.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::OutOfMemory {
            return Self::OutOfMemory;
        }
        Self::Wallet {
            detail: format!("\"{}\": {}", path.display(), io_text(error)),
            hint: Some(
                "the path is one of the database server's machine, and the server's user must be able to read it".into(),
            ),
        }
    }

    pub(crate) fn tls(detail: impl Into<String>) -> Self {
        Self::Tls {
            detail: detail.into(),
        }
    }
}

/// An error of the system in its own words, lower case and without Rust's "(os error N)".
pub fn io_text(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    };
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => text,
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "no name at all".into();
    }
    let mut text = names[..names.len().min(limits::SHOWN_NAMES)].join(", ");
    if names.len() > limits::SHOWN_NAMES {
        let _ = write!(text, " and {} more", names.len() - limits::SHOWN_NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_the_system_words_them() {
        let refused = io::Error::from_raw_os_error(nix::errno::Errno::ECONNREFUSED as i32);
        assert_eq!(io_text(&refused), "connection refused");
    }

    #[test]
    fn long_name_lists_are_cut() {
        let names: Vec<String> = (0..12).map(|n| format!("h{n}")).collect();
        assert!(list(&names).ends_with("h9 and 2 more"));
    }
}
