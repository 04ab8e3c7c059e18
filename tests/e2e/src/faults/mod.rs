//! A cluster whose system calls fail or lie to order, and whose clock can be stepped: a library in C that is preloaded
//! into it. The extension is the one that is shipped.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use crate::own_cluster::OwnCluster;

/// The fields of `struct control` in faults.c.
const CALL: u64 = 0;
const COUNTDOWN: u64 = 16;
const STRUCK: u64 = 20;
const STEP: u64 = 24;
const SIZE: u64 = 32;

/// The cluster, and what the library in it is told.
pub struct Faults {
    pub cluster: OwnCluster,
    control: File,
    _directory: tempfile::TempDir,
}

impl Faults {
    /// A cluster in which nothing fails yet.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(directory.path(), 0o755);
        let library = directory.path().join("faults.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/faults/faults.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
        mode(&library, 0o755);
        let path = directory.path().join("control");
        let mut options = OpenOptions::new();
        let control = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        control.set_len(SIZE).unwrap();
        mode(&path, 0o666);
        let prelude = format!(
            "export LD_PRELOAD={} UTL_SMTP_FAULTS={}",
            library.display(),
            path.display()
        );
        Self {
            cluster: OwnCluster::start_in(&prelude, &[]),
            control,
            _directory: directory,
        }
    }

    /// Lets this call strike the `time`th time that the extension makes it from now on, and then no more; "memory ends"
    /// strikes from then on.
    pub fn arm(&self, call: &str, time: i32) {
        self.disarm();
        self.put(STRUCK, &0i32.to_ne_bytes());
        self.put(COUNTDOWN, &time.to_ne_bytes());
        let mut name = [0; 16];
        name[..call.len()].copy_from_slice(call.as_bytes());
        self.put(CALL, &name);
    }

    /// Nothing fails any more; tells whether something did.
    pub fn disarm(&self) -> bool {
        self.put(CALL, &[0; 16]);
        let mut struck = [0; 4];
        self.control.read_exact_at(&mut struck, STRUCK).unwrap();
        i32::from_ne_bytes(struck) > 0
    }

    /// Sets the time of day that the cluster sees so many seconds off.
    pub fn step_clock(&self, seconds: i64) {
        self.put(STEP, &seconds.to_ne_bytes());
    }

    fn put(&self, field: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, field).unwrap();
    }
}
