//! The peer's side of one connection, plain or TLS. Reads time out quickly, so that a script can be
//! stopped at any time.

use super::record::Handshake;
use crate::process::BOUND;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);

pub enum Channel {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// The result of one read.
pub enum ReadResult {
    Bytes(Vec<u8>),
    Nothing,
    Closed,
}

impl Channel {
    pub fn new(stream: TcpStream) -> Self {
        // The listener is non-blocking; its connections must not be.
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TICK)).unwrap();
        stream.set_write_timeout(Some(BOUND / 2)).unwrap();
        Self::Plain(stream)
    }

    pub fn read(&mut self) -> ReadResult {
        let mut buffer = [0; 16384];
        let result = match self {
            Self::Plain(stream) => stream.read(&mut buffer),
            Self::Tls(stream) => stream.read(&mut buffer),
        };
        match result {
            Ok(0) => ReadResult::Closed,
            Ok(length) => ReadResult::Bytes(buffer[..length].to_vec()),
            Err(error) if is_tick(&error) => ReadResult::Nothing,
            Err(_) => ReadResult::Closed,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Performs the handshake as the server. On failure the connection is closed.
    pub fn start_tls(self, config: Arc<ServerConfig>) -> Result<(Self, Handshake), String> {
        let Self::Plain(mut tcp) = self else {
            return Err("TLS inside TLS".to_owned());
        };
        let mut tls = ServerConnection::new(config).map_err(|error| error.to_string())?;
        let end = Instant::now() + BOUND / 2;
        while tls.is_handshaking() || tls.wants_write() {
            match tls.complete_io(&mut tcp) {
                Ok(_) => {}
                Err(error) if is_tick(&error) && Instant::now() < end => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let handshake = describe(&tls);
        Ok((Self::Tls(Box::new(StreamOwned::new(tls, tcp))), handshake))
    }

    /// Closes the sending side.
    pub fn close_notify(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Closes without close_notify.
    pub fn cut(&self) {
        let _ = self.tcp().shutdown(Shutdown::Both);
    }

    /// Turns the next close into a reset.
    pub fn reset_on_close(&self) {
        socket2::SockRef::from(self.tcp())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

fn describe(tls: &ServerConnection) -> Handshake {
    Handshake {
        server_name: tls.server_name().map(str::to_owned),
        version: format!("{:?}", tls.protocol_version().expect("after the handshake")),
        cipher: format!(
            "{:?}",
            tls.negotiated_cipher_suite().expect("after it").suite()
        ),
        client_certificates: tls.peer_certificates().map_or(0, <[_]>::len),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        retried: tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
