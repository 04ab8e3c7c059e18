//! A mail server that keeps every complete message it receives, with the time. A test decides at
//! each step of each conversation whether it goes on, stops, closes the connection, or answers
//! something else.

use crate::peer::channel::{Channel, ReadResult};
use crate::process;
use std::collections::HashMap;
use std::io::BufRead;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Octets that the kernel keeps for a connection that is not read. What is larger by far can be
/// stopped in its middle.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// How often a connection that is held looks whether it still is.
const TICK: Duration = Duration::from_millis(2);

/// A point of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Connected, before the greeting.
    Greeting,
    /// EHLO or HELO was received.
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// The first octets of the message were received; of a small one, perhaps all of them.
    Body,
    /// The final dot was received.
    Dot,
    /// The final dot was answered.
    Answered,
}

/// What a test decides about.
#[derive(Clone, Debug)]
pub struct Point {
    pub step: Step,
    /// Counts the connections, from 0.
    pub connection: usize,
    /// The argument of MAIL FROM, once it was received.
    pub sender: String,
    /// The arguments of RCPT TO, the present one included. Those that were refused are left out.
    pub recipients: Vec<String>,
}

impl Point {
    /// The recipient of the present RCPT.
    pub fn recipient(&self) -> &str {
        self.recipients.last().map_or("", String::as_str)
    }
}

/// What the server does at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Accepts.
    Go,
    /// Does nothing until the test decides otherwise.
    Hold,
    /// Closes the connection.
    Drop,
    /// Answers this, without its line ending.
    Reply(String),
    /// Answers this and closes the connection.
    ReplyAndDrop(String),
}

impl Action {
    pub fn reply(text: &str) -> Self {
        Self::Reply(text.to_owned())
    }
}

/// A complete message: its final dot was received.
#[derive(Clone, Debug)]
pub struct Copy {
    pub connection: usize,
    pub sender: String,
    pub recipients: Vec<String>,
    /// As it came: with line endings, and without transparency dots.
    pub content: Vec<u8>,
    /// When the final dot was received.
    pub at: SystemTime,
    /// When it was answered, if it was.
    pub answered_at: Option<Instant>,
    /// The client has the answer: it went on.
    pub is_heard: bool,
    /// Whether it was accepted; what was never answered may have been.
    pub is_refused: bool,
}

impl Copy {
    /// The field of this name, not unfolded.
    pub fn field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.content).into_owned();
        let mut header = text.lines().take_while(|line| !line.is_empty());
        let line = header.find(|line| {
            let head = line.split(':').next().unwrap_or_default();
            head.eq_ignore_ascii_case(name)
        })?;
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
    }

    #[track_caller]
    pub fn message_id(&self) -> String {
        self.field("Message-ID").expect("the message has an ID")
    }
}

type Decide = Arc<dyn Fn(&Point) -> Action + Send + Sync>;

/// The server. It stops listening when it is dropped.
pub struct Recorder {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    finished: AtomicBool,
    connections: AtomicUsize,
    octets: AtomicUsize,
    decide: Mutex<Decide>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    copies: Vec<Copy>,
    /// How often each step was reached.
    reached: HashMap<Step, usize>,
    /// The connections that are held, and where.
    held: HashMap<usize, Step>,
    /// What was not understood.
    nonsense: Vec<String>,
}

impl Recorder {
    /// Listens on 127.0.0.1 and accepts everything.
    pub fn start() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        listener.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(128).unwrap();
        let listener = TcpListener::from(listener);
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            finished: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            octets: AtomicUsize::new(0),
            decide: Mutex::new(Arc::new(|_: &Point| Action::Go)),
            log: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || serve(&listener, &served));
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Decides anew, also about the connections that are held.
    pub fn play(&self, decide: impl Fn(&Point) -> Action + Send + Sync + 'static) {
        *self.shared.decide.lock().unwrap() = Arc::new(decide);
    }

    /// Holds every connection at this step.
    pub fn hold(&self, step: Step) {
        self.play(move |point| match point.step == step {
            true => Action::Hold,
            false => Action::Go,
        });
    }

    /// Accepts everything from now on.
    pub fn go(&self) {
        self.play(|_| Action::Go);
    }

    /// The complete messages so far, in the order of their final dots.
    pub fn copies(&self) -> Vec<Copy> {
        self.shared.log.lock().unwrap().copies.clone()
    }

    /// Those from this sender.
    pub fn copies_from(&self, sender: &str) -> Vec<Copy> {
        let copies = self.copies().into_iter();
        copies.filter(|copy| copy.sender == sender).collect()
    }

    /// How often this step was reached.
    pub fn reached(&self, step: Step) -> usize {
        let log = self.shared.log.lock().unwrap();
        log.reached.get(&step).copied().unwrap_or_default()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many octets were received.
    pub fn octets(&self) -> usize {
        self.shared.octets.load(Ordering::SeqCst)
    }

    /// How many connections are held at this step.
    pub fn held(&self, step: Step) -> usize {
        let log = self.shared.log.lock().unwrap();
        log.held.values().filter(|at| **at == step).count()
    }

    /// Waits until so many connections are held at this step.
    #[track_caller]
    pub fn await_held(&self, step: Step, count: usize) {
        process::wait_until(format_args!("{count} connections stop at {step:?}"), || {
            self.held(step) >= count
        });
    }

    /// Fails the test if a client has sent what no client may.
    #[track_caller]
    pub fn assert_sound(&self) {
        let nonsense = &self.shared.log.lock().unwrap().nonsense;
        assert_eq!(*nonsense, Vec::<String>::new());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.finished.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.finished.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut connection = Connection::new(stream, number, &shared);
            // The client has left, or it was left: what it sent is recorded.
            let _ = connection.converse();
            shared.log.lock().unwrap().held.remove(&number);
        });
    }
}

/// The connection is over.
struct Over;

struct Connection<'a> {
    channel: Channel,
    shared: &'a Shared,
    /// Received and not used yet.
    pending: Vec<u8>,
    /// Replies to a group of commands that are sent together.
    unsent: Vec<u8>,
    point: Point,
    /// The message that came last, until the client goes on.
    last_copy: Option<usize>,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, number: usize, shared: &'a Shared) -> Self {
        Self {
            channel: Channel::new(stream),
            shared,
            pending: Vec::new(),
            unsent: Vec::new(),
            point: Point {
                step: Step::Greeting,
                connection: number,
                sender: String::new(),
                recipients: Vec::new(),
            },
            last_copy: None,
        }
    }

    fn converse(&mut self) -> Result<(), Over> {
        self.answer(Step::Greeting, "220 recorder")?;
        loop {
            let line = self.line()?;
            self.note_heard();
            let verb = line.split([' ', ':']).next().unwrap_or_default();
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" | "HELO" => self.ehlo()?,
                "MAIL" => self.mail(&line)?,
                "RCPT" => self.rcpt(&line)?,
                "DATA" => self.data()?,
                "RSET" => {
                    self.reset();
                    self.say("250 reset")?;
                }
                "NOOP" => self.say("250 ok")?,
                "QUIT" => return self.say("221 bye"),
                _ => {
                    self.note_nonsense(format!("command \"{line}\""));
                    self.say("500 what?")?;
                }
            }
        }
    }

    fn ehlo(&mut self) -> Result<(), Over> {
        self.reset();
        let offer = "250-recorder\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8";
        self.answer(Step::Ehlo, offer).map(|_| ())
    }

    fn mail(&mut self, line: &str) -> Result<(), Over> {
        self.reset();
        self.point.sender = path(line);
        if !self.answer(Step::Mail, "250 sender ok")? {
            self.reset();
        }
        Ok(())
    }

    fn rcpt(&mut self, line: &str) -> Result<(), Over> {
        self.point.recipients.push(path(line));
        if !self.answer(Step::Rcpt, "250 recipient ok")? {
            self.point.recipients.pop();
        }
        Ok(())
    }

    fn data(&mut self) -> Result<(), Over> {
        if self.point.recipients.is_empty() {
            return self.say("554 no recipients");
        }
        if !self.answer(Step::Data, "354 go ahead")? {
            return Ok(());
        }
        let content = self.content()?;
        self.record(content);
        self.answer(Step::Dot, "250 kept")?;
        self.decide(Step::Answered)?;
        self.reset();
        Ok(())
    }

    /// The message, up to the final dot.
    fn content(&mut self) -> Result<Vec<u8>, Over> {
        let mut content = Vec::new();
        if self.pending.is_empty() {
            self.hear()?;
        }
        self.decide(Step::Body)?;
        loop {
            let mut rest = self.pending.as_slice();
            while let Some((line, behind)) = split_line(rest) {
                rest = behind;
                match line {
                    b".\r\n" => {
                        self.pending = rest.to_vec();
                        return Ok(content);
                    }
                    [b'.', line @ ..] => content.extend_from_slice(line),
                    line => content.extend_from_slice(line),
                }
            }
            self.pending = rest.to_vec();
            self.hear()?;
        }
    }

    fn record(&mut self, content: Vec<u8>) {
        let mut log = self.shared.log.lock().unwrap();
        log.copies.push(Copy {
            connection: self.point.connection,
            sender: self.point.sender.clone(),
            recipients: self.point.recipients.clone(),
            content,
            at: SystemTime::now(),
            answered_at: None,
            is_heard: false,
            is_refused: false,
        });
        self.last_copy = Some(log.copies.len() - 1);
    }

    fn reset(&mut self) {
        self.point.sender.clear();
        self.point.recipients.clear();
    }

    /// Answers as the test decides; returns whether it accepts.
    fn answer(&mut self, step: Step, accepting: &str) -> Result<bool, Over> {
        let (reply, stays) = match self.decide(step)? {
            Action::Reply(reply) => (reply, true),
            Action::ReplyAndDrop(reply) => (reply, false),
            _ => (accepting.to_owned(), true),
        };
        let is_accepted = reply.starts_with(['2', '3']);
        self.say(&reply)?;
        if step == Step::Dot || !stays {
            self.flush()?;
        }
        if step == Step::Dot {
            self.note_answer(is_accepted);
        }
        match stays {
            true => Ok(is_accepted),
            false => Err(Over),
        }
    }

    /// The message that came last over this connection is answered.
    fn note_answer(&self, is_accepted: bool) {
        if let Some(at) = self.last_copy {
            let copy = &mut self.shared.log.lock().unwrap().copies[at];
            copy.answered_at = Some(Instant::now());
            copy.is_refused = !is_accepted;
        }
    }

    /// The client goes on after the answer to a message.
    fn note_heard(&mut self) {
        if let Some(at) = self.last_copy.take() {
            self.shared.log.lock().unwrap().copies[at].is_heard = true;
        }
    }

    /// What the test decides, once it does not hold the connection.
    fn decide(&mut self, step: Step) -> Result<Action, Over> {
        self.point.step = step;
        let number = self.point.connection;
        *self
            .shared
            .log
            .lock()
            .unwrap()
            .reached
            .entry(step)
            .or_default() += 1;
        let mut is_held = false;
        let action = loop {
            if self.shared.finished.load(Ordering::SeqCst) {
                break Action::Drop;
            }
            let decide = Arc::clone(&self.shared.decide.lock().unwrap());
            match decide(&self.point) {
                Action::Hold => {
                    if !is_held {
                        is_held = true;
                        // What was said before is heard.
                        self.flush()?;
                        self.shared.log.lock().unwrap().held.insert(number, step);
                    }
                    std::thread::sleep(TICK);
                }
                action => break action,
            }
        };
        self.shared.log.lock().unwrap().held.remove(&number);
        match action {
            Action::Drop => {
                self.flush()?;
                self.channel.cut();
                Err(Over)
            }
            action => Ok(action),
        }
    }

    fn say(&mut self, text: &str) -> Result<(), Over> {
        self.unsent.extend_from_slice(text.as_bytes());
        self.unsent.extend_from_slice(b"\r\n");
        // RFC 2920 §3.2: the replies to a group may be sent together.
        match self.pending.is_empty() {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Over> {
        let unsent = std::mem::take(&mut self.unsent);
        match unsent.is_empty() {
            true => Ok(()),
            false => self.channel.write(&unsent).map_err(|_| Over),
        }
    }

    fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.hear()?;
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let (line, rest) = split_line(&self.pending)?;
        let (line, rest) = (line.to_vec(), rest.to_vec());
        self.pending = rest;
        Some(line)
    }

    fn hear(&mut self) -> Result<(), Over> {
        self.flush()?;
        loop {
            match self.channel.read() {
                ReadResult::Bytes(bytes) => {
                    self.shared.octets.fetch_add(bytes.len(), Ordering::SeqCst);
                    self.pending.extend_from_slice(&bytes);
                    return Ok(());
                }
                ReadResult::Closed => return Err(Over),
                ReadResult::Nothing if self.shared.finished.load(Ordering::SeqCst) => {
                    return Err(Over);
                }
                ReadResult::Nothing => {}
            }
        }
    }

    fn note_nonsense(&self, text: String) {
        self.shared.log.lock().unwrap().nonsense.push(text);
    }
}

/// The first line with its ending, and what is behind it. The standard library searches fast, even
/// where this is not optimised.
fn split_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    while end < octets.len() {
        end += (&octets[end..]).skip_until(b'\n').ok()?;
        if octets[..end].ends_with(b"\r\n") {
            return Some(octets.split_at(end));
        }
    }
    None
}

/// What is between the angle brackets.
fn path(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(path, _)| path.to_owned())
}
