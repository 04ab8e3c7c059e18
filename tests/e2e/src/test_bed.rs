//! The fixture for tests with a hostile peer: a database, an unprivileged role that may connect to
//! loopback, a private CA and its wallet. Everything runs under the [`Invariants`].

use crate::certs::{Authority, Identity, Wallet};
use crate::cluster::{Database, Failure, Session};
use crate::invariants::Invariants;
use crate::peer::{Peer, Record, Script};
use crate::process::{self, BOUND, LIMITS};
use crate::smtp::{Open, Smtp};
use crate::wait_points;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The name of the servers; clients pass it as `secure_host`.
pub const NAME: &str = "mail.example.test";
/// The client's own name in EHLO.
pub const CLIENT: &str = "client.example.test";

pub struct TestBed {
    pub session: Session,
    pub authority: Authority,
    pub wallet: Wallet,
    pub database: Database,
    /// The session's role.
    pub role: String,
}

impl TestBed {
    pub fn new() -> Self {
        let authority = Authority::new("Private CA");
        let wallet = Wallet::of(&authority);
        let database = Database::new();
        database.set("utl_smtp.wallet_roots", "/tmp");
        let role = database.role("app");
        for host in ["127.0.0.1", "::1", "localhost"] {
            grant(&database, &role, host, "'connect', 'smtp'");
        }
        Self {
            session: database.connect(&role),
            authority,
            wallet,
            database,
            role,
        }
    }

    /// A certificate for [`NAME`] only.
    pub fn identity(&self) -> Identity {
        self.authority.issue(&[NAME])
    }

    /// Allows the role to use the wallet's client certificate.
    pub fn allow_client_certificates(&self) {
        grant(
            &self.database,
            &self.role,
            "127.0.0.1",
            "'use_client_certificates'",
        );
    }

    /// Plays the script while `act` runs, then checks the invariants.
    #[track_caller]
    pub fn play(&mut self, script: Script, act: impl FnOnce(&mut Case<'_>)) -> Record {
        self.play_each(vec![script], &[], act)
    }

    /// Plays the script for a call that must end by `tx_timeout`. `prepare` runs the calls before
    /// it and returns their error; `act` makes the call. Both get the limit in seconds. On a busy
    /// machine the limit may already expire in `prepare`; then everything is played again with a
    /// longer one.
    #[track_caller]
    pub fn play_to_the_limit<T>(
        &mut self,
        script: &Script,
        secrets: &[&str],
        prepare: impl Fn(&mut Case<'_>, i32) -> Result<T, Failure>,
        act: impl Fn(&mut Case<'_>, T, i32),
    ) -> Record {
        for limit in LIMITS {
            let mut missed = None;
            let record = self.play_each(vec![script.clone()], secrets, |case| {
                match prepare(case, limit) {
                    Ok(prepared) => act(case, prepared, limit),
                    Err(failure) => missed = Some(failure),
                }
            });
            match missed {
                None => return record,
                Some(failure) => assert!(failure.detail.contains("tx_timeout"), "{failure}"),
            }
        }
        panic!("the call was not reached within a minute");
    }

    /// Like [`TestBed::play`], with one script per connection, and secrets that must not appear
    /// anywhere.
    #[track_caller]
    pub fn play_each(
        &mut self,
        scripts: Vec<Script>,
        secrets: &[&str],
        act: impl FnOnce(&mut Case<'_>),
    ) -> Record {
        self.play_at("127.0.0.1:0", scripts, secrets, act)
    }

    /// Like [`TestBed::play_each`], on another address such as `[::1]:0`.
    #[track_caller]
    pub fn play_at(
        &mut self,
        address: &str,
        scripts: Vec<Script>,
        secrets: &[&str],
        act: impl FnOnce(&mut Case<'_>),
    ) -> Record {
        let peer = Peer::listen(address, scripts);
        let wallet = self.wallet.locator();
        self.check_invariants(secrets, |session| {
            act(&mut Case {
                session,
                peer: &peer,
                wallet: &wallet,
            });
        });
        peer.finish()
    }

    /// Runs `act`, closes what it left open, and checks the invariants.
    #[track_caller]
    pub fn check_invariants<T>(
        &mut self,
        secrets: &[&str],
        act: impl FnOnce(&mut Session) -> T,
    ) -> T {
        let invariants = Invariants::record(&mut self.session);
        let result = act(&mut self.session);
        self.session.run("SELECT utl_smtp.close_all_connections()");
        invariants.check(&mut self.session, secrets);
        result
    }
}

impl Default for TestBed {
    fn default() -> Self {
        Self::new()
    }
}

/// Cancels a call of this session once it waits for its peer, and returns its error.
///
/// Not by a cancel request: the postmaster signals the process and then its group, and on a busy
/// machine the second signal can arrive in the next statement. `pg_cancel_backend` signals once.
#[track_caller]
pub fn cancel_waiting<T: std::fmt::Debug>(
    session: &mut Session,
    observer: &mut Session,
    call: impl FnOnce(&mut Session) -> Result<T, Failure>,
) -> Failure {
    let pid = session.pid();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            process::wait_until("the backend waits", || {
                over.load(Ordering::SeqCst) || wait_points::is_waiting(observer, pid)
            });
            observer.run(&format!("SELECT pg_cancel_backend({pid})"));
        });
        let outcome = call(session);
        over.store(true, Ordering::SeqCst);
        outcome.expect_err("a call that is cancelled")
    })
}

/// Asserts that a call takes at least this many seconds, and less than [`BOUND`] longer. The
/// machine may be busy, but a call that ignores the limit takes longer than that.
#[track_caller]
pub fn lasts<T>(limit: i32, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = act();
    let took = began.elapsed();
    let limit = Duration::from_secs(limit.try_into().unwrap());
    assert!((limit..limit + BOUND).contains(&took), "it took {took:?}");
    result
}

fn grant(database: &Database, role: &str, host: &str, privileges: &str) {
    database.superuser().run(&format!(
        "SELECT dbms_network_acl_admin.append_host_ace(
             host => '{host}',
             ace => dbms_network_acl_admin.xs$ace_type(
                 privilege_list => dbms_network_acl_admin.xs$name_list({privileges}),
                 principal_name => '{role}'))"
    ));
}

/// What a test case works with.
pub struct Case<'a> {
    pub session: &'a mut Session,
    pub peer: &'a Peer,
    pub wallet: &'a str,
}

impl<'a> Case<'a> {
    /// The arguments of `open_connection`: the peer's address, the test bed's wallet, and [`NAME`].
    pub fn open(&self) -> Open<'a> {
        Open::to("127.0.0.1", self.peer.port())
            .wallet(self.wallet)
            .secure_host(NAME)
    }

    /// Opens a connection.
    #[track_caller]
    pub fn connect(&mut self) -> Smtp {
        self.open()
            .open(self.session)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Opens a connection and sends EHLO.
    #[track_caller]
    pub fn greet(&mut self) -> Smtp {
        let smtp = self.connect();
        self.ehlo(&smtp);
        smtp
    }

    /// Cancels a call while it waits, and returns its error.
    #[track_caller]
    pub fn cancel<T: std::fmt::Debug>(
        &mut self,
        observer: &mut Session,
        call: impl FnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Failure {
        cancel_waiting(self.session, observer, call)
    }

    #[track_caller]
    pub fn ehlo(&mut self, smtp: &Smtp) {
        smtp.ehlo(self.session, CLIENT)
            .unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Whether the only open session is encrypted, according to `connections()`.
    #[track_caller]
    pub fn is_encrypted(&mut self) -> bool {
        self.session
            .value("SELECT tls_version IS NOT NULL FROM utl_smtp.connections()")
    }

    #[track_caller]
    pub fn sessions(&mut self) -> i64 {
        self.session
            .value("SELECT count(*) FROM utl_smtp.connections()")
    }
}
