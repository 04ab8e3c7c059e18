//! The private mail servers: how to reach them, and the mail they delivered.

use crate::environment::Environment;
use crate::process;
use std::path::{Path, PathBuf};
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
    pub log: PathBuf,
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
        let environment = Environment::from_variable(variable);
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

    fn look(&self, directory: &Path, mark: &str) -> Option<Message> {
        messages(directory).find(|message| message.contains(mark))
    }
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
        self.raw
            .windows(mark.len())
            .any(|window| window == mark.as_bytes())
    }

    fn split(&self) -> usize {
        self.raw
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .unwrap_or(self.raw.len())
    }
}
