//! The stage for cases with a hostile peer: a database, a plain role that may talk to loopback, a private CA and its
//! wallet. What is played here is played under the universal checks.

use crate::certs::{Authority, Identity, Wallet};
use crate::cluster::{Database, Failure, Session};
use crate::peer::{Peer, Record, Script};
use crate::process::{self, BOUND, LIMITS};
use crate::smtp::{Open, Smtp};
use crate::vigil::Vigil;
use crate::waiting;
use postgres::NoTls;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The name that servers have here; the client asks for it as `secure_host`.
pub const NAME: &str = "mail.example.test";
/// What the client calls itself.
pub const CLIENT: &str = "client.example.test";

pub struct Scene {
    pub session: Session,
    pub authority: Authority,
    pub wallet: Wallet,
    pub database: Database,
    /// The session's role.
    pub role: String,
}

impl Scene {
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

    /// A certificate for [`NAME`] and nothing else.
    pub fn identity(&self) -> Identity {
        self.authority.issue(&[NAME])
    }

    /// Lets the role show the wallet's client certificate.
    pub fn allow_client_certificates(&self) {
        grant(
            &self.database,
            &self.role,
            "127.0.0.1",
            "'use_client_certificates'",
        );
    }

    /// Plays the script to whatever `act` does, then looks whether all is well with the backend.
    #[track_caller]
    pub fn play(&mut self, script: Script, act: impl FnOnce(&mut Stage<'_>)) -> Record {
        self.play_each(vec![script], &[], act)
    }

    /// Plays the script to a call that `tx_timeout` is to end. `prepare` does what comes before it, and returns its error;
    /// where the machine is so busy that the limit ends that already, all of it is played again with a longer one. `act`
    /// makes the call. Both get the limit in seconds.
    #[track_caller]
    pub fn play_to_the_limit<T>(
        &mut self,
        script: &Script,
        secrets: &[&str],
        prepare: impl Fn(&mut Stage<'_>, i32) -> Result<T, Failure>,
        act: impl Fn(&mut Stage<'_>, T, i32),
    ) -> Record {
        for limit in LIMITS {
            let mut missed = None;
            let record = self.play_each(vec![script.clone()], secrets, |stage| {
                match prepare(stage, limit) {
                    Ok(prepared) => act(stage, prepared, limit),
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

    /// The same with a script for each connection, and words that must show nowhere.
    #[track_caller]
    pub fn play_each(
        &mut self,
        scripts: Vec<Script>,
        secrets: &[&str],
        act: impl FnOnce(&mut Stage<'_>),
    ) -> Record {
        self.play_at("127.0.0.1:0", scripts, secrets, act)
    }

    /// The same on another address, such as `[::1]:0`.
    #[track_caller]
    pub fn play_at(
        &mut self,
        address: &str,
        scripts: Vec<Script>,
        secrets: &[&str],
        act: impl FnOnce(&mut Stage<'_>),
    ) -> Record {
        let peer = Peer::listen(address, scripts);
        let wallet = self.wallet.locator();
        self.watch(secrets, |session| {
            act(&mut Stage {
                session,
                peer: &peer,
                wallet: &wallet,
            });
        });
        peer.finish()
    }

    /// The universal checks around something that `act` does; what it leaves open is closed.
    #[track_caller]
    pub fn watch<T>(&mut self, secrets: &[&str], act: impl FnOnce(&mut Session) -> T) -> T {
        let watch = Vigil::begin(&mut self.session);
        let result = act(&mut self.session);
        self.session.run("SELECT utl_smtp.close_all_connections()");
        watch.end(&mut self.session, secrets);
        result
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

/// Cancels a call of this session once it waits for its peer; its error.
#[track_caller]
pub fn cancel_waiting<T: std::fmt::Debug>(
    session: &mut Session,
    observer: &mut Session,
    call: impl FnOnce(&mut Session) -> Result<T, Failure>,
) -> Failure {
    let (pid, token) = (session.pid(), session.cancel_token());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            process::wait_until("the backend waits", || {
                over.load(Ordering::SeqCst) || waiting::is_waiting(observer, pid)
            });
            token.cancel_query(NoTls).unwrap();
        });
        let outcome = call(session);
        over.store(true, Ordering::SeqCst);
        outcome.expect_err("a call that is cancelled")
    })
}

/// What a limit of so many seconds ends must not end before it, nor go on for [`BOUND`] after it: the machine may be busy,
/// but what ignores the limit takes longer.
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

/// What a case gets to act with.
pub struct Stage<'a> {
    pub session: &'a mut Session,
    pub peer: &'a Peer,
    pub wallet: &'a str,
}

impl<'a> Stage<'a> {
    /// The peer's address, the wallet of the scene, and [`NAME`].
    pub fn open(&self) -> Open<'a> {
        Open::to("127.0.0.1", self.peer.port())
            .wallet(self.wallet)
            .secure_host(NAME)
    }

    /// Opened, with nothing said.
    #[track_caller]
    pub fn connect(&mut self) -> Smtp {
        self.open()
            .open(self.session)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Opened, and EHLO said.
    #[track_caller]
    pub fn greet(&mut self) -> Smtp {
        let smtp = self.connect();
        self.ehlo(&smtp);
        smtp
    }

    /// A call that must be cancelled while it waits; its error.
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

    /// Whether the one open session is encrypted, by what `connections()` says.
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
