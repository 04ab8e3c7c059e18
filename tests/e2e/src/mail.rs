//! The private mail servers: how to reach them, and the mail they delivered.

use crate::environment::Environment;
use crate::process;
use memchr::memmem::find;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub struct MailServer {
    /// The host to connect to. The certificate is also valid for [`MailServer::name`] and
    /// 127.0.0.1.
    pub host: String,
    pub name: String,
    /// This port requires STARTTLS and AUTH.
    pub submission: u16,
    /// This port has neither TLS nor AUTH and accepts only local mailboxes.
    pub plain: u16,
    pub implicit_tls: u16,
    /// A wallet that contains only the CA's certificate.
    pub wallet: String,
    pub user: String,
    pub password: String,
    /// An access token of the user for XOAUTH2 and OAUTHBEARER; empty if the server has none.
    pub token: String,
    pub size_limit: usize,
    log: PathBuf,
    boxes: PathBuf,
}

/// A client certificate that the server accepts as a login of [`MailServer::user`] by EXTERNAL.
pub struct ClientCertificate {
    /// The certificate and its encrypted key.
    pub pem: String,
    pub key_password: String,
}

impl MailServer {
    /// Postfix with Dovecot's SASL, the server of nearly all tests.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MailServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::named_by("UTL_SMTP_MAIL"))
    }

    /// Exim, with the same ports, users and mailboxes, but without tokens.
    pub fn exim() -> &'static Self {
        static SHARED: OnceLock<MailServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::named_by("UTL_SMTP_EXIM"))
    }

    /// OpenSMTPD, with the plain port only; the others are 0.
    pub fn opensmtpd() -> &'static Self {
        static SHARED: OnceLock<MailServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::named_by("UTL_SMTP_OPENSMTPD"))
    }

    /// The wallet content of an application that logs in to Exim by certificate.
    pub fn exim_client() -> ClientCertificate {
        let environment = Environment::from_variable("UTL_SMTP_EXIM");
        let content = |name: &str| std::fs::read_to_string(environment.text(name)).unwrap();
        ClientCertificate {
            pem: content("MAIL_CLIENT_CERTIFICATE") + &content("MAIL_CLIENT_KEY"),
            key_password: environment.text("MAIL_CLIENT_KEY_PASSWORD"),
        }
    }

    fn named_by(variable: &str) -> Self {
        Self::of(&Environment::from_variable(variable))
    }

    fn of(environment: &Environment) -> Self {
        Self {
            host: environment.text("MAIL_HOST"),
            name: environment.text("MAIL_NAME"),
            submission: environment.number("MAIL_SUBMISSION_PORT"),
            plain: environment.number("MAIL_PLAIN_PORT"),
            implicit_tls: environment.number("MAIL_TLS_PORT"),
            wallet: environment.text("MAIL_WALLET"),
            user: environment.text("MAIL_USER"),
            password: environment.text("MAIL_PASSWORD"),
            token: environment.text("MAIL_TOKEN"),
            size_limit: environment.number("MAIL_SIZE_LIMIT"),
            log: environment.text("MAIL_LOG").into(),
            boxes: environment.text("MAIL_BOXES").into(),
        }
    }

    /// Waits for the message that contains `mark`. All tests share the mailboxes.
    #[track_caller]
    pub fn delivered(&self, mailbox: &str, mark: &str) -> Message {
        let directory = self.boxes.join(mailbox).join("new");
        let mut found = None;
        process::wait_until(
            format_args!("mail with \"{mark}\" in \"{mailbox}\""),
            || {
                found = self.look(&directory, mark);
                found.is_some()
            },
        );
        found.unwrap()
    }

    /// The number of messages with this mark in the mailbox.
    pub fn count(&self, mailbox: &str, mark: &str) -> usize {
        let directory = self.boxes.join(mailbox).join("new");
        messages(&directory)
            .filter(|message| message.contains(mark))
            .count()
    }

    /// All messages in the mailbox.
    pub fn messages(&self, mailbox: &str) -> Vec<Message> {
        messages(&self.boxes.join(mailbox).join("new")).collect()
    }

    /// Waits for a line of the server's log that contains `text`. A process of its own writes them,
    /// later than the server answers.
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        let mut found = None;
        process::wait_until(format_args!("\"{text}\" in the server's log"), || {
            let log = self.log_text();
            found = log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// What the log has of the session in which Postfix gave a message this number, from there on.
    /// Waits for the end of the session.
    #[track_caller]
    pub fn session_log(&self, number: &str) -> String {
        let begin = self.logged(&format!(" {number}: client="));
        let process = begin.split_whitespace().nth(4).unwrap();
        let mut session = String::new();
        process::wait_until(format_args!("the end of the session of {number}"), || {
            let log = self.log_text();
            let lines = log.lines().filter(|line| line.contains(process));
            let mut lines = lines.skip_while(|line| *line != begin);
            session.clear();
            lines.any(|line| {
                session.extend([line, "\n"]);
                line.contains(" disconnect from ")
            })
        });
        session
    }

    fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    fn look(&self, directory: &Path, mark: &str) -> Option<Message> {
        messages(directory).find(|message| message.contains(mark))
    }
}

/// Postfix for a single test, stopped and removed when dropped.
pub struct OwnMailServer {
    server: MailServer,
    directory: PathBuf,
}

impl OwnMailServer {
    /// Starts it with these parameters, in the syntax of main.cf.
    #[track_caller]
    pub fn start(parameters: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("utl_smtp.mail.").tempdir();
        let directory = directory.unwrap().keep();
        let path = directory.to_str().unwrap();
        as_root(&["scripts/mail-server.sh", "start", path]);
        let server = MailServer::of(&Environment::of_file(&directory.join("env")));
        let started = Self { server, directory };
        started.set(parameters);
        started
    }

    /// Changes parameters; what connects from now on is served by them.
    #[track_caller]
    pub fn set(&self, parameters: &[&str]) {
        let configuration = self.directory.join("postfix");
        let configuration = configuration.to_str().unwrap();
        let edit = ["/usr/sbin/postconf", "-c", configuration, "-e"];
        as_root(&[&edit[..], parameters].concat());
        let count = || self.log_text().matches("reload -- version").count();
        let before = count();
        as_root(&["/usr/sbin/postfix", "-c", configuration, "reload"]);
        process::wait_until("Postfix has read its configuration", || count() > before);
    }
}

impl Deref for OwnMailServer {
    type Target = MailServer;

    fn deref(&self) -> &MailServer {
        &self.server
    }
}

impl Drop for OwnMailServer {
    fn drop(&mut self) {
        let path = self.directory.to_str().unwrap();
        let _ = try_as_root(&["scripts/mail-server.sh", "stop", path]);
        let _ = try_as_root(&["rm", "-rf", path]);
    }
}

#[track_caller]
fn as_root(command: &[&str]) {
    let (is_done, said) = try_as_root(command);
    assert!(is_done, "{command:?}: {said}");
}

/// Daemons must not inherit a pipe of the test.
fn try_as_root(command: &[&str]) -> (bool, String) {
    let output = tempfile::NamedTempFile::new().unwrap();
    let write = || Stdio::from(output.reopen().unwrap());
    let status = Command::new("bash")
        .args(["-c", ". scripts/lib.sh; as_root \"$@\"", "bash"])
        .args(command)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .stdin(Stdio::null())
        .stdout(write())
        .stderr(write())
        .status()
        .unwrap();
    let said = std::fs::read_to_string(output.path()).unwrap_or_default();
    (status.success(), said)
}

fn messages(directory: &Path) -> impl Iterator<Item = Message> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .map(|raw| Message { raw })
}

/// A message as stored in the Maildir: lines end with LF, dots are not doubled.
#[derive(Clone, Debug)]
pub struct Message {
    pub raw: Vec<u8>,
}

impl Message {
    pub fn header(&self) -> String {
        String::from_utf8_lossy(&self.raw[..self.split()]).into_owned()
    }

    /// The part after the first empty line.
    pub fn body(&self) -> &[u8] {
        &self.raw[(self.split() + 2).min(self.raw.len())..]
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn contains(&self, mark: &str) -> bool {
        find(&self.raw, mark.as_bytes()).is_some()
    }

    fn split(&self) -> usize {
        find(&self.raw, b"\n\n").unwrap_or(self.raw.len())
    }
}
