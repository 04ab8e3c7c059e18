//! The states of a conversation, and the table of their transitions.
//!
//! The phase is what the client *knows* from complete replies. It forbids little on purpose: SMTP
//! servers check the order of commands themselves (503), and programs rely on seeing that reply.
//! Only two orders are enforced: no command inside message data, where it would become part of the
//! message, and no second STARTTLS.
//!
//! Two facts are kept beside the phase, because all transitions but one preserve them: whether the
//! session is encrypted, and who is authenticated.

use std::fmt;

/// The state of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Phase {
    /// The greeting has not been read.
    Connecting,
    /// Greeted by the server, or fresh under TLS; no EHLO or HELO accepted since.
    Connected,
    /// EHLO or HELO accepted; no mail transaction.
    Ready,
    /// MAIL accepted; no recipient yet.
    Mail,
    /// At least one RCPT accepted.
    Recipient,
    /// 354 received: the server reads message data up to the final dot.
    Data,
    /// 334 received on an AUTH that the caller drives line by line, which began in
    /// [`Phase::Connected`].
    ConnectedChallenge,
    /// The same, begun in [`Phase::Ready`].
    ReadyChallenge,
    /// The same, begun in [`Phase::Mail`].
    MailChallenge,
    /// The same, begun in [`Phase::Recipient`].
    RecipientChallenge,
    /// Over. Nothing more is sent or read.
    Closed,
}

/// An event that may change the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Event {
    /// The greeting was 220.
    Greeted,
    /// EHLO or HELO was accepted.
    HelloAccepted,
    /// STARTTLS was answered by 220 and the handshake is done.
    TlsStarted,
    /// MAIL was accepted.
    MailAccepted,
    /// RCPT was accepted.
    RecipientAccepted,
    /// DATA was answered by 354.
    DataStarted,
    /// The final dot was answered by any reply.
    DataEnded,
    /// RSET was accepted.
    Reset,
    /// A line of the caller's own AUTH was answered by 334.
    Challenged,
    /// A line of the caller's own AUTH got any other reply.
    ChallengeEnded,
    /// QUIT was answered, the server said 421, or the connection failed.
    Ended,
}

use Event::*;
use Phase::*;

/// The phases in which commands are exchanged one by one.
const COMMANDS: &[Phase] = &[Connected, Ready, Mail, Recipient];

/// The phases in which the server waits for a line of the caller's AUTH exchange. Each ends where
/// it began.
const CHALLENGES: &[Phase] = &[
    ConnectedChallenge,
    ReadyChallenge,
    MailChallenge,
    RecipientChallenge,
];

/// All transitions: from any of these phases, on this event, to that phase. An event without a row
/// for the current phase changes nothing.
pub const TRANSITIONS: &[(&[Phase], Event, Phase)] = &[
    (&[Connecting], Greeted, Connected),
    (COMMANDS, HelloAccepted, Ready),
    (COMMANDS, TlsStarted, Connected),
    (COMMANDS, MailAccepted, Mail),
    (&[Mail], RecipientAccepted, Recipient),
    (COMMANDS, DataStarted, Data),
    (&[Data], DataEnded, Ready),
    (&[Mail, Recipient], Reset, Ready),
    (&[Connected], Challenged, ConnectedChallenge),
    (&[Ready], Challenged, ReadyChallenge),
    (&[Mail], Challenged, MailChallenge),
    (&[Recipient], Challenged, RecipientChallenge),
    (&[ConnectedChallenge], ChallengeEnded, Connected),
    (&[ReadyChallenge], ChallengeEnded, Ready),
    (&[MailChallenge], ChallengeEnded, Mail),
    (&[RecipientChallenge], ChallengeEnded, Recipient),
    (
        &[Connecting, Connected, Ready, Mail, Recipient, Data],
        Ended,
        Closed,
    ),
    (CHALLENGES, Ended, Closed),
];

impl Phase {
    /// The phase after `event`.
    #[must_use]
    pub fn after(self, event: Event) -> Phase {
        TRANSITIONS
            .iter()
            .find(|(from, on, _)| *on == event && from.contains(&self))
            .map_or(self, |(_, _, to)| *to)
    }

    /// Whether the server waits for a line of an AUTH exchange that the caller drives.
    pub fn is_challenge(self) -> bool {
        CHALLENGES.contains(&self)
    }
}

/// One word, in lower case.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Connecting => "connecting",
            Connected => "connected",
            Ready => "ready",
            Mail => "mail",
            Recipient => "recipient",
            Data => "data",
            ConnectedChallenge | ReadyChallenge | MailChallenge | RecipientChallenge => "challenge",
            Closed => "closed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_goes_round_and_closed_is_final() {
        let path = [
            (Greeted, Connected),
            (HelloAccepted, Ready),
            (MailAccepted, Mail),
            (RecipientAccepted, Recipient),
            (RecipientAccepted, Recipient),
            (DataStarted, Data),
            (HelloAccepted, Data),
            (DataEnded, Ready),
            (Ended, Closed),
            (Greeted, Closed),
            (HelloAccepted, Closed),
        ];
        path.into_iter()
            .fold(Connecting, |phase, (event, expected)| {
                assert_eq!(phase.after(event), expected);
                expected
            });
    }

    #[test]
    fn no_phase_has_two_ways_for_one_event() {
        for (index, (from, on, _)) in TRANSITIONS.iter().enumerate() {
            for (other_from, other_on, _) in &TRANSITIONS[index + 1..] {
                assert!(on != other_on || !from.iter().any(|phase| other_from.contains(phase)));
            }
        }
    }
}
