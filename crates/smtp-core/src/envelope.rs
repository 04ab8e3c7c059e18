//! The envelope of a message: the arguments of MAIL and RCPT (RFC 5321 §3.3).

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

/// One recipient of an envelope.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The argument of RCPT TO.
    pub mailbox: Mailbox,
    /// The parameters of RCPT TO.
    pub parameters: Parameters,
}

impl From<Mailbox> for Recipient {
    fn from(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            parameters: Parameters::default(),
        }
    }
}
