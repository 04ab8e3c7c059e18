//! Refresh tokens that the token endpoint exchanges for others: the worker stores them.

use super::kills::{self, DURABLE, Kill};
use super::processes::{assert_no_crash, await_worker, log_lines, terminate, worker_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::certs::{Authority, Wallet};
use e2e::process::wait_until;
use e2e::rows::column;
use e2e::test_bed::{CLIENT, NAME};
use e2e::{OwnCluster, Peer, Script, Session};

const USER: &str = "app@example.test";

/// A cluster, a mail server and a token endpoint.
struct Tokens {
    cluster: OwnCluster,
    session: Session,
    mail: Peer,
    endpoint: Peer,
    wallet: Wallet,
}

impl Tokens {
    /// One script for each connection; the last one for all further connections.
    fn new(mail: Vec<Script>, endpoint: Vec<Script>) -> Self {
        let authority = Authority::new("Private CA");
        let starting = |names: &[&str], scripts: Vec<Script>| {
            let identity = authority.issue(names);
            let start = |script| Script::new().handshake(identity.server()).then(script);
            Peer::start_each(scripts.into_iter().map(start).collect())
        };
        let settings = [
            "utl_smtp.retry_minimum = 1",
            "utl_smtp.retry_maximum = 1",
            "utl_smtp.wallet_roots = '/tmp'",
        ];
        let cluster = OwnCluster::start(&[&DURABLE[..], &settings].concat());
        let mut bed = Self {
            session: cluster.superuser(),
            cluster,
            mail: starting(&[NAME], mail),
            endpoint: starting(&["127.0.0.1"], endpoint),
            wallet: Wallet::of(&authority),
        };
        bed.create_server();
        bed.create_mapping("refresh-1");
        bed
    }

    fn create_server(&mut self) {
        let (mail, endpoint) = (self.mail.port(), self.endpoint.port());
        let wallet = self.wallet.locator();
        self.session.run(&format!(
            "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (
                 host '127.0.0.1', port '{mail}', security 'tls', secure_host '{NAME}', wallet_path '{wallet}',
                 helo '{CLIENT}', timeout '60', max_connections '1',
                 token_endpoint 'https://127.0.0.1:{endpoint}/token', token_wallet_path '{wallet}')"
        ));
    }

    /// The scope is the last field of a request.
    fn create_mapping(&mut self, refresh_token: &str) {
        self.session.run(&format!(
            "CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (
                 user '{USER}', grant_type 'refresh_token', client_id 'client', refresh_token '{refresh_token}', scope 's')"
        ));
    }

    fn submit(&mut self) {
        self.session.run(
            "SELECT utl_smtp.submit('office', 'app@example.test', ARRAY['bob@example.test'], E'Subject: x\\n\\nhello')",
        );
    }

    /// The refresh token of the mapping, as it is in the catalog now.
    fn stored(&mut self) -> String {
        let option = "SELECT substr(option, 15) FROM pg_user_mapping, unnest(umoptions) AS option
                      WHERE option LIKE 'refresh_token=%'";
        self.session.value(option)
    }

    #[track_caller]
    fn await_log(&mut self, states: &[&str]) {
        let log = "SELECT state FROM utl_smtp.mail_log ORDER BY message_id";
        wait_until(format_args!("the log has {states:?}"), || {
            column(&mut self.session, log) == states
        });
    }

    /// The refresh tokens that the endpoint was shown, once everything is over.
    fn shown(self) -> Vec<String> {
        drop(self.session);
        drop(self.cluster);
        self.mail.finish();
        let record = self.endpoint.finish();
        let shown = record.conversations.iter().map(|conversation| {
            let text = conversation.text();
            let token = text.split("refresh_token=").last().unwrap();
            token.split('&').next().unwrap().to_owned()
        });
        shown.collect()
    }
}

/// Reads a request, and grants an access token for an hour, and another refresh token.
fn grant(access_token: &str, refresh_token: &str) -> Script {
    let body = format!(
        r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{access_token}","refresh_token":"{refresh_token}"}}"#
    );
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    Script::new().read_until("scope=s").send(answer)
}

/// A mail server that is shown this access token.
fn shown(access_token: &str) -> Script {
    let response = STANDARD.encode(format!("user={USER}\x01auth=Bearer {access_token}\x01\x01"));
    Script::new()
        .send("220 mail\r\n")
        .on("EHLO", &format!("250-{NAME}\r\n250 AUTH XOAUTH2"))
        .expect(format!("AUTH XOAUTH2 {response}"))
}

/// One that accepts it, and a message.
fn accepts(access_token: &str) -> Script {
    shown(access_token)
        .send("235 2.7.0 welcome\r\n")
        .transaction()
}

/// Whoever has the old one alone when the worker dies could not log in any more.
#[test]
fn a_rotated_refresh_token_is_stored_before_the_access_token_is_used() {
    let mail = vec![shown("t1").hold(), accepts("t2")];
    // The next worker gets its token when the test says so.
    let second = Script::new().await_release().then(grant("t2", "refresh-3"));
    let mut tokens = Tokens::new(mail, vec![grant("t1", "refresh-2"), second]);
    tokens.submit();
    // The access token has arrived.
    tokens.mail.await_hold();
    assert_eq!(tokens.stored(), "refresh-2");
    Kill::Worker.strike(&tokens.cluster);
    tokens.session = kills::connect(&tokens.cluster);
    assert_eq!(tokens.stored(), "refresh-2");
    tokens.endpoint.release();
    tokens.await_log(&["sent"]);
    assert_eq!(tokens.stored(), "refresh-3");
    // Not by a statement that the log might have.
    for token in ["refresh-1", "refresh-2", "refresh-3"] {
        let shown: Vec<String> = log_lines(&tokens.cluster, token);
        assert_eq!(shown, [""; 0]);
    }
    assert_eq!(tokens.shown(), ["refresh-1", "refresh-2"]);
}

/// Somebody is about to alter the mapping. Its mail goes out meanwhile, and the token is stored as
/// soon as that is over.
#[test]
fn a_rotated_refresh_token_that_can_not_be_stored_yet_is_stored_later() {
    let mail = vec![accepts("t1"), accepts("t2")];
    let endpoint = vec![grant("t1", "refresh-2"), grant("t2", "refresh-3")];
    let mut tokens = Tokens::new(mail, endpoint);
    let mut other = tokens.cluster.superuser();
    other.run("BEGIN; ALTER USER MAPPING FOR PUBLIC SERVER office OPTIONS (ADD parameters 'x=1')");
    tokens.submit();
    tokens.await_log(&["sent"]);
    assert_eq!(tokens.stored(), "refresh-1");
    let refused = log_lines(&tokens.cluster, "canceling statement due to lock timeout");
    assert_eq!(refused.len(), 1, "{refused:?}");
    other.run("ROLLBACK");
    wait_until("it is stored", || tokens.stored() == "refresh-2");
    // A second worker uses it.
    let worker = await_worker(&mut tokens.session, "postgres");
    terminate(&mut tokens.session, worker);
    tokens.submit();
    tokens.await_log(&["sent", "sent"]);
    assert_eq!(tokens.stored(), "refresh-3");
    assert_eq!(tokens.shown(), ["refresh-1", "refresh-2"]);
}

/// What was got for the old mapping does not touch the new one.
#[test]
fn a_mapping_that_is_replaced_while_its_token_is_fetched_keeps_its_own() {
    let slow = Script::new().read_until("scope=s").await_release();
    let body = r#"{"access_token":"t1","refresh_token":"refresh-2"}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let endpoint = vec![slow.send(answer), grant("t9", "refresh-10")];
    let refuses = shown("t1").send("535 5.7.8 no\r\n").drain();
    let mut tokens = Tokens::new(vec![refuses, accepts("t9")], endpoint);
    tokens.submit();
    tokens.endpoint.await_hold();
    let worker = await_worker(&mut tokens.session, "postgres");
    tokens
        .session
        .run("BEGIN; DROP USER MAPPING FOR PUBLIC SERVER office");
    tokens.create_mapping("refresh-9");
    tokens.session.run("COMMIT");
    tokens.endpoint.release();
    tokens.await_log(&["sent"]);
    assert_eq!(tokens.stored(), "refresh-10");
    assert_eq!(worker_of(&mut tokens.session, "postgres"), Some(worker));
    assert_eq!(log_lines(&tokens.cluster, "ERROR:"), [""; 0]);
    assert_no_crash(&tokens.cluster);
    assert_eq!(tokens.shown(), ["refresh-1", "refresh-9"]);
}

/// With the role that owned it. Its mail waits, as for any server that is not there.
#[test]
fn a_server_that_is_dropped_while_its_token_is_fetched_leaves_the_worker_alone() {
    let slow = grant("t1", "refresh-2");
    let slow = Script::new().read_until("POST").await_release().then(slow);
    let refuses = shown("t1").send("535 5.7.8 no\r\n").drain();
    let mut tokens = Tokens::new(vec![refuses], vec![slow]);
    let (mail, endpoint) = (tokens.mail.port(), tokens.endpoint.port());
    let entry = |port: u16, privilege: &str| {
        format!(
            "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', {port}, {port}, dbms_network_acl_admin.xs$ace_type(
                 dbms_network_acl_admin.xs$name_list('{privilege}'), principal_name => 'keeper'))"
        )
    };
    tokens.session.run(&format!(
        "CREATE ROLE keeper; GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO keeper;
         ALTER SERVER office OWNER TO keeper;
         {}; {}",
        entry(mail, "connect"),
        entry(endpoint, "http")
    ));
    tokens.submit();
    tokens.endpoint.await_hold();
    let worker = await_worker(&mut tokens.session, "postgres");
    tokens
        .session
        .run("BEGIN; DROP OWNED BY keeper CASCADE; DROP ROLE keeper; COMMIT");
    tokens.endpoint.release();
    let waits = "SELECT state IN ('queued', 'deferred') FROM utl_smtp.mail_queue";
    wait_until("the mail waits", || tokens.session.value::<bool>(waits));
    assert_eq!(worker_of(&mut tokens.session, "postgres"), Some(worker));
    // Other mail goes out.
    let recorder = e2e::Recorder::start();
    tokens.session.run(&format!(
        "CREATE SERVER other FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '127.0.0.1', port '{}', security 'none');
         SELECT utl_smtp.submit('other', '', ARRAY['bob@example.test'], 'x'::text)",
        recorder.port()
    ));
    tokens.await_log(&["sent"]);
    assert_eq!(recorder.copies().len(), 1);
    assert_eq!(worker_of(&mut tokens.session, "postgres"), Some(worker));
    assert_eq!(log_lines(&tokens.cluster, "ERROR:"), [""; 0]);
    assert_no_crash(&tokens.cluster);
}
