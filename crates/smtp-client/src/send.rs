//! Sends one message to many recipients and reports the outcome for each: core's [`Transaction`]
//! decides what is said, a [`Connection`] says it.
//!
//! Where the server offers PIPELINING, MAIL, all RCPTs and DATA go out before their replies are
//! read (RFC 2920). The replies are read while commands are written: a server that stops reading
//! until somebody takes its replies can't bring both sides to a halt with full socket buffers (RFC
//! 2920 §3.1 leaves that to the client).

use std::borrow::Cow;
use std::time::Duration;

use smtp_core::command::{Command, Verb};
use smtp_core::envelope::Envelope;
use smtp_core::phase::Phase;
use smtp_core::reply::Reply;
use smtp_core::session::{PIECE, Progress};
use smtp_core::transaction::{Outcome, Step, Transaction};

use crate::connection::{Cause, Connection, Failure, Io, MANY_LINES, closed};
use crate::error::NetError;
use crate::wait::{Deadline, Interrupted};

/// Octets of commands gathered before they are given to the transport.
const GROUP: usize = 8 * 1024;

/// The outcome of sending a message.
#[derive(Debug)]
pub struct Verdict {
    /// The outcome for each recipient, in the order of the envelope. Recipients who are
    /// [`Outcome::NotSent`] or [`Outcome::Unknown`] are so because the session ended.
    pub outcomes: Vec<Outcome>,
    /// Whether 8-bit characters were sent to a server that did not offer 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// Why the session ended; `None` if the next message may use it.
    pub ended: Option<Ended>,
}

/// Why a session ended while a message was sent.
#[derive(Debug)]
pub enum Ended {
    /// The network, TLS or the protocol failed.
    Failed(Failure),
    /// The server closed the session by 421, or refused RSET, so that this message's recipients
    /// might receive the next message.
    Said {
        /// The command that was answered.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
}

impl Connection {
    /// Sends a message to all recipients of an envelope (RFC 5321 §3.3), in as many transactions as
    /// the server wants.
    ///
    /// A recipient that is refused costs the others nothing. A transaction that the caller left
    /// open is reset before. SMTPUTF8 is added to the parameters of MAIL if a recipient needs it
    /// and the server offers it.
    ///
    /// - `body`: the pieces of the message, of any size, in the form in which [`Connection::write`]
    ///   takes them. It is cloned for each transaction. `[bytes]` is a body of one piece.
    ///   [`Connection::send_fetched`] is for pieces that are fetched on the way.
    /// - `max_recipients`: the most recipients of one transaction, at least 1; RFC 5321 §4.5.3.1.8
    ///   has every server take 100.
    /// - Each step has its own limit, see [`crate::timeouts::Timeouts`].
    ///
    /// # Errors
    /// [`Cause::Command`]: MAIL can't be sent to this server, nothing was, and the session is as it
    /// was. Every other failure ends the session and is [`Verdict::ended`].
    pub fn send<B>(
        &mut self,
        envelope: &Envelope,
        body: B,
        max_recipients: usize,
        io: &Io<'_>,
    ) -> Result<Verdict, Failure>
    where
        B: Clone + IntoIterator<Item: AsRef<[u8]>>,
    {
        self.send_fetched(envelope, AtHand(body), max_recipients, io)
    }

    /// The same for a message whose pieces are fetched while it is sent. Where a piece can't be
    /// had, the session ends without a final dot, so no server accepts a part of a message.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_fetched<B, P>(
        &mut self,
        envelope: &Envelope,
        body: B,
        max_recipients: usize,
        io: &Io<'_>,
    ) -> Result<Verdict, Failure>
    where
        B: Clone + IntoIterator<Item = Result<P, Interrupted>>,
        P: AsRef<[u8]>,
    {
        self.trace_as(io);
        let envelope = match envelope.needs_smtputf8() && self.session.offers("SMTPUTF8") {
            true => Cow::Owned(envelope.clone().with_smtputf8()),
            false => Cow::Borrowed(envelope),
        };
        let mail = Command::Mail(envelope.sender.clone(), envelope.parameters.clone());
        let admitted = self.session.admit(&mail);
        admitted.map_err(|error| self.failure(Verb::Mail, error.into()))?;
        // In an AUTH exchange the server takes one line at a time, whatever it offers.
        let pipelining = self.session.is_pipelining() && !self.session.phase().is_challenge();
        let transaction = Transaction::new(&envelope, pipelining, max_recipients);
        let mut sending = Sending {
            connection: self,
            transaction,
            io,
            verb: Verb::Mail,
            limit: None,
            deadline: Deadline::never(),
            begun: false,
            empty: false,
            dot_sent: false,
            eight_bit: false,
            ended: None,
        };
        let result = sending.run(body);
        sending.verdict(result)
    }
}

/// A body all of whose pieces are at hand.
#[derive(Clone)]
struct AtHand<B>(B);

impl<B: IntoIterator> IntoIterator for AtHand<B> {
    type Item = Result<B::Item, Interrupted>;
    type IntoIter = std::iter::Map<B::IntoIter, fn(B::Item) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(Ok)
    }
}

/// A message on its way.
struct Sending<'a> {
    connection: &'a mut Connection,
    transaction: Transaction<'a>,
    io: &'a Io<'a>,
    /// The step under way, its limit and its deadline.
    verb: Verb,
    limit: Option<Duration>,
    deadline: Deadline,
    /// Whether a command of the transaction was put out.
    begun: bool,
    /// Whether the final dot ends a message for nobody.
    empty: bool,
    /// Whether the final dot of a message is out and unanswered.
    dot_sent: bool,
    /// Whether 8-bit characters were sent without 8BITMIME.
    eight_bit: bool,
    ended: Option<Ended>,
}

impl Sending<'_> {
    fn run<B, P>(&mut self, body: B) -> Result<(), Cause>
    where
        B: Clone + IntoIterator<Item = Result<P, Interrupted>>,
        P: AsRef<[u8]>,
    {
        self.reset()?;
        while self.ended.is_none() {
            match self.transaction.step() {
                Step::Command(command) => self.command(&command)?,
                Step::Body => self.message(body.clone())?,
                Step::EmptyBody => {
                    self.empty = true;
                    self.end_data()?;
                }
                Step::Await => self.hear()?,
                Step::Done => break,
            }
        }
        Ok(())
    }

    /// Ends a transaction that the caller left open: its recipients would get this message.
    fn reset(&mut self) -> Result<(), Cause> {
        let phase = self.connection.session.phase();
        if !matches!(phase, Phase::Mail | Phase::Recipient) {
            return Ok(());
        }
        self.connection.refuse_unsolicited()?;
        self.connection.session.issue(&Command::Rset)?;
        self.begin(Verb::Rset);
        while self.connection.session.due().is_some() {
            self.hear()?;
        }
        Ok(())
    }

    fn command(&mut self, command: &Command) -> Result<(), Cause> {
        let idle = self.connection.session.due().is_none();
        if idle {
            self.connection.refuse_unsolicited()?;
        }
        if let Err(error) = self.connection.session.issue(command) {
            return match self.transaction.unsendable(error) {
                Some(error) => Err(error.into()),
                None => Ok(()),
            };
        }
        self.begun = true;
        if idle {
            self.begin(command.verb());
        }
        if self.connection.session.output().len() >= GROUP {
            self.drain()?;
            // The server has read what the limit was for.
            if let Some(verb) = self.connection.session.due() {
                self.begin(verb);
            }
        }
        Ok(())
    }

    fn message<B, P>(&mut self, body: B) -> Result<(), Cause>
    where
        B: IntoIterator<Item = Result<P, Interrupted>>,
        P: AsRef<[u8]>,
    {
        self.empty = false;
        self.begin_block();
        for piece in body {
            let piece = piece.map_err(NetError::from)?;
            for piece in piece.as_ref().chunks(PIECE) {
                self.eight_bit |= self.connection.session.write(piece)?;
                if self.connection.session.output().len() >= PIECE {
                    self.drain()?;
                    self.begin_block();
                }
            }
        }
        self.end_data()
    }

    fn end_data(&mut self) -> Result<(), Cause> {
        self.connection.refuse_unsolicited()?;
        self.connection.session.end_data()?;
        self.begin(Verb::FinalDot);
        self.drain()?;
        if self.ended.is_none() && self.connection.session.due().is_some() {
            self.transaction.body_sent();
            self.dot_sent = !self.empty;
        }
        Ok(())
    }

    /// Sends what there is to send, then reads until there is something.
    fn hear(&mut self) -> Result<(), Cause> {
        self.drain()?;
        if self.ended.is_some() || self.connection.session.due().is_none() {
            return Ok(());
        }
        let (wait, deadline) = (self.io.wait, self.deadline);
        let connection = &mut *self.connection;
        let stream = connection.stream.as_mut().ok_or_else(closed)?;
        let length = stream.read(&mut connection.buffer, wait, deadline)?;
        self.take(length)
    }

    /// Sends the output. Where the socket takes no more, reads the replies that are there, so that
    /// a server that waits for somebody to take them goes on reading.
    fn drain(&mut self) -> Result<(), Cause> {
        self.connection.emit(self.io);
        // Whatever happens on the way, nothing is sent twice.
        let output = self.connection.session.take_output();
        self.connection.statistics.bytes_sent += output.len() as u64;
        let mut left = output.as_slice();
        while self.ended.is_none() {
            let stream = self.connection.stream.as_mut().ok_or_else(closed)?;
            if left.is_empty() && stream.is_sent() {
                break;
            }
            self.io.wait.check().map_err(NetError::from)?;
            let written = match stream.write_some(left) {
                Ok(written) => written,
                Err(error) => return self.broken(error),
            };
            left = &left[written..];
            let blocked = written == 0 && !(left.is_empty() && stream.is_sent());
            if blocked && !self.listen()? {
                let stream = self.connection.stream.as_ref().ok_or_else(closed)?;
                stream.wait_for_either(self.io.wait, self.deadline)?;
            }
        }
        self.connection.session.reuse(output);
        Ok(())
    }

    /// The socket takes no more for good. A server that hangs up may have said why.
    fn broken(&mut self, error: NetError) -> Result<(), Cause> {
        loop {
            match self.listen() {
                Ok(true) if self.ended.is_none() => {}
                Ok(true) => return Ok(()),
                Err(cause @ Cause::Session(_)) => return Err(cause),
                Ok(false) | Err(_) => return Err(error.into()),
            }
        }
    }

    /// Takes what the server has said without waiting; false if there is nothing.
    fn listen(&mut self) -> Result<bool, Cause> {
        let connection = &mut *self.connection;
        let stream = connection.stream.as_mut().ok_or_else(closed)?;
        let Some(length) = stream.try_read(&mut connection.buffer)? else {
            return Ok(false);
        };
        self.take(length)?;
        match self.connection.surplus.is_empty() {
            true => Ok(true),
            false => Err(self.connection.unsolicited()),
        }
    }

    /// Takes what was read into the buffer.
    fn take(&mut self, length: usize) -> Result<(), Cause> {
        if length == 0 {
            return Err(closed().into());
        }
        self.connection.statistics.bytes_received += length as u64;
        let buffer = std::mem::take(&mut self.connection.buffer);
        let result = self.replies(&buffer[..length]);
        self.connection.buffer = buffer;
        self.connection.emit(self.io);
        result
    }

    fn replies(&mut self, mut input: &[u8]) -> Result<(), Cause> {
        while self.ended.is_none() && !input.is_empty() {
            if self.connection.session.due().is_none() {
                // Refused before anything else is sent.
                self.connection.surplus.extend_from_slice(input);
                break;
            }
            if let Progress::Reply { verb, reply } = self.connection.feed(&mut input, self.io)? {
                self.reply(verb, reply)?;
            }
        }
        Ok(())
    }

    fn reply(&mut self, verb: Verb, reply: Reply) -> Result<(), Cause> {
        if reply.lines().len() > MANY_LINES {
            self.io.wait.check().map_err(NetError::from)?;
        }
        let statistics = &mut self.connection.statistics;
        statistics.last_reply = Some(reply.clone());
        if verb == Verb::FinalDot {
            self.dot_sent = false;
            statistics.messages_sent += u64::from(!reply.is_failure() && !self.empty);
        }
        self.transaction.reply(reply.clone());
        if self.connection.is_over() || verb == Verb::Rset && reply.is_failure() {
            self.connection.session.close();
            self.transaction.lost();
            self.ended = Some(Ended::Said { verb, reply });
        } else if let Some(next) = self.connection.session.due() {
            self.begin(next);
        }
        Ok(())
    }

    /// Starts the clock of a step.
    fn begin(&mut self, verb: Verb) {
        self.begin_with(verb, self.connection.timeouts.of(verb));
    }

    fn begin_block(&mut self) {
        self.begin_with(Verb::Data, self.connection.timeouts.block);
    }

    fn begin_with(&mut self, verb: Verb, limit: Option<Duration>) {
        self.verb = verb;
        self.limit = limit;
        self.deadline = Deadline::after(limit);
    }

    fn verdict(mut self, result: Result<(), Cause>) -> Result<Verdict, Failure> {
        if let Err(cause) = result {
            let mut failure = self.connection.failure(self.verb, cause);
            if !self.begun && matches!(failure.cause, Cause::Command(_)) {
                return Err(failure);
            }
            failure.timeout = self.limit;
            failure.message_sent = self.dot_sent;
            self.connection.session.close();
            self.transaction.lost();
            self.ended = Some(Ended::Failed(failure));
        }
        self.connection.emit(self.io);
        Ok(Verdict {
            outcomes: self.transaction.into_outcomes(),
            eight_bit: self.eight_bit,
            ended: self.ended,
        })
    }
}
