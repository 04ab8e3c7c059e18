//! The mail server, which discards everything. It is a separate process, so that it shares neither
//! locks nor CPU accounting with the senders. It answers each command at once with one write, scans
//! message data only for its end, and counts what arrives.
//!
//! One port is plain, and one is plain with PIPELINING. For each kind of certificate there is one
//! port with STARTTLS, and one with STARTTLS that never resumes a session. The ports for queued
//! mail offer PIPELINING and note when each mail arrives: one answers at once, one after
//! [`DISTANCE`], and one refuses each mail for now. The parent process requests the counts or the
//! times of arrival with a line on standard input; end of input stops the server.

use crate::cost::{CpuClock, monotonic};
use crate::test_bed::{KEYS, Key};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::StoresServerSessions;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Threads per port, and thereby the maximum of concurrent conversations.
const WORKERS: usize = 24;
/// Read size: large, so that a large message takes few reads.
const BUFFER: usize = 256 * 1024;
/// How long the distant port takes for each answer.
pub const DISTANCE: Duration = Duration::from_millis(50);

static MAILS: AtomicU64 = AtomicU64::new(0);
static OCTETS: AtomicU64 = AtomicU64::new(0);
static QUITS: AtomicU64 = AtomicU64::new(0);
/// When each mail of the ports for queued mail arrived, by [`monotonic`].
static ARRIVALS: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// Handle of the sink process.
pub struct Sink {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub plain: u16,
    pub pipelining: u16,
    pub queue: QueuePorts,
    tls: Vec<TlsPorts>,
}

/// The ports for queued mail.
#[derive(Clone, Copy)]
pub struct QueuePorts {
    /// Answers at once.
    pub near: u16,
    /// Answers after [`DISTANCE`].
    pub far: u16,
    /// Refuses each mail for now.
    pub deferring: u16,
}

/// The ports with STARTTLS.
#[derive(Clone, Copy)]
pub struct TlsPorts {
    pub resuming: u16,
    /// Never resumes a session.
    pub full: u16,
}

/// What the sink has received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub mails: u64,
    /// Octets of message data on the wire, with the ends of the messages.
    pub octets: u64,
    /// Conversations that ended with QUIT.
    pub quits: u64,
    /// Processor time of the sink.
    pub cpu: Duration,
}

impl Sink {
    /// Starts a sink with the certificates in this directory.
    pub fn start(directory: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("sink")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let ports = numbers(&mut output);
        let port = |index: usize| u16::try_from(ports[index]).unwrap();
        Self {
            child,
            input,
            plain: port(0),
            pipelining: port(1),
            queue: QueuePorts {
                near: port(2),
                far: port(3),
                deferring: port(4),
            },
            tls: (0..KEYS.len())
                .map(|index| TlsPorts {
                    resuming: port(5 + 2 * index),
                    full: port(6 + 2 * index),
                })
                .collect(),
            output,
        }
    }

    pub fn tls(&self, key: Key) -> TlsPorts {
        self.tls[key as usize]
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn counts(&mut self) -> Counts {
        let numbers = self.ask(b"counts\n");
        Counts {
            mails: numbers[0],
            octets: numbers[1],
            quits: numbers[2],
            cpu: Duration::from_nanos(numbers[3]),
        }
    }

    /// When the mails arrived that came to the ports for queued mail since the last call, by
    /// [`monotonic`].
    pub fn arrivals(&mut self) -> Vec<Duration> {
        let numbers = self.ask(b"arrivals\n");
        numbers.into_iter().map(Duration::from_nanos).collect()
    }

    fn ask(&mut self, question: &[u8]) -> Vec<u64> {
        self.input.as_mut().unwrap().write_all(question).unwrap();
        numbers(&mut self.output)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Reads the numbers on the next line.
fn numbers(output: &mut impl BufRead) -> Vec<u64> {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect()
}

/// The main function of the sink process.
pub fn serve(directory: &Path) {
    let mut ports = vec![
        listen(Offer::Plain),
        listen(Offer::Pipelining),
        listen(Offer::Queue(Manner::Near)),
        listen(Offer::Queue(Manner::Far)),
        listen(Offer::Queue(Manner::Deferring)),
    ];
    for key in KEYS {
        let resuming = configuration(&key.directory(directory));
        let mut full = ServerConfig::clone(&resuming);
        full.session_storage = Arc::new(NoResumption);
        ports.extend([
            listen(Offer::Tls(resuming)),
            listen(Offer::Tls(Arc::new(full))),
        ]);
    }
    say(ports.into_iter().map(u64::from));
    let clock = CpuClock::of_this_process();
    for question in io::stdin().lines() {
        if question.is_ok_and(|question| question == "arrivals") {
            let arrivals = std::mem::take(&mut *ARRIVALS.lock().unwrap());
            say(arrivals.into_iter().map(nanoseconds));
        } else {
            let counts = [&MAILS, &OCTETS, &QUITS].map(|count| count.load(Relaxed));
            say(counts.into_iter().chain([nanoseconds(clock.now())]));
        }
    }
}

/// Writes numbers as a line.
fn say(numbers: impl Iterator<Item = u64>) {
    let words: Vec<String> = numbers.map(|number| number.to_string()).collect();
    println!("{}", words.join(" "));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

/// Issues tickets but never resumes. A server without tickets sends nothing after the handshake,
/// and a client with Nagle's algorithm, such as smtplib, would stall on that.
#[derive(Debug)]
struct NoResumption;

impl StoresServerSessions for NoResumption {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn configuration(directory: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(directory.join("server.pem"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Arc::new(
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    )
}

/// What a port offers besides 8BITMIME.
#[derive(Clone)]
enum Offer {
    Plain,
    Pipelining,
    /// PIPELINING as well.
    Queue(Manner),
    Tls(Arc<ServerConfig>),
}

/// What a port for queued mail does.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Near,
    Far,
    Deferring,
}

fn listen(offer: Offer) -> u16 {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    for _ in 0..WORKERS {
        let (listener, offer) = (Arc::clone(&listener), offer.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; BUFFER];
            loop {
                let (socket, _) = listener.accept().unwrap();
                // A client may disconnect without QUIT; the counts show it.
                let _ = converse(socket, &offer, &mut buffer);
            }
        });
    }
    port
}

fn converse(mut socket: TcpStream, offer: &Offer, buffer: &mut [u8]) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.write_all(b"220 sink.example.test ESMTP\r\n")?;
    let answers = offer.answers();
    if let (Next::StartTls, Offer::Tls(tls)) = (obey(&mut socket, &answers, buffer)?, offer) {
        socket.write_all(b"220 go ahead\r\n")?;
        let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let capabilities = b"250-sink.example.test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n";
        obey(&mut stream, &Answers::at_once(capabilities), buffer)?;
        stream.conn.send_close_notify();
        stream.conn.write_tls(&mut stream.sock)?;
    }
    Ok(())
}

/// How a conversation is answered.
struct Answers {
    capabilities: &'static [u8],
    /// The answer to the end of data; mail that is refused is not counted.
    message: &'static [u8],
    delay: Duration,
    /// Whether the arrival of each mail is noted.
    noted: bool,
}

impl Answers {
    fn at_once(capabilities: &'static [u8]) -> Self {
        Self {
            capabilities,
            message: b"250 ok\r\n",
            delay: Duration::ZERO,
            noted: false,
        }
    }
}

impl Offer {
    fn answers(&self) -> Answers {
        let answers = Answers::at_once(match self {
            Self::Plain => b"250-sink.example.test\r\n250 8BITMIME\r\n",
            Self::Pipelining | Self::Queue(_) => {
                b"250-sink.example.test\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
            }
            Self::Tls(_) => b"250-sink.example.test\r\n250-8BITMIME\r\n250 STARTTLS\r\n",
        });
        let Self::Queue(manner) = self else {
            return answers;
        };
        let noted = Answers {
            noted: true,
            ..answers
        };
        match manner {
            Manner::Near => noted,
            Manner::Far => Answers {
                delay: DISTANCE,
                ..noted
            },
            Manner::Deferring => Answers {
                message: b"451 4.3.0 later\r\n",
                ..noted
            },
        }
    }
}

enum Next {
    StartTls,
    Nothing,
}

/// Answers commands until STARTTLS or QUIT. A read returns one command, or a group of them that is
/// answered at once; DATA, STARTTLS and QUIT end a group.
fn obey(
    stream: &mut (impl Read + Write),
    answers: &Answers,
    buffer: &mut [u8],
) -> io::Result<Next> {
    let mut replies = Vec::new();
    // What came with the end of a message.
    let mut length = 0;
    loop {
        while !buffer[..length].ends_with(b"\n") {
            match stream.read(&mut buffer[length..])? {
                0 => return Ok(Next::Nothing),
                count => length += count,
            }
        }
        replies.clear();
        let mut last = [0; 4];
        let group = std::mem::take(&mut length);
        for line in buffer[..group].split_inclusive(|&byte| byte == b'\n') {
            last.copy_from_slice(line.get(..4).unwrap_or(b"NONE"));
            last.make_ascii_uppercase();
            replies.extend_from_slice(match &last {
                b"EHLO" => answers.capabilities,
                b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => b"250 ok\r\n",
                b"AUTH" => b"235 ok\r\n",
                b"DATA" => b"354 go ahead\r\n",
                b"STAR" => b"",
                b"QUIT" => b"221 bye\r\n",
                _ => b"500 what\r\n",
            });
        }
        match &last {
            b"STAR" => return Ok(Next::StartTls),
            b"QUIT" => {
                QUITS.fetch_add(1, Relaxed);
                stream.write_all(&replies)?;
                return Ok(Next::Nothing);
            }
            _ => answers.say(stream, &replies)?,
        }
        if &last == b"DATA" {
            let (octets, rest) = read_message(stream, buffer)?;
            answers.count(octets);
            answers.say(stream, answers.message)?;
            length = rest;
        }
    }
}

impl Answers {
    fn say(&self, stream: &mut impl Write, replies: &[u8]) -> io::Result<()> {
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        stream.write_all(replies)
    }

    fn count(&self, octets: u64) {
        if self.message.starts_with(b"2") {
            OCTETS.fetch_add(octets, Relaxed);
            MAILS.fetch_add(1, Relaxed);
        }
        if self.noted {
            ARRIVALS.lock().unwrap().push(monotonic());
        }
    }
}

/// Reads message data up to its end: the end of a read, since most clients wait for the reply.
/// Postfix sends QUIT or RSET with it. CRLF, dot, CRLF occurs nowhere else, because leading dots are
/// doubled. Returns how many octets there were, and the length of what came behind, which is at the
/// begin of the buffer then.
fn read_message(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<(u64, usize)> {
    const END: &[u8; 5] = b"\r\n.\r\n";
    const COMMAND: usize = b"QUIT\r\n".len();
    // The data follows the CRLF of the command.
    let mut tail = [0; END.len() + COMMAND];
    tail[END.len() + COMMAND - 2..].copy_from_slice(b"\r\n");
    let mut octets = 0;
    loop {
        let length = stream.read(buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        octets += length as u64;
        let new = &buffer[length.saturating_sub(tail.len())..length];
        tail.rotate_left(new.len());
        let at = tail.len() - new.len();
        tail[at..].copy_from_slice(new);
        if tail.ends_with(END) {
            return Ok((octets, 0));
        }
        if tail.starts_with(END) {
            let (_, command) = tail.split_at(END.len());
            buffer[..COMMAND].copy_from_slice(command);
            return Ok((octets - COMMAND as u64, COMMAND));
        }
    }
}
