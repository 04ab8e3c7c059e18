//! What replies mean.

use super::{Due, Identity, Message, Progress, Session, SessionError};
use crate::auth::{Breach, Scheme};
use crate::command::Verb;
use crate::ehlo::Capabilities;
use crate::parser::Violation;
use crate::phase::Event;
use crate::reply::{Class, Code, MASK, Reply};

/// What a reply means to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It may change the phase, see [`crate::phase::TRANSITIONS`].
    Event(Event),
    /// It changes nothing.
    Nothing,
    /// It can't follow the command.
    Unexpected,
}

/// What a reply with this code to this command means. The first line that fits counts.
fn meaning(verb: Verb, code: Code) -> Meaning {
    let class = code.class();
    let done = class == Class::Completion;
    let failed = matches!(class, Class::TransientFailure | Class::PermanentFailure);
    match verb {
        Verb::Quit => Meaning::Event(Event::Ended),
        Verb::Connect if failed => Meaning::Event(Event::Ended),
        Verb::FinalDot if failed => Meaning::Event(Event::DataEnded),
        _ if failed => Meaning::Nothing,
        Verb::Connect if code == Code::READY => Meaning::Event(Event::Greeted),
        // The event is the end of the handshake.
        Verb::StartTls if code == Code::READY => Meaning::Nothing,
        // RFC 5321 §4.3.2: 250 is the only reply by which a server accepts them.
        Verb::Helo | Verb::Ehlo if code == Code::OK => Meaning::Event(Event::HelloAccepted),
        Verb::Mail if done => Meaning::Event(Event::MailAccepted),
        Verb::Rcpt if done => Meaning::Event(Event::RecipientAccepted),
        Verb::Data if code == Code::START_MAIL_INPUT => Meaning::Event(Event::DataStarted),
        Verb::FinalDot if done => Meaning::Event(Event::DataEnded),
        Verb::Rset if done => Meaning::Event(Event::Reset),
        Verb::Auth | Verb::Noop | Verb::Vrfy | Verb::Help if done => Meaning::Nothing,
        Verb::Raw | Verb::RawAuth if code == Code::CHALLENGE => Meaning::Event(Event::Challenged),
        // After 354 the server would take the commands that follow for the text of a message.
        Verb::Raw | Verb::RawAuth if code != Code::START_MAIL_INPUT => Meaning::Nothing,
        _ => Meaning::Unexpected,
    }
}

impl Session {
    /// Parses the input and masks the secrets in the reply.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), Violation> {
        let mut result = self.parser.feed(input);
        match &mut result {
            Ok((_, Some(reply))) => {
                reply
                    .lines_mut()
                    .iter_mut()
                    .for_each(|line| self.mask(line));
                self.transcript.server(reply);
            }
            Err(Violation::NotAReply(line)) => self.mask(line),
            _ => {}
        }
        result
    }

    pub(super) fn parse(
        &mut self,
        input: &[u8],
        pause: &mut dyn FnMut(),
    ) -> Result<(usize, Progress), SessionError> {
        let Some(&due) = self.due.front() else {
            return Err(self.unsolicited(input));
        };
        let (used, reply) = self.read(input)?;
        let Some(reply) = reply else {
            return Ok((used, Progress::More));
        };
        let verb = due.verb;
        if reply.code() == Code::NOT_AVAILABLE {
            self.close();
            return Ok((used, Progress::Reply { verb, reply }));
        }
        if verb == Verb::Auth && reply.code() == Code::CHALLENGE {
            self.answer(&reply, pause)?;
            return Ok((used, Progress::Answer));
        }
        self.due.pop_front();
        self.accept_reply(due, &reply)?;
        Ok((used, Progress::Reply { verb, reply }))
    }

    fn answer(&mut self, challenge: &Reply, pause: &mut dyn FnMut()) -> Result<(), SessionError> {
        let Some(exchange) = &mut self.exchange else {
            return Err(SessionError::Unexpected(challenge.clone()));
        };
        let scheme = exchange.scheme();
        match exchange.answer(challenge, pause) {
            Ok(line) => {
                self.transcript.client(|| MASK.to_owned());
                self.say(&line);
                Ok(())
            }
            Err(error) => {
                self.transcript.client(|| "*".to_owned());
                self.say("*");
                Err(self.broken(scheme, error))
            }
        }
    }

    /// Records what a complete reply means.
    pub(super) fn accept_reply(&mut self, due: Due, reply: &Reply) -> Result<(), SessionError> {
        let verb = due.verb;
        let meaning = meaning(verb, reply.code());
        if meaning == Meaning::Unexpected {
            return Err(SessionError::Unexpected(reply.clone()));
        }
        if verb == Verb::Auth {
            self.end_exchange(reply)?;
        }
        if self.phase.is_challenge() && reply.code() != Code::CHALLENGE {
            self.phase = self.phase.after(Event::ChallengeEnded);
        }
        if let Meaning::Event(event) = meaning {
            match event {
                Event::HelloAccepted => {
                    self.capabilities = (verb == Verb::Ehlo).then(|| Capabilities::parse(reply));
                }
                Event::MailAccepted => self.envelope_smtputf8 = due.smtputf8,
                Event::DataStarted => {
                    self.message = Message {
                        octets: 0,
                        warn_of_8bit: !self.offers("8BITMIME"),
                    };
                }
                _ => {}
            }
            self.phase = self.phase.after(event);
        }
        Ok(())
    }

    fn end_exchange(&mut self, reply: &Reply) -> Result<(), SessionError> {
        let Some(mut exchange) = self.exchange.take() else {
            return Ok(());
        };
        let scheme = exchange.scheme();
        let result = if reply.is_failure() {
            Ok(None)
        } else {
            exchange.finish().map(Some)
        };
        self.auth_secrets = exchange.into_secrets();
        if let Some(username) = result.map_err(|error| self.broken(scheme, error))? {
            self.identity = Some(Identity { username, scheme });
        }
        Ok(())
    }

    fn broken(&self, scheme: Scheme, mut breach: Breach) -> SessionError {
        if let Some(text) = breach.text_mut() {
            self.mask(text);
        }
        SessionError::Authentication { scheme, breach }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> impl Iterator<Item = Code> {
        let digits = |code: u16| [code / 100, code / 10 % 10, code % 10];
        (200..600).filter_map(move |code| {
            Code::from_digits(&digits(code).map(|digit| b'0' + digit as u8))
        })
    }

    /// The replies that accept a command (RFC 5321 §4.3.2, RFC 3207, RFC 4954).
    fn accepts(verb: Verb, code: Code) -> bool {
        match verb {
            Verb::Connect | Verb::StartTls => code == Code::READY,
            Verb::Helo | Verb::Ehlo => code == Code::OK,
            Verb::Data => code == Code::START_MAIL_INPUT,
            Verb::Raw | Verb::RawAuth => code != Code::START_MAIL_INPUT,
            Verb::Quit => true,
            _ => code.class() == Class::Completion,
        }
    }

    #[test]
    fn a_reply_that_cannot_follow_its_command_is_unexpected() {
        for verb in [
            Verb::Connect,
            Verb::Helo,
            Verb::Ehlo,
            Verb::StartTls,
            Verb::Auth,
            Verb::Mail,
            Verb::Rcpt,
            Verb::Data,
            Verb::FinalDot,
            Verb::Rset,
            Verb::Noop,
            Verb::Vrfy,
            Verb::Help,
            Verb::Quit,
            Verb::RawAuth,
            Verb::Raw,
        ] {
            for code in codes() {
                let expected = code.value() >= 400 || accepts(verb, code);
                let unexpected = meaning(verb, code) == Meaning::Unexpected;
                assert_eq!(unexpected, !expected, "{verb}: {code}");
            }
        }
    }

    /// Failures leave the phase as it is, but for the end of the greeting, of a message and of the
    /// session.
    #[test]
    fn each_command_has_its_event() {
        use Event::*;
        for (verb, code, event) in [
            (Verb::Connect, "220", Some(Greeted)),
            (Verb::Connect, "554", Some(Ended)),
            (Verb::Helo, "250", Some(HelloAccepted)),
            (Verb::Ehlo, "250", Some(HelloAccepted)),
            (Verb::Ehlo, "502", None),
            (Verb::StartTls, "220", None),
            (Verb::StartTls, "454", None),
            (Verb::Auth, "235", None),
            (Verb::Auth, "535", None),
            (Verb::Mail, "250", Some(MailAccepted)),
            (Verb::Mail, "550", None),
            (Verb::Rcpt, "251", Some(RecipientAccepted)),
            (Verb::Rcpt, "450", None),
            (Verb::Data, "354", Some(DataStarted)),
            (Verb::Data, "554", None),
            (Verb::FinalDot, "250", Some(DataEnded)),
            (Verb::FinalDot, "554", Some(DataEnded)),
            (Verb::Rset, "250", Some(Reset)),
            (Verb::Rset, "500", None),
            (Verb::Noop, "250", None),
            (Verb::Vrfy, "252", None),
            (Verb::Help, "214", None),
            (Verb::Quit, "221", Some(Ended)),
            (Verb::Quit, "500", Some(Ended)),
            (Verb::RawAuth, "334", Some(Challenged)),
            (Verb::Raw, "334", Some(Challenged)),
            (Verb::RawAuth, "235", None),
            (Verb::Raw, "250", None),
        ] {
            let digits = code.as_bytes().try_into().unwrap();
            let code = Code::from_digits(digits).unwrap();
            let expected = event.map_or(Meaning::Nothing, Meaning::Event);
            assert_eq!(meaning(verb, code), expected, "{verb}: {code}");
        }
    }
}
