//! A hot standby.

use super::{HOST, obliging, open, open_count};
use e2e::cluster::Cluster;
use e2e::ports::free_port;
use e2e::process::{self, NEVER};
use e2e::{Open, OwnCluster, Peer, Script};
use std::thread;

/// A standby of a cluster.
struct Standby<'a> {
    primary: &'a OwnCluster,
    directory: String,
    cluster: Cluster,
}

impl<'a> Standby<'a> {
    fn of(primary: &'a OwnCluster) -> Self {
        let directory = format!("{}/standby", primary.directory().display());
        let port = free_port();
        let (bin, host, followed) = (&primary.bin, &primary.host, primary.port);
        primary.as_server(&format!(
            "{bin}/pg_basebackup -h {host} -p {followed} -U postgres -D {directory} -R -c fast -X stream --no-sync &&
             printf 'port = {port}\nmax_standby_streaming_delay = 0\n' >>{directory}/postgresql.conf &&
             {bin}/pg_ctl start -w -t 300 -s -D {directory} -l {directory}.log -o '-p {port}'"
        ));
        let cluster = Cluster {
            host: primary.host.clone(),
            port,
            socket_directory: primary.socket_directory.clone(),
            superuser: primary.superuser.clone(),
            data_directory: directory.clone(),
            log: format!("{directory}.log"),
            postmaster: 0,
            bin: primary.bin.clone(),
            user: primary.user.clone(),
        };
        Self {
            primary,
            directory,
            cluster,
        }
    }
}

impl Drop for Standby<'_> {
    fn drop(&mut self) {
        let (bin, directory) = (&self.primary.bin, &self.directory);
        self.primary
            .as_server(&format!("{bin}/pg_ctl stop -s -m immediate -D {directory}"));
    }
}

/// A standby can send mail, and a recovery conflict ends a wait.
#[test]
fn a_hot_standby_sends_and_a_recovery_conflict_ends_a_wait() {
    let primary = OwnCluster::start(&[]);
    let mut owner = primary.superuser();
    owner.run("CREATE TABLE looked_at AS SELECT 1 AS n");
    let standby = Standby::of(&primary);
    let mut session = standby.cluster.connect("postgres", "postgres");
    assert!(session.value::<bool>("SELECT pg_is_in_recovery()"));

    let peer = obliging();
    let smtp = open(&mut session, &peer).unwrap();
    smtp.mail(&mut session, "sender@example.test").unwrap();
    smtp.rcpt(&mut session, "recipient@example.test").unwrap();
    smtp.quit(&mut session).unwrap();
    peer.finish();

    let silent = Peer::start(Script::greeting().line().hold());
    let smtp = Open::to(HOST, silent.port())
        .timeout(NEVER)
        .open(&mut session)
        .unwrap();
    session.run("BEGIN; SELECT * FROM looked_at");
    let pid = session.pid();
    let waiting = thread::spawn(move || {
        let outcome = smtp.noop(&mut session);
        (session, outcome)
    });
    let mut observer = standby.cluster.connect("postgres", "postgres");
    silent.await_hold();
    e2e::wait_points::await_wait(&mut observer, pid, "NOOP");
    owner.run("DROP TABLE looked_at");
    let (mut session, outcome) = process::join("the wait", waiting);
    let failure = outcome.unwrap_err();
    // PostgreSQL cancels the statement, or, where the conflict comes again, ends the backend: then
    // the connection is gone.
    if failure.sqlstate.is_empty() {
        silent.finish();
        assert_eq!(observer.value::<i32>("SELECT 1"), 1);
        return;
    }
    assert!(
        ["40001", "40P01", "25P02"].contains(&failure.sqlstate.as_str()),
        "{failure}"
    );
    assert!(
        failure.message.contains("conflict with recovery"),
        "{failure}"
    );
    if session.try_run("ROLLBACK").is_ok() {
        assert_eq!(open_count(&mut session), 0);
    }
    silent.finish();
}
