//! Whatever a server replies: a recipient is sent to only by an accepted final dot, given up only by
//! a 5xx, suppressed only by a 5xx to RCPT with one of six statuses, and not tried only where the
//! server is left alone or the message goes out again at once.
//!
//! The first octet says how the session ended, each line is a reply to a step in turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_queue::blocked::is_client_blocked;
use mail_queue::server::ServerFailure;
use mail_queue::status::Status;
use mail_queue::suppression::{Counted, is_hard_bounce, is_mailbox_failure};
use mail_queue::verdict::{End, Verdict, is_final, judge};
use smtp_core::command::Verb;
use smtp_core::parser::ReplyParser;
use smtp_core::reply::{Class, Reply};
use smtp_core::transaction::Outcome;

const STEPS: [Verb; 5] = [
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::FinalDot,
    Verb::Rset,
];

fuzz_target!(|input: &[u8]| {
    let Some((&settings, input)) = input.split_first() else {
        return;
    };
    let replies = read(input);
    let mut outcomes = Vec::new();
    for (index, reply) in replies.iter().enumerate() {
        let verb = STEPS[index % 4];
        check(verb, reply);
        outcomes.push(match reply.class() {
            Class::Completion => Outcome::Accepted(reply.clone()),
            Class::Intermediate if index % 2 == 0 => Outcome::Unknown,
            Class::Intermediate => Outcome::NotSent,
            Class::TransientFailure | Class::PermanentFailure => Outcome::Refused {
                verb,
                reply: reply.clone(),
            },
        });
    }
    let verb = STEPS[usize::from(settings >> 2) % STEPS.len()];
    let end = match (settings & 3, replies.last()) {
        (0, _) | (_, None) => None,
        (1, _) => Some(End::Lost { unanswered: verb }),
        (_, Some(reply)) => Some(End::Said { verb, reply }),
    };
    let kept = settings & 128 != 0;
    let judgement = judge(&outcomes, end, kept);
    assert_eq!(judgement.recipients.len(), outcomes.len());
    for (outcome, verdict) in outcomes.iter().zip(&judgement.recipients) {
        let accepted = matches!(outcome, Outcome::Accepted(_));
        assert_eq!(*verdict == Verdict::Sent, accepted);
        let doubtful = matches!(outcome, Outcome::Unknown);
        assert_eq!(*verdict == Verdict::InDoubt, doubtful);
        let refused = match outcome {
            Outcome::Refused { reply, .. } => reply.class() == Class::PermanentFailure,
            _ => false,
        };
        assert!(*verdict != Verdict::Failed || refused);
        assert!(*verdict != Verdict::NotTried || judgement.again || judgement.server.is_some());
        let hard = is_hard_bounce(outcome);
        assert_eq!(hard, Counted::of(outcome, ()) == Some(Counted::HardBounce(())));
        assert!(!hard || matches!(verdict, Verdict::Failed));
    }
    assert!(!judgement.again || kept && end.is_some() && judgement.server.is_none());
});

/// What is said of one reply by itself.
fn check(verb: Verb, reply: &Reply) {
    let status = Status::of(reply);
    if let Some(status) = status {
        let (class, subject, detail) = status.parts();
        assert_eq!(class, reply.code().value() / 100);
        assert!(subject < 1000 && detail < 1000);
        assert!(reply.to_string().contains(&status.to_string()) || has_leading_zero(reply));
    }
    let permanent = reply.class() == Class::PermanentFailure;
    let given_up = is_final(verb, reply);
    assert!(!given_up || permanent && !is_client_blocked(reply));
    assert!(!is_mailbox_failure(reply) || reply.is_failure() && status.is_some());
    if ServerFailure::of_refused_mail(reply) == Some(ServerFailure::Unavailable) {
        assert_eq!(reply.code().value(), 421);
    }
    let step = ServerFailure::of_refused_step(Verb::Connect, reply);
    let known = [
        ServerFailure::Greeting,
        ServerFailure::Auth,
        ServerFailure::Unavailable,
    ];
    assert!(known.contains(&step));
}

/// `5.01.001` is 5.1.1.
fn has_leading_zero(reply: &Reply) -> bool {
    let mut lines = reply.lines().iter();
    lines.any(|line| line.contains(".0"))
}

fn read(mut input: &[u8]) -> Vec<Reply> {
    let mut parser = ReplyParser::default();
    let mut replies = Vec::new();
    while !input.is_empty() {
        let Ok((used, reply)) = parser.feed(input) else {
            break;
        };
        replies.extend(reply);
        input = &input[used..];
    }
    replies
}
