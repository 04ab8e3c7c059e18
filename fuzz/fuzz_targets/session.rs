//! Any server and any order of calls: a session sends one complete line for each accepted call and
//! each answered challenge and nothing else, changes phase only on replies, behaves the same for
//! every split of the octets, and shows the password nowhere after AUTH.
//!
//! The input is a conversation as text: a line that begins with `>` is a call, all other lines come
//! from the server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::command::Command;
use smtp_core::limits;
use smtp_core::phase::Phase;
use smtp_core::secret::Secret;
use smtp_core::session::{Progress, Session};
use smtp_core::text::{Domain, Mailbox, Parameters, RawCommand, ReversePath};

const PASSWORD: &str = "tiger-77";
const PASSWORD_BASE64: &str = "dGlnZXItNzc=";

fuzz_target!(|input: &[u8]| {
    let Some((&settings, script)) = input.split_first() else {
        return;
    };
    let (encrypted, cleartext_auth) = (settings & 1 != 0, settings & 2 != 0);
    let mut whole = Caller::new(Session::new(encrypted, cleartext_auth));
    let mut bytewise = Caller::new(Session::new(encrypted, cleartext_auth));
    for line in script.split(|byte| *byte == b'\n') {
        match line.strip_prefix(b">") {
            Some(call) => {
                let call = String::from_utf8_lossy(call);
                whole.call(&call);
                bytewise.call(&call);
            }
            // A server that knows the password before it is told may say what it likes.
            None if !whole.secret && shows(line) => {}
            None => {
                let line = [line, b"\r\n"].concat();
                whole.server(&line);
                line.iter().for_each(|byte| bytewise.server(&[*byte]));
            }
        }
        assert_eq!(whole.session.phase(), bytewise.session.phase());
        if whole.session.phase() == Phase::Closed {
            break;
        }
    }
    assert_eq!(whole.seen, bytewise.seen);
});

/// A caller that knows which calls must be refused: all while a command is unanswered, but those
/// that may join its group. Octets are fed only while one is unanswered.
struct Caller {
    session: Session,
    /// How many commands are unanswered.
    unanswered: usize,
    /// Whether another command may follow the last one.
    grouped: bool,
    /// From `authenticate` to the next call.
    secret: bool,
    seen: Vec<String>,
}

impl Caller {
    fn new(mut session: Session) -> Self {
        session.transcript.enable(true);
        Self {
            session,
            unanswered: 1,
            grouped: false,
            secret: false,
            seen: Vec::new(),
        }
    }

    fn call(&mut self, call: &str) {
        let unanswered = self.unanswered > 0;
        let follows = self.grouped && self.session.is_pipelining();
        let (before, seen) = (self.session.phase(), self.seen.len());
        let (name, argument) = call.split_once(' ').unwrap_or((call, ""));
        let issued = match name {
            "tls" if unanswered => return,
            "tls" => {
                self.session.tls_started();
                assert!(self.session.is_encrypted() && self.session.capabilities().is_none());
                return;
            }
            "write" => {
                let written = self.session.write(argument.as_bytes()).is_ok();
                assert_eq!(written, !unanswered && before == Phase::Data);
                return self.session.output_sent();
            }
            "end" => self.session.end_data().is_ok(),
            "auth" => SchemeList::parse(argument)
                .is_ok_and(|schemes| self.session.authenticate(&schemes, credentials()).is_ok()),
            _ => self.command(name, argument),
        };
        assert_eq!(self.session.phase(), before);
        assert!(!unanswered || follows && name != "end" || !issued);
        assert!(before != Phase::Data || !issued || name == "end");
        if issued {
            self.secret = name == "auth";
            self.unanswered += 1;
            self.grouped = matches!(name, "mail" | "rcpt" | "rset") && !before.is_challenge();
            if name == "end" {
                assert!(self.session.output().ends_with(b".\r\n"));
            } else {
                self.one_line();
            }
        } else {
            assert_eq!(self.session.output(), b"");
        }
        self.look(seen);
    }

    fn command(&mut self, name: &str, argument: &str) -> bool {
        let command = match name {
            "helo" => Domain::parse(argument).ok().map(Command::Helo),
            "ehlo" => Domain::parse(argument).ok().map(Command::Ehlo),
            "starttls" => Some(Command::StartTls),
            "mail" => ReversePath::parse(argument)
                .ok()
                .map(|sender| Command::Mail(sender, Parameters::default())),
            "rcpt" => Mailbox::parse(argument)
                .ok()
                .map(|recipient| Command::Rcpt(recipient, Parameters::default())),
            "data" => Some(Command::Data),
            "rset" => Some(Command::Rset),
            "noop" => Some(Command::Noop),
            "help" => Some(Command::Help(None)),
            "quit" => Some(Command::Quit),
            "raw" if self.session.phase().is_challenge() => {
                RawCommand::parse_response(argument, None)
                    .ok()
                    .map(Command::Raw)
            }
            "raw" => RawCommand::parse(argument, None).ok().map(Command::Raw),
            _ => None,
        };
        command.is_some_and(|command| self.session.issue(&command).is_ok())
    }

    fn server(&mut self, mut octets: &[u8]) {
        let seen = self.seen.len();
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
                            assert_eq!(self.session.due().is_some(), self.unanswered > 0);
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
        }
    }

    /// Exactly one line is for the server, whole, with nothing in it that could end it early.
    fn one_line(&self) {
        let output = self.session.output();
        assert!(output.len() <= limits::AUTH_LINE);
        let line = output.strip_suffix(b"\r\n").expect("a whole line");
        assert!(!line.iter().any(u8::is_ascii_control), "{line:?}");
    }

    /// Takes the output, and looks at what was added behind the first `before`.
    fn look(&mut self, before: usize) {
        self.session.output_sent();
        self.seen.extend(self.session.transcript.take());
        if self.secret {
            assert!(!shows(format!("{:?}", self.session).as_bytes()));
            assert!(
                !self.seen[before..]
                    .iter()
                    .any(|text| shows(text.as_bytes()))
            );
        }
    }
}

fn credentials() -> Credentials {
    Credentials {
        username: "scott".to_owned(),
        password: Secret::new(PASSWORD),
        host: "mx.example.com".to_owned(),
        port: 587,
        nonce: "nonce".to_owned(),
    }
}

fn shows(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains(PASSWORD) || text.contains(PASSWORD_BASE64)
}
