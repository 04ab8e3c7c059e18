//! Which commands may be sent now.

use super::{CommandError, Due, OrderError, ReservedCommand, Session, SmtpUtf8Problem};
use crate::auth::{NoSupportedScheme, SchemeList, SchemePolicy};
use crate::command::{Command, Verb};
use crate::phase::Phase;
use crate::text::RawCommand;

impl Session {
    /// Refuses message data, or its end, unless the server reads message data.
    ///
    /// # Errors
    /// [`OrderError::NotInData`] with the verb given: [`Verb::Data`] or [`Verb::FinalDot`].
    pub fn require_data(&self, verb: Verb) -> Result<(), OrderError> {
        match self.phase {
            Phase::Data => self.require_idle(),
            _ => Err(OrderError::NotInData(verb)),
        }
    }

    /// Refuses everything while a reply is due, and once the session is over.
    fn require_idle(&self) -> Result<(), OrderError> {
        match (self.phase, self.due()) {
            (Phase::Closed, _) => Err(OrderError::Closed),
            (_, Some(verb)) => Err(OrderError::ReplyDue(verb)),
            (_, None) => Ok(()),
        }
    }

    /// Refuses a command that can't join the group whose replies are due, and all once the session
    /// is over.
    pub(super) fn require_turn(&self) -> Result<(), OrderError> {
        match self.due.back() {
            Some(last) if last.may_be_followed && self.is_pipelining() => Ok(()),
            Some(last) => Err(OrderError::ReplyDue(last.verb)),
            None => self.require_idle(),
        }
    }

    pub(super) fn refuse_in_data(&self) -> Result<(), OrderError> {
        match self.phase {
            Phase::Data => Err(OrderError::InData),
            _ => Ok(()),
        }
    }

    /// Whether a command may be sent now.
    ///
    /// # Errors
    /// Why not. [`Session::issue`] would return the same, or that the line is too long.
    pub fn admit(&self, command: &Command) -> Result<(), CommandError> {
        self.require_turn()?;
        self.refuse_in_data()?;
        match command {
            Command::StartTls if self.encrypted => Err(OrderError::Encrypted.into()),
            Command::Mail(from, _) if from.needs_smtputf8() => self.require_smtputf8(Verb::Mail),
            Command::Rcpt(to, _) if to.needs_smtputf8() => {
                self.require_smtputf8(Verb::Rcpt)?;
                self.require_smtputf8_of_mail()
            }
            Command::Vrfy(recipient) if !recipient.is_ascii() => self.require_smtputf8(Verb::Vrfy),
            Command::Raw(raw) if !self.phase.is_challenge() => self.admit_raw(raw),
            _ => Ok(()),
        }
    }

    /// Refuses lines whose effect the session would not know.
    fn admit_raw(&self, raw: &RawCommand) -> Result<(), CommandError> {
        let reserved = match raw.verb().as_str() {
            "STARTTLS" => ReservedCommand::StartTls,
            "DATA" => ReservedCommand::Data,
            "BDAT" => ReservedCommand::Bdat,
            "QUIT" => ReservedCommand::Quit,
            "AUTH" => return Ok(self.admit_raw_auth(raw)?),
            _ => return Ok(()),
        };
        Err(OrderError::Reserved(reserved).into())
    }

    fn admit_raw_auth(&self, raw: &RawCommand) -> Result<(), NoSupportedScheme> {
        // Some servers ignore what follows the name of a scheme, such as "PLAIN;".
        let ends = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        let rest = raw.rest().trim_start_matches(ends);
        let scheme = rest.split(ends).next().unwrap_or_default();
        let policy = self.scheme_policy();
        match SchemeList::parse(scheme) {
            Ok(schemes) => schemes.choose(None, policy).map(drop),
            // How it uses a password is not known.
            Err(_) if policy == SchemePolicy::NoPassword => {
                Err(NoSupportedScheme::unknown_in_clear(scheme))
            }
            Err(_) => Ok(()),
        }
    }

    pub(super) fn scheme_policy(&self) -> SchemePolicy {
        if self.encrypted || self.cleartext_auth {
            SchemePolicy::Any
        } else if self.tls_wanted {
            SchemePolicy::NoPassword
        } else {
            SchemePolicy::NoCleartextSecret
        }
    }

    /// RFC 6531 §3.4: if any address of the envelope needs SMTPUTF8, MAIL has that parameter.
    /// Without a MAIL the server refuses the recipient itself.
    fn require_smtputf8_of_mail(&self) -> Result<(), CommandError> {
        let in_flight = |due: &&Due| matches!(due.verb, Verb::Mail | Verb::Rset);
        let sendable = match self.due.iter().rev().find(in_flight) {
            Some(due) => due.verb == Verb::Rset || due.smtputf8,
            None => self.envelope_smtputf8 || !matches!(self.phase, Phase::Mail | Phase::Recipient),
        };
        if sendable {
            return Ok(());
        }
        Err(CommandError::SmtpUtf8 {
            verb: Verb::Rcpt,
            problem: SmtpUtf8Problem::NotOnMail,
        })
    }

    fn require_smtputf8(&self, verb: Verb) -> Result<(), CommandError> {
        if self.offers("SMTPUTF8") {
            return Ok(());
        }
        Err(CommandError::SmtpUtf8 {
            verb,
            problem: SmtpUtf8Problem::NotOffered,
        })
    }
}
