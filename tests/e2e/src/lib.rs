//! Support library of the end-to-end tests. PostgreSQL with the extension is on one side, real mail
//! servers and scripted peers are on the other.
//!
//! - [`cluster`]: a fresh database for each test, sessions, roles and their access control entries
//! - [`own_cluster`]: a cluster for a single test
//! - [`faults`]: a cluster in which system calls fail or return wrong results on demand
//! - [`process`]: signals, and the state of a backend in /proc
//! - [`resolver`]: a name server for a single test
//! - [`smtp`]: the SQL functions as Rust calls
//! - [`test_bed`]: the fixture for tests with a hostile peer
//! - [`invariants`]: what must hold after every hostile test
//! - [`mail`]: the private mail servers: their ports, and the mail they delivered
//! - [`issuer`]: the private token issuer, and what a client needs to ask it
//! - [`peer`]: a server that plays a script byte by byte and records what it receives
//! - [`recorder`]: a mail server that keeps every complete message, and stops where a test wants
//! - [`ports`]: free and closed ports
//! - [`certs`]: private CAs, certificates, wallets
//! - [`rows`]: a database whose queue and log are filled by SQL
//! - [`sink`]: smtp-sink, a server with configurable faults
//! - [`openssl`]: certificates and servers that rcgen and rustls do not make
//! - [`wait_points`]: a peer for every point at which a conversation can be made to wait
//! - [`dialogues`]: peer scripts with the wording of well-known mail services
//!
//! `make test` starts the servers once and names them in the environment.

pub mod certs;
pub mod cluster;
pub mod dialogues;
pub mod dkim;
mod environment;
pub mod faults;
pub mod invariants;
pub mod issuer;
pub mod mail;
pub mod openssl;
pub mod own_cluster;
pub mod peer;
pub mod ports;
pub mod process;
pub mod recorder;
pub mod resolver;
pub mod rows;
pub mod sink;
pub mod smtp;
pub mod test_bed;
pub mod wait_points;

pub use cluster::{Database, Failure, Session};
pub use faults::Faults;
pub use invariants::Invariants;
pub use issuer::Issuer;
pub use mail::MailServer;
pub use own_cluster::OwnCluster;
pub use peer::{Peer, Script};
pub use ports::closed_port;
pub use recorder::{Action, Recorder, Step};
pub use sink::Sink;
pub use smtp::{Open, Reply, Smtp};
pub use test_bed::TestBed;
