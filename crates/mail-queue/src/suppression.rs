//! Which addresses are no longer sent to: how they compare, and what puts them on the list.

use std::collections::VecDeque;
use std::fmt;

use smtp_core::command::Verb;
use smtp_core::reply::{Class, Reply};
use smtp_core::text::Mailbox;
use smtp_core::transaction::Outcome;
use unicode_normalization::UnicodeNormalization;

use crate::status::Status;
use crate::verdict::is_final;

/// An address in the spelling in which equal addresses compare equal.
///
/// The local part in NFC and lower case, in quotation marks only where it needs them; the domain as
/// lower-case A-labels. `+tag` belongs to the address. RFC 5321 §2.4 leaves the case of local parts
/// to their server, but a list that misses `Ann@example.com` for `ann@example.com` is of no use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanonicalAddress(String);

impl CanonicalAddress {
    /// The text that is stored and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CanonicalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Mailbox> for CanonicalAddress {
    fn from(mailbox: &Mailbox) -> Self {
        let text = mailbox.as_str();
        let (local_part, domain) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = text.find('@').unwrap_or(text.len());
                (text[..end].to_owned(), &text[end..])
            }
        };
        // Lower case of NFC is not always NFC.
        let lower: String = local_part.nfc().flat_map(char::to_lowercase).collect();
        let local_part = quoted_if_needed(lower.nfc().collect());
        Self([&local_part, domain.to_ascii_lowercase().as_str()].concat())
    }
}

/// The content of a quoted local part (RFC 5321 §4.1.2), and what follows its closing mark.
fn unquote(quoted: &str) -> (String, &str) {
    let mut content = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (content, &quoted[index + 1..]),
            '\\' => content.extend(characters.next().map(|(_, escaped)| escaped)),
            character => content.push(character),
        }
    }
    (content, "")
}

fn quoted_if_needed(content: String) -> String {
    let special = |c: char| "()<>[]:;@\\,\"".contains(c) || c.is_whitespace();
    if !content.is_empty() && !content.contains(special) {
        return content;
    }
    let mut quoted = String::from("\"");
    for character in content.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Whether the address itself is what failed, so that it must not be sent to again: RCPT was
/// refused for good with 5.1.1 (no such mailbox), 5.1.2 (no such domain), 5.1.3 (bad syntax), 5.1.6
/// (moved), 5.1.10 (null MX) or 5.2.1 (disabled), and by nothing else (RFC 3463 §3.2, RFC 7505).
pub fn is_hard_bounce(outcome: &Outcome) -> bool {
    let Outcome::Refused { verb, reply } = outcome else {
        return false;
    };
    let listed = |status: Status| {
        let (_, subject, detail) = status.parts();
        matches!((subject, detail), (1, 1 | 2 | 3 | 6 | 10) | (2, 1))
    };
    *verb == Verb::Rcpt && is_final(*verb, reply) && Status::of(reply).is_some_and(listed)
}

/// Whether a failure reply is about the mailbox: a status x.2.x (RFC 3463 §3.3), such as a full
/// one.
pub fn is_mailbox_failure(reply: &Reply) -> bool {
    Status::of(reply).is_some_and(is_of_mailbox)
}

/// The same of a reply that was stored as one line (`552 5.2.2 full`), as a log has it.
pub fn is_mailbox_failure_line(line: &str) -> bool {
    Status::of_line(line).is_some_and(is_of_mailbox)
}

fn is_of_mailbox(status: Status) -> bool {
    matches!(status.parts(), (4 | 5, 2, _))
}

/// Whether an address has failed softly often enough to be suppressed: each of its last `limit`
/// final results was a failure of the mailbox ([`is_mailbox_failure`]: failed, or expired, on such
/// a reply). `results`: the newest first; only `limit` are looked at. A limit of 0 means never.
pub fn is_soft_bounce(results: impl IntoIterator<Item = bool>, limit: u32) -> bool {
    let mut results = results.into_iter();
    limit > 0 && (0..limit).all(|_| results.next() == Some(true))
}

/// The result of one recipient, as [`Guard`] counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<T> {
    /// The server took the message for this recipient.
    Taken,
    /// It refused RCPT by 5xx, for another reason than the address.
    Refused,
    /// A hard bounce of this address.
    HardBounce(T),
}

impl<T> Counted<T> {
    /// Counts an outcome; what is neither taken nor refused at RCPT for good doesn't count.
    pub fn of(outcome: &Outcome, address: T) -> Option<Self> {
        match outcome {
            Outcome::Accepted(_) => Some(Self::Taken),
            outcome if is_hard_bounce(outcome) => Some(Self::HardBounce(address)),
            Outcome::Refused { verb, reply } => {
                let refused = *verb == Verb::Rcpt && reply.class() == Class::PermanentFailure;
                refused.then_some(Self::Refused)
            }
            Outcome::Unsendable(_) | Outcome::NotSent | Outcome::Unknown => None,
        }
    }
}

/// Keeps a server that refuses nearly everybody from filling the list: more than half of its last
/// 20 recipients were refused. Fewer than 20 count as if the rest had been taken, as the first
/// refusal of all says nothing about the server.
#[derive(Clone, Debug)]
pub struct Guard<T> {
    last: VecDeque<Seen<T>>,
    /// How many were counted.
    number: u64,
    tripped: bool,
}

#[derive(Clone, Debug)]
struct Seen<T> {
    number: u64,
    refused: bool,
    /// The address, while it is on the list because of this.
    listed: Option<T>,
}

/// What a guard says about hard bounces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice<T> {
    /// Put these on the list.
    pub suppress: Vec<T>,
    /// Take these off again, which earlier advice put there: they were the beginning of what the
    /// guard has noticed now.
    pub withdraw: Vec<T>,
    /// The guard has just noticed: give one warning.
    pub warn: bool,
}

impl<T> Default for Guard<T> {
    fn default() -> Self {
        Self {
            last: VecDeque::with_capacity(Self::RECIPIENTS + 1),
            number: 0,
            tripped: false,
        }
    }
}

impl<T: Clone> Guard<T> {
    /// Counts results that are settled together, in the order of the recipients.
    pub fn count(&mut self, results: impl IntoIterator<Item = Counted<T>>) -> Advice<T> {
        let first_new = self.number;
        let mut suppress: Vec<(u64, T)> = Vec::new();
        let mut withdraw = Vec::new();
        let mut warn = false;
        for result in results {
            let bounced = self.push(result);
            let was_tripped = self.tripped;
            self.tripped = self.refuses_most();
            if !self.tripped {
                suppress.extend(bounced.map(|address| self.list(address)));
            } else if !was_tripped {
                warn = true;
                for (number, address) in self.unlist() {
                    match number < first_new {
                        true => withdraw.push(address),
                        false => suppress.retain(|(listed, _)| *listed != number),
                    }
                }
            }
        }
        Advice {
            suppress: suppress.into_iter().map(|(_, address)| address).collect(),
            withdraw,
            warn,
        }
    }

    /// Adds to the last 20; returns the address of a hard bounce.
    fn push(&mut self, result: Counted<T>) -> Option<T> {
        self.last.push_back(Seen {
            number: self.number,
            refused: !matches!(result, Counted::Taken),
            listed: None,
        });
        self.number += 1;
        if self.last.len() > Self::RECIPIENTS {
            self.last.pop_front();
        }
        match result {
            Counted::HardBounce(address) => Some(address),
            Counted::Taken | Counted::Refused => None,
        }
    }

    /// Notes that the newest is put on the list.
    fn list(&mut self, address: T) -> (u64, T) {
        if let Some(newest) = self.last.back_mut() {
            newest.listed = Some(address.clone());
        }
        (self.number - 1, address)
    }

    /// Whoever of the last 20 was put on the list.
    fn unlist(&mut self) -> impl Iterator<Item = (u64, T)> {
        let seen = self.last.iter_mut();
        seen.filter_map(|seen| Some((seen.number, seen.listed.take()?)))
    }
}

impl<T> Guard<T> {
    /// How many recipients are looked at.
    pub const RECIPIENTS: usize = 20;

    /// Whether hard bounces are ignored at present.
    pub fn is_tripped(&self) -> bool {
        self.tripped
    }

    fn refuses_most(&self) -> bool {
        let refused = self.last.iter().filter(|seen| seen.refused).count();
        2 * refused > Self::RECIPIENTS
    }
}

#[cfg(test)]
mod tests;
