//! Properties that hold for every server and every order of calls.

use proptest::prelude::*;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::command::Command;
use smtp_core::phase::Phase;
use smtp_core::secret::Secret;
use smtp_core::session::{Progress, Session};
use smtp_core::text::{Mailbox, Parameters, RawCommand, ReversePath};

use super::script::domain;

/// A call, or octets of the server.
#[derive(Clone, Debug)]
enum Step {
    Issue(Command),
    Raw(String),
    Authenticate(&'static str),
    Write(Vec<u8>),
    EndData,
    TlsStarted,
    Server(Vec<u8>),
}

const PASSWORD: &str = "tiger-77";
const PASSWORD_BASE64: &str = "dGlnZXItNzc=";

fn step() -> impl Strategy<Value = Step> {
    let mailbox = || Mailbox::parse("jörg@example.com").unwrap();
    prop_oneof![
        3 => prop::sample::select(vec![
            Command::Helo(domain("db.example.com")),
            Command::Ehlo(domain("db.example.com")),
            Command::StartTls,
            Command::Mail(ReversePath::Null, Parameters::default()),
            Command::Mail(ReversePath::Mailbox(mailbox()), Parameters::default()),
            Command::Rcpt(mailbox(), Parameters::default()),
            Command::Data,
            Command::Data,
            Command::Rset,
            Command::Noop,
            Command::Vrfy("jörg".to_owned()),
            Command::Help(None),
            Command::Quit,
        ])
        .prop_map(Step::Issue),
        1 => "(AUTH LOGIN|AUTH PLAIN AHNjb3R0AHRpZ2VyLTc3|dGlnZXItNzc=|DATA|XDATA|EHLO a|MAIL FROM:<>|\\*|[a-z ]{0,9})"
            .prop_map(Step::Raw),
        1 => prop::sample::select(vec!["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"])
            .prop_map(Step::Authenticate),
        1 => "[a.\r\nü]{0,9}".prop_map(|text| Step::Write(text.into_bytes())),
        1 => Just(Step::EndData),
        1 => Just(Step::TlsStarted),
        8 => prop_oneof![
            "(220|250|334|354|235|535|421|[2-5][0-9]{2})( |-)(SMTPUTF8|8BITMIME|PIPELINING|AUTH PLAIN|VXNlcm5hbWU6|tiger-77|[a-z=]{0,8})\r\n",
            "(220|250|334|354) (ok|eA==|dGlnZXItNzc=)\r\n",
            "250-mx\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n",
        ]
        .prop_map(String::into_bytes)
        .prop_map(Step::Server),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Step::Server),
    ]
}

/// A caller that knows which calls must be refused: all while a command is unanswered, but those
/// that may join its group, and all when the session is over. Octets are fed only while a command
/// is unanswered.
struct Caller {
    session: Session,
    /// How many commands are unanswered.
    unanswered: usize,
    /// Whether another command may follow the last one.
    grouped: bool,
    /// From `authenticate` to the next call: what is seen must not show the password.
    secret: bool,
    seen: Vec<String>,
}

impl Caller {
    fn new(encrypted: bool) -> Self {
        let mut session = Session::new(encrypted, false);
        session.transcript.enable(true);
        Self {
            session,
            unanswered: 1,
            grouped: false,
            secret: false,
            seen: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step, piece: usize) {
        let (before, seen) = (self.session.phase(), self.seen.len());
        let over = before == Phase::Closed;
        let idle = !over && self.unanswered == 0;
        let takes_commands = idle || !over && self.grouped && self.session.is_pipelining();
        let issued = match step {
            // A server that knows the password before it is told may say what it likes.
            Step::Server(octets) if over || !self.secret && shows(octets) => return,
            Step::Server(octets) => return self.feed(octets, piece),
            Step::TlsStarted if !idle => return,
            Step::Issue(command) => self.session.issue(command).is_ok(),
            Step::Raw(line) => {
                let line = match before.is_challenge() {
                    true => RawCommand::parse_response(line, None),
                    false => RawCommand::parse(line, None),
                };
                line.is_ok_and(|line| self.session.issue(&Command::Raw(line)).is_ok())
            }
            Step::Authenticate(scheme) => {
                let schemes = SchemeList::parse(scheme).unwrap();
                self.session.authenticate(&schemes, credentials()).is_ok()
            }
            Step::Write(octets) => {
                let written = self.session.write(octets).is_ok();
                assert_eq!(written, idle && before == Phase::Data);
                self.session.output_sent();
                false
            }
            Step::EndData => {
                let issued = self.session.end_data().is_ok();
                assert_eq!(issued, idle && before == Phase::Data);
                issued
            }
            Step::TlsStarted => {
                self.session.tls_started();
                assert!(self.session.capabilities().is_none() && self.session.identity().is_none());
                false
            }
        };
        if !matches!(step, Step::TlsStarted) {
            assert_eq!(
                self.session.phase(),
                before,
                "only a reply moves the conversation"
            );
        }
        assert!(takes_commands || !issued, "{step:?} out of turn");
        if before == Phase::Data && !matches!(step, Step::EndData) {
            assert!(!issued, "{step:?} in data");
        }
        match (issued, step) {
            (true, Step::EndData) => assert!(self.session.output().ends_with(b".\r\n")),
            (true, _) => self.one_line(),
            (false, _) => assert_eq!(self.session.output(), b""),
        }
        if issued {
            self.unanswered += 1;
            self.grouped = !before.is_challenge()
                && matches!(
                    step,
                    Step::Issue(Command::Mail(..) | Command::Rcpt(..) | Command::Rset)
                );
            self.secret = matches!(step, Step::Authenticate(_));
        }
        self.look(seen);
        self.session.output_sent();
    }

    fn feed(&mut self, octets: &[u8], piece: usize) {
        let seen = self.seen.len();
        for mut octets in octets.chunks(piece) {
            while !octets.is_empty() && self.unanswered > 0 {
                match self.session.feed(octets, &mut || {}) {
                    Ok((used, progress)) => {
                        assert!(used > 0);
                        octets = &octets[used..];
                        match progress {
                            Progress::More => assert!(octets.is_empty()),
                            Progress::Answer => self.one_line(),
                            Progress::Reply { reply, .. } => {
                                assert_eq!(self.session.output(), b"");
                                let over = self.session.phase() == Phase::Closed;
                                self.unanswered = if over { 0 } else { self.unanswered - 1 };
                                self.seen.push(reply.to_string());
                            }
                        }
                    }
                    Err(error) => {
                        assert_eq!(self.session.phase(), Phase::Closed);
                        assert!(matches!(self.session.output(), b"" | b"*\r\n"));
                        self.unanswered = 0;
                        self.seen.push(format!("{error} {error:?}"));
                    }
                }
                self.look(seen);
                self.session.output_sent();
            }
        }
    }

    /// Exactly one line is for the server, whole, with nothing in it that could end it early.
    fn one_line(&self) {
        let line = self.session.output().strip_suffix(b"\r\n").unwrap();
        assert!(!line.iter().any(u8::is_ascii_control), "{line:?}");
    }

    /// Looks at what was added behind the first `before`.
    fn look(&mut self, before: usize) {
        self.seen.extend(self.session.transcript.take());
        if self.secret {
            let debug = format!("{:?}", self.session);
            let mut seen = self.seen[before..].iter().chain([&debug]);
            assert_eq!(seen.find(|text| shows(text.as_bytes())), None);
        }
    }
}

fn shows(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains(PASSWORD) || text.contains(PASSWORD_BASE64)
}

fn credentials() -> Credentials {
    Credentials {
        username: "scott".to_owned(),
        password: Secret::new(PASSWORD),
        host: "mx".to_owned(),
        port: 25,
        nonce: "nonce".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// No panic; one complete line for each call that was taken and for each challenge, nothing otherwise; no call is
    /// taken while a reply is due or when the session is over; how the octets were cut changes nothing.
    #[test]
    fn any_server_and_any_caller(
        steps in prop::collection::vec(step(), 0..40),
        encrypted in any::<bool>(),
        piece in 1usize..8,
    ) {
        let mut whole = Caller::new(encrypted);
        let mut pieces = Caller::new(encrypted);
        for step in [Step::Server(b"220 mx\r\n".to_vec())].iter().chain(&steps) {
            whole.take(step, usize::MAX);
            pieces.take(step, piece);
            prop_assert_eq!(whole.session.phase(), pieces.session.phase());
        }
        prop_assert_eq!(whole.seen, pieces.seen);
    }
}
