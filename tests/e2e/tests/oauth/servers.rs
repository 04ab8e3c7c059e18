//! Foreign servers whose mapping holds a ready token, or whose token endpoint is asked for one.

use super::{mark, sent_as, under_tls};
use e2e::process::wait_until;
use e2e::{Database, Failure, Issuer, MailServer, Session};

/// An option of a server or of a mapping.
pub type Value<'a> = (&'a str, &'a str);

/// A database with the server `office` and a mapping for PUBLIC, both made by a superuser.
pub struct Office {
    database: Database,
    role: String,
}

impl Office {
    /// `server` and `mapping`: options beyond the address and the user.
    pub fn new(server: &[Value], mapping: &[Value]) -> Self {
        let mail = MailServer::shared();
        let (port, wallet) = (mail.submission.to_string(), format!("file:{}", mail.wallet));
        let database = Database::new();
        let role = database.role("app");
        let address = [
            ("host", mail.host.as_str()),
            ("port", &port),
            ("wallet_path", &wallet),
        ];
        let login = [("user", mail.user.as_str())];
        let mut session = database.superuser();
        session.run(&format!(
            "CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS ({});
             CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS ({});
             GRANT USAGE ON FOREIGN SERVER office TO {role}",
            options(&[&address, server].concat()),
            options(&[&login, mapping].concat()),
        ));
        Self { database, role }
    }

    /// With the token endpoint of the issuer, whose requests get this mark. `fields`: what the
    /// request asks for beyond that.
    pub fn with_endpoint(
        server: &[Value],
        mapping: &[Value],
        mark: &str,
        fields: &[Value],
    ) -> Self {
        let issuer = Issuer::shared();
        let wallet = format!("file:{}", issuer.wallet);
        let endpoint = [
            ("token_endpoint", issuer.token_endpoint.as_str()),
            ("token_wallet_path", &wallet),
        ];
        let mut parameters = format!("test_mark={mark}");
        for (name, value) in fields {
            parameters += &format!("&{name}={value}");
        }
        let parameters = [("parameters", parameters.as_str())];
        Self::new(
            &[&endpoint, server].concat(),
            &[&parameters, mapping].concat(),
        )
    }

    /// With the secret of the client.
    pub fn with_secret(mark: &str, fields: &[Value]) -> Self {
        Self::with_endpoint(&[], &client(), mark, fields)
    }

    /// A session of a role that has USAGE, and no entry in the access control list.
    pub fn session(&self) -> Session {
        self.database.connect(&self.role)
    }

    pub fn run(&self, sql: &str) {
        self.database.superuser().run(sql);
    }
}

/// What the mapping of the client's secret holds.
pub fn client() -> [Value<'static>; 3] {
    let issuer = Issuer::shared();
    [
        ("client_id", &issuer.client_id),
        ("client_secret", &issuer.client_secret),
        ("scope", &issuer.scope),
    ]
}

/// As in OPTIONS.
pub fn options(values: &[Value]) -> String {
    let each = values
        .iter()
        .map(|(name, value)| format!("{name} '{}'", value.replace('\'', "''")));
    each.collect::<Vec<_>>().join(", ")
}

/// Connects to `office`. Returns the connection, or the error.
pub fn connect(session: &mut Session) -> Result<String, Failure> {
    let row = session.query_one("SELECT utl_smtp.connect('office')::text", &[])?;
    Ok(row.get(0))
}

/// Connects to `office`, which must log in as alice, and quits.
#[track_caller]
pub fn log_in(session: &mut Session) {
    let c = connect(session).unwrap_or_else(|failure| panic!("{failure}"));
    let login = "SELECT auth_scheme || ' ' || authenticated_as FROM utl_smtp.connections()";
    let user = &MailServer::shared().user;
    assert_eq!(session.value::<String>(login), format!("XOAUTH2 {user}"));
    session.run(&format!("SELECT utl_smtp.quit('{c}')"));
}

#[test]
fn a_mapping_can_hold_a_ready_token() {
    let token = Issuer::shared().access_token(&[]);
    for scheme in ["XOAUTH2", "OAUTHBEARER"] {
        let office = Office::new(&[("schemes", scheme)], &[("password", &token)]);
        let mut session = office.session();
        connect(&mut session).unwrap_or_else(|failure| panic!("{scheme}: {failure}"));
        let login = "SELECT auth_scheme || ' ' || authenticated_as FROM utl_smtp.connections()";
        let user = &MailServer::shared().user;
        assert_eq!(session.value::<String>(login), format!("{scheme} {user}"));
    }
}

#[test]
fn a_fetched_token_delivers_and_each_recipient_has_its_reply() {
    let (mail, issuer) = (MailServer::shared(), Issuer::shared());
    for method in ["post", "basic"] {
        let mark = mark(&format!("fetched-{method}"));
        let office = Office::with_endpoint(&[("client_auth", method)], &client(), &mark, &[]);
        let mut session = office.session();
        let c = connect(&mut session).unwrap_or_else(|failure| panic!("{method}: {failure}"));
        let query = format!(
            "SELECT string_agg(recipient || ' ' || code || ' ' || text, E'\\n')
               FROM utl_smtp.send_message('{c}', '{user}', ARRAY['bob@example.test', 'nobody@example.test'],
                   E'From: <{user}>\\r\\nSubject: {mark}\\r\\n\\r\\nHello.\\r\\n')",
            user = mail.user
        );
        let rows: String = session.value(&query);
        let (bob, nobody) = rows.split_once('\n').unwrap();
        assert!(bob.starts_with("bob@example.test 250 2.0.0 Ok"), "{rows}");
        assert!(
            nobody.starts_with("nobody@example.test 550 5.1.1"),
            "{rows}"
        );

        mail.delivered("bob", &mark);
        let number = bob.rsplit(' ').next().unwrap();
        assert_eq!(sent_as(number), format!("XOAUTH2 {}", mail.user));
        let requests = issuer.requests(&mark);
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0]["client_auth"], method);
        assert_eq!(requests[0]["grant_type"], "client_credentials");
        assert_eq!(requests[0]["scope"], issuer.scope.as_str());
    }
}

#[test]
fn set_credential_fetches_a_token_for_a_connection_opened_by_hand() {
    let (mark, issuer, mail) = (mark("credential"), Issuer::shared(), MailServer::shared());
    let office = Office::with_secret(&mark, &[]);
    office
        .database
        .allow(&office.role, &mail.host, mail.submission);
    office.database.set("utl_smtp.wallet_roots", &mail.wallet);
    let mut session = office.session();
    let smtp = under_tls(&mut session);
    let call = "SELECT (utl_smtp.set_credential($1::text::utl_smtp.connection, 'office', $2)).code";
    let schemes = "OAUTHBEARER";
    let row = session.query_one(call, &[&smtp.handle, &schemes]).unwrap();
    assert_eq!(row.get::<_, i32>(0), 235);
    let login = "SELECT auth_scheme || ' ' || authenticated_as FROM utl_smtp.connections()";
    assert_eq!(
        session.value::<String>(login),
        format!("{schemes} {}", mail.user)
    );
    assert_eq!(issuer.requests(&mark).len(), 1);
}

#[test]
fn a_token_is_fetched_once_for_a_session_and_again_when_the_mapping_changes() {
    let (mark, issuer) = (mark("cached"), Issuer::shared());
    let office = Office::with_secret(&mark, &[]);
    let (mut one, mut two) = (office.session(), office.session());
    for _ in 0..3 {
        log_in(&mut one);
    }
    assert_eq!(issuer.requests(&mark).len(), 1);
    log_in(&mut two);
    assert_eq!(issuer.requests(&mark).len(), 2);
    office.run("ALTER USER MAPPING FOR PUBLIC SERVER office OPTIONS (SET scope 'another')");
    log_in(&mut one);
    let requests = issuer.requests(&mark);
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[2]["scope"], "another");
    office.run("ALTER SERVER office OPTIONS (ADD client_auth 'basic')");
    log_in(&mut one);
    let requests = issuer.requests(&mark);
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[3]["client_auth"], "basic");
}

#[test]
fn a_cached_token_that_the_mail_server_refuses_is_renewed_once() {
    // On a busy machine a token may expire before it is shown; then a longer life is tried.
    let lifetimes = ["1", "4", "16"];
    assert!(lifetimes.into_iter().any(renewed_after), "not renewed");
}

/// Whether a session fetches another token after `lifetime` seconds. The issuer says that a token
/// is valid for an hour.
fn renewed_after(lifetime: &str) -> bool {
    let mark = mark(&format!("renewed-{lifetime}"));
    let issuer = Issuer::shared();
    let fields = [("test_lifetime", lifetime), ("test_expires_in", "3600")];
    let office = Office::with_secret(&mark, &fields);
    let mut session = office.session();
    if connect(&mut session).is_err() {
        return false;
    }
    assert_eq!(issuer.requests(&mark).len(), 1);
    // A later token than the one in the cache: when it has expired, both have.
    let witness = issuer.access_token(&fields);
    let witness = Office::new(&[("schemes", "XOAUTH2")], &[("password", &witness)]);
    let mut other = witness.session();
    wait_until("the token expires", || match connect(&mut other) {
        Ok(c) => {
            other.run(&format!("SELECT utl_smtp.quit('{c}')"));
            false
        }
        Err(failure) => {
            failure.expect("U9279");
            true
        }
    });
    let result = connect(&mut session);
    assert_eq!(issuer.requests(&mark).len(), 2);
    result.is_ok()
}

/// A fresh token that is refused is not asked for again.
#[test]
fn a_token_that_the_mail_server_always_refuses_is_the_servers_535() {
    let (mark, issuer) = (mark("of-bob"), Issuer::shared());
    let office = Office::with_secret(&mark, &[("test_mailbox", "bob@example.test")]);
    let mut session = office.session();
    let failure = connect(&mut session).unwrap_err().expect("U9279");
    assert!(failure.message.contains("535 5.7.8"), "{failure}");
    assert_eq!(issuer.requests(&mark).len(), 1);
    assert_eq!(
        session.value::<i64>("SELECT count(*) FROM utl_smtp.connections()"),
        0
    );
    connect(&mut session).unwrap_err().expect("U9279");
    assert_eq!(issuer.requests(&mark).len(), 2);
}

#[test]
fn a_refusal_of_the_issuer_is_shown_in_its_words() {
    let (mark, issuer) = (mark("refusal"), Issuer::shared());
    let wrong = [
        ("client_id", issuer.client_id.as_str()),
        ("client_secret", "not-the-secret-3"),
        ("scope", &issuer.scope),
    ];
    let office = Office::with_endpoint(&[], &wrong, &mark, &[]);
    let mut session = office.session();
    let failure = connect(&mut session).unwrap_err().expect("U9279");
    for text in ["invalid_client", "invalid client secret provided"] {
        assert!(failure.detail.contains(text), "{failure}");
    }
    let text = failure.to_string();
    assert!(!text.contains("not-the-secret-3"), "{text}");
    assert_eq!(issuer.requests(&mark).len(), 1);

    let mark = super::mark("busy");
    let busy = [("test_status", "429"), ("test_failures", "1")];
    let office = Office::with_secret(&mark, &busy);
    let mut session = office.session();
    connect(&mut session).unwrap_err().expect("U9278");
    log_in(&mut session);
    assert_eq!(issuer.requests(&mark).len(), 2);
}

/// The access control list is asked for the owner of the server, and for both hosts.
#[test]
fn the_owner_of_the_server_needs_an_entry_for_the_token_endpoint() {
    let (mark, issuer, mail) = (mark("owner"), Issuer::shared(), MailServer::shared());
    let office = Office::with_secret(&mark, &[]);
    let owner = office.database.role("owner");
    office.run(&format!(
        "GRANT USAGE ON FOREIGN DATA WRAPPER utl_smtp TO {owner};
         ALTER DATABASE {} SET utl_smtp.wallet_roots = '{}';
         ALTER SERVER office OWNER TO {owner}",
        office.database.name(),
        mail.wallet
    ));
    let mut session = office.session();
    let refused = connect(&mut session).unwrap_err().expect("42501");
    assert!(refused.message.contains("ORA-24247"), "{refused}");
    office.database.allow(&owner, &mail.host, mail.submission);
    let refused = connect(&mut session).unwrap_err().expect("42501");
    assert!(refused.hint.contains(&issuer.port.to_string()), "{refused}");
    assert_eq!(issuer.requests(&mark).len(), 0);
    office.database.allow(&owner, &issuer.host, issuer.port);
    log_in(&mut session);
    assert_eq!(issuer.requests(&mark).len(), 1);
}
