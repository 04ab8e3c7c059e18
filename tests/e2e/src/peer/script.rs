//! What a peer does, step by step.

use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;

/// Built by chaining; without a closing step the peer ends politely once the steps are done, and listens on
/// until the client has closed.
#[derive(Clone, Default)]
pub struct Script {
    pub(super) steps: Vec<Step>,
}

/// Makes a reply of a line.
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

/// What the next line must be. It may end with CRLF only: a bare LF is part of the line.
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

    /// A peer that greets.
    pub fn greeting() -> Self {
        Self::new().send("220 peer.example.test ESMTP\r\n")
    }

    /// These bytes in one write.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Each piece in a packet of its own.
    pub fn pieces<T: AsRef<[u8]>>(self, pieces: &[T]) -> Self {
        let gap = Duration::from_millis(20);
        pieces
            .iter()
            .fold(self, |script, piece| script.send(piece).sleep(gap))
    }

    /// One byte at a time. Ends early if the client leaves.
    pub fn drip(self, bytes: impl AsRef<[u8]>, interval: Duration) -> Self {
        self.step(Step::Drip(bytes.as_ref().to_vec(), interval))
    }

    /// Reads one line, whatever it says.
    pub fn line(self) -> Self {
        self.step(Step::Line(Expected::Anything))
    }

    /// Reads one line, which must be this one (given without its CRLF).
    pub fn expect(self, line: impl Into<String>) -> Self {
        self.step(Step::Line(Expected::Exactly(line.into())))
    }

    /// Reads one line, which must start so (in any case).
    pub fn expect_start(self, start: impl Into<String>) -> Self {
        self.step(Step::Line(Expected::Starting(start.into())))
    }

    /// Reads one line that starts with `verb` and answers; CRLF is added to the answer.
    pub fn on(self, verb: &str, answer: &str) -> Self {
        self.expect_start(verb).send(format!("{answer}\r\n"))
    }

    /// Reads one line and sends what the function makes of it.
    pub fn answer(self, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.step(Step::Answer(Arc::new(answer)))
    }

    /// Does so with every further line, until the client closes.
    pub fn answer_all(self, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.step(Step::AnswerAll(Arc::new(answer)))
    }

    /// Reads up to and with these bytes.
    pub fn read_until(self, end: impl AsRef<[u8]>) -> Self {
        self.step(Step::ReadUntil(end.as_ref().to_vec()))
    }

    /// Reads up to and with the final dot, which may come at once.
    pub fn body(self) -> Self {
        self.step(Step::Body)
    }

    /// DATA with 354, the message up to its dot, and this answer to it.
    pub fn message(self, answer: &str) -> Self {
        self.on("DATA", "354 go ahead")
            .body()
            .send(format!("{answer}\r\n"))
    }

    /// MAIL, RCPT, DATA and QUIT, all welcome.
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

    /// STARTTLS with 220, and the handshake.
    pub fn starttls(self, config: Arc<ServerConfig>) -> Self {
        self.on("STARTTLS", "220 go ahead").handshake(config)
    }

    /// The handshake alone: at the start of the script it makes an implicit-TLS server.
    pub fn handshake(self, config: Arc<ServerConfig>) -> Self {
        self.step(Step::StartTls(config))
    }

    /// Does nothing until [`super::Peer::release`]; the n-th of a script waits for the n-th release.
    pub fn await_release(self) -> Self {
        self.step(Step::AwaitRelease)
    }

    /// Neither reads nor writes until the test is over.
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Reads all that comes, until the client closes.
    pub fn drain(self) -> Self {
        self.step(Step::Drain)
    }

    /// Closes as TLS asks (in clear: shuts down the writing side), and goes on reading.
    pub fn close_notify(self) -> Self {
        self.step(Step::CloseNotify)
    }

    /// Closes the TCP connection at once, without a word of TLS.
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
