//! A database in which conversations are recorded and nothing is sent, and what is in its queue
//! then.

use e2e::{Database, Failure, Open, Session, Smtp};

/// The host of the mail server `office`, which nobody connects to.
pub const HOST: &str = "mail.example.test";
pub const PORT: u16 = 587;

pub struct Recorder {
    /// Of a role that may use `office`; its conversations are recorded.
    pub session: Session,
    pub superuser: Session,
    pub database: Database,
    pub role: String,
}

/// A message in the queue.
#[derive(Debug)]
pub struct Queued {
    pub id: i64,
    pub server: String,
    pub owner: String,
    pub sender: String,
    pub parameters: String,
    pub subject: Option<String>,
    pub size: i64,
    /// Addresses, with their parameters.
    pub recipients: Vec<String>,
    pub content: Vec<u8>,
}

impl Recorder {
    /// `options`: of the server, besides its host.
    pub fn with(options: &str) -> Self {
        let database = Database::new();
        let role = database.role("app");
        let mut superuser = database.superuser();
        superuser.run(&format!(
            "UPDATE utl_smtp.delivery_control SET enabled = false;
             CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host '{HOST}'{options});
             CREATE USER MAPPING FOR PUBLIC SERVER office OPTIONS (user 'mailer', password 'wonderland');
             GRANT USAGE ON FOREIGN SERVER office TO {role}"
        ));
        database.set("utl_smtp.delivery", "on_commit");
        Self {
            session: database.connect(&role),
            superuser,
            database,
            role,
        }
    }

    pub fn new() -> Self {
        Self::with("")
    }

    #[track_caller]
    pub fn open(&mut self) -> Smtp {
        Open::to(HOST, PORT).open(&mut self.session).unwrap()
    }

    /// A conversation in which MAIL and RCPT have been said.
    #[track_caller]
    pub fn addressed(&mut self) -> Smtp {
        let smtp = self.open();
        smtp.ehlo(&mut self.session, "db.example.com").unwrap();
        self.address(&smtp).unwrap();
        smtp
    }

    pub fn address(&mut self, smtp: &Smtp) -> Result<(), Failure> {
        smtp.mail(&mut self.session, "app@example.com")?;
        smtp.rcpt(&mut self.session, "bob@example.com")?;
        Ok(())
    }

    /// What is in the queue, in the order of the numbers.
    pub fn queue(&mut self) -> Vec<Queued> {
        let query = "
            SELECT m.message_id, m.server_name, m.owner_name, m.sender, m.parameters, m.subject, m.size,
                   (SELECT array_agg(rtrim(r.recipient || ' ' || r.parameters) ORDER BY r.recipient_no)
                    FROM utl_smtp.message_recipient AS r WHERE r.message_id = m.message_id),
                   (SELECT string_agg(c.piece, '' ORDER BY c.piece_no)
                    FROM utl_smtp.message_content AS c WHERE c.message_id = m.message_id)
            FROM utl_smtp.message AS m ORDER BY m.message_id";
        let rows = self.superuser.query(query, &[]).unwrap();
        let queued = |row: &postgres::Row| Queued {
            id: row.get(0),
            server: row.get(1),
            owner: row.get(2),
            sender: row.get(3),
            parameters: row.get(4),
            subject: row.get(5),
            size: row.get(6),
            recipients: row.get(7),
            content: row.get(8),
        };
        rows.iter().map(queued).collect()
    }

    /// The only message of the queue.
    #[track_caller]
    pub fn only(&mut self) -> Queued {
        let mut queue = self.queue();
        assert_eq!(queue.len(), 1, "{queue:?}");
        queue.remove(0)
    }

    /// Rows of messages, of recipients and of contents: what is left of a message that was rolled
    /// back must be none.
    pub fn rows(&mut self) -> [i64; 3] {
        ["message", "message_recipient", "message_content"].map(|table| {
            self.superuser
                .value(&format!("SELECT count(*) FROM utl_smtp.{table}"))
        })
    }
}

impl Queued {
    /// The message without the fields Date and Message-ID that were put before it.
    #[track_caller]
    pub fn message(&self) -> &[u8] {
        let mut rest = self.content.as_slice();
        for field in ["Date: ", "Message-ID: "] {
            let text = self.content.escape_ascii();
            assert!(rest.starts_with(field.as_bytes()), "no {field} in {text}");
            let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
            rest = &rest[end + 2..];
        }
        rest
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}
