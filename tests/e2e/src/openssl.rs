//! Certificates and servers that rcgen and rustls refuse to make: weak keys, weak signatures, old
//! protocols, renegotiation. They come from the `openssl` program, which every mail server depends
//! on.

use crate::certs::Identity;
use crate::process;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A directory with the files that `openssl` creates.
pub struct OpensslFixtures {
    directory: tempfile::TempDir,
}

impl OpensslFixtures {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs `openssl` in this directory. The arguments are split at white space.
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

    /// Creates `NAME.key` with these arguments of `genpkey`.
    pub fn key(&self, name: &str, kind: &str) -> &Self {
        self.run(&format!("genpkey {kind} -out {name}.key"))
    }

    /// Creates a root `NAME.pem` with the key `NAME.key`; `options` go to `req`.
    pub fn root(&self, name: &str, options: &str) -> &Self {
        self.run(&format!(
            "req -x509 -new -key {name}.key -out {name}.pem -days 30 -subj /CN={name} {options}"
        ))
    }

    /// Creates a server certificate `NAME.pem` for the DNS name, with the key `NAME.key`; `options`
    /// go to `x509`.
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

    /// The identity of `NAME.pem` and `NAME.key`, for a peer.
    pub fn identity(&self, name: &str) -> Identity {
        Identity::from_pem(
            &self.read(&format!("{name}.pem")),
            &self.read(&format!("{name}.key")),
        )
    }

    /// A TLS server with the certificate `NAME.pem`, which sends the greeting and waits; `options`
    /// go to `s_server`.
    pub fn serve(&self, name: &str, options: &str, greeting: &str) -> Server {
        Server::start(self, name, options, greeting)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

impl Default for OpensslFixtures {
    fn default() -> Self {
        Self::new()
    }
}

/// `openssl s_server` on a loopback port, without SMTP. It sends what the test asks for, and
/// records what it receives.
pub struct Server {
    process: Child,
    port: u16,
    heard: Arc<Mutex<String>>,
}

impl Server {
    fn start(openssl: &OpensslFixtures, name: &str, options: &str, greeting: &str) -> Self {
        // Line-buffered, so that output is visible at once.
        let mut process = Command::new("stdbuf")
            .args(["-oL", "openssl", "s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &format!("{name}.pem")])
            .args(["-key", &format!("{name}.key")])
            .args(options.split_whitespace())
            .current_dir(&openssl.directory)
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

    /// Sends text inside TLS, now or once there is a client. A line that starts with a command
    /// letter of `s_server`, such as `r` for renegotiation, is executed instead.
    pub fn say(&mut self, text: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for this text in the output: received data, and messages of `s_server`.
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
