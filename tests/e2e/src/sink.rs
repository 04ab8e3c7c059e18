//! `smtp-sink`, which Postfix brings along: a server that misbehaves in the ways its options name, and that keeps the
//! messages it was sent. Not ours, so that it judges what goes over the wire by its own reading of SMTP.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::own_cluster::is_root;
use crate::ports::free_port;
use crate::process;

/// How long it may take to start, or to close its file behind a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// One `smtp-sink`, gone at the end of the test.
pub struct Sink {
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Sink {
    /// With these options, as they are written in a shell, but without quotes.
    #[track_caller]
    pub fn start(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let everybody = PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), everybody).unwrap();
        let port = free_port();
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if is_root() {
            command.args(["-u", "nobody"]);
        }
        let process = command
            .args(["-d", "message."])
            .args(options.split_whitespace())
            .args([format!("127.0.0.1:{port}"), "16".to_owned()])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("smtp-sink: {error}"));
        let sink = Self {
            process,
            port,
            directory,
        };
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let started = process::time_until(PATIENCE, listens);
        assert!(started.is_some(), "smtp-sink {options} does not listen");
        sink
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The one message that got here, in full or not, without the header that smtp-sink puts before it; its lines end
    /// with LF, and its dots are no longer doubled.
    #[track_caller]
    pub fn only_message(&self) -> Vec<u8> {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "messages");
        messages.remove(0)
    }

    /// All messages, in no order. smtp-sink writes the last of one as soon as it has answered its final dot.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        std::thread::sleep(Duration::from_millis(50));
        let entries = std::fs::read_dir(&self.directory).unwrap().flatten();
        entries
            .map(|entry| without_header(&std::fs::read(entry.path()).unwrap()))
            .collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The header ends with a field `Received` of three lines, and an empty line follows the message.
fn without_header(dump: &[u8]) -> Vec<u8> {
    let mut lines = dump.split_inclusive(|byte| *byte == b'\n');
    lines
        .by_ref()
        .find(|line| line.starts_with(b"Received:"))
        .unwrap_or_default();
    let message = lines.skip(2).collect::<Vec<_>>().concat();
    message.strip_suffix(b"\n").unwrap_or(&message).to_vec()
}
