//! DKIM: what `dkim_sign` makes, judged by dkimpy and OpenDKIM, and the keys that it signs with.

mod arrival;
mod keys;
mod messages;
mod rights;

use e2e::dkim::{ED25519, RSA, dkimpy, key, record, set_key, verdicts};
use e2e::openssl::OpensslFixtures;
use e2e::{Database, Failure, Session};

/// A database whose domain `example.test` has an RSA key `one` and an Ed25519 key `two`.
struct Domain {
    database: Database,
    session: Session,
}

impl Domain {
    fn new() -> Self {
        let database = Database::new();
        let mut session = database.superuser();
        for (selector, kind) in [("one", RSA), ("two", ED25519)] {
            set_key(&mut session, "example.test", selector, &key(kind)).unwrap();
        }
        Self { database, session }
    }

    /// Name and content of each TXT record.
    fn records(&mut self) -> Vec<[String; 2]> {
        ["one", "two"]
            .map(|selector| {
                let name = format!("{selector}._domainkey.example.test");
                [
                    name,
                    record(&mut self.session, "example.test", selector).unwrap(),
                ]
            })
            .to_vec()
    }

    #[track_caller]
    fn sign(&mut self, message: &[u8]) -> Vec<u8> {
        sign(&mut self.session, message, "example.test").unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asserts that both judges find two valid signatures.
    #[track_caller]
    fn assert_valid(&mut self, message: &[u8]) {
        let verdicts = verdicts(message, &self.records());
        let text = String::from_utf8_lossy(message);
        assert_eq!(verdicts, [[true, true]; 2], "{text:.2000}");
    }

    /// Asserts that both judges refuse both signatures.
    #[track_caller]
    fn assert_invalid(&mut self, message: &[u8]) {
        let verdicts = verdicts(message, &self.records());
        let text = String::from_utf8_lossy(message);
        assert_eq!(verdicts, [[false, false]; 2], "{text:.2000}");
    }
}

fn sign(session: &mut Session, message: &[u8], domain: &str) -> Result<Vec<u8>, Failure> {
    let row = session.query_one("SELECT utl_smtp.dkim_sign($1, $2)", &[&message, &domain])?;
    Ok(row.get(0))
}
