//! A reference model of a queue: random interleavings of everything that can happen to it, with the
//! states and decisions of the crate, a table of rows, and a server that counts what it gets.
//!
//! Whatever happens: a committed recipient is either in the table or has exactly one final state;
//! one that was rolled back, cancelled or held gets nothing; more than one copy arrives only where
//! the outcome was in doubt, and never where at most once was asked for; and in the end everybody
//! has a final state.

#![allow(clippy::unwrap_used)] // A test may panic wherever it stands.

mod world;

use proptest::prelude::*;

use world::{Action, Answer, World};

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Accept),
        1 => proptest::sample::select(&[
            "450 4.2.0 later",
            "550 5.1.1 no such user",
            "552 5.2.2 full",
            "421 4.3.2 going down",
            "530 5.7.0 authentication required",
            "554 5.7.1 Client host [192.0.2.1] blocked using a list",
        ][..]).prop_map(Answer::Refuse),
        1 => any::<bool>().prop_map(|processed| Answer::Lose { processed }),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let index = any::<usize>;
    let answers = proptest::collection::vec(answers(), 0..12);
    prop_oneof![
        3 => (1usize..4, any::<bool>())
            .prop_map(|(recipients, at_most_once)| Action::Submit { recipients, at_most_once }),
        3 => index().prop_map(Action::Commit),
        1 => index().prop_map(Action::RollBack),
        6 => (any::<bool>()).prop_map(|suppressed| Action::Claim { suppressed }),
        6 => (index(), answers, any::<bool>(), any::<bool>()).prop_map(
            |(flight, answers, kept, pipelining)| Action::Send { flight, answers, kept, pipelining }
        ),
        6 => index().prop_map(Action::Settle),
        1 => Just(Action::Crash),
        2 => Just(Action::Start),
        1 => index().prop_map(Action::SettleLate),
        1 => index().prop_map(Action::Cancel),
        1 => index().prop_map(Action::Retry),
        1 => Just(Action::Copy),
        1 => any::<bool>().prop_map(|send| Action::Adopt { send }),
        3 => (0u64..200_000).prop_map(Action::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_interleaving_loses_ends_twice_or_duplicates(
        actions in proptest::collection::vec(actions(), 1..80),
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
            world.check();
        }
        world.drain();
        world.check();
    }
}

/// The model can tell: what it allows does happen.
#[test]
fn doubt_duplicates_unless_at_most_once() {
    for at_most_once in [false, true] {
        let mut world = World::new();
        world.act(Action::Submit {
            recipients: 2,
            at_most_once,
        });
        world.act(Action::Commit(0));
        world.act(Action::Start);
        world.act(Action::Claim { suppressed: false });
        // MAIL, RCPT, RCPT, DATA, and the reply to the final dot is lost.
        let mut answers = vec![Answer::Accept; 4];
        answers.push(Answer::Lose { processed: true });
        world.act(Action::Send {
            flight: 0,
            answers,
            kept: false,
            pipelining: true,
        });
        world.act(Action::Settle(0));
        world.check();
        world.drain();
        world.check();
        assert_eq!(world.copies(1, 0), if at_most_once { 1 } else { 2 });
    }
}

#[test]
fn a_message_in_flight_at_three_crashes_is_held() {
    let mut world = World::new();
    world.act(Action::Submit {
        recipients: 1,
        at_most_once: false,
    });
    world.act(Action::Commit(0));
    for crash in 1..=3 {
        world.act(Action::Start);
        world.act(Action::Claim { suppressed: false });
        assert_eq!(world.in_flight(), 1, "crash {crash}");
        world.act(Action::Crash);
        world.check();
    }
    world.act(Action::Start);
    world.act(Action::Claim { suppressed: false });
    assert_eq!(world.in_flight(), 0);
    world.act(Action::Retry(0));
    world.act(Action::Claim { suppressed: false });
    assert_eq!(world.in_flight(), 1);
}
