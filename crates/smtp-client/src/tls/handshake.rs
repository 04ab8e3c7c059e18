//! The handshake and its failures.
//!
//! What a peer sent that is not TLS is in no error: nothing proves who sent it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;

use pem_wallet::{Rejection, TrustedBy, Verifier};
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, ClientConnection, Error, HandshakeKind, InvalidMessage, PeerIncompatible,
    ProtocolVersion,
};

use super::{TlsConfig, TlsInfo};
use crate::error::{NetError, Step, TlsError, VersionError};
use crate::stream::{Corked, is_would_block};
use crate::wait::{Deadline, Interest, Wait, ready};

/// How long before the end of an anchor [`TlsInfo::anchor_expiring`] says so: 30 days, in seconds.
const EXPIRING: i64 = 30 * 24 * 60 * 60;

/// Which side sends first after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeaksFirst {
    /// After STARTTLS. Our end of the handshake goes with it, in one packet, if it comes soon.
    Client,
    /// With TLS from the start: the greeting.
    Server,
}

/// Carries out a handshake. On failure the socket is closed, after an alert if one can be sent at
/// once.
pub(crate) fn handshake(
    socket: &TcpStream,
    config: TlsConfig,
    speaks_first: SpeaksFirst,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(ClientConnection, TlsInfo), NetError> {
    let verifier = config.verifier;
    let mut connection =
        ClientConnection::new(config.client, config.server_name).map_err(failure)?;
    let mut received = Received {
        socket,
        first: None,
    };
    loop {
        let over = !connection.is_handshaking();
        let more_to_come = over && speaks_first == SpeaksFirst::Client;
        send(socket, &mut connection, more_to_come, wait, deadline)?;
        if over {
            break;
        }
        match connection.read_tls(&mut received) {
            Ok(0) => return Err(received.explain(None)),
            Ok(_) => {
                if let Err(error) = connection.process_new_packets() {
                    // Sends the alert, if that is possible at once.
                    let _ = connection.write_tls(&mut &*socket);
                    return Err(received.explain(Some(error)));
                }
                // A peer that keeps sending must meet the deadline, too.
                if connection.is_handshaking() && deadline.passed() {
                    return Err(NetError::Timeout(Step::Handshake));
                }
            }
            Err(error) => retry(error, socket, Interest::Readable, wait, deadline)?,
        }
        wait.check()?;
    }
    let info = info(&connection, &verifier)?;
    Ok((connection, info))
}

/// Sends all that the connection has to send.
fn send(
    socket: &TcpStream,
    connection: &mut ClientConnection,
    more_to_come: bool,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(), NetError> {
    while connection.wants_write() {
        let sent = match more_to_come {
            true => connection.write_tls(&mut Corked(socket)),
            false => connection.write_tls(&mut &*socket),
        };
        if let Err(error) = sent {
            retry(error, socket, Interest::Writable, wait, deadline)?;
        }
    }
    Ok(())
}

/// Waits if the error says that the operation would block; fails otherwise.
fn retry(
    error: io::Error,
    socket: &TcpStream,
    interest: Interest,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(), NetError> {
    if is_would_block(&error) {
        return ready(wait, socket.as_fd(), interest, deadline, Step::Handshake);
    }
    Err(TlsError::Lost(error).into())
}

/// The socket, and the first octet received: it tells whether the peer speaks TLS.
struct Received<'a> {
    socket: &'a TcpStream,
    first: Option<u8>,
}

impl Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut socket = self.socket;
        let count = socket.read(buffer)?;
        if count > 0 && self.first.is_none() {
            self.first = buffer.first().copied();
        }
        Ok(count)
    }
}

impl Received<'_> {
    /// The failure of a handshake that ended by an error, or by the end of the connection.
    fn explain(&self, error: Option<Error>) -> NetError {
        match (self.first, error) {
            (Some(first), _) if !is_record_type(first) && first.is_ascii() => {
                TlsError::PlainText.into()
            }
            (Some(first), _) if !is_record_type(first) => TlsError::NotTls.into(),
            (_, Some(error)) => failure(error),
            (_, None) => TlsError::Closed.into(),
        }
    }
}

/// The record types of TLS 1.2 and 1.3 (RFC 8446 §5.1).
fn is_record_type(byte: u8) -> bool {
    (20..=24).contains(&byte)
}

/// The facts of a new connection. The certificate is verified again: a resumed session does not
/// send it, and it may have expired since.
fn info(connection: &ClientConnection, verifier: &Verifier) -> Result<TlsInfo, NetError> {
    let chain = connection.peer_certificates().unwrap_or_default();
    let now = UnixTime::now();
    let peer = verifier.verify(chain, now)?;
    let soon = i64::try_from(now.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_add(EXPIRING);
    let anchor_expiring = match peer.trusted_by {
        TrustedBy::Issuer { label, not_after } if not_after < soon => Some((label, not_after)),
        _ => None,
    };
    Ok(TlsInfo {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        }
        .into(),
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(|name| name.replacen("TLS13_", "TLS_", 1))
            .unwrap_or_default(),
        peer: peer.label,
        peer_subject: peer.subject,
        peer_not_after: peer.not_after,
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        anchor_expiring,
    })
}

/// The failure for an error of the TLS library.
pub(crate) fn failure(error: Error) -> NetError {
    let error = match error {
        Error::InvalidCertificate(error) => return Rejection::from_rustls(&error).into(),
        Error::NoCertificatesPresented => return Rejection::NoCertificate.into(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            return NetError::TlsVersion(VersionError::Refused);
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            return NetError::TlsVersion(VersionError::NotAllowed);
        }
        Error::AlertReceived(alert) => TlsError::Alert(alert),
        Error::PeerIncompatible(reason) => TlsError::Incompatible(reason),
        Error::PeerMisbehaved(reason) => TlsError::Misbehaved(reason),
        Error::InvalidMessage(reason) => TlsError::Malformed(reason),
        Error::InappropriateMessage { got_type, .. } => TlsError::UnexpectedRecord(got_type),
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            TlsError::UnexpectedMessage(got_type)
        }
        other => TlsError::Library(other),
    };
    error.into()
}
