//! One conversation over one connection: drives the sans-I/O [`Session`] with a [`Stream`], one
//! command and its reply at a time, each under an absolute deadline. [`crate::send`] sends whole
//! messages, with commands in groups.
//!
//! A failure of the network or of the protocol ends the session: the caller drops the connection. A
//! wait may unwind instead of returning, so whoever calls holds the connection by value and loses
//! it then; a late reply can never meet the next command.

mod failure;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pem_wallet::{Rejection, ServerIdentity, Wallet};
use smtp_core::auth::{Credentials, SchemeList};
use smtp_core::command::{Command, Verb};
use smtp_core::phase::Phase;
use smtp_core::reply::{Code, Reply};
use smtp_core::session::{CommandError, PIECE, Progress, Session, SessionError};

pub use failure::{Cause, Failure, Farewell};

use crate::error::{NetError, Step, TlsError};
use crate::stream::Stream;
use crate::tcp;
use crate::timeouts::Timeouts;
use crate::tls::{self, SpeaksFirst, TlsCache, TlsInfo, TlsOptions};
use crate::wait::{Deadline, Wait};

/// How long `quit` waits for its reply at most: the session is over whatever the server says.
const QUIT_WAIT: Duration = Duration::from_secs(5);
/// Octets read at once; the replies to most commands fit many times.
const READ_SIZE: usize = 4096;
/// Lines of a reply that is out of the ordinary.
pub(crate) const MANY_LINES: usize = 256;

/// What a call brings along: how to wait, and who reads the transcript.
pub struct Io<'a> {
    /// How to wait.
    pub wait: &'a dyn Wait,
    /// Where lines of the transcript go, if somebody wants them.
    pub trace: Option<&'a dyn Fn(&str)>,
}

/// Where and how to connect.
pub struct Target<'a> {
    /// The addresses that may be tried, in order.
    pub addresses: &'a [SocketAddr],
    /// For each command, from its call to its reply.
    pub timeouts: Timeouts,
    /// For the connection, the handshake and the greeting together.
    pub deadline: Deadline,
    /// TLS before the first byte of SMTP.
    pub implicit_tls: Option<(&'a TlsOptions, &'a TlsCache)>,
}

/// A conversation under way.
pub struct Connection {
    /// `None` once the connection is closed.
    pub(crate) stream: Option<Stream>,
    pub(crate) session: Session,
    /// Room for what is read. Kept: clearing it anew for each command would cost more than parsing
    /// the reply.
    pub(crate) buffer: Box<[u8]>,
    /// Bytes that came behind the last reply. There should be none.
    pub(crate) surplus: Vec<u8>,
    peer: SocketAddr,
    pub(crate) timeouts: Timeouts,
    /// What has happened so far.
    pub statistics: Statistics,
}

/// What a conversation has done.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Messages whose final dot was answered with success.
    pub messages_sent: u64,
    /// Octets given to the transport, before encryption.
    pub bytes_sent: u64,
    /// Octets taken from the transport, after decryption.
    pub bytes_received: u64,
    /// The last reply.
    pub last_reply: Option<Reply>,
}

impl Connection {
    /// Connects and reads the greeting. Only after 220 is there a conversation to have: with any
    /// other greeting the connection has phase [`Phase::Closed`].
    ///
    /// # Errors
    /// The connection, the handshake or the greeting fails.
    pub fn open(target: Target<'_>, io: &Io<'_>) -> Result<(Self, Reply), Failure> {
        let (mut this, deadline) = Self::connect(target, io)?;
        let reply = this.converse(io, deadline)?;
        // RFC 5321 §3.1: a server that refuses by 554 still waits for QUIT; its answer would change
        // nothing.
        if this.is_over()
            && reply.code() != Code::NOT_AVAILABLE
            && let Some(stream) = &mut this.stream
        {
            let _ = stream.write_all(b"QUIT\r\n", io.wait, Deadline::after(Some(Duration::ZERO)));
        }
        Ok((this, reply))
    }

    /// One command and its reply, whatever it is. [`Connection::is_over`] tells whether the session
    /// outlived it.
    ///
    /// # Errors
    /// [`Cause::Command`] leaves the session as it was. All others end it.
    pub fn command(&mut self, command: &Command, io: &Io<'_>) -> Result<Reply, Failure> {
        let deadline = Deadline::after(self.timeouts.of(command.verb()));
        self.command_by(deadline, command, io)
    }

    /// The same for a call that has done something else before: its deadline was
    /// [`Connection::deadline`] then.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub fn command_by(
        &mut self,
        deadline: Deadline,
        command: &Command,
        io: &Io<'_>,
    ) -> Result<Reply, Failure> {
        self.trace_as(io);
        self.run(command.verb(), |this| {
            this.session.issue(command)?;
            this.refuse_unsolicited()
        })?;
        self.converse(io, deadline)
    }

    /// An AUTH exchange by the first of `schemes` that the server offers.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub fn authenticate(
        &mut self,
        schemes: &SchemeList,
        credentials: Credentials,
        io: &Io<'_>,
    ) -> Result<Reply, Failure> {
        let deadline = self.deadline();
        self.trace_as(io);
        let begun = self.run(Verb::Auth, |this| {
            this.session.authenticate(schemes, credentials)?;
            this.refuse_unsolicited()
        });
        let reply = begun.and_then(|()| self.converse(io, deadline));
        wipe_stack();
        reply
    }

    /// Refuses STARTTLS where it has no place, before a wallet is opened for it. From here on the
    /// connection is one that was to be encrypted, whatever comes of it (see
    /// [`Session::want_tls`]).
    ///
    /// # Errors
    /// [`Cause::Command`].
    pub fn admit_start_tls(&mut self) -> Result<(), Failure> {
        self.run(Verb::StartTls, |this| {
            this.session.admit(&Command::StartTls)?;
            this.session.want_tls();
            Ok(())
        })
    }

    /// The failure of a command whose time was over before it was sent: it ends the session.
    pub fn timed_out(&mut self, verb: Verb, error: NetError) -> Failure {
        self.session.close();
        self.failure(verb, error.into())
    }

    /// STARTTLS and, after 220, the handshake, by a deadline that was [`Connection::deadline`] when
    /// the call began.
    ///
    /// # Errors
    /// [`Cause::Command`] leaves the session as it was. All others, also those of the handshake,
    /// end it.
    pub fn start_tls(
        &mut self,
        options: &TlsOptions,
        cache: &TlsCache,
        deadline: Deadline,
        io: &Io<'_>,
    ) -> Result<Reply, Failure> {
        self.trace_as(io);
        self.run(Verb::StartTls, |this| {
            this.session.issue(&Command::StartTls)?;
            this.refuse_unsolicited()
        })?;
        let reply = self.converse(io, deadline)?;
        if reply.code() != Code::READY {
            return Ok(reply);
        }
        self.run(Verb::StartTls, |this| {
            if !this.surplus.is_empty() {
                return Err(NetError::from(TlsError::DataBeforeHandshake).into());
            }
            this.encrypt(options, cache, SpeaksFirst::Client, io, deadline)?;
            Ok(())
        })?;
        self.session.tls_started();
        self.emit(io);
        Ok(reply)
    }

    /// A piece of the message. True where its 8-bit characters deserve the message's one warning.
    ///
    /// Small pieces are gathered: what is sent, and when, depends on how much there is, not on how
    /// it was cut. Without a deadline the call has its own, which begins with the first octets
    /// that are sent.
    ///
    /// # Errors
    /// [`Cause::Command`] outside of a message. All others end the session.
    pub fn write(
        &mut self,
        mut deadline: Option<Deadline>,
        data: &[u8],
        io: &Io<'_>,
    ) -> Result<bool, Failure> {
        self.run(Verb::Data, |this| {
            this.session
                .require_data(Verb::Data)
                .map_err(CommandError::from)?;
            let mut warn = false;
            for piece in data.chunks(PIECE) {
                warn |= this.session.write(piece)?;
                if this.session.output().len() >= PIECE {
                    let timeout = this.timeouts.block;
                    let deadline = *deadline.get_or_insert_with(|| Deadline::after(timeout));
                    this.flush(io, deadline)?;
                }
            }
            Ok(warn)
        })
    }

    /// The end of the message, and the server's verdict on it.
    ///
    /// # Errors
    /// As [`Connection::write`]. See also [`Failure::message_sent`].
    pub fn end_data(&mut self, deadline: Deadline, io: &Io<'_>) -> Result<Reply, Failure> {
        self.trace_as(io);
        self.run(Verb::FinalDot, |this| {
            this.session
                .require_data(Verb::FinalDot)
                .map_err(CommandError::from)?;
            this.refuse_unsolicited()?;
            Ok(this.session.end_data()?)
        })?;
        let reply = self.converse(io, deadline)?;
        self.statistics.messages_sent += u64::from(!reply.is_failure());
        Ok(reply)
    }

    /// QUIT. The session is over whatever happens, but where the command has no place; silence and
    /// a lost connection are no failures.
    ///
    /// # Errors
    /// [`Cause::Command`] leaves the session as it was.
    pub fn quit(&mut self, io: &Io<'_>) -> Result<Farewell, Failure> {
        let deadline = self.deadline().min(Deadline::after(Some(QUIT_WAIT)));
        self.trace_as(io);
        self.run(Verb::Quit, |this| Ok(this.session.issue(&Command::Quit)?))?;
        let answered = self
            .run(Verb::Quit, Self::refuse_unsolicited)
            .and_then(|()| self.converse(io, deadline));
        self.session.close();
        self.hang_up();
        Ok(answered.map_or_else(Farewell::Lost, Farewell::Reply))
    }

    /// Closes the connection, with TLS as politely as is possible without waiting.
    pub fn hang_up(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.close();
        }
    }

    /// Whether there is no conversation any more.
    pub fn is_over(&self) -> bool {
        self.session.phase() == Phase::Closed
    }

    /// The protocol's side of the conversation.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether AUTH schemes that show the password may be used without TLS, from now on.
    pub fn allow_cleartext_auth(&mut self, allow: bool) {
        self.session.allow_cleartext_auth(allow);
    }

    /// How long each step may take, from now on.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// The address that accepted the connection.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// This end's address.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.stream.as_ref().and_then(Stream::local_addr)
    }

    /// The facts of TLS, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.stream.as_ref().and_then(Stream::tls_info)
    }

    /// Verifies the certificate that the server showed in the handshake once more, against another
    /// wallet and name.
    ///
    /// # Errors
    /// Why the certificate is rejected. Without TLS there is none.
    pub fn verify_server(
        &self,
        wallet: Arc<Wallet>,
        identity: ServerIdentity,
    ) -> Result<(), Rejection> {
        let chain = self.stream.as_ref().map(Stream::server_certificates);
        tls::verify(chain.unwrap_or_default(), wallet, identity)
    }

    /// When a call that begins now has to be over: by [`Timeouts::other`], which with
    /// [`Timeouts::uniform`] is the limit of each command.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.timeouts.other)
    }

    /// The connection before its greeting, and the deadline of that.
    fn connect(target: Target<'_>, io: &Io<'_>) -> Result<(Self, Deadline), Failure> {
        let Target {
            addresses,
            timeouts,
            deadline,
            implicit_tls,
        } = target;
        let failed = |error| Failure::connecting(error, timeouts.greeting);
        let (socket, peer) = tcp::connect(addresses, io.wait, deadline).map_err(failed)?;
        let mut session = Session::new(implicit_tls.is_some(), false);
        session.transcript.enable(io.trace.is_some());
        session.transcript.note(|| format!("connected to {peer}"));
        let mut connection = Self {
            stream: Some(Stream::plain(socket)),
            session,
            buffer: vec![0; READ_SIZE].into(),
            surplus: Vec::new(),
            peer,
            timeouts,
            statistics: Statistics::default(),
        };
        // The handshake may be the end of it.
        connection.emit(io);
        if let Some((options, cache)) = implicit_tls {
            connection
                .encrypt(options, cache, SpeaksFirst::Server, io, deadline)
                .map_err(failed)?;
        }
        Ok((connection, deadline))
    }

    /// The handshake. Where it fails the connection is closed.
    fn encrypt(
        &mut self,
        options: &TlsOptions,
        cache: &TlsCache,
        speaks_first: SpeaksFirst,
        io: &Io<'_>,
        deadline: Deadline,
    ) -> Result<(), NetError> {
        let stream = self.stream.take().ok_or_else(closed)?;
        let stream = stream.start_tls(options, cache, speaks_first, io.wait, deadline)?;
        if let Some(info) = stream.tls_info() {
            self.session.transcript.note(|| {
                let resumed = if info.resumed { "resumed" } else { "new" };
                format!(
                    "TLS started: {}, {}, {resumed} session, certificate of {}",
                    info.version, info.cipher, info.peer
                )
            });
        }
        self.stream = Some(stream);
        Ok(())
    }

    pub(crate) fn trace_as(&mut self, io: &Io<'_>) {
        self.session.transcript.enable(io.trace.is_some());
    }

    /// Sends what there is to send, and reads until the due reply is complete.
    fn converse(&mut self, io: &Io<'_>, deadline: Deadline) -> Result<Reply, Failure> {
        let verb = self.session.last_verb();
        self.emit(io);
        let mut sent = false;
        let result = self.run(verb, |this| {
            this.flush(io, deadline)?;
            sent = true;
            loop {
                match this.read(io, deadline)? {
                    Progress::More => {}
                    Progress::Answer => this.flush(io, deadline)?,
                    Progress::Reply { reply, .. } => return Ok(reply),
                }
            }
        });
        self.emit(io);
        let reply = result.map_err(|mut failure| {
            failure.message_sent = sent && verb == Verb::FinalDot;
            failure
        })?;
        // Many lines take more memory than their octets, and are about to be copied.
        if reply.lines().len() > MANY_LINES {
            self.run(verb, |_| Ok(io.wait.check().map_err(NetError::from)?))?;
        }
        self.statistics.last_reply = Some(reply.clone());
        Ok(reply)
    }

    /// Reads once, and feeds the session.
    fn read(&mut self, io: &Io<'_>, deadline: Deadline) -> Result<Progress, Cause> {
        let stream = self.stream.as_mut().ok_or_else(closed)?;
        let length = stream.read(&mut self.buffer, io.wait, deadline)?;
        if length == 0 {
            return Err(closed().into());
        }
        self.statistics.bytes_received += length as u64;
        let buffer = std::mem::take(&mut self.buffer);
        let mut input = &buffer[..length];
        let progress = self.feed(&mut input, io);
        self.surplus.extend_from_slice(input);
        self.buffer = buffer;
        progress
    }

    /// Feeds the session up to the end of a reply; what follows is left in `input`.
    pub(crate) fn feed(&mut self, input: &mut &[u8], io: &Io<'_>) -> Result<Progress, Cause> {
        loop {
            let mut interrupted = Ok(());
            let fed = self.session.feed(input, &mut || {
                interrupted = interrupted.and(io.wait.check());
            });
            interrupted.map_err(NetError::from)?;
            let (used, progress) = match fed {
                Ok(fed) => fed,
                Err(error) => {
                    // A cancelled AUTH ends in "*": worth an attempt, not a wait.
                    let now = Deadline::after(Some(Duration::ZERO));
                    let _ = self.flush(io, now);
                    return Err(error.into());
                }
            };
            *input = &input[used..];
            match progress {
                // More bytes than the challenge: an answer to a question not yet asked is no
                // answer.
                Progress::Answer if !input.is_empty() => {
                    self.session.close();
                    return Err(SessionError::Unsolicited(None).into());
                }
                Progress::More if !input.is_empty() => {}
                progress => return Ok(progress),
            }
        }
    }

    /// Before a command: whatever the server has said since its last reply is no answer to it. 421
    /// is what it most often is, said before the server hung up.
    pub(crate) fn refuse_unsolicited(&mut self) -> Result<(), Cause> {
        if self.surplus.is_empty() {
            let stream = self.stream.as_mut().ok_or_else(closed)?;
            match stream.try_read(&mut self.buffer)? {
                None => return Ok(()),
                Some(0) => return Err(closed().into()),
                Some(length) => self.surplus.extend_from_slice(&self.buffer[..length]),
            }
        }
        Err(self.unsolicited())
    }

    pub(crate) fn unsolicited(&mut self) -> Cause {
        let input = std::mem::take(&mut self.surplus);
        self.statistics.bytes_received += input.len() as u64;
        self.session.unsolicited(&input).into()
    }

    fn flush(&mut self, io: &Io<'_>, deadline: Deadline) -> Result<(), Cause> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        self.statistics.bytes_sent += output.len() as u64;
        let stream = self.stream.as_mut().ok_or_else(closed)?;
        let result = stream.write_all(output, io.wait, deadline);
        if let Err(NetError::Io { .. }) = &result {
            // A server that hangs up on us may have said why.
            if let Ok(Some(length @ 1..)) = stream.try_read(&mut self.buffer) {
                self.surplus.extend_from_slice(&self.buffer[..length]);
                return Err(self.unsolicited());
            }
        }
        self.session.output_sent();
        Ok(result?)
    }

    /// Runs a step; a failure that is not the caller's ends the session.
    fn run<T>(
        &mut self,
        verb: Verb,
        step: impl FnOnce(&mut Self) -> Result<T, Cause>,
    ) -> Result<T, Failure> {
        step(self).map_err(|cause| {
            if !matches!(cause, Cause::Command(_)) {
                self.session.close();
            }
            self.failure(verb, cause)
        })
    }

    pub(crate) fn failure(&self, verb: Verb, cause: Cause) -> Failure {
        Failure {
            verb,
            cause,
            timeout: self.timeouts.of(verb),
            message_sent: false,
        }
    }

    pub(crate) fn emit(&mut self, io: &Io<'_>) {
        if let Some(trace) = io.trace {
            self.session
                .transcript
                .take()
                .iter()
                .for_each(|line| trace(line));
        }
    }
}

/// The end of the connection where a reply was due.
pub(crate) fn closed() -> NetError {
    let source = io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection",
    );
    NetError::Io {
        step: Step::Reading,
        source,
    }
}

/// Overwrites what calls have left on the stack below the caller. Where a signal came while they
/// copied a secret, the kernel has saved the processor's registers there, with a part of it.
#[inline(never)]
fn wipe_stack() {
    /// More than an exchange takes, with TLS and the frame of a signal.
    const DEPTH: usize = 64 * 1024;
    std::hint::black_box(&mut [0_u8; DEPTH]);
}
