//! Runs a conversation that is written down line by line against a session.
//!
//! | line | meaning |
//! |---|---|
//! | `S: text` | a line of the server; lines in a row arrive together |
//! | `s: text` | the same without a line ending, but for `\n`, a bare line feed |
//! | `C: text` | exactly this line goes to the server; where none waits there already, the command that makes it is issued; lines in a row are a group |
//! | `> auth SCHEME USER PASSWORD` | authenticate |
//! | `> raw TEXT` | a command line of the caller's making |
//! | `> typed LINE` | the command that makes this line, even where a challenge waits for an answer |
//! | `> tls` | the handshake is done |
//! | `! text` | the step before it failed, in these words; ` / ` is a line break |
//! | `= phase` | where the conversation stands |
//!
//! Each runs twice, with what arrives together fed whole and byte by byte, and must come to the
//! same. After every step nothing secret may be seen in the transcript, in replies, in errors or in
//! the session's `Debug`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::command::{Command, Verb};
use smtp_core::phase::Phase;
use smtp_core::reply::Reply;
use smtp_core::secret::Secret;
use smtp_core::session::{CommandError, Progress, Session, SessionError};
use smtp_core::text::{Domain, Mailbox, Parameters, RawCommand, ReversePath};

/// What is true before the first line.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    pub encrypted: bool,
    pub cleartext_auth: bool,
}

/// A conversation without TLS from its greeting on.
pub fn plain(script: &str) -> Conversation {
    Setup::default().run(script)
}

/// A conversation that began under TLS.
pub fn encrypted(script: &str) -> Conversation {
    Setup {
        encrypted: true,
        ..Setup::default()
    }
    .run(script)
}

impl Setup {
    pub fn run(self, script: &str) -> Conversation {
        let [whole, bytewise] = [usize::MAX, 1].map(|piece| {
            let mut conversation = Conversation::new(self, piece);
            conversation.run(script);
            conversation
        });
        assert_eq!(whole.log, bytewise.log, "fed whole and byte by byte");
        whole
    }
}

/// A session and all that came of it so far.
pub struct Conversation {
    pub session: Session,
    /// The replies, in order.
    pub replies: Vec<Reply>,
    /// Whose they are.
    pub verbs: Vec<Verb>,
    /// The transcript, in order.
    pub transcript: Vec<String>,
    log: Vec<String>,
    /// How much is fed at once.
    piece: usize,
    /// What the server has not got yet.
    wire: Vec<u8>,
    /// What came behind the last reply.
    surplus: Vec<u8>,
    /// An exchange is under way: what goes out is secret.
    authenticating: bool,
    error: Option<String>,
    secrets: Vec<String>,
}

impl Conversation {
    fn new(setup: Setup, piece: usize) -> Self {
        let mut session = Session::new(setup.encrypted, setup.cleartext_auth);
        session.transcript.enable(true);
        Self {
            session,
            replies: Vec::new(),
            verbs: Vec::new(),
            transcript: Vec::new(),
            log: Vec::new(),
            piece,
            wire: Vec::new(),
            surplus: Vec::new(),
            authenticating: false,
            error: None,
            secrets: Vec::new(),
        }
    }

    fn run(&mut self, script: &str) {
        let lines: Vec<&str> = script
            .lines()
            .map(str::trim_start)
            .filter(|l| !l.is_empty())
            .collect();
        let mut arriving = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let (kind, text) = line.split_at_checked(2).unwrap_or((line, ""));
            let text = text.strip_prefix(' ').unwrap_or(text);
            match kind {
                "S:" => arriving.extend_from_slice(format!("{text}\r\n").as_bytes()),
                "s:" => arriving.extend_from_slice(text.replace("\\n", "\n").as_bytes()),
                "C:" => self.client(text),
                "> " => self.call(text),
                "! " => assert_eq!(self.error.take().as_deref(), Some(text), "in {line:?}"),
                "= " => assert_eq!(self.session.phase().to_string(), text, "in {line:?}"),
                _ => panic!("no line of a script: {line:?}"),
            }
            let goes_on = lines
                .get(number + 1)
                .is_some_and(|next| next.to_lowercase().starts_with("s:"));
            if !arriving.is_empty() && !goes_on {
                self.server(&std::mem::take(&mut arriving));
            }
            self.settle();
            let failure_follows = lines
                .get(number + 1)
                .is_some_and(|next| next.starts_with("! "));
            assert!(
                self.error.is_none() || failure_follows,
                "after {line:?}: {:?}",
                self.error
            );
        }
        assert_eq!(
            String::from_utf8_lossy(&self.wire),
            "",
            "more for the server than the script says"
        );
    }

    /// What the server says arrives.
    pub fn server(&mut self, bytes: &[u8]) {
        assert_eq!(
            String::from_utf8_lossy(&self.wire),
            "",
            "the server answers what it has not got"
        );
        let mut answered = false;
        for mut piece in bytes.chunks(self.piece.min(bytes.len())) {
            while !piece.is_empty() && self.error.is_none() {
                if self.session.due().is_none() {
                    self.surplus.extend_from_slice(piece);
                    break;
                }
                if answered {
                    self.session.close();
                    return self.fail(SessionError::Unsolicited(None));
                }
                match self.session.feed(piece, &mut || {}) {
                    Ok((used, progress)) => {
                        piece = &piece[used..];
                        match progress {
                            Progress::More => {
                                assert!(piece.is_empty(), "input left without a reply")
                            }
                            Progress::Answer => answered = true,
                            Progress::Reply { verb, reply } => self.reply(verb, reply),
                        }
                    }
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// The caller's next step is due: what the server said unasked comes to light.
    fn refuse_surplus(&mut self) -> bool {
        let surplus = std::mem::take(&mut self.surplus);
        if surplus.is_empty() {
            return false;
        }
        let error = self.session.unsolicited(&surplus);
        self.fail(error);
        true
    }

    fn client(&mut self, text: &str) {
        if self.wire.is_empty() {
            self.say(text);
            self.settle();
        }
        if self.error.is_some() {
            return;
        }
        let end = self.wire.windows(2).position(|two| two == b"\r\n");
        let end =
            end.unwrap_or_else(|| panic!("no line for the server where {text:?} is expected"));
        let line: Vec<u8> = self.wire.drain(..end + 2).collect();
        assert_eq!(String::from_utf8_lossy(&line[..end]), text);
    }

    /// Does what makes this line.
    fn say(&mut self, text: &str) {
        if self.session.phase() == Phase::Data {
            if text == "." {
                let result = self.session.end_data();
                return self.issued(result);
            }
            let line = text.strip_prefix('.').unwrap_or(text);
            if let Err(error) = self.session.write(format!("{line}\r\n").as_bytes()) {
                self.refuse(error);
            }
            return;
        }
        if self.refuse_surplus() {
            return;
        }
        self.issue(match self.session.phase() {
            phase if phase.is_challenge() => {
                Command::Raw(RawCommand::parse_response(text, None).unwrap())
            }
            _ => command(text),
        });
    }

    fn call(&mut self, text: &str) {
        let (name, arguments) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            "auth" => {
                let words: Vec<&str> = arguments.splitn(3, ' ').collect();
                self.authenticate(words[0], words[1], words[2]);
            }
            "raw" => self.issue(raw(arguments)),
            "typed" => self.issue(command(arguments)),
            "tls" => self.session.tls_started(),
            _ => panic!("no such call: {text:?}"),
        }
    }

    pub fn authenticate(&mut self, schemes: &str, username: &str, password: &str) {
        if self.refuse_surplus() {
            return;
        }
        self.keep_secret(password);
        let credentials = Credentials {
            username: username.to_owned(),
            password: Secret::new(password),
            host: "mail.example.com".to_owned(),
            port: 587,
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        };
        let schemes = SchemeList::parse(schemes).unwrap();
        let result = self.session.authenticate(&schemes, credentials);
        self.issued(result);
        let output = String::from_utf8(self.session.output().to_vec()).unwrap();
        if let Some(response) = output.trim_end().split(' ').nth(2) {
            self.keep_secret(response);
        }
        self.authenticating = self.error.is_none();
    }

    pub fn issue(&mut self, command: Command) {
        if let Command::Raw(raw) = &command
            && self.session.phase().is_challenge()
        {
            self.keep_secret(raw.line());
        }
        let result = self.session.issue(&command);
        self.issued(result);
    }

    fn issued(&mut self, result: Result<(), CommandError>) {
        if let Err(error) = result {
            self.refuse(error);
        }
    }

    /// Nothing is sent; the session is as it was.
    fn refuse(&mut self, error: CommandError) {
        assert_eq!(self.session.output(), b"");
        self.note_error(error.to_string());
    }

    fn fail(&mut self, error: SessionError) {
        assert_eq!(self.session.phase(), Phase::Closed, "after {error}");
        self.note_error(format!("{error}"));
        self.assert_nothing_secret(&format!("{error:?}"));
    }

    fn note_error(&mut self, error: String) {
        let error = error.replace('\n', " / ");
        self.log.push(error.clone());
        self.error = Some(error);
    }

    fn reply(&mut self, verb: Verb, reply: Reply) {
        self.authenticating &= verb != Verb::Auth;
        self.log.push(format!("{verb}: {reply}"));
        self.assert_nothing_secret(&reply.to_string());
        self.replies.push(reply);
        self.verbs.push(verb);
    }

    /// After each step: takes the output, and looks for secrets wherever somebody could.
    fn settle(&mut self) {
        let output = self.session.output().to_vec();
        if self.authenticating && !output.starts_with(b"AUTH ") {
            self.keep_secret(String::from_utf8_lossy(&output).trim_end());
        }
        let debug = format!("{:?}", self.session);
        self.assert_nothing_secret(&debug);
        self.wire.extend_from_slice(&output);
        self.session.output_sent();
        let transcript = self.session.transcript.take();
        self.assert_nothing_secret(&transcript.join("\n"));
        self.log.push(format!(
            "{} {:?}",
            self.session.phase(),
            String::from_utf8_lossy(&output)
        ));
        self.log.extend_from_slice(&transcript);
        self.transcript.extend(transcript);
    }

    /// From here on `text`, its base64 and its octets must not be seen.
    pub fn keep_secret(&mut self, text: &str) {
        if text.len() >= 4 {
            self.secrets.push(text.to_owned());
            self.secrets.push(STANDARD.encode(text));
        }
    }

    fn assert_nothing_secret(&self, text: &str) {
        for secret in &self.secrets {
            let octets = format!("{:?}", secret.as_bytes());
            let octets = octets.trim_matches(['[', ']']);
            assert!(!text.contains(secret), "{secret:?} in {text}");
            assert!(!text.contains(octets), "{secret:?} in {text}");
        }
    }

    /// The text of the last reply's last line.
    pub fn last_text(&self) -> &str {
        self.replies.last().map_or("", Reply::text)
    }
}

pub fn raw(line: &str) -> Command {
    Command::Raw(RawCommand::parse(line, None).unwrap())
}

/// The command that makes this line: by its own type where there is one.
fn command(line: &str) -> Command {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let argument = (!rest.is_empty()).then(|| rest.to_owned());
    match verb {
        "HELO" => Command::Helo(domain(rest)),
        "EHLO" => Command::Ehlo(domain(rest)),
        "MAIL" => {
            let (path, parameters) = path(rest, "FROM:");
            let parameters = Parameters::parse(parameters).unwrap();
            Command::Mail(ReversePath::parse(path).unwrap(), parameters)
        }
        "RCPT" => {
            let (path, parameters) = path(rest, "TO:");
            let parameters = Parameters::parse(parameters).unwrap();
            Command::Rcpt(Mailbox::parse(path).unwrap(), parameters)
        }
        "STARTTLS" => Command::StartTls,
        "DATA" => Command::Data,
        "RSET" => Command::Rset,
        "NOOP" => Command::Noop,
        "VRFY" => Command::Vrfy(rest.to_owned()),
        "HELP" => Command::Help(argument),
        "QUIT" => Command::Quit,
        _ => raw(line),
    }
}

pub fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn path<'a>(rest: &'a str, keyword: &str) -> (&'a str, &'a str) {
    let rest = rest.strip_prefix(keyword).unwrap();
    match rest.find("> ") {
        Some(end) => (&rest[..=end], &rest[end + 2..]),
        None => (rest, ""),
    }
}
