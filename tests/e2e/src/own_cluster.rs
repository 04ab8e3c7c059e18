//! A cluster of the test's own, for what can't be done to the one that all share: settings that need a start,
//! a shutdown, a postmaster killed.

use crate::cluster::{Cluster, Session};
use crate::environment::Environment;
use crate::process;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Stopped, and gone, at the end of the test.
pub struct OwnCluster {
    directory: tempfile::TempDir,
    cluster: Cluster,
}

impl OwnCluster {
    /// With these settings, each as it is written in postgresql.conf.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in("", settings)
    }

    /// As [`OwnCluster::start`], after these shell commands, which run as the test's own user, where that is root
    /// with mounts and a host name of their own.
    pub fn start_in(prelude: &str, settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("own.")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = if is_root() && !prelude.is_empty() {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--uts", "bash"]);
            command
        } else {
            Command::new("bash")
        };
        command
            .arg("-c")
            .arg(format!("set -e; {prelude}\nexec \"$0\" start \"$@\""))
            .arg(script())
            .arg(directory.path())
            .args(settings);
        run(command, directory.path());
        let environment = Environment::of_file(&directory.path().join("env"));
        let cluster = Cluster::of(&environment);
        Self { directory, cluster }
    }

    /// A session of the superuser in a database with the extension.
    pub fn superuser(&self) -> Session {
        let mut session = self.cluster.connect("postgres", &self.cluster.superuser);
        session.run("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS utl_smtp");
        session.run("RESET client_min_messages");
        session
    }

    /// All of the server log so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.cluster.log).unwrap()).into_owned()
    }

    /// Whether the postmaster has ended, and cleanly.
    pub fn is_down(&self) -> bool {
        !Path::new(&self.cluster.data_directory)
            .join("postmaster.pid")
            .exists()
    }

    /// Shuts it down in order, for what is to be done to its files.
    #[track_caller]
    pub fn shut_down(&self) {
        process::signal(self.cluster.postmaster, "INT");
        process::wait_until("the cluster shuts down", || self.is_down());
    }

    /// Runs shell commands as the user of the server. They may start a daemon: they get no pipe of the test's.
    #[track_caller]
    pub fn as_server(&self, commands: &str) {
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", &self.cluster.user, "--", "bash", "-c", commands]);
            command
        } else {
            let mut command = Command::new("bash");
            command.args(["-c", commands]);
            command
        };
        command.current_dir(self.directory());
        let status = quietly(command, self.directory()).status().unwrap();
        let log = self.directory().join("script.log");
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(status.success(), "failed: {commands}\n{said}");
    }

    /// A directory that goes with the cluster.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Deref for OwnCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let mut command = Command::new(script());
        command.arg("stop").arg(self.directory.path());
        let _ = quietly(command, self.directory.path()).status();
    }
}

pub fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/cluster.sh")
}

/// The daemons that it starts must not hold a pipe of the test's.
fn quietly(mut command: Command, directory: &Path) -> Command {
    let output = std::fs::File::create(directory.join("script.log")).unwrap();
    let shared = Cluster::shared();
    let pristine = Path::new(&shared.data_directory).with_file_name("pristine");
    if pristine.exists() {
        // What initdb would make again.
        command.env("CLUSTER_PRISTINE", pristine);
    }
    command
        .env("PG_CONFIG", format!("{}/pg_config", shared.bin))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    command
}

fn run(command: Command, directory: &Path) {
    let status = quietly(command, directory).status().unwrap();
    let said = std::fs::read_to_string(directory.join("script.log")).unwrap_or_default();
    assert!(status.success(), "the cluster did not start: {said}");
}
