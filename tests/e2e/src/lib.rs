//! The end-to-end suite: PostgreSQL with the extension on one side, real mail servers and scripted peers on
//! the other.
//!
//! - [`cluster`]: a fresh database for each test, sessions, roles and what they may reach
//! - [`own_cluster`]: a cluster for one test alone
//! - [`faults`]: a cluster whose system calls fail and lie to order
//! - [`process`]: signals, and what /proc tells of a backend
//! - [`resolver`]: a name server of the test's own
//! - [`smtp`]: the SQL functions as Rust calls
//! - [`scene`]: the stage for a case with a hostile peer
//! - [`vigil`]: what must hold after any hostile case
//! - [`mail`]: the private Postfix: its ports, and the mail that it delivered
//! - [`peer`]: a server that plays a script byte by byte and records what it hears
//! - [`ports`]: where nobody listens
//! - [`certs`]: private CAs, certificates, wallets
//! - [`sink`]: smtp-sink, a server with faults to order
//! - [`openssl`]: certificates and servers that the TLS library of the others won't make
//! - [`waiting`]: a peer for every point at which a conversation can be made to wait
//! - [`dialogues`]: scripts worded as well-known mail services word them
//!
//! The servers are started once, by `make test`, which names them in the environment.

pub mod certs;
pub mod cluster;
pub mod dialogues;
mod environment;
pub mod faults;
pub mod mail;
pub mod openssl;
pub mod own_cluster;
pub mod peer;
pub mod ports;
pub mod process;
pub mod resolver;
pub mod scene;
pub mod sink;
pub mod smtp;
pub mod vigil;
pub mod waiting;

pub use cluster::{Database, Failure, Session};
pub use faults::Faults;
pub use mail::MailServer;
pub use own_cluster::OwnCluster;
pub use peer::{Peer, Script};
pub use ports::closed_port;
pub use scene::Scene;
pub use sink::Sink;
pub use smtp::{Open, Reply, Smtp};
pub use vigil::Vigil;
