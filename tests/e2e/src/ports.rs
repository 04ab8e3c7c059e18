//! Loopback ports: closed ones, free ones for servers, and listeners with a full backlog.

use crate::process;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A port that refuses connections as long as this process lives.
pub fn closed_port() -> u16 {
    reserve(false)
}

/// A free port for a server that is told where to listen. It stays reserved as long as this process
/// lives.
pub fn free_port() -> u16 {
    reserve(true)
}

/// Reserves a port. A bound socket that does not listen keeps others from using the port. With
/// SO_REUSEADDR on both sides, a server that requests the port by number may still listen on it. It
/// is set after the bind: two sockets that have it before may be given the same port.
fn reserve(for_a_server: bool) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    socket.set_reuse_address(for_a_server).unwrap();
    let port = port_of(&socket);
    std::mem::forget(socket);
    port
}

/// A listener with a full backlog: the kernel drops further SYNs.
pub struct FullBacklog {
    listener: Socket,
    _fillers: Vec<Socket>,
}

impl FullBacklog {
    /// Listens on this address; port 0 is any port.
    pub fn on(address: IpAddr, port: u16) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::new(address, port).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let full = Self {
            _fillers: (0..4).map(|_| filler(&address)).collect(),
            listener,
        };
        let port = full.port();
        process::wait_until("the backlog is full", || {
            entries().any(|one| one.local == port && one.state == LISTEN && one.unread > 0)
        });
        full
    }

    pub fn port(&self) -> u16 {
        port_of(&self.listener)
    }
}

fn filler(address: &SockAddr) -> Socket {
    let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    filler.set_nonblocking(true).unwrap();
    let _ = filler.connect(address);
    filler
}

fn port_of(socket: &Socket) -> u16 {
    let address = socket.local_addr().unwrap();
    address.as_socket().unwrap().port()
}

/// Waits until data, a close or a reset from the server has reached the client's socket.
#[track_caller]
pub fn await_arrival(client: u16, server: u16) {
    process::wait_until("something arrives at the client", || {
        let mut ends = entries().filter(|one| (one.local, one.remote) == (client, server));
        // A socket that was reset is no longer in the table.
        ends.all(|one| one.state != ESTABLISHED || one.unread > 0)
    });
}

const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// An entry of the kernel's table of TCP sockets.
struct Entry {
    local: u16,
    remote: u16,
    state: u8,
    /// Received octets that were not read yet. For a listener: connections not accepted yet.
    unread: u32,
}

fn entries() -> impl Iterator<Item = Entry> {
    let table = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).unwrap_or_default())
        .concat();
    let entries: Vec<Entry> = table.lines().filter_map(Entry::read).collect();
    entries.into_iter()
}

impl Entry {
    /// Parses `sl local_address rem_address st tx_queue:rx_queue …`, all hexadecimal; `None` for a
    /// heading.
    fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let behind_colon = |number: usize| fields.get(number)?.rsplit(':').next();
        Some(Self {
            local: u16::from_str_radix(behind_colon(1)?, 16).ok()?,
            remote: u16::from_str_radix(behind_colon(2)?, 16).ok()?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            unread: u32::from_str_radix(behind_colon(4)?, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before its server has started, meanwhile, and while it is down.
    #[test]
    fn the_port_of_a_server_is_given_to_nobody_else() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())).into();
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        for _ in 0..2 {
            socket().bind(&address).unwrap_err();
            let server = socket();
            server.set_reuse_address(true).unwrap();
            server.bind(&address).unwrap();
            server.listen(1).unwrap();
            socket().bind(&address).unwrap_err();
        }
    }
}
