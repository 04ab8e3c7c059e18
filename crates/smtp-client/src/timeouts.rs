//! How long each step of a conversation may take.

use std::time::Duration;

use smtp_core::command::Verb;

/// The limits of RFC 5321 §4.5.3.2, each from the beginning of a step to its end. `None` is no
/// limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The greeting (§4.5.3.2.1). What a failure reports: the deadline itself is
    /// [`crate::connection::Target::deadline`], which holds for the connection and the handshake,
    /// too.
    pub greeting: Option<Duration>,
    /// EHLO and HELO.
    pub hello: Option<Duration>,
    /// MAIL (§4.5.3.2.2).
    pub mail: Option<Duration>,
    /// RCPT (§4.5.3.2.3). In a group it begins anew with each reply.
    pub rcpt: Option<Duration>,
    /// DATA, up to its 354 (§4.5.3.2.4).
    pub data: Option<Duration>,
    /// Each block of message data, up to [`smtp_core::session::PIECE`] octets (§4.5.3.2.5).
    pub block: Option<Duration>,
    /// The final dot (§4.5.3.2.6). The server delivers meanwhile: where this ends too early,
    /// messages arrive twice.
    pub final_dot: Option<Duration>,
    /// Every other command, with all lines of an AUTH exchange and with the handshake of STARTTLS.
    pub other: Option<Duration>,
}

impl Timeouts {
    /// The same limit for each step. `None` is no limit.
    pub const fn uniform(timeout: Option<Duration>) -> Self {
        Self {
            greeting: timeout,
            hello: timeout,
            mail: timeout,
            rcpt: timeout,
            data: timeout,
            block: timeout,
            final_dot: timeout,
            other: timeout,
        }
    }

    /// The least that RFC 5321 §4.5.3.2 asks a client to wait: 2 minutes for DATA, 3 for a block,
    /// 10 for the final dot, 5 for all else.
    pub const fn rfc5321() -> Self {
        const fn minutes(minutes: u64) -> Option<Duration> {
            Some(Duration::from_secs(60 * minutes))
        }
        Self {
            data: minutes(2),
            block: minutes(3),
            final_dot: minutes(10),
            ..Self::uniform(minutes(5))
        }
    }

    /// The limit for a command, from its first octet to the end of its reply. For [`Verb::Connect`]
    /// that is the greeting.
    pub const fn of(&self, verb: Verb) -> Option<Duration> {
        match verb {
            Verb::Connect => self.greeting,
            Verb::Helo | Verb::Ehlo => self.hello,
            Verb::Mail => self.mail,
            Verb::Rcpt => self.rcpt,
            Verb::Data => self.data,
            Verb::FinalDot => self.final_dot,
            _ => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_own_limit() {
        let timeouts = Timeouts::rfc5321();
        let minutes = |verb| timeouts.of(verb).map(|limit| limit.as_secs() / 60);
        assert_eq!(minutes(Verb::Connect), Some(5));
        assert_eq!(minutes(Verb::Mail), Some(5));
        assert_eq!(minutes(Verb::Rcpt), Some(5));
        assert_eq!(minutes(Verb::Data), Some(2));
        assert_eq!(minutes(Verb::FinalDot), Some(10));
        assert_eq!(minutes(Verb::Rset), Some(5));
        assert_eq!(timeouts.block, Some(Duration::from_secs(180)));
        assert_eq!(Timeouts::uniform(None).of(Verb::FinalDot), None);
    }
}
