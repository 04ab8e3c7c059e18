//! The steps of a peer.

use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;

/// Built by chaining. Without a closing step the peer closes cleanly after the last step, and keeps
/// reading until the client has closed.
#[derive(Clone, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

/// Computes a reply to a line.
pub(super) type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    Drip(Vec<u8>, Duration),
    Line(Expected),
    Answer(Answer),
    AnswerAll(Answer),
    ReadUntil(Vec<u8>),
    Body,
    Sleep(Duration),
    StartTls(Arc<ServerConfig>),
    AwaitRelease,
    Hold,
    Drain,
    CloseNotify,
    Cut,
    Reset,
}

/// What the next line must be. Only CRLF ends a line: a bare LF is part of it.
#[derive(Clone)]
pub(super) enum Expected {
    Anything,
    Exactly(String),
    Starting(String),
}

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer that sends a greeting.
    pub fn greeting() -> Self {
        Self::new().send("220 peer.example.test ESMTP\r\n")
    }

    /// Sends these bytes in one write.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends each piece in a separate packet.
    pub fn pieces<T: AsRef<[u8]>>(self, pieces: &[T]) -> Self {
        let gap = Duration::from_millis(20);
        pieces
            .iter()
            .fold(self, |script, piece| script.send(piece).sleep(gap))
    }

    /// Sends one byte at a time. Ends early if the client leaves.
    pub fn drip(self, bytes: impl AsRef<[u8]>, interval: Duration) -> Self {
        self.step(Step::Drip(bytes.as_ref().to_vec(), interval))
    }

    /// Reads any line.
    pub fn line(self) -> Self {
        self.step(Step::Line(Expected::Anything))
    }

    /// Reads one line, which must be equal to this one (without CRLF).
    pub fn expect(self, line: impl Into<String>) -> Self {
        self.step(Step::Line(Expected::Exactly(line.into())))
    }

    /// Reads one line, which must start with this text, in any case.
    pub fn expect_start(self, start: impl Into<String>) -> Self {
        self.step(Step::Line(Expected::Starting(start.into())))
    }

    /// Reads one line that starts with `verb` and sends the answer with CRLF.
    pub fn on(self, verb: &str, answer: &str) -> Self {
        self.expect_start(verb).send(format!("{answer}\r\n"))
    }

    /// Reads one line and sends the result of the function.
    pub fn answer(self, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.step(Step::Answer(Arc::new(answer)))
    }

    /// Answers every further line that way, until the client closes.
    pub fn answer_all(self, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.step(Step::AnswerAll(Arc::new(answer)))
    }

    /// Reads up to and including these bytes.
    pub fn read_until(self, end: impl AsRef<[u8]>) -> Self {
        self.step(Step::ReadUntil(end.as_ref().to_vec()))
    }

    /// Reads up to and including the final dot, which may come at once.
    pub fn body(self) -> Self {
        self.step(Step::Body)
    }

    /// Accepts DATA with 354, reads the message, and sends this answer to it.
    pub fn message(self, answer: &str) -> Self {
        self.on("DATA", "354 go ahead")
            .body()
            .send(format!("{answer}\r\n"))
    }

    /// Accepts MAIL, RCPT, DATA and QUIT.
    pub fn transaction(self) -> Self {
        self.on("MAIL FROM:", "250 ok")
            .on("RCPT TO:", "250 ok")
            .message("250 queued")
            .quit()
    }

    pub fn quit(self) -> Self {
        self.on("QUIT", "221 bye")
    }

    pub fn sleep(self, time: Duration) -> Self {
        self.step(Step::Sleep(time))
    }

    /// Accepts STARTTLS with 220 and performs the handshake.
    pub fn starttls(self, config: Arc<ServerConfig>) -> Self {
        self.on("STARTTLS", "220 go ahead").handshake(config)
    }

    /// Performs the handshake. As first step it makes an implicit-TLS server.
    pub fn handshake(self, config: Arc<ServerConfig>) -> Self {
        self.step(Step::StartTls(config))
    }

    /// Does nothing until [`super::Peer::release`]; the n-th such step waits for the n-th release.
    pub fn await_release(self) -> Self {
        self.step(Step::AwaitRelease)
    }

    /// Neither reads nor writes until the test is over.
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Reads everything until the client closes.
    pub fn drain(self) -> Self {
        self.step(Step::Drain)
    }

    /// Sends close_notify (without TLS: shuts down the sending side), and keeps reading.
    pub fn close_notify(self) -> Self {
        self.step(Step::CloseNotify)
    }

    /// Closes the TCP connection at once, without close_notify.
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// Resets the TCP connection.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Appends the steps of another script.
    pub fn then(mut self, other: Script) -> Self {
        self.steps.extend(other.steps);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
