//! Opening a TCP connection: the addresses of a host in turn, each within its share of the time.
//!
//! It takes addresses only. What was resolved and checked is what is connected to; no name is
//! looked up here.
//!
//! The sockets block, but for `BRIEF` at most: what a server nearby does within that time is waited
//! for by the call that needs it. Everything that takes longer goes through [`Wait`].

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{AttemptError, Attempts, NetError, Step};
use crate::wait::{BRIEF, Deadline, Interest, Interrupted, Wait};

/// The longest an address may keep the ones after it waiting.
const LONGEST_SHARE: Duration = Duration::from_secs(30);

/// Connects to the first address that accepts. The stream blocks for `BRIEF` at most and is closed
/// on exec.
///
/// # Errors
/// [`NetError::Connect`], [`NetError::Timeout`] or [`NetError::Interrupted`].
pub fn connect(
    addresses: &[SocketAddr],
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<(TcpStream, SocketAddr), NetError> {
    let mut failed = Attempts::default();
    for (index, &address) in addresses.iter().enumerate() {
        wait.check()?;
        let share = share(deadline, addresses.len() - index);
        match connect_one(address, wait, share) {
            Ok(Some(stream)) => return Ok((stream, address)),
            Ok(None) => failed.0.push((address, AttemptError::TimedOut)),
            Err(Failed::Io(error)) => failed.0.push((address, error.into())),
            Err(Failed::Interrupted(interrupted)) => return Err(interrupted.into()),
        }
        if deadline.passed() {
            return Err(NetError::Timeout(Step::Connecting(failed)));
        }
    }
    Err(NetError::Connect(failed))
}

/// The deadline of the next attempt when so many are left: the last one has all the time there is.
fn share(deadline: Deadline, left: usize) -> Deadline {
    let Some(others) = u32::try_from(left).ok().filter(|&left| left > 1) else {
        return deadline;
    };
    let fair = deadline
        .remaining()
        .map_or(LONGEST_SHARE, |remaining| remaining / others);
    deadline.min(Deadline::after(Some(fair.min(LONGEST_SHARE))))
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// One attempt; `None` if the deadline passed first.
fn connect_one(
    address: SocketAddr,
    wait: &dyn Wait,
    deadline: Deadline,
) -> Result<Option<TcpStream>, Failed> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    // On Linux the latter holds for connecting, too.
    socket.set_read_timeout(Some(BRIEF))?;
    socket.set_write_timeout(Some(BRIEF))?;
    match socket.connect(&address.into()) {
        Ok(()) => return Ok(Some(socket.into())),
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        if socket.peer_addr().is_ok() {
            return Ok(Some(socket.into()));
        }
        if let Some(error) = socket.take_error()? {
            return Err(error.into());
        }
        if deadline.passed() || !wait.wait(socket.as_fd(), Interest::Writable, deadline)? {
            return Ok(None);
        }
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EINPROGRESS | Errno::EINTR)
        )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Instant;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;
    use crate::wait::PollWait;

    fn closed_port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    /// A listener whose backlog is full drops further SYNs: a black hole on loopback.
    fn black_hole() -> (Socket, Vec<Socket>, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let fillers = (0..4)
            .map(|_| {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                let _ = filler.connect(&address.into());
                filler
            })
            .collect();
        // The kernel lists as unread how many connections a listener has not accepted.
        let port = format!(":{:04X} ", address.port());
        let is_full = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.contains(&port)).unwrap();
            line.contains(" 0A ") && !line.contains(":00000000 00:")
        };
        while !is_full() {
            std::thread::sleep(Duration::from_millis(5));
        }
        (listener, fillers, address)
    }

    #[test]
    fn every_failure_is_listed() {
        let (one, two) = (closed_port(), closed_port());
        let error = connect(&[one, two], &PollWait, Deadline::never()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("could not connect: {one}: connection refused; {two}: connection refused")
        );
    }

    #[test]
    fn the_next_address_is_tried_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let (_, address) = connect(&[closed_port(), open], &PollWait, Deadline::never()).unwrap();
        assert_eq!(address, open);
    }

    #[test]
    fn a_black_hole_leaves_time_for_the_next_address() {
        let (_listener, _fillers, hole) = black_hole();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = good.local_addr().unwrap();
        // Half of the time is left for it, which is enough unless the machine is busy.
        let connected = [600, 6_000, 60_000].into_iter().find_map(|millis| {
            let begun = Instant::now();
            let deadline = Deadline::after(Some(Duration::from_millis(millis)));
            let (_, address) = connect(&[hole, open], &PollWait, deadline).ok()?;
            assert!(begun.elapsed() >= Duration::from_millis(millis * 2 / 5));
            Some(address)
        });
        assert_eq!(connected, Some(open));
    }

    #[test]
    fn connecting_ends_at_the_deadline() {
        let (_listener, _fillers, hole) = black_hole();
        let begun = Instant::now();
        let limit = Duration::from_millis(200);
        let deadline = Deadline::after(Some(limit));
        let error = connect(&[hole], &PollWait, deadline).unwrap_err();
        assert!(matches!(error, NetError::Timeout(Step::Connecting(_))));
        assert!(begun.elapsed() >= limit);
    }

    #[test]
    fn the_socket_is_not_inherited_and_does_not_block_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, _) = connect(&[address], &PollWait, Deadline::never()).unwrap();
        let flags = fcntl(&stream, FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC));
        let error = stream.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let full = loop {
            if let Err(error) = (&stream).write(&[0; 65536]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(stream.nodelay().unwrap());
    }
}
