//! What the transcript and the replies must not show: the secrets of an AUTH exchange.

use super::Session;
use crate::command::{Command, Pieces, Verb};
use crate::exchange::Secrets;
use crate::reply::MASK;

impl Session {
    /// Adds a line to the transcript. In an AUTH exchange that the caller drives, everything from
    /// AUTH to the next line that is certainly a command is secret.
    pub(super) fn transcribe(&mut self, command: &Command, line: &Pieces<'_>) {
        let Command::Raw(raw) = command else {
            self.forget_secrets();
            return self.transcript.client(|| line.concat());
        };
        let line = raw.line();
        if !self.phase.is_challenge() && command.verb() == Verb::RawAuth {
            self.forget_secrets();
            self.caller_driven_auth = true;
            let words = raw.rest().split_ascii_whitespace();
            words
                .skip(1)
                .for_each(|word| self.auth_secrets.add_line(word));
            self.transcript.client(|| masked_auth(line));
        } else if self.phase.is_challenge()
            || self.caller_driven_auth && command.verb() == Verb::Raw && !is_known(&raw.verb())
        {
            self.auth_secrets.add_line(line);
            self.transcript.client(|| MASK.to_owned());
        } else {
            self.forget_secrets();
            self.transcript.client(|| line.to_owned());
        }
    }

    pub(super) fn forget_secrets(&mut self) {
        self.caller_driven_auth = false;
        self.auth_secrets = Secrets::default();
    }

    /// Masks the secrets of the AUTH exchange in a text of the server.
    pub(super) fn mask(&self, text: &mut String) {
        self.auth_secrets.mask(text);
        if let Some(exchange) = &self.exchange {
            exchange.secrets().mask(text);
        }
    }
}

/// The AUTH line with whatever follows the mechanism hidden.
pub(super) fn masked_auth(line: &str) -> String {
    let mut words = line.split_ascii_whitespace();
    let shown: Vec<&str> = words.by_ref().take(2).collect();
    let mask = if words.next().is_some() {
        [" ", MASK]
    } else {
        ["", ""]
    };
    [shown.join(" "), mask.concat()].concat()
}

/// Verbs of commands, which are not mistaken for a line of base64.
fn is_known(verb: &str) -> bool {
    const KNOWN: &[&str] = &[
        "HELO", "EHLO", "LHLO", "MAIL", "RCPT", "RSET", "NOOP", "VRFY", "EXPN", "HELP", "ETRN",
        "XCLIENT", "XFORWARD", "TURN", "ATRN",
    ];
    KNOWN.contains(&verb)
}
