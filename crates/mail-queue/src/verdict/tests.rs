use proptest::prelude::*;
use smtp_core::session::{OrderError, SmtpUtf8Problem};

use super::*;
use crate::testing::{accepted, refused, reply};
use Verdict::{Deferred, Failed, InDoubt, NotTried, Sent};

/// The steps that carry a message.
const STEPS: [Verb; 4] = [Verb::Mail, Verb::Rcpt, Verb::Data, Verb::FinalDot];

fn verdict(verb: Verb, text: &str) -> (Verdict, Option<ServerFailure>) {
    let judgement = judge(&[refused(verb, text)], None, false);
    assert!(!judgement.again);
    (judgement.recipients[0], judgement.server)
}

fn lost(unanswered: Verb) -> Option<End<'static>> {
    Some(End::Lost { unanswered })
}

#[test]
fn a_refusal_is_for_now_or_for_good_at_every_step() {
    for (text, expected) in [
        ("450 4.2.0 greylisted", Deferred),
        ("451 local error", Deferred),
        ("452 4.3.1 no space", Deferred),
        ("499 odd", Deferred),
        ("432 4.3.2 slow down", Deferred),
        ("500 5.5.1 what", Failed),
        ("501 5.1.7 bad sender", Failed),
        ("503 5.5.1 order", Failed),
        ("550 5.1.1 no such user", Failed),
        ("550 no such user", Failed),
        ("550 5.7.1 relay not permitted", Failed),
        ("550 5.7.60 may not send as this sender", Failed),
        ("551 5.1.6 moved", Failed),
        ("553 5.1.3 bad address", Failed),
        ("554 5.6.0 no", Failed),
        ("599 odd", Failed),
        // The code decides where the status contradicts it.
        ("550 4.2.0 greylisted", Failed),
        ("450 5.1.1 no such user", Deferred),
    ] {
        for verb in STEPS {
            assert_eq!(verdict(verb, text), (expected, None), "{verb} {text}");
        }
    }
}

#[test]
fn a_552_is_for_now_only_at_rcpt() {
    for (verb, expected) in [
        (Verb::Mail, Failed),
        (Verb::Rcpt, Deferred),
        (Verb::Data, Failed),
        (Verb::FinalDot, Failed),
    ] {
        assert_eq!(verdict(verb, "552 5.2.2 too much"), (expected, None));
    }
}

#[test]
fn a_banned_or_hurried_client_waits() {
    for text in [
        "550 5.7.606 denied",
        "550 5.7.649 denied",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org",
        "550 5.4.5 Daily user sending limit exceeded",
    ] {
        for verb in STEPS {
            assert_eq!(verdict(verb, text), (Deferred, None), "{verb} {text}");
        }
    }
    for text in ["550 5.7.605 denied", "550 5.7.650 denied", "450 5.7.606 x"] {
        let expected = if text.starts_with('4') {
            Deferred
        } else {
            Failed
        };
        assert_eq!(verdict(Verb::Rcpt, text), (expected, None), "{text}");
    }
}

#[test]
fn a_wanted_login_is_no_attempt_and_the_servers_failure() {
    for text in [
        "530 5.7.0 authentication required",
        "530 authentication required",
        "530 5.7.57 client not authenticated",
        "535 5.7.8 bad credentials",
        "538 5.7.11 encryption required",
        "550 5.7.30 basic authentication is not supported",
        "535 5.7.139 authentication unsuccessful",
        "550 5.7.139 authentication unsuccessful",
    ] {
        for verb in STEPS {
            let expected = (NotTried, Some(ServerFailure::Auth));
            assert_eq!(verdict(verb, text), expected, "{verb} {text}");
        }
    }
    // Other codes with such a number behind them.
    for text in [
        "550 4.7.30 x",
        "550 5.6.30 x",
        "550 5.7.3 x",
        "550 15.7.30 x",
    ] {
        assert_eq!(verdict(Verb::Mail, text), (Failed, None), "{text}");
    }
}

#[test]
fn a_login_wanted_for_one_recipient_stops_no_other() {
    let wanted = || refused(Verb::Rcpt, "530 5.7.0 authentication required");
    let judgement = judge(&[accepted(), wanted()], None, false);
    assert_eq!(judgement.recipients, [Sent, Deferred]);
    assert_eq!(judgement.server, None);

    let dot = refused(Verb::FinalDot, "554 5.6.0 no");
    let judgement = judge(&[wanted(), dot], None, false);
    assert_eq!(judgement.recipients, [Deferred, Failed]);
    assert_eq!(judgement.server, None);

    let judgement = judge(&[wanted(), Outcome::Unknown], lost(Verb::FinalDot), false);
    assert_eq!(judgement.recipients, [Deferred, InDoubt]);
    assert_eq!(judgement.server, None);

    // The refusal of another recipient doesn't show that the server takes mail.
    let unknown = refused(Verb::Rcpt, "550 5.1.1 no such user");
    let judgement = judge(&[unknown, wanted()], None, false);
    assert_eq!(judgement.recipients, [Failed, NotTried]);
    assert_eq!(judgement.server, Some(ServerFailure::Auth));

    // Nor does a final dot that is refused for the same reason.
    let dot = || refused(Verb::FinalDot, "530 5.7.0 authentication required");
    let judgement = judge(&[dot(), dot()], None, false);
    assert_eq!(judgement.recipients, [NotTried, NotTried]);
    assert_eq!(judgement.server, Some(ServerFailure::Auth));
}

#[test]
fn a_421_defers_and_the_server_is_left_alone() {
    for verb in STEPS {
        let expected = (Deferred, Some(ServerFailure::Unavailable));
        assert_eq!(verdict(verb, "421 4.3.2 going down"), expected, "{verb}");
        assert_eq!(verdict(verb, "421 bye"), expected, "{verb}");
    }
}

#[test]
fn a_421_after_the_message_blames_nobody() {
    let bye = reply("421 4.7.0 too many messages on this connection");
    for (verb, expected) in [
        (Verb::Rset, None),
        (Verb::FinalDot, Some(ServerFailure::Unavailable)),
    ] {
        let end = Some(End::Said { verb, reply: &bye });
        let judgement = judge(&[accepted()], end, true);
        assert_eq!(judgement.recipients, [Sent]);
        assert_eq!(judgement.server, expected);
        assert!(!judgement.again);
    }
    let refusal = reply("502 5.5.1 no RSET here");
    let end = Some(End::Said {
        verb: Verb::Rset,
        reply: &refusal,
    });
    assert_eq!(judge(&[accepted()], end, true).server, None);
}

#[test]
fn a_421_in_the_middle_defers_those_that_were_accepted() {
    let bye = reply("421 4.3.2 going down");
    let said = refused(Verb::Rcpt, "421 4.3.2 going down");
    let end = Some(End::Said {
        verb: Verb::Rcpt,
        reply: &bye,
    });
    for kept in [false, true] {
        let judgement = judge(&[Outcome::NotSent, said_again(&said)], end, kept);
        assert_eq!(judgement.recipients, [Deferred, Deferred]);
        assert_eq!(judgement.server, Some(ServerFailure::Unavailable));
        assert!(!judgement.again);
    }
}

fn said_again(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Refused { verb, reply } => Outcome::Refused {
            verb: *verb,
            reply: reply.clone(),
        },
        _ => unreachable!(),
    }
}

#[test]
fn a_lost_connection_is_an_attempt_and_in_doubt_behind_the_dot() {
    for unanswered in [Verb::Mail, Verb::Rcpt, Verb::Data, Verb::FinalDot] {
        let outcomes = [Outcome::NotSent, Outcome::NotSent];
        let judgement = judge(&outcomes, lost(unanswered), false);
        assert_eq!(judgement.recipients, [Deferred, Deferred]);
        assert_eq!((judgement.server, judgement.again), (None, false));
    }
    let unknown = refused(Verb::Rcpt, "550 5.1.1 no such user");
    let judgement = judge(&[Outcome::Unknown, unknown], lost(Verb::FinalDot), true);
    assert_eq!(judgement.recipients, [InDoubt, Failed]);
    assert_eq!((judgement.server, judgement.again), (None, false));
}

#[test]
fn a_kept_connection_that_was_closed_is_no_attempt() {
    let bye = reply("421 4.4.2 idle for too long");
    let said = |verb| Some(End::Said { verb, reply: &bye });
    let refusal = || refused(Verb::Mail, "421 4.4.2 idle for too long");
    for (outcomes, end) in [
        ([Outcome::NotSent, Outcome::NotSent], lost(Verb::Mail)),
        ([Outcome::NotSent, Outcome::NotSent], lost(Verb::Rset)),
        ([Outcome::NotSent, Outcome::NotSent], said(Verb::Rset)),
        ([refusal(), refusal()], said(Verb::Mail)),
        ([refusal(), too_long()], said(Verb::Mail)),
    ] {
        let judgement = judge(&outcomes, end, true);
        assert_eq!(judgement.recipients, [NotTried, NotTried], "{end:?}");
        assert_eq!((judgement.server, judgement.again), (None, true), "{end:?}");

        assert!(!judge(&outcomes, end, false).again, "{end:?}");
    }
}

#[test]
fn whoever_was_told_something_is_not_sent_to_again_at_once() {
    for (outcome, end) in [
        (Outcome::NotSent, lost(Verb::Rcpt)),
        (Outcome::NotSent, lost(Verb::Data)),
        (Outcome::NotSent, None),
        (accepted(), lost(Verb::Mail)),
        (accepted(), lost(Verb::Rset)),
        (Outcome::Unknown, lost(Verb::Mail)),
        (refused(Verb::Mail, "450 4.7.1 later"), lost(Verb::Rset)),
        (refused(Verb::Rcpt, "421 bye"), lost(Verb::Mail)),
    ] {
        let judgement = judge(&[outcome, Outcome::NotSent], end, true);
        assert!(!judgement.again, "{end:?}");
        assert!(!judgement.recipients.contains(&NotTried), "{end:?}");
    }
}

fn too_long() -> Outcome {
    let verb = Verb::Rcpt;
    let length = 2000;
    Outcome::Unsendable(smtp_core::command::LineTooLong { verb, length }.into())
}

#[test]
fn what_cant_be_sent_fails_if_it_is_about_the_mail() {
    assert_eq!(judge(&[too_long()], None, false).recipients, [Failed]);
    let utf8 = CommandError::SmtpUtf8 {
        verb: Verb::Rcpt,
        problem: SmtpUtf8Problem::NotOffered,
    };
    assert_eq!(of_unsendable(&utf8), Failed);
    assert_eq!(of_unsendable(&OrderError::Closed.into()), Deferred);
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let code = prop_oneof![Just(421u16), Just(530), Just(550), Just(552), 400u16..600,];
    let status = "|[245]\\.[0-9]{1,2}\\.[0-9]{1,3} ";
    let step = proptest::sample::select(&STEPS[..]);
    prop_oneof![
        Just(()).prop_map(|()| accepted()),
        Just(()).prop_map(|()| Outcome::NotSent),
        Just(()).prop_map(|()| Outcome::Unknown),
        Just(()).prop_map(|()| too_long()),
        (step, code, status)
            .prop_map(|(verb, code, status)| { refused(verb, &format!("{code} {status}text")) }),
    ]
}

proptest! {
    /// Whoever has the mail, or may have it, is never said to be without it, and the refusal of one
    /// recipient changes nothing for those that have it.
    #[test]
    fn the_accepted_are_sent_and_the_doubtful_in_doubt(
        outcomes in proptest::collection::vec(outcomes(), 1..8),
        end in proptest::sample::select(&[None, Some(Verb::Mail), Some(Verb::Rcpt), Some(Verb::FinalDot)][..]),
        kept: bool,
    ) {
        let judgement = judge(&outcomes, end.and_then(lost), kept);
        prop_assert_eq!(judgement.recipients.len(), outcomes.len());
        for (outcome, verdict) in outcomes.iter().zip(&judgement.recipients) {
            prop_assert_eq!(*verdict == Sent, matches!(outcome, Outcome::Accepted(_)));
            prop_assert_eq!(*verdict == InDoubt, matches!(outcome, Outcome::Unknown));
            if *verdict == Failed {
                let permanent = match outcome {
                    Outcome::Refused { reply, .. } => reply.class() == Class::PermanentFailure,
                    outcome => matches!(outcome, Outcome::Unsendable(_)),
                };
                prop_assert!(permanent);
            }
        }
        if judgement.again {
            prop_assert!(kept && judgement.recipients.iter().all(|verdict| *verdict == NotTried));
        } else if judgement.recipients.contains(&NotTried) {
            prop_assert!(judgement.server.is_some());
        }
    }
}
