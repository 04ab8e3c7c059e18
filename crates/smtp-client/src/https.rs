//! One HTTPS request and its answer, over the same waits and deadlines as a conversation. The
//! octets are the caller's: this module knows no HTTP.

use std::net::SocketAddr;

use zeroize::Zeroizing;

use crate::error::NetError;
use crate::stream::Stream;
use crate::tcp;
use crate::tls::{SpeaksFirst, TlsCache, TlsOptions};
use crate::wait::{Deadline, Wait};

/// Octets read at once.
const READ_SIZE: usize = 4096;

/// What was received of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// The next octets.
    Octets(&'a [u8]),
    /// The end of the connection.
    End {
        /// Whether the server itself ended it, by a close_notify. Without one anybody may have cut
        /// it.
        clean: bool,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError<E> {
    /// The server can't be reached, TLS failed, or the time was over.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The reader of the answer does not accept it.
    #[error("{0}")]
    Answer(E),
}

/// Sends `request` to the first of `addresses` that accepts, over TLS whose certificate is verified
/// as `tls` says, and passes the answer to `receive` until that returns true: the answer is
/// complete. One deadline holds for all of it. A request is sent once only. `receive` limits the
/// size of the answer.
///
/// # Errors
/// [`PostError::Net`] for the connection; [`PostError::Answer`] with the error of `receive`.
pub fn post<E>(
    addresses: &[SocketAddr],
    (tls, cache): (&TlsOptions, &TlsCache),
    request: &[u8],
    receive: &mut dyn FnMut(Received<'_>) -> Result<bool, E>,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(), PostError<E>> {
    let (socket, _) = tcp::connect(addresses, wait, deadline)?;
    let stream = Stream::plain(socket);
    let mut stream = stream.start_tls(tls, cache, SpeaksFirst::Client, wait, deadline)?;
    stream.write_all(request, wait, deadline)?;
    let mut buffer = Zeroizing::new(vec![0; READ_SIZE]);
    loop {
        let received = match stream.read(&mut buffer, wait, deadline)? {
            0 => Received::End {
                clean: stream.closed_cleanly(),
            },
            count => Received::Octets(&buffer[..count]),
        };
        let ended = matches!(received, Received::End { .. });
        if receive(received).map_err(PostError::Answer)? || ended {
            stream.close();
            return Ok(());
        }
    }
}
