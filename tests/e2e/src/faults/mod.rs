//! A cluster in which system calls fail or return wrong results on demand, and whose clock can be
//! stepped. A C library is preloaded into the server; the extension is the released one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use crate::own_cluster::OwnCluster;

/// Offsets of the fields of `struct control` in faults.c.
const CALL: u64 = 0;
const REMAINING: u64 = 16;
const FIRED: u64 = 20;
const STEP: u64 = 24;
const SIZE: u64 = 32;

/// The cluster and the control file of the preloaded library.
pub struct Faults {
    pub cluster: OwnCluster,
    control: File,
    _directory: tempfile::TempDir,
}

impl Faults {
    /// Starts a cluster in which nothing fails yet.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Like [`Faults::start`], with these settings, in the syntax of postgresql.conf.
    pub fn start_with(settings: &[&str]) -> Self {
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
            cluster: OwnCluster::start_in(&prelude, settings),
            control,
            _directory: directory,
        }
    }

    /// Makes the `time`th of the extension's next calls of this kind fail, once. With "memory
    /// ends", all later calls fail, too.
    pub fn arm(&self, call: &str, time: i32) {
        self.disarm();
        self.put(FIRED, &0i32.to_ne_bytes());
        self.put(REMAINING, &time.to_ne_bytes());
        let mut name = [0; 16];
        name[..call.len()].copy_from_slice(call.as_bytes());
        self.put(CALL, &name);
    }

    /// Stops failing calls; returns whether one failed.
    pub fn disarm(&self) -> bool {
        self.put(CALL, &[0; 16]);
        let mut fired = [0; 4];
        self.control.read_exact_at(&mut fired, FIRED).unwrap();
        i32::from_ne_bytes(fired) > 0
    }

    /// Shifts the cluster's time of day by this many seconds.
    pub fn step_clock(&self, seconds: i64) {
        self.put(STEP, &seconds.to_ne_bytes());
    }

    fn put(&self, field: u64, bytes: &[u8]) {
        self.control.write_all_at(bytes, field).unwrap();
    }
}
