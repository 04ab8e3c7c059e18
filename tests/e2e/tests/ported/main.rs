//! Programs in Oracle style, changed only where PL/pgSQL requires it, and the mail that arrives.
//!
//! Each program is a plain SQL file in `programs/`, as it is after the steps of the migration page.
//! The programs read the server's address from settings `mail.…`; real programs have literals,
//! constants or a table.

mod attachments;
mod content;
mod failures;
mod logins;
mod mime;
mod packages;
mod recipients;

use e2e::mail::Message;
use e2e::{Database, Failure, MailServer, Session, closed_port};

/// An unprivileged role in a new database that may connect to one port of one mail server.
struct MailFixture {
    session: Session,
    database: Database,
    server: &'static MailServer,
    port: u16,
    /// Identifies this test's mail.
    mark: String,
}

impl MailFixture {
    /// Uses the port without TLS and login, which accepts local mail only.
    fn plain(test: &str) -> Self {
        Self::plain_at(MailServer::shared(), test)
    }

    fn plain_at(server: &'static MailServer, test: &str) -> Self {
        Self::at(server, server.plain, test)
    }

    /// Uses the port that requires TLS and a login.
    fn submission(server: &'static MailServer, test: &str) -> Self {
        Self::at(server, server.submission, test)
    }

    fn at(server: &'static MailServer, port: u16, test: &str) -> Self {
        let database = Database::new();
        database.set("utl_smtp.wallet_roots", &server.wallet);
        let role = database.role("app");
        database.allow(&role, &server.host, port);
        database.superuser().run(&format!(
            "GRANT CREATE ON SCHEMA public TO {role};
             GRANT CREATE ON DATABASE {} TO {role}",
            database.name()
        ));
        let mut fixture = Self {
            session: database.connect(&role),
            database,
            server,
            port,
            mark: format!("ported-{test}-{}", std::process::id()),
        };
        fixture.settings();
        fixture
    }

    /// Continues in a new session, which has not loaded the extension yet.
    fn reconnect(&mut self) {
        let role: String = self.session.value("SELECT current_user::text");
        self.session = self.database.connect(&role);
        self.settings();
    }

    fn settings(&mut self) {
        let (server, mark) = (self.server, self.mark.clone());
        self.set("host", &server.host);
        self.set("port", &self.port.to_string());
        self.set("wallet", &server.wallet);
        self.set("user", &server.user);
        self.set("password", &server.password);
        self.set("mark", &mark);
    }

    /// Sets `mail.…` in this session.
    fn set(&mut self, name: &str, value: &str) {
        let set = "SELECT set_config($1, $2, false)";
        let name = format!("mail.{name}");
        self.session.execute(set, &[&name, &value]).unwrap();
    }

    /// Allows this session's role to connect to another port of the host.
    fn allow(&mut self, port: u16) {
        let role: String = self.session.value("SELECT current_user::text");
        self.database.allow(&role, &self.server.host, port);
    }

    /// Runs a program that must succeed and close its connections; returns its notices.
    #[track_caller]
    fn run(&mut self, program: &str) -> Vec<String> {
        self.try_run(program)
            .unwrap_or_else(|failure| panic!("{program}: {failure}"));
        let open = "SELECT count(*) FROM utl_smtp.connections()";
        assert_eq!(
            self.session.value::<i64>(open),
            0,
            "{program} left a connection"
        );
        self.session.notice_texts()
    }

    fn try_run(&mut self, program: &str) -> Result<(), Failure> {
        let file = format!(
            "{}/tests/ported/programs/{program}.sql",
            env!("CARGO_MANIFEST_DIR")
        );
        self.session
            .try_run(&std::fs::read_to_string(file).unwrap())
    }

    /// The message with this test's mark.
    #[track_caller]
    fn delivered(&self, mailbox: &str) -> Message {
        self.server.delivered(mailbox, &self.mark)
    }

    /// One of several messages of this test.
    #[track_caller]
    fn delivered_of(&self, mailbox: &str, which: &str) -> Message {
        self.server
            .delivered(mailbox, &format!("{}-{which}", self.mark))
    }
}
