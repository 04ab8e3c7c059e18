//! Failures below the protocol: one variant for each class that a caller reports differently.
//!
//! The texts contain errors of this crate, of the system and of the TLS library. What a peer sent
//! before the handshake proved its identity is not part of them, except names of its certificate,
//! which are escaped and cut short. Nor is a secret.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use pem_wallet::{IdentityError, Rejection, WalletError, io_text};
use rustls::{
    AlertDescription, ContentType, HandshakeType, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};
use smtp_core::memory::OutOfMemory;

use crate::tls::wording::{alert_name, words};
use crate::wait::Interrupted;

/// A failure of the transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A name has no address, or the resolver failed.
    #[error("could not resolve host name \"{host}\": {problem}")]
    Resolve {
        /// The name.
        host: String,
        /// The reason.
        problem: ResolveError,
    },

    /// No address of the host accepted a connection.
    #[error("could not connect: {0}")]
    Connect(Attempts),

    /// The deadline passed.
    #[error("timed out while {0}")]
    Timeout(Step),

    /// The process was asked to stop. Implementations of [`crate::wait::Wait`] that unwind never
    /// get here.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),

    /// The connection broke.
    #[error("connection lost while {step}: {}", io_text(.source))]
    Io {
        /// The step that failed.
        step: Step,
        /// The system's error.
        source: io::Error,
    },

    /// The server's certificate is rejected.
    #[error("certificate rejected: {0}")]
    Certificate(#[from] Rejection),

    /// The two sides have no TLS version in common.
    #[error("no TLS version in common with the server: {0}")]
    TlsVersion(VersionError),

    /// Any other failure of TLS.
    #[error("TLS failed: {0}")]
    Tls(#[from] TlsError),

    /// The client identity can't be used.
    #[error(transparent)]
    Wallet(WalletError),

    /// No certificate can have the name of the host.
    #[error(transparent)]
    Identity(#[from] IdentityError),

    /// Memory could not be allocated.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// A step of a conversation that takes time.
#[derive(Debug)]
pub enum Step {
    /// Resolving a host name.
    Resolving {
        /// The name.
        host: String,
    },
    /// Connecting to the addresses of a host.
    Connecting(Attempts),
    /// The TLS handshake.
    Handshake,
    /// Waiting for data from the server.
    Reading,
    /// Sending data.
    Writing,
    /// Decrypting the private key of the client certificate.
    DecryptingKey,
}

/// The addresses that were tried, each with what happened. There are none if the host has no
/// address.
#[derive(Debug, Default)]
pub struct Attempts(pub Vec<(SocketAddr, AttemptError)>);

/// Why an address did not accept a connection.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// It did not answer in its share of the time.
    #[error("no answer in time")]
    TimedOut,
    /// The system's error.
    #[error("{}", io_text(.0))]
    Io(#[from] io::Error),
}

/// Why a name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name has no address, or only unspecified ones.
    #[error("the name has no address")]
    NoAddress,
    /// Earlier look-ups that were given up are still running, as many as are allowed.
    #[error("{limit} earlier look-ups have not been answered yet")]
    TooManyLookups {
        /// So many.
        limit: usize,
    },
    /// The error of the resolver, or of the thread that it should run in.
    #[error("{}", resolver_text(.0))]
    Resolver(#[from] io::Error),
    /// The thread of the look-up ended without an answer.
    #[error("the resolver failed")]
    NoAnswer,
}

/// Why no version of TLS is in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The server sent the alert protocol_version.
    #[error("the server refused the versions of TLS offered")]
    Refused,
    /// The server chose a version that was not offered.
    #[error("the server speaks only versions of TLS that are not allowed here")]
    NotAllowed,
}

/// Why TLS failed, other than for a certificate or a version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// TLS was to be started twice.
    #[error("the connection is encrypted already")]
    AlreadyStarted,
    /// The server sent data between its reply to STARTTLS and the handshake (RFC 3207 §4.2).
    #[error("the server sent data before the TLS handshake")]
    DataBeforeHandshake,
    /// The server's first octet is not that of a TLS record, but ASCII.
    #[error("the server does not speak TLS here (plain text received)")]
    PlainText,
    /// The server's first octet is not that of a TLS record.
    #[error("the server does not speak TLS here")]
    NotTls,
    /// The server closed the connection.
    #[error("the server closed the connection during the TLS handshake")]
    Closed,
    /// The connection broke in the handshake.
    #[error("the connection was lost during the TLS handshake: {}", io_text(.0))]
    Lost(io::Error),
    /// The server sent an alert (RFC 8446 §6).
    #[error("the server sent the TLS alert {}", alert_name(*.0))]
    Alert(AlertDescription),
    /// No cipher suite, group or extension in common.
    #[error("the server and this client have no common way to speak TLS: {}", words(.0))]
    Incompatible(PeerIncompatible),
    /// The server broke a rule of TLS.
    #[error("the server broke the rules of TLS: {}", words(.0))]
    Misbehaved(PeerMisbehaved),
    /// A message of the server can't be parsed.
    #[error("the server sent a malformed TLS message: {}", words(.0))]
    Malformed(InvalidMessage),
    /// A record that has no place here.
    #[error("the server sent an unexpected TLS record: {}", words(.0))]
    UnexpectedRecord(ContentType),
    /// A handshake message that has no place here.
    #[error("the server sent an unexpected TLS message: {}", words(.0))]
    UnexpectedMessage(HandshakeType),
    /// Any other error of the TLS library.
    #[error(transparent)]
    Library(rustls::Error),
}

impl NetError {
    /// Whether the network or the peer's silence is the reason, so that a later attempt may
    /// succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. } | Self::Connect(_) | Self::Timeout(_) | Self::Io { .. }
        )
    }
}

impl From<WalletError> for NetError {
    fn from(error: WalletError) -> Self {
        match error {
            WalletError::OutOfMemory(error) => error.into(),
            error => Self::Wallet(error),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolving { host } => write!(f, "resolving the host name (\"{host}\")"),
            Self::Connecting(attempts) => write!(f, "connecting ({attempts})"),
            Self::Handshake => f.write_str("waiting for the TLS handshake"),
            Self::Reading => f.write_str("reading"),
            Self::Writing => f.write_str("writing"),
            Self::DecryptingKey => f.write_str("decrypting the client's private key"),
        }
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the host has no address");
        }
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

/// The text of the resolver, without the prefix that Rust adds.
fn resolver_text(error: &io::Error) -> String {
    let text = io_text(error);
    match text.split_once("address information: ") {
        Some((_, reason)) => reason.to_lowercase(),
        None => text,
    }
}
