//! The fixture of all workloads: the sink, a database with the benchmark's functions, and
//! unprivileged roles that may connect to the sink.

use crate::message;
use crate::sink::Sink;
use crate::trial::Effort;
use e2e::certs::Authority;
use e2e::openssl::OpensslFixtures;
use e2e::{Database, Session};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The key type of the sink's certificate and its CA.
#[derive(Clone, Copy, PartialEq)]
pub enum Key {
    /// P-256, the fastest.
    Ecdsa,
    /// 2048 bits, as used by Microsoft 365 and OCI.
    Rsa,
}

pub const KEYS: [Key; 2] = [Key::Ecdsa, Key::Rsa];

impl Key {
    /// The directory with `server.pem`, `server.key`, and a `wallet` that contains the CA.
    pub fn directory(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        })
    }
}

pub struct TestBed {
    /// Certificates, wallets, the message as a file.
    pub directory: PathBuf,
    pub sink: Sink,
    pub database: Database,
    /// The unprivileged role of the sessions. It has one entry in the access control list.
    pub role: String,
    /// The small message.
    pub message: String,
}

impl TestBed {
    /// Uses the directory that [`certificates`] has filled.
    pub fn new(directory: &Path) -> Self {
        let message = message::small();
        let file = directory.join("message");
        // smtp-source adds an empty line. Two octets less make its mail as large as the others.
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

    /// The conditions of the measurement.
    pub fn environment(&self, effort: Effort) -> String {
        let version: String = self.database.superuser().value("SHOW server_version");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let plural = if processors == 1 { "" } else { "s" };
        let Effort { rounds, run } = effort;
        format!(
            "PostgreSQL {version}, on {processors} processor{plural}. Medians of {rounds} interleaved rounds of {} ms for each \
             client; each ratio is made within a round. How to read this: [performance.md](../performance.md).",
            run.as_millis()
        )
    }

    /// A session of the unprivileged role.
    pub fn session(&self) -> Session {
        self.database.connect(&self.role)
    }

    /// A wallet that contains only the CA of one of the sink's certificates.
    pub fn wallet(&self, key: Key) -> String {
        let directory = key.directory(&self.directory);
        format!("file:{}", directory.join("wallet").display())
    }

    /// A wallet with many anchors, including the sink's CA: the system trust store if the server
    /// sees the sink's CA there, else a directory with the same content.
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
    session.run("CREATE EXTENSION utl_mail");
    session.run(include_str!("../sql/mail.sql"));
    database.set("utl_smtp.wallet_roots", directory.to_str().unwrap());
    database
}

/// Writes the sink's certificates, for each a wallet that trusts its CA, and a copy of the system
/// trust store with that CA added.
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
    let openssl = OpensslFixtures::new();
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    openssl.key("root", rsa).root("root", "");
    openssl
        .key("server", rsa)
        .issue("server", "root", "localhost, IP:127.0.0.1", "");
    write_key(
        &Key::Rsa.directory(directory),
        &openssl.read("server.pem"),
        &openssl.read("server.key"),
        &openssl.read("root.pem"),
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
