//! Access tokens: a scripted token endpoint, and mail servers that accept or refuse what it gives.

mod endpoints;

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::certs::Identity;
use e2e::openssl::OpensslFixtures;
use e2e::peer::Record;
use e2e::process::LIMITS;
use e2e::test_bed::cancel_waiting;
use std::time::Duration;

const USER: &str = "app@example.test";
const SECRET: &str = "hunter2-hunter2";
const EHLO: &str = "EHLO client.example.test";

/// A mail server, a token endpoint, the server `office`, and a role that may use it.
struct Tokens {
    bed: TestBed,
    mail: Peer,
    endpoint: Peer,
}

impl Tokens {
    /// One script for each connection; the last one for all further connections.
    fn new(mapping: &[(&str, &str)], mail: Vec<Script>, endpoint: Vec<Script>) -> Self {
        let bed = TestBed::new();
        let starting = |identity: Identity, scripts: Vec<Script>| {
            let start = |script| Script::new().handshake(identity.server()).then(script);
            Peer::start_each(scripts.into_iter().map(start).collect())
        };
        let mail = starting(bed.identity(), mail);
        let endpoint = starting(bed.authority.issue(&["127.0.0.1"]), endpoint);
        let (port, wallet) = (mail.port().to_string(), bed.wallet.locator());
        let url = format!("https://127.0.0.1:{}/token", endpoint.port());
        let options = [
            ("host", "127.0.0.1"),
            ("port", &port),
            ("security", "tls"),
            ("secure_host", NAME),
            ("wallet_path", &wallet),
            ("helo", CLIENT),
            // A peer whose script has failed says no more.
            ("timeout", "60"),
            ("token_endpoint", &url),
            ("token_wallet_path", &wallet),
        ];
        let mut owner = bed.database.superuser();
        create(&mut owner, "office", &options, mapping);
        owner.run(&format!(
            "GRANT USAGE ON FOREIGN SERVER office TO {}",
            bed.role
        ));
        Self {
            bed,
            mail,
            endpoint,
        }
    }

    fn connect(&mut self) -> Result<Smtp, Failure> {
        connect(&mut self.bed.session, "office")
    }

    #[track_caller]
    fn connects(&mut self) {
        if let Err(failure) = self.connect() {
            panic!("{failure}");
        }
    }

    #[track_caller]
    fn alter(&self, sql: &str) {
        self.bed.database.superuser().run(sql);
    }

    /// What the mail server and the endpoint received.
    fn finish(self) -> (Record, Record) {
        drop(self.bed.session);
        (self.mail.finish(), self.endpoint.finish())
    }
}

/// A client with a secret. The scope is the last field of its form.
const CLIENT_SECRET: [(&str, &str); 4] = [
    ("user", USER),
    ("client_id", "client"),
    ("client_secret", SECRET),
    ("scope", "s"),
];

const REFRESH: [(&str, &str); 5] = [
    ("user", USER),
    ("grant_type", "refresh_token"),
    ("client_id", "client"),
    ("refresh_token", "refresh-1"),
    ("scope", "s"),
];

/// Reads a request, and answers with this status and body.
fn answer(status: &str, body: &str) -> Script {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    answer_raw(&answer)
}

fn answer_raw(answer: &str) -> Script {
    Script::new().read_until("scope=s").send(answer)
}

/// Grants a token for an hour.
fn grant(token: &str) -> Script {
    let body = format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{token}"}}"#);
    answer("200 OK", &body)
}

/// The command that shows a token.
fn xoauth2(token: &str) -> String {
    let response = format!("user={USER}\x01auth=Bearer {token}\x01\x01");
    format!("AUTH XOAUTH2 {}", STANDARD.encode(response))
}

fn greets(schemes: &str) -> Script {
    let offer = format!("250-{NAME}\r\n250 AUTH {schemes}");
    Script::new().send("220 mail\r\n").on(EHLO, &offer)
}

/// A mail server that accepts this token.
fn accepts(token: &str) -> Script {
    greets("LOGIN XOAUTH2")
        .expect(xoauth2(token))
        .send("235 2.7.0 welcome\r\n")
        .drain()
}

fn refuses(token: &str, reply: &str) -> Script {
    Script::new()
        .expect(xoauth2(token))
        .send("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n")
        .expect("")
        .send(format!("{reply}\r\n"))
}

fn form(record: &Record, index: usize) -> String {
    let text = record.conversations[index].text();
    text.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

#[test]
fn a_token_is_fetched_once_and_used_for_its_life() {
    let tokens = ["t1", "t1", "t2", "t3"];
    let mail = tokens.into_iter().map(accepts).collect();
    let endpoint = ["t1", "t2", "t3"].into_iter().map(grant).collect();
    let mut fixture = Tokens::new(&CLIENT_SECRET, mail, endpoint);
    fixture.connects();
    fixture.connects();
    let scheme: String = fixture
        .bed
        .session
        .value("SELECT min(auth_scheme) FROM utl_smtp.connections()");
    assert_eq!(scheme, "XOAUTH2");
    // What is altered has tokens of its own.
    fixture.alter("ALTER SERVER office OPTIONS (ADD paused 'false')");
    fixture.connects();
    fixture.alter("ALTER USER MAPPING FOR PUBLIC SERVER office OPTIONS (SET client_id 'other')");
    fixture.connects();
    let (_, endpoint) = fixture.finish();
    assert_eq!(endpoint.accepted(), 3);
    let fields = "grant_type=client_credentials&client_id=client&client_secret=";
    assert_eq!(form(&endpoint, 0), format!("{fields}{SECRET}&scope=s"));
    let head = endpoint.conversations[0].text();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
}

#[test]
fn a_token_that_expires_is_fetched_again() {
    let short = |token: &str| {
        let body = format!(r#"{{"access_token":"{token}","expires_in":"60"}}"#);
        answer("200 OK", &body)
    };
    let mut fixture = Tokens::new(
        &CLIENT_SECRET,
        vec![accepts("t1"), accepts("t2")],
        vec![short("t1"), short("t2")],
    );
    fixture.connects();
    fixture.connects();
    assert_eq!(fixture.finish().1.accepted(), 2);
}

#[test]
fn a_token_from_the_cache_that_is_refused_is_renewed_once() {
    let refused = "535 5.7.3 Authentication unsuccessful [x.example 2026-11-28T20:00:00.000Z 1]";
    let welcomed = Script::new()
        .expect(xoauth2("t2"))
        .send("235 ok\r\n")
        .drain();
    let both = |tokens: [&str; 2]| {
        greets("XOAUTH2")
            .then(refuses(tokens[0], refused))
            .then(refuses(tokens[1], refused))
    };
    let mail = vec![
        accepts("t1"),
        greets("XOAUTH2")
            .then(refuses("t1", refused))
            .then(welcomed),
        both(["t2", "t3"]).drain(),
        greets("XOAUTH2").then(refuses("t4", refused)).drain(),
    ];
    let endpoint = ["t1", "t2", "t3", "t4"].into_iter().map(grant).collect();
    let mut fixture = Tokens::new(&CLIENT_SECRET, mail, endpoint);
    fixture.connects();
    fixture.connects();
    let failure = fixture.connect().unwrap_err().expect("U9279");
    assert!(failure.message.contains("535 5.7.3"), "{failure}");
    assert!(failure.hint.contains("New-ServicePrincipal"), "{failure}");
    // What was fetched and refused is not tried a second time.
    fixture.connect().unwrap_err().expect("U9279");
    assert_eq!(fixture.finish().1.accepted(), 4);
}

#[test]
fn the_owner_needs_an_entry_for_the_endpoint_and_a_deny_refuses() {
    let mut fixture = Tokens::new(&CLIENT_SECRET, vec![accepts("t1")], vec![grant("t1")]);
    let (mail, endpoint) = (fixture.mail.port(), fixture.endpoint.port());
    let database = &fixture.bed.database;
    let owner = database.role("owner");
    let mut superuser = database.superuser();
    superuser.run(&format!(
        "GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO {owner};
         ALTER SERVER office OWNER TO {owner}"
    ));
    database.allow(&owner, "127.0.0.1", mail);
    let entry = |role: &str, granted: bool| {
        format!(
            "SELECT dbms_network_acl_admin.append_host_ace('127.0.0.1', {endpoint}, {endpoint},
                 dbms_network_acl_admin.xs$ace_type(ARRAY['http'], granted => {granted}, principal_name => '{role}'))"
        )
    };
    // The role's own entries do not count.
    let failure = fixture.connect().unwrap_err().expect("42501");
    assert!(failure.hint.contains("xs$name_list('http')"), "{failure}");
    assert!(failure.hint.contains(&endpoint.to_string()), "{failure}");
    superuser.run(&entry(&owner, true));
    fixture.connects();
    // Also for a token that is kept.
    superuser.run(&entry(&fixture.bed.role, false));
    let failure = fixture.connect().unwrap_err().expect("42501");
    assert!(failure.message.contains("ORA-24247"), "{failure}");
    assert_eq!(fixture.finish().1.accepted(), 1);
}

/// The entries of the server's owner count, not those of whoever opened the connection.
#[test]
fn set_credential_gets_its_token_by_the_rights_of_the_owner() {
    let mut fixture = Tokens::new(&CLIENT_SECRET, vec![accepts("t1")], vec![grant("t1")]);
    let (mail, endpoint) = (fixture.mail.port(), fixture.endpoint.port());
    let role = fixture.bed.database.role("other");
    fixture.bed.database.allow(&role, "127.0.0.1", mail);
    fixture.alter(&format!("GRANT USAGE ON FOREIGN SERVER office TO {role}"));
    fixture.bed.session = fixture.bed.database.connect(&role);
    let wallet = fixture.bed.wallet.locator();
    let open = |port| {
        let open = e2e::Open::to("127.0.0.1", port).implicit_tls();
        open.wallet(&wallet).secure_host(NAME)
    };
    let session = &mut fixture.bed.session;
    let smtp = open(mail).open(session).unwrap();
    smtp.ehlo(session, CLIENT).unwrap();
    let reply = smtp.reply(session, "set_credential", &[&"office"]).unwrap();
    assert_eq!(reply.code, 235);
    open(endpoint).open(session).unwrap_err().expect("42501");
    assert_eq!(fixture.finish().1.accepted(), 1);
}

#[test]
fn a_rotated_refresh_token_is_kept_for_the_session() {
    let rotating = |token: &str, refresh: &str| {
        let body =
            format!(r#"{{"access_token":"{token}","expires_in":60,"refresh_token":"{refresh}"}}"#);
        answer("200 OK", &body)
    };
    let mail = ["t1", "t2", "t3", "t4"].into_iter().map(accepts).collect();
    let endpoint = vec![
        rotating("t1", "refresh-2"),
        rotating("t2", "refresh-3"),
        rotating("t3", "refresh-4"),
        rotating("t4", "refresh-6"),
    ];
    let mut fixture = Tokens::new(&REFRESH, mail, endpoint);
    fixture.connects();
    // A rollback takes nothing back that the endpoint has done.
    fixture.bed.session.run("BEGIN");
    fixture.connects();
    fixture.bed.session.run("ROLLBACK");
    // Another session knows the mapping's only.
    let mut other = fixture.bed.database.connect(&fixture.bed.role);
    connect(&mut other, "office").unwrap_or_else(|failure| panic!("{failure}"));
    drop(other);
    fixture.alter(
        "ALTER USER MAPPING FOR PUBLIC SERVER office OPTIONS (SET refresh_token 'refresh-5')",
    );
    fixture.connects();
    let stored: String = fixture
        .bed
        .database
        .superuser()
        .value("SELECT array_to_string(umoptions, ' ') FROM pg_user_mapping");
    assert!(stored.contains("refresh_token=refresh-5"), "{stored}");
    let (_, endpoint) = fixture.finish();
    let shown: Vec<String> = (0..4).map(|index| form(&endpoint, index)).collect();
    let expected = ["refresh-1", "refresh-2", "refresh-1", "refresh-5"].map(|token| {
        format!("grant_type=refresh_token&client_id=client&refresh_token={token}&scope=s")
    });
    assert_eq!(shown, expected);
}

/// A key with its certificate, made by openssl.
fn key() -> (String, String) {
    let files = OpensslFixtures::new();
    files
        .key("client", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048")
        .root("client", "");
    (files.read("client.key"), files.read("client.pem"))
}

fn claims(form: &str, field: &str) -> String {
    let prefix = format!("{field}=");
    let assertion = form.split('&').find_map(|part| part.strip_prefix(&prefix));
    let claims = assertion.unwrap().split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// The signature itself is judged by openssl in the tests of the crate.
#[test]
fn a_certificate_or_a_service_account_signs_an_assertion() {
    let (key, certificate) = key();
    let mapping = [
        ("user", USER),
        ("client_id", "client"),
        ("client_key", &key),
        ("client_certificate", &certificate),
        ("scope", "s"),
    ];
    let denied = r#"{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token"}"#;
    let body = r#"{"access_token":"t2","expires_in":3599,"token_type":"Bearer"}"#;
    let length = body.len();
    let endpoint = vec![
        grant("t1"),
        Script::new().read_until("&assertion=").send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        )),
        Script::new().read_until("&assertion=").send(format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{denied}",
            denied.len()
        )),
    ];
    let mail = vec![accepts("t1"), accepts("t2"), greets("XOAUTH2").drain()];
    let mut fixture = Tokens::new(&mapping, mail, endpoint);
    fixture.connects();
    let json = format!(
        r#"{{"type":"service_account","client_email":"m@p.example","private_key":"{}"}}"#,
        key.replace('\n', "\\n")
    );
    let account = |sub: &str| {
        let options = [
            ("user", USER),
            ("grant_type", "jwt_bearer"),
            ("service_account", &json),
            ("subject", sub),
            ("scope", "s"),
        ];
        format!(
            "DROP USER MAPPING FOR PUBLIC SERVER office; CREATE USER MAPPING FOR PUBLIC SERVER office {}",
            list(&options)
        )
    };
    fixture.alter(&account("box@example.test"));
    fixture.connects();
    fixture.alter(&account("nobody@example.test"));
    let failure = fixture.connect().unwrap_err().expect("U9279");
    assert!(
        failure.detail.contains("invalid_grant: Invalid JWT"),
        "{failure}"
    );
    assert!(failure.hint.contains("clock"), "{failure}");
    let url = format!("https://127.0.0.1:{}/token", fixture.endpoint.port());
    let (_, endpoint) = fixture.finish();
    let client = claims(&form(&endpoint, 0), "client_assertion");
    assert!(
        client.contains(&format!(r#""aud":"{url}","iss":"client","sub":"client""#)),
        "{client}"
    );
    let account = claims(&form(&endpoint, 1), "assertion");
    let expected =
        format!(r#"{{"iss":"m@p.example","sub":"box@example.test","scope":"s","aud":"{url}","#);
    assert!(account.starts_with(&expected), "{account}");
}

#[test]
fn what_is_missing_is_said_before_anything_is_sent() {
    let mut fixture = Tokens::new(
        &[("user", USER)],
        vec![greets("XOAUTH2").drain()],
        vec![Script::new().drain()],
    );
    for (options, missing) in [
        ("", "client_id"),
        ("OPTIONS (ADD client_id 'c')", "client_secret"),
        ("OPTIONS (ADD password 'p')", "client_secret"),
    ] {
        if !options.is_empty() {
            fixture.alter(&format!(
                "ALTER USER MAPPING FOR PUBLIC SERVER office {options}"
            ));
        }
        let failure = fixture.connect().unwrap_err().expect("22023");
        assert!(failure.message.contains(missing), "{failure}");
        assert!(failure.hint.contains(missing), "{failure}");
    }
    assert_eq!(fixture.finish().1.accepted(), 0);
}

#[test]
fn a_token_is_shown_by_schemes_of_tokens_only() {
    let mail = vec![greets("LOGIN PLAIN OAUTHBEARER XOAUTH2").drain()];
    let mut fixture = Tokens::new(&CLIENT_SECRET, mail, vec![grant("t1")]);
    fixture.alter("ALTER SERVER office OPTIONS (ADD schemes 'PLAIN LOGIN')");
    let failure = fixture.connect().unwrap_err().expect("22023");
    assert!(
        failure.hint.contains("XOAUTH2 and OAUTHBEARER"),
        "{failure}"
    );
    let (mail, _) = fixture.finish();
    assert_eq!(mail.only().text(), format!("{EHLO}\r\n"));
}

/// What Exchange Online says, as users quote it.
#[test]
fn replies_of_exchange_have_their_remedy() {
    let disabled = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.";
    let mailbox = "430 4.2.0 STOREDRV; mailbox logon failure; failure: 1: MapiExceptionLogonFailed";
    let mail = vec![
        greets("LOGIN XOAUTH2")
            .then(refuses("t1", disabled))
            .drain(),
        greets("LOGIN XOAUTH2")
            .expect(xoauth2("t1"))
            .send("235 ok\r\n")
            .on("MAIL FROM:", mailbox)
            .drain(),
    ];
    let mut fixture = Tokens::new(&CLIENT_SECRET, mail, vec![grant("t1")]);
    let failure = fixture.connect().unwrap_err().expect("U9279");
    assert!(failure.hint.contains("Set-CASMailbox"), "{failure}");
    let smtp = fixture
        .connect()
        .unwrap_or_else(|failure| panic!("{failure}"));
    let failure = smtp.mail(&mut fixture.bed.session, USER).unwrap_err();
    let failure = failure.expect("U9278");
    assert!(failure.hint.contains("Add-MailboxPermission"), "{failure}");
}

/// Also where a session writes all that it can to the log.
#[test]
fn no_token_reaches_the_log_or_a_message() {
    let token = "eyJ0eXAi.token-token.c2ln";
    let body = format!(r#"{{"access_token":"{token}","refresh_token":"refresh-rotated"}}"#);
    let mut fixture = Tokens::new(
        &REFRESH,
        vec![accepts(token)],
        vec![answer("200 OK", &body)],
    );
    let secrets = [token, "refresh-1", "refresh-rotated"];
    for (name, value) in [
        ("log_min_messages", "debug5"),
        ("client_min_messages", "debug5"),
    ] {
        fixture.bed.database.set(name, value);
    }
    fixture.bed.session = fixture.bed.database.connect(&fixture.bed.role);
    fixture.bed.check_invariants(&secrets, |session| {
        connect(session, "office").unwrap_or_else(|failure| panic!("{failure}"));
    });
    assert_eq!(fixture.finish().1.accepted(), 1);
}
