//! Postfix's `smtp-sink`: a server that misbehaves as its options say and stores the messages it
//! receives. It is an independent implementation, so it checks the wire format by its own reading
//! of SMTP.

use crate::own_cluster::is_root;
use crate::ports::free_port;
use crate::process;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

/// A running `smtp-sink`, stopped when dropped.
pub struct Sink {
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Sink {
    /// Starts it with these options, separated by spaces, without shell quoting.
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
        process::wait_until(format_args!("smtp-sink {options} listens"), listens);
        sink
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The only message received, complete or not, without the header that smtp-sink adds. Lines
    /// end with LF, dots are not doubled.
    #[track_caller]
    pub fn only_message(&self) -> Vec<u8> {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "messages");
        messages.remove(0)
    }

    /// All messages, in no particular order. smtp-sink closes a message's file after it has
    /// answered the final dot.
    #[track_caller]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        process::wait_until("smtp-sink closes its files", || !self.is_writing());
        self.messages_so_far()
    }

    /// Whether a message file is open.
    fn is_writing(&self) -> bool {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        let mut targets = open
            .unwrap()
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.any(|target| target.starts_with(self.directory.path()))
    }

    /// All messages, including incomplete ones.
    pub fn messages_so_far(&self) -> Vec<Vec<u8>> {
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

/// Removes the header, which ends with a `Received` field of three lines, and the empty line after
/// the message.
fn without_header(dump: &[u8]) -> Vec<u8> {
    let mut lines = dump.split_inclusive(|byte| *byte == b'\n');
    lines
        .by_ref()
        .find(|line| line.starts_with(b"Received:"))
        .unwrap_or_default();
    let message = lines.skip(2).collect::<Vec<_>>().concat();
    message.strip_suffix(b"\n").unwrap_or(&message).to_vec()
}
