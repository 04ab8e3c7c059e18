//! Every point at which a server can make a backend wait, with the peer that does so and the SQL
//! that gets there.

use crate::certs::{Authority, Wallet};
use crate::peer::{Peer, Script};
use crate::ports::FullBacklog;
use crate::process;
use crate::smtp::Smtp;
use crate::{Failure, Session};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A name that only a name server can resolve.
pub const SILENT_NAME: &str = "mail.silent.example.test";

/// A point at which the conversation waits until something ends it.
pub struct WaitPoint {
    pub name: &'static str,
    /// Expressions to evaluate first; empty if the opening itself waits.
    before: Vec<&'static str>,
    /// The expression that waits, possibly with FROM.
    wait: &'static str,
    endpoint: Endpoint,
    wallet: Option<Wallet>,
}

enum Endpoint {
    Peer(Peer),
    FullBacklog(FullBacklog),
    /// A name that never resolves.
    NoAddress,
}

/// Interval between two octets of a slow reply. All of a slow reply takes longer than
/// [`process::NEVER`], and stays below the caps.
const DRIP: Duration = Duration::from_millis(20);

const HOST: &str = "127.0.0.1";
const OPEN: &str = "{open}";
const OPEN_TLS: &str = "{open tls}";
const EHLO: &str = "utl_smtp.ehlo({c}, 'client.example.test')";
const MAIL: &str = "utl_smtp.mail({c}, 'sender@example.test')";
const RCPT: &str = "utl_smtp.rcpt({c}, 'recipient@example.test')";
const DATA: &str = "utl_smtp.open_data({c})";
const LINE: &str = "utl_smtp.write_data({c}, 'Subject: waiting')";
const BODY: &str =
    "count(utl_smtp.write_data({c}, repeat('x', 32000))) FROM generate_series(1, 2000)";

/// All wait points except the resolver's, which needs a cluster with a silent name server.
pub fn wait_points() -> Vec<WaitPoint> {
    let mut points = vec![
        WaitPoint::with_full_backlog(),
        point("greeting", &[], OPEN, Script::new().hold()),
        point(
            "dripped greeting",
            &[],
            OPEN,
            Script::new().drip("220-peer\r\n".repeat(6000), DRIP),
        ),
        point(
            "implicit TLS",
            &[],
            OPEN_TLS,
            Script::new().read_until("\x16\x03").hold(),
        ),
        point("EHLO", &[OPEN], EHLO, greeting().line().hold()),
    ];
    points.extend(tls_points());
    points.extend(encrypted_points());
    points.extend(auth_points());
    points.extend(transaction_points());
    points
}

fn tls_points() -> [WaitPoint; 2] {
    let ready = || {
        greeting()
            .on("EHLO", "250-peer\r\n250 STARTTLS")
            .on("STARTTLS", "220 go ahead")
    };
    // An incomplete record of 16 kB.
    let record = [&[0x16, 3, 3, 0x3f, 0xff][..], &[0; 16_000]].concat();
    let before = [OPEN, EHLO];
    [
        point(
            "STARTTLS handshake",
            &before,
            "utl_smtp.starttls({c})",
            ready().read_until("\x16\x03").hold(),
        ),
        point(
            "dripped handshake",
            &before,
            "utl_smtp.starttls({c})",
            ready().read_until("\x16\x03").drip(record, 2 * DRIP),
        ),
    ]
}

/// Waits under TLS: for a record to arrive, and for a record to be sent.
fn encrypted_points() -> [WaitPoint; 2] {
    let authority = Authority::new("Private CA");
    let identity = authority.issue(&[HOST]);
    let encrypted = || {
        Script::new()
            .handshake(identity.server())
            .then(Script::greeting())
    };
    let data = encrypted()
        .on("EHLO", "250 peer")
        .on("MAIL", "250 ok")
        .on("RCPT", "250 ok")
        .on("DATA", "354 go ahead");
    let with_wallet = |point: WaitPoint| WaitPoint {
        wallet: Some(Wallet::of(&authority)),
        ..point
    };
    [
        with_wallet(point(
            "reply under TLS",
            &[OPEN_TLS],
            EHLO,
            encrypted().line().hold(),
        )),
        with_wallet(point(
            "body under TLS",
            &[OPEN_TLS, EHLO, MAIL, RCPT, DATA, LINE],
            BODY,
            data.hold(),
        )),
    ]
}

fn auth_points() -> [WaitPoint; 2] {
    let offers = || greeting().on("EHLO", "250-peer\r\n250 AUTH CRAM-MD5");
    let auth = "utl_smtp.auth({c}, 'alice', 'wonderland')";
    [
        point("AUTH", &[OPEN, EHLO], auth, offers().line().hold()),
        point(
            "AUTH response",
            &[OPEN, EHLO],
            auth,
            offers()
                .on("AUTH", "334 PDE2MDQuMUBwZWVyPg==")
                .line()
                .hold(),
        ),
    ]
}

fn transaction_points() -> Vec<WaitPoint> {
    let ehlo = || greeting().on("EHLO", "250 peer");
    let mail = || ehlo().on("MAIL", "250 ok");
    let rcpt = || mail().on("RCPT", "250 ok");
    let data = || rcpt().on("DATA", "354 go ahead");
    let drip = greeting().line().drip("250-x\r\n".repeat(9000), DRIP);
    let to_data = [OPEN, EHLO, MAIL, RCPT, DATA, LINE];
    vec![
        point("dripped reply", &[OPEN], EHLO, drip),
        point("MAIL", &to_data[..2], MAIL, ehlo().line().hold()),
        point("RCPT", &to_data[..3], RCPT, mail().line().hold()),
        point("DATA", &to_data[..4], DATA, rcpt().line().hold()),
        point("body", &to_data, BODY, data().hold()),
        point(
            "final dot",
            &to_data,
            "utl_smtp.close_data({c})",
            data().body().hold(),
        ),
        point(
            "whole message",
            &to_data[..4],
            "utl_smtp.data({c}, repeat('x', 8000))",
            data().body().hold(),
        ),
        point(
            "RSET",
            &to_data[..3],
            "utl_smtp.rset({c})",
            mail().line().hold(),
        ),
        point(
            "NOOP",
            &to_data[..2],
            "utl_smtp.noop({c})",
            ehlo().line().hold(),
        ),
        point(
            "QUIT",
            &to_data[..2],
            "utl_smtp.quit({c})",
            ehlo().line().hold(),
        ),
    ]
}

/// The look-up of [`SILENT_NAME`], in a cluster whose name server does not answer it.
pub fn name_look_up() -> WaitPoint {
    WaitPoint {
        name: "name look-up",
        before: Vec::new(),
        wait: OPEN,
        endpoint: Endpoint::NoAddress,
        wallet: None,
    }
}

fn greeting() -> Script {
    Script::greeting()
}

fn point(
    name: &'static str,
    before: &[&'static str],
    wait: &'static str,
    script: Script,
) -> WaitPoint {
    WaitPoint {
        name,
        before: before.to_vec(),
        wait,
        endpoint: Endpoint::Peer(Peer::start(script)),
        wallet: Some(Wallet::of(&Authority::new("Private CA"))),
    }
}

impl WaitPoint {
    fn with_full_backlog() -> Self {
        Self {
            name: "connect",
            before: Vec::new(),
            wait: OPEN,
            endpoint: Endpoint::FullBacklog(FullBacklog::on(Ipv4Addr::LOCALHOST.into(), 0)),
            wallet: None,
        }
    }

    /// The SQL that leads to the point. Each statement's connection has this timeout in seconds.
    pub fn preparations(&self, tx_timeout: i32) -> Vec<String> {
        let statement = |step: &&str| format!("SELECT {}", self.expand(step, tx_timeout));
        self.before.iter().map(statement).collect()
    }

    /// The waiting expression, for SELECT or PERFORM.
    pub fn waiting(&self, tx_timeout: i32) -> String {
        self.expand(self.wait, tx_timeout)
    }

    /// Whether a connection exists before the wait.
    pub fn has_connection(&self) -> bool {
        !self.before.is_empty()
    }

    /// Runs the SQL up to the point, without waiting there.
    pub fn prepare(&self, session: &mut Session, tx_timeout: i32) -> Result<(), Failure> {
        let statements = self.preparations(tx_timeout);
        statements.iter().try_for_each(|sql| session.try_run(sql))
    }

    /// Whether the peer, if any, has sent everything.
    pub fn is_reached(&self) -> bool {
        match &self.endpoint {
            Endpoint::Peer(peer) => peer.is_holding(),
            Endpoint::FullBacklog(_) | Endpoint::NoAddress => true,
        }
    }

    /// The connection opened by the preparations.
    pub fn connection(session: &mut Session) -> Smtp {
        Smtp {
            handle: session.value("SELECT current_setting('e2e.c')"),
        }
    }

    /// Stops the peer. Fails if its script did not get to the point, or if a message was ended that
    /// should not have been.
    #[track_caller]
    pub fn finish(self) {
        let Endpoint::Peer(peer) = self.endpoint else {
            return;
        };
        for conversation in peer.finish().conversations {
            let ended = conversation.heard(b"\r\n.\r\n");
            let may_end = ["final dot", "whole message"].contains(&self.name);
            assert!(!ended || may_end, "{}: the message was ended", self.name);
        }
    }

    /// Inserts the connection, which a setting keeps between statements.
    fn expand(&self, step: &str, tx_timeout: i32) -> String {
        let (host, port) = match &self.endpoint {
            Endpoint::Peer(peer) => (HOST, peer.port()),
            Endpoint::FullBacklog(listener) => (HOST, listener.port()),
            Endpoint::NoAddress => (SILENT_NAME, 25),
        };
        let wallet = self.wallet.as_ref().map_or("NULL".to_owned(), |wallet| {
            format!("'{}'", wallet.locator())
        });
        let open = |tls: bool| {
            format!(
                "set_config('e2e.c', utl_smtp.open_connection('{host}', {port}, {tx_timeout}, \
                 wallet_path => {wallet}, secure_connection_before_smtp => {tls})::text, false)"
            )
        };
        step.replace("{open}", &open(false))
            .replace("{open tls}", &open(true))
            .replace("{c}", "current_setting('e2e.c')::utl_smtp.connection")
    }
}

/// Waits until this backend waits for its peer.
#[track_caller]
pub fn await_wait(observer: &mut Session, pid: i32, name: &str) {
    process::wait_until(format_args!("{name}: the backend waits"), || {
        is_waiting(observer, pid)
    });
}

/// Whether this backend waits for its peer.
pub fn is_waiting(observer: &mut Session, pid: i32) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE pid = $1 AND state = 'active' AND wait_event_type = 'Extension'";
    observer.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) == 1
}
