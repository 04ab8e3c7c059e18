//! Approved senders: in whose name a role may send.

use e2e::rows::{Fixture, column};
use e2e::{Database, Failure, Open, Peer, Script, Session, Smtp};

const HOST: &str = "127.0.0.1";

/// A connection of a role to a server that accepts everything, where senders must be approved.
struct Conversation {
    database: Database,
    role: String,
    session: Session,
    smtp: Smtp,
    peer: Peer,
}

impl Conversation {
    fn begin() -> Self {
        let peer = Peer::start(Script::greeting().answer_all(|line| match line {
            "DATA" => b"354 go ahead\r\n".to_vec(),
            "AUTH LOGIN" => b"334 VXNlcm5hbWU6\r\n".to_vec(),
            _ => b"250 ok\r\n".to_vec(),
        }));
        let database = Database::new();
        database.set("utl_smtp.require_approved_sender", "on");
        database.set("utl_smtp.allow_cleartext_auth", "on");
        let role = database.role("app");
        database.allow(&role, HOST, peer.port());
        let mut session = database.connect(&role);
        let smtp = Open::to(HOST, peer.port()).open(&mut session).unwrap();
        Self {
            database,
            role,
            session,
            smtp,
            peer,
        }
    }

    fn mail(&mut self, sender: &str) -> Result<(), Failure> {
        self.smtp.mail(&mut self.session, sender).map(drop)
    }

    /// Which of these senders are accepted.
    fn accepted<'a>(&mut self, senders: &[&'a str]) -> Vec<&'a str> {
        let accepted = |sender: &&&str| match self.mail(sender) {
            Ok(()) => true,
            Err(failure) => {
                failure.expect("42501");
                false
            }
        };
        senders.iter().filter(accepted).copied().collect()
    }

    fn approve(&self, principal: &str, sender: &str) {
        approve(&self.database, principal, sender);
    }

    /// The senders that the server has heard.
    fn heard(self) -> Vec<String> {
        let record = self.peer.finish();
        let lines = record.only().lines();
        lines
            .into_iter()
            .filter(|line| line.to_uppercase().contains("FROM:"))
            .collect()
    }
}

fn approve(database: &Database, principal: &str, sender: &str) {
    let sql = "SELECT utl_smtp.approve_sender($1, $2)";
    let mut session = database.superuser();
    session.execute(sql, &[&principal, &sender]).unwrap();
}

#[test]
fn only_approved_senders_reach_the_server() {
    let mut it = Conversation::begin();
    let failure = it.mail("ann@example.com").unwrap_err().expect("42501");
    let call = format!(
        "SELECT utl_smtp.approve_sender('{}', 'ann@example.com');",
        it.role
    );
    assert!(failure.hint.ends_with(&call), "{failure}");
    assert!(failure.message.contains("ann@example.com"), "{failure}");
    it.database.superuser().run(&call);
    let all = [
        "ann@example.com",
        "ANN@Example.COM",
        "\"ann\"@example.com",
        "",
        "<>",
        "ann+x@example.com",
        "bob@example.com",
        "ann@sub.example.com",
        "ann@example.org",
    ];
    assert_eq!(it.accepted(&all), all[..5]);
    let role = it.role.clone();
    it.approve(&role, "*@Example.org");
    assert!(it.accepted(&["*@example.com"]).is_empty());
    let all = [
        "bob@example.org",
        "BOB@EXAMPLE.ORG",
        "bob@sub.example.org",
        "bob@example.org.uk",
    ];
    assert_eq!(it.accepted(&all), all[..2]);
    let recipients = ["x@example.com"];
    let sent = it.smtp.send_message(
        &mut it.session,
        "bob@example.com",
        &recipients,
        "Subject: x\r\n\r\nx",
    );
    sent.unwrap_err().expect("42501");
    let heard = it.heard();
    assert_eq!(heard.len(), 7, "{heard:?}");
}

/// A command line of the caller's own is no way around.
#[test]
fn a_command_that_begins_a_mail_is_judged_too() {
    let mut it = Conversation::begin();
    let role = it.role.clone();
    it.approve(&role, "ann@example.com");
    let refused = [
        ("MAIL FROM:<bob@example.com>", None),
        ("mail", Some("from:<bob@example.com>")),
        ("  Mail", Some("   From: <bob@example.com> SIZE=1")),
        ("MAIL FROM:bob@example.com", None),
        ("MAIL FROM:ann@example.com", None),
        ("MAIL FROM:<ann@example.com>x", None),
        ("MAIL FROM:<\"ann@example.com>\"@example.org>", None),
        ("MAIL TO:<ann@example.com>", None),
        ("MAIL", None),
        ("MAILFROM:<ann@example.com>", None),
        ("SEND FROM:<ann@example.com>", None),
        ("SOML FROM:<ann@example.com>", None),
        ("SAML FROM:<ann@example.com>", None),
    ];
    for (command, argument) in refused {
        let reply = it.smtp.command(&mut it.session, command, argument);
        let failure = reply.unwrap_err().expect("42501");
        assert!(failure.hint.contains("utl_smtp."), "{command}: {failure}");
    }
    for command in [
        "MAIL FROM:<Ann@example.com>",
        "mail from: <ann@example.com> SIZE=1",
        "MAIL FROM:<>",
        "NOOP MAIL FROM:<bob@example.com>",
        "RSET",
    ] {
        it.smtp.command(&mut it.session, command, None).unwrap();
    }
    // In an exchange of AUTH the line is an answer, whatever it looks like.
    it.smtp
        .command(&mut it.session, "AUTH LOGIN", None)
        .unwrap();
    it.smtp.command(&mut it.session, "MAIL", None).unwrap();
    assert_eq!(it.heard().len(), 4);
}

#[test]
fn membership_counts_and_so_does_public() {
    let mut it = Conversation::begin();
    let (role, group) = (it.role.clone(), it.database.role("group"));
    it.approve(&group, "group@example.com");
    it.approve("Public", "all@example.com");
    let all = ["group@example.com", "all@example.com"];
    assert_eq!(it.accepted(&all), all[1..]);
    it.database
        .superuser()
        .run(&format!("GRANT {group} TO {role}"));
    assert_eq!(it.accepted(&all), all);
    it.database.superuser().run(&format!(
        "ALTER ROLE {role} NOINHERIT; REVOKE {group} FROM {role}; GRANT {group} TO {role}"
    ));
    assert_eq!(it.accepted(&all), all[1..]);
    // The role of the moment counts.
    it.session.run(&format!("SET ROLE {group}"));
    let failure = it.mail("group@example.com").unwrap_err().expect("42501");
    assert!(failure.message.contains("connection"), "{failure}");
}

/// Only those who may set it, and only where it is on.
#[test]
fn the_setting_is_the_administrators() {
    let mut it = Conversation::begin();
    let off = "SET utl_smtp.require_approved_sender = off";
    it.session.try_run(off).unwrap_err().expect("42501");
    it.mail("ann@example.com").unwrap_err().expect("42501");
    it.database.set("utl_smtp.require_approved_sender", "off");
    it.session = it.database.connect(&it.role);
    it.smtp = Open::to(HOST, it.peer.port())
        .open(&mut it.session)
        .unwrap();
    it.mail("ann@example.com").unwrap();
}

#[test]
fn utl_mail_sends_as_approved_senders_only() {
    let mut it = Conversation::begin();
    it.database.superuser().run("CREATE EXTENSION utl_mail");
    it.approve("public", "ann@example.com");
    let out_server = format!("SET utl_mail.smtp_out_server = '{HOST}:{}'", it.peer.port());
    it.session.run(&out_server);
    let send = |sender: &str| {
        format!("SELECT utl_mail.send('{sender}', 'x@example.com', subject => 'x', message => 'x')")
    };
    let failure = it.session.try_run(&send("bob@example.com"));
    failure.unwrap_err().expect("42501");
    let failure = it.session.try_run(&send("Ann <ann@example.com>"));
    assert_ne!(
        failure.err().map(|failure| failure.sqlstate).as_deref(),
        Some("42501")
    );
}

#[test]
fn what_was_approved_can_be_revoked() {
    let mut fixture = Fixture::new();
    let app = fixture.database.role("app");
    let quoted = "Odd \"role\"'";
    fixture
        .superuser
        .run("DROP ROLE IF EXISTS \"Odd \"\"role\"\"'\"; CREATE ROLE \"Odd \"\"role\"\"'\"");
    for (principal, sender) in [
        (app.as_str(), "Ann@Example.com"),
        (&app, "ANN@example.com"),
        (&app, "*@B\u{fc}cher.example"),
        (quoted, "*"),
        ("PUBLIC", "ann@example.com"),
    ] {
        approve(&fixture.database, principal, sender);
    }
    let shown = "SELECT principal::text || ' ' || sender FROM utl_smtp.approved_sender ORDER BY sender, principal::text";
    assert_eq!(
        column(&mut fixture.superuser, shown),
        [
            "\"Odd \"\"role\"\"'\" *".to_owned(),
            format!("{app} *@xn--bcher-kva.example"),
            "- ann@example.com".to_owned(),
            format!("{app} ann@example.com"),
        ]
    );
    let revoke = "SELECT utl_smtp.revoke_sender($1, $2)";
    for (principal, sender) in [
        (app.as_str(), "ANN@EXAMPLE.COM"),
        (quoted, "*"),
        (quoted, "*"),
    ] {
        fixture
            .superuser
            .execute(revoke, &[&principal, &sender])
            .unwrap();
    }
    assert_eq!(column(&mut fixture.superuser, shown).len(), 2);
    let said = fixture.superuser.notice_texts();
    assert!(
        said.iter().any(|text| text.contains("is not approved")),
        "{said:?}"
    );
    fixture.superuser.run("DROP ROLE \"Odd \"\"role\"\"'\"");
    for (principal, sender, code) in [
        ("nobody here", "'ann@example.com'", "42704"),
        (&app, "'ann@'", "22023"),
        (&app, "'*@'", "22023"),
        (&app, "'*.example.com'", "22023"),
        (&app, "'*@*.example.com'", "22023"),
        (&app, "'ann*@example.com'", "22023"),
        (&app, "'ann@example.com, bob@example.com'", "22023"),
        (&app, "''", "22023"),
        (&app, "NULL", "22023"),
    ] {
        let call = format!("SELECT utl_smtp.approve_sender('{principal}', {sender})");
        fixture.superuser.try_run(&call).unwrap_err().expect(code);
    }
    let insert =
        format!("INSERT INTO utl_smtp.approved_sender VALUES ('{app}', 'Ann@example.com')");
    fixture
        .superuser
        .try_run(&insert)
        .unwrap_err()
        .expect("23514");
}
