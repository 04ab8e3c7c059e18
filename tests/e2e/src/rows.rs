//! A database whose queue and log are filled by SQL, and in which no worker sends.

use crate::process::wait_until;
use crate::{Database, Session};

/// A database with a mail server `office`, whose delivery is stopped.
pub struct Fixture {
    pub database: Database,
    pub superuser: Session,
    home: String,
}

/// A message for the queue.
pub struct Message<'a> {
    pub id: i64,
    pub owner: &'a str,
    pub recipients: &'a [&'a str],
}

impl Fixture {
    pub fn new() -> Self {
        let database = Database::new();
        let mut superuser = database.superuser();
        superuser.run(
            "UPDATE utl_smtp.delivery_control SET enabled = false;
             CREATE SERVER office FOREIGN DATA WRAPPER utl_smtp OPTIONS (host 'mail.example.com');
             CREATE USER MAPPING FOR PUBLIC SERVER office",
        );
        // One that began before it was stopped still counts and sends. Those that begin later do
        // nothing.
        let worker = "SELECT EXISTS (SELECT FROM pg_stat_activity
                      WHERE datname = current_database() AND backend_type = 'utl_smtp delivery')";
        wait_until("no worker is left", || !superuser.value::<bool>(worker));
        superuser.run("UPDATE utl_smtp.worker_state SET counted_at = NULL");
        // Another one would be held by the worker.
        superuser.run("BEGIN");
        superuser
            .run("SELECT utl_smtp.submit('office', '', ARRAY['bob@example.com'], 'content'::text)");
        let home = superuser.value("SELECT home FROM utl_smtp.message");
        superuser.run("ROLLBACK");
        Self {
            database,
            superuser,
            home,
        }
    }

    /// Queues a message of this installation.
    pub fn queue(&mut self, message: &Message<'_>) {
        let home = self.home.clone();
        self.queue_from(&home, message);
    }

    /// Queues a message of an installation.
    pub fn queue_from(&mut self, home: &str, message: &Message<'_>) {
        let session = &mut self.superuser;
        session
            .execute(
                    "INSERT INTO utl_smtp.message (message_id, server, server_name, owner, owner_name, sender,
                         parameters, subject, size, at_most_once, home, submitted_at, due_at, next_attempt_at)
                     SELECT $1, s.oid, s.srvname, r.oid, r.rolname, 'app@example.com', '', 'Secret subject', 1000,
                            false, $3, now(), now(), now()
                     FROM pg_foreign_server AS s, pg_roles AS r WHERE s.srvname = 'office' AND r.rolname = $2",
                &[&message.id, &message.owner, &home],
            )
            .unwrap();
        session
            .execute(
                "INSERT INTO utl_smtp.message_recipient (message_id, recipient_no, recipient, parameters, next_attempt_at)
                 SELECT $1, number, address, '', now() FROM unnest($2::text[]) WITH ORDINALITY AS r (address, number)",
                &[&message.id, &message.recipients],
            )
            .unwrap();
        session
            .execute(
                "INSERT INTO utl_smtp.message_content VALUES ($1, 1, 'content')",
                &[&message.id],
            )
            .unwrap();
    }

    /// Lets a recipient have had an attempt that failed for now.
    pub fn defer(&mut self, id: i64, recipient_no: i32, reply: &str) {
        let sql = "UPDATE utl_smtp.message_recipient
                   SET attempts = attempts + 1, last_attempt_at = now(), next_attempt_at = now() + interval '1 hour',
                       last_reply = $3
                   WHERE message_id = $1 AND recipient_no = $2";
        self.superuser
            .execute(sql, &[&id, &recipient_no, &reply])
            .unwrap();
        self.superuser
            .execute(
                "UPDATE utl_smtp.message AS m SET last_attempt_at = now(),
                     next_attempt_at = (SELECT min(next_attempt_at) FROM utl_smtp.message_recipient AS r
                                        WHERE r.message_id = m.message_id)
                 WHERE message_id = $1",
                &[&id],
            )
            .unwrap();
    }

    /// Puts a final result into the log. `finished` is an expression.
    pub fn log(&mut self, id: i64, owner: &str, state: &str, finished: &str, reply: &str) {
        let sql = format!(
            "INSERT INTO utl_smtp.delivery_log (message_id, recipient_no, recipient, state, server, server_name, owner,
                 owner_name, sender, subject, size, submitted_at, attempts, finished_at, last_reply, remote)
             SELECT $1, 1, 'bob@example.com', $3, s.oid, s.srvname, r.oid, r.rolname, 'app@example.com',
                    'Secret subject', 1000, {finished} - interval '10 seconds', 1, {finished}, $4,
                    'mail.example.com[192.0.2.1]:587'
             FROM pg_foreign_server AS s, pg_roles AS r WHERE s.srvname = 'office' AND r.rolname = $2"
        );
        self.superuser
            .execute(&sql, &[&id, &owner, &state, &reply])
            .unwrap();
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

/// The first column of a query, as text.
pub fn column(session: &mut Session, query: &str) -> Vec<String> {
    let rows = session.query(query, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
