//! The suppression list and approved senders where mail is sent.

use std::sync::Mutex;

use e2e::cluster::Cluster;
use e2e::process::wait_until;
use e2e::rows::column;
use e2e::{Database, OwnCluster, Peer, Script, Session};

/// A database whose mail goes to a scripted server over one connection, with its delivery stopped.
struct Post {
    peer: Peer,
    session: Session,
    database: Database,
}

impl Post {
    /// `answer`: the reply to RCPT for an address.
    fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let peer = Peer::start(server(answer));
        let database = Database::new();
        let mut session = database.superuser();
        create_server(&mut session, peer.port());
        let mut post = Self {
            peer,
            session,
            database,
        };
        post.stop();
        post
    }

    /// A worker that runs notices it within a second.
    fn stop(&mut self) {
        self.session.run("SELECT utl_smtp.stop_delivery()");
        self.wait_for(
            "no worker is left",
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                                WHERE datname = current_database() AND backend_type = 'utl_smtp delivery')",
        );
    }

    fn submit(&mut self, recipients: &[&str]) -> i64 {
        submit(&mut self.session, "app@example.com", recipients)
    }

    fn start(&mut self) {
        self.session.run("SELECT utl_smtp.start_delivery()");
    }

    /// Waits until all mail is final; the results of a message, by recipient.
    fn results(&mut self, id: i64) -> Vec<String> {
        self.wait_for(
            "all mail is final",
            "SELECT NOT EXISTS (SELECT FROM utl_smtp.mail_queue)",
        );
        results(&mut self.session, id)
    }

    fn wait_for(&mut self, what: &str, query: &str) {
        wait_until(what, || self.session.value::<bool>(query));
    }

    /// What is on the list, and why.
    fn list(&mut self) -> Vec<String> {
        let list = "SELECT address || ' ' || reason FROM utl_smtp.suppression ORDER BY address";
        column(&mut self.session, list)
    }
}

fn create_server(session: &mut Session, port: u16) {
    session.run(&format!(
        "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp
             OPTIONS (host '127.0.0.1', port '{port}', security 'none', max_connections '1');
         CREATE USER MAPPING FOR PUBLIC SERVER office"
    ));
}

fn submit(session: &mut Session, sender: &str, recipients: &[&str]) -> i64 {
    let sql = "SELECT utl_smtp.submit('office', $1, $2, 'Subject: x'::text)";
    session
        .query_one(sql, &[&sender, &recipients])
        .unwrap()
        .get(0)
}

fn results(session: &mut Session, id: i64) -> Vec<String> {
    column(
        session,
        &format!(
            "SELECT recipient || ' ' || state FROM utl_smtp.mail_log WHERE message_id = {id} ORDER BY recipient_no"
        ),
    )
}

/// Accepts everything, but for what is said of recipients. It serves one connection at a time.
fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Script {
    let in_content = Mutex::new(false);
    Script::greeting().answer_all(move |line| {
        let mut in_content = in_content.lock().unwrap();
        let reply = match line {
            "." => {
                *in_content = false;
                "250 2.0.0 taken".to_owned()
            }
            _ if *in_content => return Vec::new(),
            "DATA" => {
                *in_content = true;
                "354 go ahead".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => match line.strip_prefix("RCPT TO:<") {
                Some(rest) => answer(rest.split('>').next().unwrap()),
                None => "250 ok".to_owned(),
            },
        };
        format!("{reply}\r\n").into_bytes()
    })
}

/// Asked at the moment of sending, by the spelling that equal addresses have in common.
#[test]
fn an_address_that_is_suppressed_before_its_mail_is_sent_gets_none() {
    let mut post = Post::new(|_| "250 ok".to_owned());
    post.session
        .run("SELECT utl_smtp.suppress('early@example.com')");
    let recipients = [
        "Early@Example.com",
        "\"early\"@example.com",
        "early+tag@example.com",
        "LATER@example.com",
        "bob@b\u{fc}cher.example",
        "carol@example.com",
    ];
    let id = post.submit(&recipients);
    // Between submission and sending.
    for address in ["later@example.com", "BOB@xn--bcher-kva.example"] {
        let sql = "SELECT utl_smtp.suppress($1)";
        post.session.execute(sql, &[&address]).unwrap();
    }
    post.start();
    let results = post.results(id);
    let state = |result: &String| result.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        results.iter().map(state).collect::<Vec<_>>(),
        [
            "suppressed",
            "suppressed",
            "sent",
            "suppressed",
            "suppressed",
            "sent"
        ],
        "{results:?}"
    );
    let hit = "SELECT address FROM utl_smtp.suppression WHERE last_hit_at IS NOT NULL ORDER BY 1";
    assert_eq!(
        column(&mut post.session, hit),
        [
            "bob@xn--bcher-kva.example",
            "early@example.com",
            "later@example.com"
        ]
    );
    let record = post.peer.finish();
    let heard = record.only().lines();
    let heard: Vec<_> = heard
        .iter()
        .filter(|line| line.starts_with("RCPT"))
        .collect();
    assert_eq!(
        heard,
        [
            "RCPT TO:<early+tag@example.com>",
            "RCPT TO:<carol@example.com>"
        ]
    );
}

#[test]
fn an_address_that_is_suppressed_while_its_mail_is_deferred_is_not_tried_again() {
    let mut post = Post::new(|_| "450 4.2.0 later".to_owned());
    let id = post.submit(&["bob@example.com"]);
    post.start();
    post.wait_for(
        "the mail is deferred",
        "SELECT EXISTS (SELECT FROM utl_smtp.mail_queue WHERE state = 'deferred')",
    );
    post.session
        .run("SELECT utl_smtp.suppress('bob@example.com'); SELECT utl_smtp.push_queue()");
    assert_eq!(post.results(id), ["bob@example.com suppressed"]);
    let attempts: i32 = post.session.value("SELECT attempts FROM utl_smtp.mail_log");
    assert_eq!(attempts, 1);
}

#[test]
fn an_address_that_does_not_exist_gets_on_the_list_by_its_first_bounce() {
    let mut post = Post::new(|address| match address {
        "gone@example.com" => "550 5.1.1 no such user".to_owned(),
        "spam@example.com" => "550 5.7.1 not wanted".to_owned(),
        "dull@example.com" => "550 no such user".to_owned(),
        _ => "250 ok".to_owned(),
    });
    let all = [
        "Gone@example.com",
        "spam@example.com",
        "dull@example.com",
        "bob@example.com",
    ];
    // The server compares addresses as they are written.
    let all = all.map(str::to_lowercase);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let first = post.submit(&all);
    post.start();
    let expected = |state: &str| {
        vec![
            format!("gone@example.com {state}"),
            "spam@example.com failed".to_owned(),
            "dull@example.com failed".to_owned(),
            "bob@example.com sent".to_owned(),
        ]
    };
    assert_eq!(post.results(first), expected("failed"));
    assert_eq!(post.list(), ["gone@example.com hard bounce"]);
    let why =
        format!("SELECT reply || message_id FROM utl_smtp.suppression WHERE message_id = {first}");
    assert_eq!(
        column(&mut post.session, &why),
        [format!("550 5.1.1 no such user{first}")]
    );

    let second = post.submit(&all);
    assert_eq!(post.results(second), expected("suppressed"));
    post.session
        .run("SELECT utl_smtp.unsuppress('gone@example.com')");
    let third = post.submit(&all);
    assert_eq!(post.results(third), expected("failed"));
}

/// A server, or a login, with which something is wrong. The first refusals look like those of
/// single addresses.
#[test]
fn a_server_that_refuses_everybody_fills_no_list() {
    for reply in [
        "550 5.7.1 relaying denied",
        "550 relay not permitted",
        "550 5.1.1 no such user",
    ] {
        let mut post = Post::new(move |_| reply.to_owned());
        let recipients: Vec<String> = (0..200).map(|n| format!("r{n}@example.com")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let id = post.submit(&recipients);
        // Log lines of a worker do not name its database.
        let name = format!("office_{}", post.database.name());
        post.session
            .run(&format!("ALTER SERVER office RENAME TO {name}"));
        post.start();
        let results = post.results(id);
        assert_eq!(results.len(), 200, "{reply}");
        assert!(
            results.iter().all(|result| result.ends_with(" failed")),
            "{reply}"
        );
        assert_eq!(post.list(), Vec::<String>::new(), "{reply}");
        let log = std::fs::read(&Cluster::shared().log).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        let warning = format!("WARNING:  mail server \"{name}\" refuses most recipients");
        let warnings = log.lines().filter(|line| line.contains(&warning));
        assert_eq!(warnings.count(), 1, "{reply}");
    }
}

#[test]
fn a_mailbox_that_fails_again_and_again_gets_on_the_list() {
    let full = std::sync::Arc::new(Mutex::new(true));
    let is_full = std::sync::Arc::clone(&full);
    let mut post = Post::new(move |_| match *is_full.lock().unwrap() {
        true => "550 5.2.2 mailbox is full".to_owned(),
        false => "250 ok".to_owned(),
    });
    post.start();
    let mut count = 0;
    let mut mail = |post: &mut Post, state: &str| {
        count += 1;
        let id = post.submit(&["full@example.com"]);
        assert_eq!(
            post.results(id),
            [format!("full@example.com {state}")],
            "mail {count}"
        );
    };
    // The limit is 4 in a row.
    for _ in 0..3 {
        mail(&mut post, "failed");
    }
    *full.lock().unwrap() = false;
    mail(&mut post, "sent");
    *full.lock().unwrap() = true;
    for _ in 0..3 {
        mail(&mut post, "failed");
    }
    assert!(post.list().is_empty());
    mail(&mut post, "failed");
    assert_eq!(post.list(), ["full@example.com soft bounce"]);
    mail(&mut post, "suppressed");
    // A mail that was cancelled is a result, too, and says nothing about the mailbox.
    post.session
        .run("SELECT utl_smtp.unsuppress('full@example.com')");
    for _ in 0..3 {
        mail(&mut post, "failed");
    }
    post.stop();
    let id = post.submit(&["Full@example.com"]);
    post.session.run(&format!("SELECT utl_smtp.cancel({id})"));
    post.start();
    mail(&mut post, "failed");
    assert!(post.list().is_empty());
}

/// What was queued while nobody asked, or written into the table by hand.
#[test]
fn the_worker_asks_whether_a_sender_is_approved() {
    let cluster = OwnCluster::start(&["utl_smtp.require_approved_sender = on"]);
    let peer = Peer::start(server(|_| "250 ok".to_owned()));
    let mut session = cluster.superuser();
    create_server(&mut session, peer.port());
    session.run(
        "SET utl_smtp.require_approved_sender = off;
         SELECT utl_smtp.approve_sender('public', 'known@example.com')",
    );
    let ids = ["forged@example.com", "Known@example.com", ""]
        .map(|sender| submit(&mut session, sender, &["bob@example.com"]));
    wait_until("all mail is final", || {
        session.value::<bool>("SELECT NOT EXISTS (SELECT FROM utl_smtp.mail_queue)")
    });
    for (id, state) in ids.into_iter().zip(["failed", "sent", "sent"]) {
        assert_eq!(
            results(&mut session, id),
            [format!("bob@example.com {state}")]
        );
    }
    let why: String =
        session.value("SELECT last_reply FROM utl_smtp.mail_log WHERE state = 'failed'");
    assert!(why.contains("not approved"), "{why}");
    session.run("RESET utl_smtp.require_approved_sender");
    let submit = "SELECT utl_smtp.submit('office', 'forged@example.com', ARRAY['bob@example.com'], 'x'::text)";
    session.try_run(submit).unwrap_err().expect("42501");
    drop(session);
    let record = peer.finish();
    assert!(!record.only().text().contains("forged"));
}
