//! `smtp-sink`, which Postfix brings along: a server that misbehaves in the ways its options name, and that keeps the
//! messages it was sent. Not ours, so that it judges what goes over the wire by its own reading of SMTP.

use crate::own_cluster::is_root;
use crate::ports::free_port;
use crate::process;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

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
        process::wait_until(format_args!("smtp-sink {options} listens"), listens);
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

    /// All messages, in no order. smtp-sink writes the last of one once it has answered its final dot, and then closes
    /// the file.
    #[track_caller]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        process::wait_until("smtp-sink closes its files", || !self.is_writing());
        self.messages_so_far()
    }

    /// Whether one of the files is open.
    fn is_writing(&self) -> bool {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        let mut targets = open
            .unwrap()
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.any(|target| target.starts_with(self.directory.path()))
    }

    /// All messages, and what there is of those that are not ended.
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
