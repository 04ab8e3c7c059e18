//! A cluster for one test, for what would disturb the shared one: settings that need a restart, a
//! shutdown, a killed postmaster.

use crate::cluster::{Cluster, Session};
use crate::environment::Environment;
use crate::{ports, process};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A private cluster. It is stopped and removed when dropped.
pub struct OwnCluster {
    directory: tempfile::TempDir,
    cluster: Cluster,
}

impl OwnCluster {
    /// Starts a cluster with these settings, in the syntax of postgresql.conf.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in("", settings)
    }

    /// Like [`OwnCluster::start`], but runs shell commands first, as the test's own user. If that
    /// is root, they get their own mount and host name namespaces.
    pub fn start_in(prelude: &str, settings: &[&str]) -> Self {
        // As scripts/lib.sh has it.
        let scratch = std::env::var("UTL_SMTP_SCRATCH");
        let directory = tempfile::Builder::new()
            .prefix("utl_smtp.own.")
            .tempdir_in(scratch.as_deref().unwrap_or("/tmp"))
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
            .args(settings)
            // Its own while it is down, too: a test may start it again.
            .env("CLUSTER_PORT", ports::free_port().to_string());
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

    /// The server log so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.cluster.log).unwrap()).into_owned()
    }

    /// Whether the postmaster has shut down cleanly.
    pub fn is_down(&self) -> bool {
        !Path::new(&self.cluster.data_directory)
            .join("postmaster.pid")
            .exists()
    }

    /// Shuts the cluster down, so that a test can change its files.
    #[track_caller]
    pub fn shut_down(&self) {
        process::signal(self.cluster.postmaster, "INT");
        process::wait_until("the cluster shuts down", || self.is_down());
    }

    /// Runs shell commands as the server's user. They may start a daemon, so they do not inherit a
    /// pipe of the test.
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
        assert!(
            status.success(),
            "failed: {commands}\n{said}\n{}",
            self.log_text()
        );
    }

    /// The directory of the cluster, removed with it.
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

/// Daemons must not inherit a pipe of the test.
fn quietly(mut command: Command, directory: &Path) -> Command {
    let output = std::fs::File::create(directory.join("script.log")).unwrap();
    let shared = Cluster::shared();
    let pristine = Path::new(&shared.data_directory).with_file_name("pristine");
    if pristine.exists() {
        // Saves an initdb run.
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
