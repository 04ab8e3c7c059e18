//! Caps on what a peer or a caller can make us hold or do. Those that belong to one algorithm stand beside it.

/// Octets of one reply line, its line ending included. RFC 5321 §4.5.3.1.5 asks for 512; real servers exceed it.
pub const REPLY_LINE: usize = 4096;
/// Octets of one reply, all its lines together.
pub const REPLY: usize = 64 * 1024;
/// Octets of a command line without its CRLF (RFC 5321 §4.5.3.1.4 asks for 512, §4.5.3.1.6 sets 998 for text).
pub const COMMAND_LINE: usize = 998;
/// Octets of a command line up to which AUTH carries its initial response (RFC 4954 §4), CRLF included.
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
/// Octets of the location of a wallet.
pub const WALLET_PATH: usize = 4096;
/// Octets of a user name, a password or a token.
pub const SECRET: usize = 64 * 1024;
/// Octets of a list of AUTH schemes.
pub const SCHEMES: usize = 1024;
/// Octets of one wallet file.
pub const WALLET_FILE: u64 = 4 * 1024 * 1024;
/// Octets of all files of a wallet together.
pub const WALLET_BYTES: u64 = 16 * 1024 * 1024;
/// Files of a wallet.
pub const WALLET_FILES: usize = 1024;
/// PEM blocks of a wallet.
pub const WALLET_BLOCKS: usize = 4096;
/// Rounds of PBKDF2 that the encryption of a private key may ask for.
pub const KEY_PBKDF2_ROUNDS: u32 = 4_000_000;
/// Octets that scrypt may write for the same: half a second, which neither an interrupt nor a
/// deadline ends.
pub const KEY_SCRYPT_BYTES: u64 = 128 * 1024 * 1024;
/// Wallets that a process keeps parsed.
pub const WALLETS_KEPT: usize = 16;
/// TLS configurations that a process keeps for their resumption tickets.
pub const TLS_CONFIGS_KEPT: usize = 64;
/// Resumption tickets kept for each of them.
pub const TLS_TICKETS_KEPT: usize = 8;
/// Access tokens that a process keeps.
pub const TOKENS_KEPT: usize = 64;
/// Characters shown of a name found in a certificate.
pub const SHOWN_NAME: usize = 256;
/// Names of a certificate that are shown.
pub const SHOWN_NAMES: usize = 10;
/// Certificates of one name in a wallet whose keys are tried on a revocation list.
pub const LIST_ISSUERS: usize = 8;
/// Certificates of a server's chain.
pub const CERTIFICATE_CHAIN: usize = 16;
/// Addresses of one name that are tried.
pub const ADDRESSES: usize = 32;
/// Octets of message data gathered before they are handed to the transport.
pub const DATA_BUFFER: usize = 32 * 1024;
