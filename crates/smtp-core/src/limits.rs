//! Limits of the protocol: what a peer or a caller can make a session hold or do. Limits of one
//! algorithm are beside it.

/// Octets of one reply line, its line ending included. RFC 5321 §4.5.3.1.5 asks for 512; real
/// servers exceed it.
pub const REPLY_LINE: usize = 4096;
/// Octets of one reply, all its lines together.
pub const REPLY: usize = 64 * 1024;
/// Octets of a command line without its CRLF (RFC 5321 §4.5.3.1.4 asks for 512, §4.5.3.1.6 sets 998
/// for text).
pub const COMMAND_LINE: usize = 998;
/// Octets of a command line up to which AUTH carries its initial response (RFC 4954 §4), CRLF
/// included.
pub const INITIAL_RESPONSE_LINE: usize = 512;
/// Octets of one line of an authentication exchange, CRLF included (RFC 4954 §4, "12288 octets").
pub const AUTH_LINE: usize = 12288;
/// Challenges (334 replies) answered in one authentication exchange.
pub const AUTH_CHALLENGES: usize = 10;
/// Iterations of SCRAM below which a server is refused (RFC 7677 §4).
pub const SCRAM_MIN_ITERATIONS: u32 = 4096;
/// Iterations of SCRAM above which a server is refused: the work is ours, the number is the peer's.
pub const SCRAM_MAX_ITERATIONS: u32 = 1_000_000;
/// Octets of a host or domain name as A-labels, without a trailing dot (RFC 1035 §2.3.4).
pub const DOMAIN: usize = 253;
/// Octets of an argument that is a host or a domain, in whatever form.
pub const HOST_ARGUMENT: usize = 255;
/// Octets of a user name, a password or a token.
pub const SECRET: usize = 64 * 1024;
/// Octets of a list of AUTH schemes.
pub const SCHEMES: usize = 1024;
/// Octets of message data gathered before they are handed to the transport.
pub const DATA_BUFFER: usize = 32 * 1024;
