//! The envelope of a message: the arguments of MAIL and RCPT (RFC 5321 §3.3).

use crate::command::{LineTooLong, require_rcpt_length};
use crate::text::{Mailbox, Parameters, ReversePath};

/// The envelope of one message.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The argument of MAIL FROM.
    pub sender: ReversePath,
    /// The parameters of MAIL FROM.
    pub parameters: Parameters,
    /// One RCPT TO for each, in this order.
    pub recipients: Vec<Recipient>,
}

impl Envelope {
    /// Nobody's message to nobody.
    pub(crate) fn empty() -> Self {
        Self {
            sender: ReversePath::Null,
            parameters: Parameters::default(),
            recipients: Vec::new(),
        }
    }

    /// Whether a recipient can be sent to only with SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        let mut recipients = self.recipients.iter();
        recipients.any(|recipient| recipient.mailbox.needs_smtputf8())
    }

    /// The envelope with the parameter SMTPUTF8 on MAIL, where RFC 6531 §3.4 wants it as soon as
    /// any address of the envelope needs it.
    #[must_use]
    pub fn with_smtputf8(mut self) -> Self {
        self.parameters.add("SMTPUTF8");
        self
    }
}

/// One recipient of an envelope.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The argument of RCPT TO.
    pub mailbox: Mailbox,
    /// The parameters of RCPT TO.
    pub parameters: Parameters,
}

impl Recipient {
    /// Refuses a recipient whose RCPT no server has to accept.
    ///
    /// # Errors
    /// If its line is too long, as [`Command::line`](crate::command::Command::line) would say.
    pub fn require_line_length(&self) -> Result<(), LineTooLong> {
        require_rcpt_length(&self.mailbox, &self.parameters)
    }
}

impl From<Mailbox> for Recipient {
    fn from(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            parameters: Parameters::default(),
        }
    }
}
