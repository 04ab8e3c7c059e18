//! The private token issuer: what a client needs to ask it, and its log. Tokens are fetched here by
//! curl, which shares no code with the extension.

use crate::environment::Environment;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Its tokens are accepted by [`crate::MailServer::shared`]. What else a request can ask for is at
/// the top of `tests/servers/token-issuer/issuer.js`.
pub struct Issuer {
    pub host: String,
    pub port: u16,
    pub token_endpoint: String,
    authorize_endpoint: String,
    /// A wallet that contains only the CA's certificate.
    pub wallet: String,
    ca: String,
    pub client_id: String,
    pub client_secret: String,
    /// The files of the key and of the certificate for private_key_jwt, PEM.
    pub client_key: String,
    pub client_certificate: String,
    /// The file of a service account, JSON as Google hands it out.
    pub service_account: String,
    pub scope: String,
    requests: PathBuf,
}

/// A form field of a token request.
pub type Field<'a> = (&'a str, &'a str);

impl Issuer {
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Issuer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let environment = Environment::from_variable("UTL_SMTP_TOKEN_ISSUER");
            let text = |name: &str| environment.text(name);
            Self {
                host: text("ISSUER_HOST"),
                port: environment.number("ISSUER_PORT"),
                token_endpoint: text("ISSUER_TOKEN_ENDPOINT"),
                authorize_endpoint: text("ISSUER_AUTHORIZE_ENDPOINT"),
                wallet: text("ISSUER_WALLET"),
                ca: text("ISSUER_CA"),
                client_id: text("ISSUER_CLIENT_ID"),
                client_secret: text("ISSUER_CLIENT_SECRET"),
                client_key: text("ISSUER_CLIENT_KEY"),
                client_certificate: text("ISSUER_CLIENT_CERTIFICATE"),
                service_account: text("ISSUER_SERVICE_ACCOUNT"),
                scope: text("ISSUER_SCOPE"),
                requests: text("ISSUER_REQUESTS").into(),
            }
        })
    }

    /// An access token by the client's secret.
    #[track_caller]
    pub fn access_token(&self, fields: &[Field]) -> String {
        let grant = [
            ("grant_type", "client_credentials"),
            ("scope", self.scope.as_str()),
        ];
        let answer = self.ask(&[&grant, fields].concat());
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A refresh token of a person who has logged in and agreed.
    #[track_caller]
    pub fn refresh_token(&self, mailbox: &str) -> String {
        let done = "https://localhost/done";
        let location = self.curl(
            &self.authorize_endpoint,
            &[
                "--get",
                "--output",
                "/dev/null",
                "--write-out",
                "%{redirect_url}",
            ],
            &[
                ("response_type", "code"),
                ("client_id", &self.client_id),
                ("redirect_uri", done),
                ("login_hint", mailbox),
            ],
        );
        let code = location.trim().rsplit_once("code=").unwrap().1;
        let answer = self.ask(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", done),
        ]);
        answer["refresh_token"].as_str().unwrap().to_owned()
    }

    /// The requests with this `test_mark`, oldest first. A request is listed before it is answered.
    pub fn requests(&self, mark: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.requests).unwrap_or_default();
        let lines = log
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|request| request["mark"] == mark)
            .collect()
    }

    #[track_caller]
    fn ask(&self, fields: &[Field]) -> Value {
        let client = [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.as_str()),
        ];
        let fields = [&client, fields].concat();
        let answer = self.curl(&self.token_endpoint, &["--fail-with-body"], &fields);
        serde_json::from_str(&answer).unwrap()
    }

    #[track_caller]
    fn curl(&self, url: &str, options: &[&str], fields: &[Field]) -> String {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60"]);
        curl.args(["--cacert", &self.ca]).args(options);
        for (name, value) in fields {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        let output = curl.arg(url).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url}: {text}{errors}");
        text
    }
}
