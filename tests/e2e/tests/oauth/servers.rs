//! Foreign servers whose mapping holds a ready token.

use e2e::{Database, Failure, Issuer, MailServer, Session};

/// An option of a server or of a mapping.
type Value<'a> = (&'a str, &'a str);

/// A database with the server `office` and a mapping for PUBLIC, both made by a superuser.
struct Office {
    database: Database,
    role: String,
}

impl Office {
    /// `server` and `mapping`: options beyond the address and the user.
    fn new(server: &[Value], mapping: &[Value]) -> Self {
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

    /// A session of a role that has USAGE, and no entry in the access control list.
    fn session(&self) -> Session {
        self.database.connect(&self.role)
    }
}

/// As in OPTIONS.
fn options(values: &[Value]) -> String {
    let each = values
        .iter()
        .map(|(name, value)| format!("{name} '{}'", value.replace('\'', "''")));
    each.collect::<Vec<_>>().join(", ")
}

/// Connects to `office`. Returns the connection, or the error.
fn connect(session: &mut Session) -> Result<String, Failure> {
    let row = session.query_one("SELECT utl_smtp.connect('office')::text", &[])?;
    Ok(row.get(0))
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
