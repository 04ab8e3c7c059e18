//! A connection, plain or encrypted, whose operations all end by a deadline.
//!
//! Every operation first does what can be done soon. After an error or an unwind in the middle of
//! one, a stream is good for nothing but being dropped, which closes it and does nothing else. It
//! does not buffer plain text: what was read before TLS is with the caller, who must refuse to go
//! on with it (RFC 3207 §4.2).

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{MSG_MORE, MSG_NOSIGNAL};
use nix::sys::socket::{MsgFlags, recv};
use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;
use socket2::SockRef;

use crate::error::{NetError, Step, TlsError};
use crate::tls::{SpeaksFirst, TlsCache, TlsInfo, TlsOptions, failure, handshake};
use crate::wait::{Deadline, Interest, Wait, ready};

/// Bytes encrypted at a time: one TLS record.
const RECORD: usize = 16 * 1024;

/// Reads of the socket in one go. A peer can send any number of records with no data in them;
/// between so many of them the caller gets a chance to see an interrupt or a deadline.
const ROUNDS: usize = 16;

/// A connection to a server.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(PlainStream),
    /// With it.
    Tls(Box<TlsStream>),
}

/// A connection without TLS.
#[derive(Debug)]
pub struct PlainStream {
    socket: TcpStream,
    ended: bool,
}

/// A connection with TLS.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    connection: ClientConnection,
    info: TlsInfo,
    /// How the peer has ended its side, once it has: by a close_notify or by cutting the wire.
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Notified,
    Cut,
}

impl Stream {
    /// Takes a connected socket that doesn't block for long.
    pub fn plain(socket: TcpStream) -> Self {
        Self::Plain(PlainStream {
            socket,
            ended: false,
        })
    }

    /// Reads what there is, waiting until there is something; 0 is the end.
    ///
    /// # Errors
    /// [`NetError::Timeout`], [`NetError::Io`], [`NetError::Tls`] or [`NetError::Interrupted`].
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<usize, NetError> {
        loop {
            wait.check()?;
            let mode = match deadline.passed() {
                true => ReadMode::Nonblocking,
                false => ReadMode::Brief,
            };
            if let Some(count) = self.receive(buffer, mode)? {
                return Ok(count);
            }
            let fd = self.socket().as_fd();
            ready(wait, fd, Interest::Readable, deadline, Step::Reading)?;
        }
    }

    /// Reads what there is without waiting: `None` if there is nothing, 0 if it is the end.
    ///
    /// # Errors
    /// [`NetError::Io`] or [`NetError::Tls`].
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, NetError> {
        self.receive(buffer, ReadMode::Nonblocking)
    }

    fn receive(&mut self, buffer: &mut [u8], mode: ReadMode) -> Result<Option<usize>, NetError> {
        match self {
            Self::Plain(plain) => plain.receive(buffer, mode),
            Self::Tls(tls) => tls.receive(buffer, mode),
        }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// [`NetError::Timeout`], [`NetError::Io`], [`NetError::Tls`] or [`NetError::Interrupted`].
    pub fn write_all(
        &mut self,
        data: &[u8],
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<(), NetError> {
        match self {
            Self::Plain(plain) => plain.write_all(data, wait, deadline),
            Self::Tls(tls) => tls.write_all(data, wait, deadline),
        }
    }

    /// Sends what the socket takes soon, and returns how much of `data` that is: 0 where it takes
    /// nothing now. With TLS the last octets taken may not be sent yet, see [`Stream::is_sent`].
    ///
    /// # Errors
    /// [`NetError::Io`] or [`NetError::Tls`].
    pub fn write_some(&mut self, data: &[u8]) -> Result<usize, NetError> {
        match self {
            Self::Plain(plain) => {
                let written = would_block_to_none(Step::Writing, || (&plain.socket).write(data))?;
                Ok(written.unwrap_or(0))
            }
            Self::Tls(tls) => tls.write_some(data),
        }
    }

    /// Whether the socket has taken all that [`Stream::write_some`] took.
    pub fn is_sent(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => !tls.connection.wants_write(),
        }
    }

    /// Waits until there is something to read or room to write.
    ///
    /// # Errors
    /// [`NetError::Timeout`] or [`NetError::Interrupted`].
    pub fn wait_for_either(&self, wait: &dyn Wait, deadline: Deadline) -> Result<(), NetError> {
        let fd = self.socket().as_fd();
        ready(wait, fd, Interest::Either, deadline, Step::Writing)
    }

    /// Turns a plain connection into an encrypted one. A failure closes it.
    ///
    /// # Errors
    /// [`NetError::Certificate`], [`NetError::TlsVersion`], [`NetError::Tls`],
    /// [`NetError::Identity`], [`NetError::Timeout`] or [`NetError::Interrupted`].
    pub fn start_tls(
        self,
        options: &TlsOptions,
        cache: &TlsCache,
        speaks_first: SpeaksFirst,
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<Self, NetError> {
        let Self::Plain(PlainStream { socket, .. }) = self else {
            return Err(TlsError::AlreadyStarted.into());
        };
        let config = cache.config(options)?;
        let (connection, info) = handshake(&socket, config, speaks_first, wait, deadline)?;
        Ok(Self::Tls(Box::new(TlsStream {
            socket,
            connection,
            info,
            end: None,
        })))
    }

    /// Ends our side as politely as is possible without waiting, and closes.
    pub fn close(self) {
        if let Self::Tls(mut tls) = self {
            tls.connection.send_close_notify();
            // With the end of the connection, in one packet. If it can't be sent at once, then not
            // at all.
            let _ = tls.connection.write_tls(&mut Corked(&tls.socket));
        }
    }

    /// The certificates that the server showed, its own first; none without TLS.
    pub fn server_certificates(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(tls) => tls.connection.peer_certificates().unwrap_or_default(),
        }
    }

    /// What is known of the encryption; `None` without.
    pub fn tls_info(&self) -> Option<&TlsInfo> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(&tls.info),
        }
    }

    /// Whether the peer has ended its side in the way that can't be forged: with TLS by a
    /// close_notify.
    pub fn closed_cleanly(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.ended,
            Self::Tls(tls) => tls.end == Some(End::Notified),
        }
    }

    /// The address of this side.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket().local_addr().ok()
    }

    /// The address of the other side.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket().peer_addr().ok()
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(plain) => &plain.socket,
            Self::Tls(tls) => &tls.socket,
        }
    }
}

impl PlainStream {
    fn receive(&mut self, buffer: &mut [u8], mode: ReadMode) -> Result<Option<usize>, NetError> {
        let socket = &self.socket;
        let count = would_block_to_none(Step::Reading, || Source { socket, mode }.read(buffer))?;
        self.ended |= count == Some(0) && !buffer.is_empty();
        Ok(count)
    }

    fn write_all(
        &mut self,
        data: &[u8],
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<(), NetError> {
        let mut left = data;
        while !left.is_empty() {
            wait.check()?;
            match would_block_to_none(Step::Writing, || (&self.socket).write(left))? {
                Some(count) => left = &left[count..],
                None => ready(
                    wait,
                    self.socket.as_fd(),
                    Interest::Writable,
                    deadline,
                    Step::Writing,
                )?,
            }
        }
        Ok(())
    }
}

impl TlsStream {
    fn receive(&mut self, buffer: &mut [u8], mode: ReadMode) -> Result<Option<usize>, NetError> {
        for _ in 0..ROUNDS {
            if let Some(count) = self.decrypted(buffer)? {
                return Ok(Some(count));
            }
            let (connection, socket) = (&mut self.connection, &self.socket);
            let received = would_block_to_none(Step::Reading, || {
                connection.read_tls(&mut Source { socket, mode })
            })?;
            if received.is_none() {
                return Ok(None);
            }
            let outcome = self.connection.process_new_packets();
            // Key updates and alerts are answered at once, or with the next write.
            let _ = self.connection.write_tls(&mut &self.socket);
            outcome.map_err(failure)?;
        }
        // The last round may have decrypted data, and no more octets need follow it.
        self.decrypted(buffer)
    }

    /// What is decrypted already: `None` if there is nothing, 0 if it is the end.
    fn decrypted(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, NetError> {
        match self.connection.reader().read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.end = Some(End::Notified);
                Ok(Some(0))
            }
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.end = Some(End::Cut);
                Ok(Some(0))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(source) => Err(NetError::Io {
                step: Step::Reading,
                source,
            }),
        }
    }

    fn write_all(
        &mut self,
        data: &[u8],
        wait: &dyn Wait,
        deadline: Deadline,
    ) -> Result<(), NetError> {
        for chunk in data.chunks(RECORD) {
            wait.check()?;
            let encrypted = self.connection.writer().write_all(chunk);
            encrypted.map_err(|source| NetError::Io {
                step: Step::Writing,
                source,
            })?;
            self.flush(wait, deadline)?;
        }
        Ok(())
    }

    /// Encrypts a record when the one before it is sent.
    fn write_some(&mut self, data: &[u8]) -> Result<usize, NetError> {
        if !self.send_encrypted()? {
            return Ok(0);
        }
        let chunk = &data[..data.len().min(RECORD)];
        let encrypted = self.connection.writer().write_all(chunk);
        encrypted.map_err(|source| NetError::Io {
            step: Step::Writing,
            source,
        })?;
        self.send_encrypted()?;
        Ok(chunk.len())
    }

    /// Sends what is encrypted; false where the socket takes no more now.
    fn send_encrypted(&mut self) -> Result<bool, NetError> {
        while self.connection.wants_write() {
            let connection = &mut self.connection;
            if would_block_to_none(Step::Writing, || connection.write_tls(&mut &self.socket))?
                .is_none()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn flush(&mut self, wait: &dyn Wait, deadline: Deadline) -> Result<(), NetError> {
        while self.connection.wants_write() {
            let connection = &mut self.connection;
            let sent =
                would_block_to_none(Step::Writing, || connection.write_tls(&mut &self.socket))?;
            if sent.is_none() {
                let fd = self.socket.as_fd();
                ready(wait, fd, Interest::Writable, deadline, Step::Writing)?;
            }
        }
        Ok(())
    }
}

/// How long a read may block.
#[derive(Debug, Clone, Copy)]
enum ReadMode {
    /// Does not block.
    Nonblocking,
    /// Blocks for as long as the socket does: [`crate::wait::BRIEF`].
    Brief,
}

/// Where bytes come from.
struct Source<'a> {
    socket: &'a TcpStream,
    mode: ReadMode,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = match self.mode {
            ReadMode::Nonblocking => MsgFlags::MSG_DONTWAIT,
            ReadMode::Brief => MsgFlags::empty(),
        };
        Ok(recv(self.socket.as_raw_fd(), buffer, flags)?)
    }
}

/// Where bytes go that others will follow at once. The kernel keeps back for those what doesn't
/// fill a packet, but not for long: the other bytes, the end of the connection or a fifth of a
/// second later it goes out (tcp(7), TCP_CORK).
pub(crate) struct Corked<'a>(pub(crate) &'a TcpStream);

impl Write for Corked<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        SockRef::from(self.0).send_vectored_with_flags(data, MSG_MORE | MSG_NOSIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The result of an operation; `None` if it takes longer than the socket may block, or if a signal
/// has come, which is for whoever waits to look at.
fn would_block_to_none(
    step: Step,
    operation: impl FnOnce() -> io::Result<usize>,
) -> Result<Option<usize>, NetError> {
    match operation() {
        Ok(count) => Ok(Some(count)),
        Err(error) if is_would_block(&error) => Ok(None),
        Err(source) => Err(NetError::Io { step, source }),
    }
}

/// Whether an error of a socket says only that there was nothing to do yet.
pub(crate) fn is_would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
