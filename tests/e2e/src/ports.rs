//! Ports of loopback that nobody listens on.

use socket2::{Domain, Socket, Type};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// One that refuses connections. It is taken, so that no other test comes to listen on it as long as this process lives.
pub fn closed_port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address.as_socket().unwrap().port()
}

/// One for a program that is told where to listen. It is below those that the system gives to whoever asks for any, so that
/// none of them comes in between.
pub fn free_port() -> u16 {
    (0..)
        .map(|attempt: u64| RandomState::new().hash_one(attempt) % 12_000 + 20_000)
        .map(|port| u16::try_from(port).unwrap())
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .unwrap()
}
