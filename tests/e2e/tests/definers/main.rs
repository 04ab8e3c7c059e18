//! Settings of a role must not affect functions that run as another role, and must not hide the
//! administrator's configuration.

mod caller;
mod startup;
mod trace;

use e2e::{Database, Session};

/// A database with a role that owns functions and a role that calls them.
struct Fixture {
    database: Database,
    definer: String,
    caller: String,
}

impl Fixture {
    fn new() -> Self {
        let database = Database::new();
        let [definer, caller] = ["definer", "caller"].map(|name| database.role(name));
        let mut owner = database.superuser();
        owner.run("CREATE SCHEMA s; GRANT USAGE, CREATE ON SCHEMA s TO PUBLIC; LOAD 'utl_smtp'");
        let fixture = Self {
            database,
            definer,
            caller,
        };
        fixture.probe(&mut owner, &fixture.definer, "probe", "");
        fixture.probe(
            &mut owner,
            &fixture.definer,
            "judging",
            "SET utl_smtp.raise_reply_errors = off",
        );
        fixture
    }

    /// Creates a function of this role that returns whether errors are raised in it.
    fn probe(&self, owner: &mut Session, role: &str, name: &str, header: &str) {
        owner.run(&format!(
            "CREATE FUNCTION s.{name}() RETURNS text LANGUAGE plpgsql
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp {header} AS $$
             BEGIN
                 PERFORM utl_smtp.noop(NULL);
                 RETURN 'returned';
             EXCEPTION WHEN SQLSTATE 'U9278' THEN
                 RETURN 'raised';
             END $$;
             ALTER FUNCTION s.{name}() OWNER TO {role}"
        ));
    }

    fn caller(&self) -> Session {
        self.database.connect(&self.caller)
    }
}

/// The result of a function of [`Fixture`].
#[track_caller]
fn said(session: &mut Session, function: &str) -> String {
    session.value(&format!("SELECT s.{function}()"))
}

/// Whether errors are raised in the session's own calls.
fn own(session: &mut Session) -> &'static str {
    match session.try_run("SELECT utl_smtp.noop(NULL)") {
        Ok(()) => "returned",
        Err(failure) => {
            failure.expect("U9278");
            "raised"
        }
    }
}
