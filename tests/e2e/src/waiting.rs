//! Every point of a conversation at which a server can keep a backend waiting, with the peer that does it and the
//! SQL that gets there.

use crate::certs::{Authority, Wallet};
use crate::peer::{Peer, Script};
use crate::smtp::Smtp;
use crate::{Failure, Session};
use socket2::{Domain, Socket, Type};
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// A name that only a name server could know.
const SILENT_NAME: &str = "mail.silent.example.test";

/// A point at which the conversation stands still until somebody ends it.
pub struct WaitPoint {
    pub name: &'static str,
    /// Each is an expression, evaluated before; `None` where the opening itself waits.
    before: Vec<&'static str>,
    /// The expression that waits, perhaps with FROM.
    wait: &'static str,
    far_end: FarEnd,
    wallet: Option<Wallet>,
}

enum FarEnd {
    Peer(Peer),
    FullBacklog(FullBacklog),
    /// A port that nobody gets to, for want of an address.
    NoAddress,
}

/// A listener that takes no more connections: the kernel drops each further SYN.
struct FullBacklog {
    _listener: Socket,
    _fillers: Vec<Socket>,
    port: u16,
}

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

/// All of them but the resolver's, which takes a cluster that asks a silent name server.
pub fn wait_points() -> Vec<WaitPoint> {
    let mut points = vec![
        WaitPoint::with_full_backlog(),
        point("greeting", &[], OPEN, Script::new().hold()),
        point(
            "dripped greeting",
            &[],
            OPEN,
            Script::new().drip("220-peer\r\n".repeat(1000), Duration::from_millis(20)),
        ),
        point("implicit TLS", &[], OPEN_TLS, Script::new().hold()),
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
    // A record of 16 kB that never gets complete.
    let record = [&[0x16, 3, 3, 0x3f, 0xff][..], &[0; 5000]].concat();
    let before = [OPEN, EHLO];
    [
        point(
            "STARTTLS handshake",
            &before,
            "utl_smtp.starttls({c})",
            ready().hold(),
        ),
        point(
            "dripped handshake",
            &before,
            "utl_smtp.starttls({c})",
            ready()
                .read_until("\x16\x03")
                .drip(record, Duration::from_millis(20)),
        ),
    ]
}

/// Waits under TLS, which are the transport's own: a record to come, a record to get rid of.
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
    let drip = greeting()
        .line()
        .drip("250-x\r\n".repeat(1000), Duration::from_millis(20));
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

/// The look-up of a name, which must be tried in a cluster whose name server is silent.
pub fn name_look_up() -> WaitPoint {
    WaitPoint {
        name: "name look-up",
        before: Vec::new(),
        wait: OPEN,
        far_end: FarEnd::NoAddress,
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
        far_end: FarEnd::Peer(Peer::start(script)),
        wallet: Some(Wallet::of(&Authority::new("Private CA"))),
    }
}

impl WaitPoint {
    fn with_full_backlog() -> Self {
        Self {
            name: "connect",
            before: Vec::new(),
            wait: OPEN,
            far_end: FarEnd::FullBacklog(FullBacklog::new()),
            wallet: None,
        }
    }

    /// The SQL that leads to the point. Every statement's connection has this time-out, in seconds.
    pub fn preparations(&self, tx_timeout: u32) -> Vec<String> {
        let statement = |step: &&str| format!("SELECT {}", self.expand(step, tx_timeout));
        self.before.iter().map(statement).collect()
    }

    /// What follows SELECT, or PERFORM, and waits.
    pub fn waiting(&self, tx_timeout: u32) -> String {
        self.expand(self.wait, tx_timeout)
    }

    /// Whether a connection exists before the wait.
    pub fn has_connection(&self) -> bool {
        !self.before.is_empty()
    }

    /// Goes to the point, without waiting there.
    pub fn prepare(&self, session: &mut Session, tx_timeout: u32) {
        for statement in self.preparations(tx_timeout) {
            session.run(&statement);
        }
    }

    /// The connection that the preparations opened.
    pub fn connection(session: &mut Session) -> Smtp {
        Smtp {
            handle: session.value("SELECT current_setting('e2e.c')"),
        }
    }

    /// Ends the peer, and fails if its script was not played as far as the point, or if a message was ended
    /// that should not have been.
    #[track_caller]
    pub fn finish(self) {
        let FarEnd::Peer(peer) = self.far_end else {
            return;
        };
        for conversation in peer.finish().conversations {
            let ended = conversation.heard(b"\r\n.\r\n");
            let may_end = ["final dot", "whole message"].contains(&self.name);
            assert!(!ended || may_end, "{}: the message was ended", self.name);
        }
    }

    /// The expression with its connection. A setting keeps that between statements.
    fn expand(&self, step: &str, tx_timeout: u32) -> String {
        let (host, port) = match &self.far_end {
            FarEnd::Peer(peer) => (HOST, peer.port()),
            FarEnd::FullBacklog(listener) => (HOST, listener.port),
            FarEnd::NoAddress => (SILENT_NAME, 25),
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

impl FullBacklog {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let filler = |_| {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            let _ = filler.connect(&address.into());
            filler
        };
        Self {
            _fillers: (0..4).map(filler).collect(),
            _listener: listener,
            port: address.port(),
        }
    }
}

/// A name server that hears and never answers, for a cluster in a mount namespace of its own. Port 53 is root's.
pub struct SilentNameServer {
    socket: UdpSocket,
    configuration: tempfile::NamedTempFile,
}

impl SilentNameServer {
    pub fn start() -> Self {
        let bind = |last: u8| UdpSocket::bind(("127.0.0.".to_owned() + &last.to_string(), 53)).ok();
        let socket = (53..250).find_map(bind).expect("no port 53 is free");
        let mut configuration = tempfile::NamedTempFile::new().unwrap();
        let address = socket.local_addr().unwrap().ip();
        writeln!(
            configuration,
            "nameserver {address}\noptions timeout:6 attempts:1"
        )
        .unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(configuration.path(), readable).unwrap();
        Self {
            socket,
            configuration,
        }
    }

    /// What a cluster needs to be started after, so that it asks this server.
    pub fn prelude(&self) -> String {
        let path = self.configuration.path().display();
        format!("mount --bind {path} /etc/resolv.conf")
    }

    /// Whether anybody has asked for anything.
    pub fn was_asked(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0; 512]).is_ok()
    }
}

/// Waits until these backends wait for their peers, and still do a moment later.
#[track_caller]
pub fn await_waits(observer: &mut Session, pids: &[i32], name: &str) {
    const LIMIT: Duration = Duration::from_secs(20);
    let began = Instant::now();
    let mut seen = 0;
    while seen < 3 {
        assert!(
            began.elapsed() < LIMIT,
            "{name}: the backend did not get to wait"
        );
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE pid = ANY ($1) AND state = 'active' AND wait_event_type = 'Extension'";
        let waiting: i64 = observer.query_one(sql, &[&pids]).unwrap().get(0);
        seen = match usize::try_from(waiting) {
            Ok(count) if count == pids.len() => seen + 1,
            _ => 0,
        };
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a statement and tells how it ended and when.
pub fn timed(session: &mut Session, sql: &str) -> (Result<(), Failure>, Instant) {
    let outcome = session.try_run(sql);
    (outcome, Instant::now())
}
