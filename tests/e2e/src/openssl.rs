//! What rcgen and rustls refuse to make: weak keys, weak signatures, old protocols, renegotiation. By the program
//! `openssl`, which every mail server brings along.

use crate::certs::Identity;
use crate::process;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A directory in which `openssl` runs.
pub struct Workshop {
    directory: tempfile::TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs `openssl`, whose arguments are split at white space; file names are those of this directory.
    #[track_caller]
    pub fn run(&self, arguments: &str) -> &Self {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self
    }

    pub fn write(&self, file: &str, content: &str) -> &Self {
        std::fs::write(self.path(file), content).unwrap();
        self
    }

    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    /// `NAME.key` by these arguments of `genpkey`.
    pub fn key(&self, name: &str, kind: &str) -> &Self {
        self.run(&format!("genpkey {kind} -out {name}.key"))
    }

    /// A root, `NAME.pem`, with the key `NAME.key`; `options` go to `req`.
    pub fn root(&self, name: &str, options: &str) -> &Self {
        self.run(&format!(
            "req -x509 -new -key {name}.key -out {name}.pem -days 30 -subj /CN={name} {options}"
        ))
    }

    /// A server certificate `NAME.pem` for the DNS name, with the key `NAME.key`; `options` go to `x509`.
    pub fn issue(&self, name: &str, issuer: &str, dns: &str, options: &str) -> &Self {
        self.write(
            "extensions",
            &format!("subjectAltName = DNS:{dns}\nextendedKeyUsage = serverAuth\n"),
        );
        self.run(&format!("req -new -key {name}.key -out {name}.csr -subj /CN={name}"))
            .run(&format!(
                "x509 -req -in {name}.csr -out {name}.pem -days 30 -CA {issuer}.pem -CAkey {issuer}.key \
                 -CAcreateserial -extfile extensions {options}"
            ))
    }

    /// `NAME.pem` with `NAME.key`, for a peer.
    pub fn identity(&self, name: &str) -> Identity {
        Identity::from_pem(
            &self.read(&format!("{name}.pem")),
            &self.read(&format!("{name}.key")),
        )
    }

    /// A TLS server that shows `NAME.pem`, then says this and waits; `options` go to `s_server`.
    pub fn serve(&self, name: &str, options: &str, greeting: &str) -> Server {
        Server::start(self, name, options, greeting)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

/// `openssl s_server` on a loopback port, without SMTP: it says what it is told to, and keeps what it hears.
pub struct Server {
    process: Child,
    port: u16,
    heard: Arc<Mutex<String>>,
}

impl Server {
    fn start(workshop: &Workshop, name: &str, options: &str, greeting: &str) -> Self {
        // Line by line, so that what it prints is seen when it is printed.
        let mut process = Command::new("stdbuf")
            .args(["-oL", "openssl", "s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &format!("{name}.pem")])
            .args(["-key", &format!("{name}.key")])
            .args(options.split_whitespace())
            .current_dir(&workshop.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let port = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.parse().ok())
            .expect("openssl s_server did not start");
        let heard = Arc::<Mutex<String>>::default();
        let sink = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                *sink.lock().unwrap() += &(line + "\n");
            }
        });
        let mut server = Self {
            process,
            port,
            heard,
        };
        server.say(greeting);
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says this inside TLS, now or once there is a client. A line that starts with a command letter of `s_server`,
    /// such as `r` for renegotiation, is obeyed instead.
    pub fn say(&mut self, text: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for this in what it prints: the client's words, and its own notes.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        process::wait_until(format_args!("s_server prints \"{text}\""), || {
            self.heard.lock().unwrap().contains(text)
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
