//! What all workloads play on: the sink, a database with the functions of the benchmark, and plain roles that may talk
//! to the sink.

use crate::message;
use crate::sink::Sink;
use crate::trial::Effort;
use e2e::certs::Authority;
use e2e::openssl::Workshop;
use e2e::{Database, Session};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The kind of a certificate's key, the sink's and its CA's.
#[derive(Clone, Copy, PartialEq)]
pub enum Key {
    /// P-256, the quickest.
    Ecdsa,
    /// Of 2048 bits, as Microsoft 365 and OCI have it.
    Rsa,
}

pub const KEYS: [Key; 2] = [Key::Ecdsa, Key::Rsa];

impl Key {
    /// Where its certificate, `server.pem` and `server.key`, and a `wallet` with the CA are.
    pub fn directory(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        })
    }
}

pub struct Stage {
    /// Certificates, wallets, the message as a file.
    pub directory: PathBuf,
    pub sink: Sink,
    pub database: Database,
    /// The role that our side runs as: it has one entry in the access control list.
    pub role: String,
    /// The small message.
    pub message: String,
}

impl Stage {
    /// Takes the directory that [`certificates`] has filled.
    pub fn set(directory: &Path) -> Self {
        let message = message::small();
        let file = directory.join("message");
        // smtp-source adds an empty line: with two octets less its mail is as large as all others.
        let shorter = message.replace("xx\r\n", "\r\n").replace("\r\n", "\n");
        fs::write(&file, shorter.trim_end()).unwrap();
        let database = database(directory, &message);
        let role = database.role("app");
        database.superuser().run(&format!(
            "SELECT dbms_network_acl_admin.append_host_ace(
                 host => '127.0.0.1',
                 ace => dbms_network_acl_admin.xs$ace_type(ARRAY['smtp'], principal_name => '{role}'))"
        ));
        Self {
            directory: directory.to_owned(),
            sink: Sink::start(directory),
            database,
            role,
            message,
        }
    }

    /// Under which conditions the figures were made.
    pub fn environment(&self, effort: Effort) -> String {
        let version: String = self.database.superuser().value("SHOW server_version");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let plural = if processors == 1 { "" } else { "s" };
        let Effort { rounds, run } = effort;
        format!(
            "PostgreSQL {version}, on {processors} processor{plural}. Medians of {rounds} interleaved rounds of {} ms for each \
             contender; each ratio is made within a round. How to read this: [performance.md](../performance.md).",
            run.as_millis()
        )
    }

    /// A session of the plain role.
    pub fn session(&self) -> Session {
        self.database.connect(&self.role)
    }

    /// A wallet with the CA of one of the sink's certificates and nothing else.
    pub fn wallet(&self, key: Key) -> String {
        let directory = key.directory(&self.directory);
        format!("file:{}", directory.join("wallet").display())
    }

    /// A wallet with many anchors, the sink's CA among them: the machine's own trust store, where the server was started
    /// so that it sees the sink's CA there, else a directory with the same content.
    pub fn large_wallet(&self) -> String {
        let system = "SELECT bench.ours_open_tls($1, 1, 'system:')";
        match self
            .session()
            .execute(system, &[&i32::from(self.sink.tls(Key::Ecdsa).full)])
        {
            Ok(_) => "system:".to_owned(),
            Err(_) => format!("file:{}", self.directory.join("many").display()),
        }
    }

    /// The small message as it is on the wire.
    pub fn wire(&self) -> Vec<u8> {
        message::wire(&self.message)
    }

    pub fn message_file(&self) -> PathBuf {
        self.directory.join("message")
    }
}

fn database(directory: &Path, message: &str) -> Database {
    let database = Database::new();
    let library = directory.join("empty.so");
    let tools = include_str!("../sql/tools.sql")
        .replace("$MESSAGE$", message)
        .replace("$LINE$", &message::line())
        .replace("$LIBRARY$", library.to_str().unwrap());
    let mut session = database.superuser();
    session.run(&tools);
    session.run(include_str!("../sql/ours.sql"));
    session.run(include_str!("../sql/open.sql"));
    session.run(include_str!("../sql/scaling.sql"));
    session.run(include_str!("../sql/peers.sql"));
    database.set("utl_smtp.wallet_roots", directory.to_str().unwrap());
    database
}

/// Writes the sink's certificates, for each a wallet that trusts its CA, and a CA behind all of the machine's trust store.
pub fn certificates(directory: &Path) {
    let authority = Authority::new("Benchmark CA");
    let identity = authority.issue(&["127.0.0.1"]);
    write_key(
        &Key::Ecdsa.directory(directory),
        &identity.pem,
        &identity.key.serialize_pem(),
        &authority.pem(),
    );
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    write(
        &directory.join("many/all.pem"),
        &(system + &authority.pem()),
    );

    // rcgen makes no RSA keys.
    let workshop = Workshop::new();
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    workshop.key("root", rsa).root("root", "");
    workshop
        .key("server", rsa)
        .issue("server", "root", "localhost, IP:127.0.0.1", "");
    write_key(
        &Key::Rsa.directory(directory),
        &workshop.read("server.pem"),
        &workshop.read("server.key"),
        &workshop.read("root.pem"),
    );
}

fn write_key(directory: &Path, certificate: &str, key: &str, authority: &str) {
    write(&directory.join("server.pem"), certificate);
    write(&directory.join("server.key"), key);
    write(&directory.join("wallet/ca.pem"), authority);
}

/// A file that the server's user can read.
fn write(path: &Path, content: &str) {
    let parent = path.parent().unwrap();
    fs::create_dir_all(parent).unwrap();
    fs::set_permissions(parent, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
}
