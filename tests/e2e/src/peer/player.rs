//! Plays one script to one connection.

use super::Shared;
use super::channel::{Channel, ReadResult};
use super::record::{Conversation, Ending};
use super::script::{Expected, Script, Step};
use crate::process::BOUND;
use memchr::memmem::find;
use rustls::ServerConfig;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A script that waits longer than this for its client is stuck. The client may be waiting for
/// something else in the meantime.
const SCRIPT_TIMEOUT: Duration = BOUND.saturating_mul(5);
/// Once the test is over, a silence of this length means that nothing more comes.
const SILENCE: Duration = Duration::from_millis(200);

pub struct Player<'a> {
    channel: Option<Channel>,
    /// Received, but not yet consumed by a step.
    pending: Vec<u8>,
    number: usize,
    shared: &'a Shared,
    releases: usize,
}

/// Why a step was not completed.
enum Stop {
    ClientLeft,
    Broken(String),
}

impl<'a> Player<'a> {
    pub fn new(stream: TcpStream, number: usize, shared: &'a Shared) -> Self {
        let channel = Some(Channel::new(stream));
        Self {
            channel,
            pending: Vec::new(),
            number,
            shared,
            releases: 0,
        }
    }

    pub fn play(mut self, script: &Script) {
        let mut ending = Ending::Completed;
        for (number, step) in script.steps.iter().enumerate() {
            match self.step(step) {
                Ok(()) => {}
                Err(Stop::ClientLeft) => {
                    ending = Ending::ClientLeft(number);
                    break;
                }
                Err(Stop::Broken(why)) => {
                    eprintln!("the peer's script failed at step {number}: {why}");
                    ending = Ending::Broken(format!("step {number}: {why}"));
                    break;
                }
            }
        }
        self.record(|conversation| conversation.ending = ending);
        self.leave();
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Drip(bytes, interval) => self.drip(bytes, *interval),
            Step::Line(expected) => self.line().and_then(|line| expected.check(&line)),
            Step::Answer(answer) => {
                let line = self.line()?;
                self.send(&answer(&line))
            }
            Step::AnswerAll(answer) => loop {
                let line = self.line()?;
                self.send(&answer(&line))?;
            },
            Step::ReadUntil(end) => self.read_until(end).map(|_| ()),
            Step::Body => self.body(),
            Step::Sleep(time) => {
                std::thread::sleep(*time);
                Ok(())
            }
            Step::StartTls(config) => self.start_tls(config),
            Step::AwaitRelease => self.await_release(),
            Step::Hold => {
                self.hold(|shared| shared.finishing.load(Ordering::SeqCst));
                Ok(())
            }
            Step::Drain => {
                while self.hear().is_ok() {}
                Ok(())
            }
            Step::CloseNotify => self.on_channel(|channel| channel.close_notify()),
            Step::Cut => {
                self.on_channel(|channel| channel.cut())?;
                self.channel = None;
                Ok(())
            }
            Step::Reset => {
                self.on_channel(|channel| channel.reset_on_close())?;
                self.channel = None;
                Ok(())
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let channel = self.channel.as_mut().ok_or(Stop::ClientLeft)?;
        channel.write(bytes).map_err(|_| Stop::ClientLeft)
    }

    fn drip(&mut self, bytes: &[u8], interval: Duration) -> Result<(), Stop> {
        self.shared.holding.fetch_add(1, Ordering::SeqCst);
        for byte in bytes {
            if self.shared.finishing.load(Ordering::SeqCst) {
                return Err(Stop::ClientLeft);
            }
            self.send(&[*byte])?;
            std::thread::sleep(interval);
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, Stop> {
        let line = self.read_until(b"\r\n")?;
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    fn body(&mut self) -> Result<(), Stop> {
        // The line ending before an immediate dot belongs to the DATA line, which was read already.
        while self.pending.len() < 3 {
            self.hear()?;
        }
        let end: &[u8] = if self.pending.starts_with(b".\r\n") {
            b".\r\n"
        } else {
            b"\r\n.\r\n"
        };
        self.read_until(end).map(|_| ())
    }

    fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.pending.len());
            if let Some(found) = find(&self.pending[from..], end) {
                return Ok(self.pending.drain(..from + found + end.len()).collect());
            }
            searched = self.pending.len().saturating_sub(end.len());
            self.hear()?;
        }
    }

    /// Waits for more bytes.
    fn hear(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        let mut over: Option<Instant> = None;
        loop {
            match self.channel.as_mut().ok_or(Stop::ClientLeft)?.read() {
                ReadResult::Bytes(bytes) => return self.note(&bytes),
                ReadResult::Closed => return Err(Stop::ClientLeft),
                ReadResult::Nothing => {}
            }
            if self.shared.finishing.load(Ordering::SeqCst)
                && over.get_or_insert_with(Instant::now).elapsed() > SILENCE
            {
                return Err(Stop::ClientLeft);
            }
            if began.elapsed() > SCRIPT_TIMEOUT {
                return Err(Stop::Broken(format!(
                    "the client was silent for {SCRIPT_TIMEOUT:?}"
                )));
            }
        }
    }

    fn note(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.pending.extend_from_slice(bytes);
        let tls = self.channel.as_ref().is_some_and(Channel::is_tls);
        self.record(|conversation| {
            conversation.reads += 1;
            let heard = if tls {
                &mut conversation.tls
            } else {
                &mut conversation.plain
            };
            heard.extend_from_slice(bytes);
        });
        Ok(())
    }

    fn start_tls(&mut self, config: &Arc<ServerConfig>) -> Result<(), Stop> {
        if !self.pending.is_empty() {
            let early = self.pending.escape_ascii();
            return Err(Stop::Broken(format!(
                "\"{early}\" came before the handshake"
            )));
        }
        let channel = self.channel.take().ok_or(Stop::ClientLeft)?;
        let (outcome, handshake) = match channel.start_tls(Arc::clone(config)) {
            Ok((channel, handshake)) => {
                self.channel = Some(channel);
                (Ok(()), Ok(handshake))
            }
            Err(why) => (Err(Stop::ClientLeft), Err(why)),
        };
        self.record(|conversation| conversation.handshake = Some(handshake));
        outcome
    }

    fn await_release(&mut self) -> Result<(), Stop> {
        self.releases += 1;
        let due = self.releases;
        self.hold(|shared| {
            shared.released.load(Ordering::SeqCst) >= due || shared.finishing.load(Ordering::SeqCst)
        });
        Ok(())
    }

    /// Waits without a bound: the end of the test ends it.
    fn hold(&self, until: impl Fn(&Shared) -> bool) {
        self.shared.holding.fetch_add(1, Ordering::SeqCst);
        while !until(self.shared) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes the connection so that nothing sent is lost, and still records what the client sends.
    fn leave(&mut self) {
        let Some(channel) = self.channel.as_mut() else {
            return;
        };
        channel.close_notify();
        let began = Instant::now();
        while self.hear().is_ok() && began.elapsed() < BOUND {}
    }

    fn on_channel(&mut self, act: impl FnOnce(&mut Channel)) -> Result<(), Stop> {
        act(self.channel.as_mut().ok_or(Stop::ClientLeft)?);
        Ok(())
    }

    fn record(&self, change: impl FnOnce(&mut Conversation)) {
        change(&mut self.shared.conversations.lock().unwrap()[self.number]);
    }
}

impl Expected {
    fn check(&self, line: &str) -> Result<(), Stop> {
        let (fits, wanted) = match self {
            Self::Anything => return Ok(()),
            Self::Exactly(wanted) => (line == wanted, wanted),
            Self::Starting(start) => {
                let head = line.as_bytes().get(..start.len()).unwrap_or_default();
                (head.eq_ignore_ascii_case(start.as_bytes()), start)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Stop::Broken(format!(
                "heard \"{line}\", wanted \"{wanted}\""
            )))
        }
    }
}
