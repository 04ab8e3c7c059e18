//! The shared cluster. Each test gets its own database, with sessions and roles.

use crate::environment::Environment;
use postgres::error::DbError;
use postgres::{Client, Config, NoTls};
use std::ops::{Deref, DerefMut};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Connection data of a cluster, and the files that tests may read.
pub struct Cluster {
    pub host: String,
    pub port: u16,
    pub socket_directory: String,
    pub superuser: String,
    pub data_directory: String,
    pub log: String,
    pub postmaster: u32,
    /// The directory of this PostgreSQL's programs.
    pub bin: String,
    /// The operating-system user that the server runs as.
    pub user: String,
}

impl Cluster {
    /// The cluster that `make test` started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::of(&Environment::from_variable("UTL_SMTP_CLUSTER")))
    }

    pub(crate) fn of(environment: &Environment) -> Self {
        Self {
            host: environment.text("PGHOST"),
            port: environment.number("PGPORT"),
            socket_directory: environment.text("CLUSTER_SOCKET"),
            superuser: environment.text("PGUSER"),
            data_directory: environment.text("CLUSTER_DATA"),
            log: environment.text("CLUSTER_LOG"),
            postmaster: environment.number("CLUSTER_PID"),
            bin: environment.text("CLUSTER_BIN"),
            user: environment.text("CLUSTER_USER"),
        }
    }

    /// A session of this role in this database.
    pub fn connect(&self, database: &str, role: &str) -> Session {
        self.try_connect(database, role)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    pub fn try_connect(&self, database: &str, role: &str) -> Result<Session, Failure> {
        self.try_connect_with(database, role, "")
    }

    /// Like the above, with start-up options in the syntax of `PGOPTIONS`.
    pub fn try_connect_with(
        &self,
        database: &str,
        role: &str,
        options: &str,
    ) -> Result<Session, Failure> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&notices);
        let mut client = Config::new()
            .host(&self.host)
            .port(self.port)
            .dbname(database)
            .user(role)
            .options(options)
            .application_name("e2e")
            .notice_callback(move |notice| sink.lock().unwrap().push(notice))
            .connect(NoTls)?;
        let pid = client
            .query_one("SELECT pg_catalog.pg_backend_pid()", &[])?
            .get(0);
        Ok(Session {
            client,
            pid,
            notices,
        })
    }

    /// Runs one of PostgreSQL's programs, such as `pg_dump`, as the superuser.
    #[track_caller]
    pub fn program(&self, name: &str, arguments: &[&str]) {
        let output = Command::new(format!("{}/{name}", self.bin))
            .args(["-h", &self.host, "-U", &self.superuser])
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {said}");
    }

    /// The template database with the extension, which every test copies.
    fn template(&self) -> &'static str {
        static TEMPLATE: OnceLock<String> = OnceLock::new();
        TEMPLATE.get_or_init(|| {
            let name = format!("template_{}", std::process::id());
            let mut session = self.connect("postgres", &self.superuser);
            session.run(&format!("DROP DATABASE IF EXISTS {name}"));
            session.run(&format!("CREATE DATABASE {name}"));
            self.connect(&name, &self.superuser)
                .run("CREATE EXTENSION utl_smtp");
            name
        })
    }
}

/// A database with the extension. It is dropped with its roles when the test ends.
pub struct Database {
    name: String,
    roles: Mutex<Vec<String>>,
}

impl Database {
    pub fn new() -> Self {
        Self::copy_of(Cluster::shared().template(), "")
    }

    /// A database without the extension; `options` are those of CREATE DATABASE.
    pub fn empty(options: &str) -> Self {
        Self::copy_of("template0", options)
    }

    fn copy_of(template: &str, options: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{count}", std::process::id());
        let cluster = Cluster::shared();
        let mut session = cluster.connect("postgres", &cluster.superuser);
        // An interrupted run may have left a database of this name.
        session.run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        session.run(&format!(
            "CREATE DATABASE {name} TEMPLATE {template} {options}"
        ));
        Self {
            name,
            roles: Mutex::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A session of the superuser.
    pub fn superuser(&self) -> Session {
        self.connect(&Cluster::shared().superuser)
    }

    pub fn connect(&self, role: &str) -> Session {
        Cluster::shared().connect(&self.name, role)
    }

    /// Like the above, with start-up options in the syntax of `PGOPTIONS`.
    pub fn connect_with(&self, role: &str, options: &str) -> Session {
        Cluster::shared()
            .try_connect_with(&self.name, role, options)
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Creates a role that may only log in. The returned name is unique in the cluster.
    pub fn role(&self, name: &str) -> String {
        let role = format!("{name}_{}", self.name);
        let mut session = self.superuser();
        session.run(&format!("DROP ROLE IF EXISTS {role}"));
        session.run(&format!("CREATE ROLE {role} LOGIN"));
        self.roles.lock().unwrap().push(role.clone());
        role
    }

    /// A session of a new unprivileged role that may connect to this host and port.
    pub fn role_for(&self, host: &str, port: u16) -> Session {
        let role = self.role("app");
        self.allow(&role, host, port);
        self.connect(&role)
    }

    /// Allows the role to connect to this host and port.
    pub fn allow(&self, role: &str, host: &str, port: u16) {
        let grant = "SELECT dbms_network_acl_admin.append_host_ace(
                         host => $1, lower_port => $2, upper_port => $2,
                         ace => dbms_network_acl_admin.xs$ace_type(
                             privilege_list => dbms_network_acl_admin.xs$name_list('connect', 'smtp'),
                             principal_name => $3))";
        self.superuser()
            .execute(grant, &[&host, &i32::from(port), &role])
            .unwrap_or_else(|error| panic!("{}", Failure::from(error)));
    }

    /// Sets a parameter for all later sessions of this database.
    pub fn set(&self, name: &str, value: &str) {
        let value = value.replace('\'', "''");
        self.superuser().run(&format!(
            "ALTER DATABASE {} SET {name} = '{value}'",
            self.name
        ));
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let cluster = Cluster::shared();
        let Ok(mut session) = cluster.try_connect("postgres", &cluster.superuser) else {
            return;
        };
        let _ = session.batch_execute(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        ));
        for role in self.roles.lock().unwrap().iter() {
            let _ = session.batch_execute(&format!("DROP ROLE IF EXISTS {role}"));
        }
    }
}

/// A client connection that records the backend's pid and every notice.
pub struct Session {
    client: Client,
    pid: i32,
    notices: Arc<Mutex<Vec<DbError>>>,
}

impl Session {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs statements that must succeed.
    pub fn run(&mut self, sql: &str) {
        self.try_run(sql)
            .unwrap_or_else(|failure| panic!("{failure}\nin: {sql}"));
    }

    pub fn try_run(&mut self, sql: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(sql)?)
    }

    /// The single value that this query returns.
    pub fn value<T>(&mut self, sql: &str) -> T
    where
        T: for<'a> postgres::types::FromSql<'a>,
    {
        match self.client.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{}\nin: {sql}", Failure::from(error)),
        }
    }

    /// The notices and warnings so far, oldest first.
    pub fn notices(&self) -> Vec<DbError> {
        self.notices.lock().unwrap().clone()
    }

    pub fn notice_texts(&self) -> Vec<String> {
        self.notices()
            .iter()
            .map(|notice| notice.message().to_owned())
            .collect()
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// An error as the client received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    pub context: String,
}

impl Failure {
    /// Fails the test unless the error has this SQLSTATE.
    #[track_caller]
    pub fn expect(self, sqlstate: &str) -> Self {
        assert_eq!(self.sqlstate, sqlstate, "{self}");
        self
    }
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Self {
        let Some(error) = error.as_db_error() else {
            return Self {
                message: error.to_string(),
                ..Self::default()
            };
        };
        let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
        Self {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: text(error.detail()),
            hint: text(error.hint()),
            context: text(error.where_()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            sqlstate,
            message,
            detail,
            hint,
            context,
        } = self;
        write!(
            f,
            "{sqlstate}: {message}\nDETAIL: {detail}\nHINT: {hint}\nCONTEXT: {context}"
        )
    }
}
