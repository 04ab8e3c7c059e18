use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3600;

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(1_000_000 + seconds))
}

fn schedule() -> Schedule {
    Schedule::new(300 * SECOND, 4000 * SECOND, 432_000 * SECOND)
}

/// The ticket of a connection that must be admitted.
fn ticket(backoff: &mut Backoff, now: Moment) -> Ticket {
    match backoff.admit(now) {
        Admission::Open(ticket) | Admission::Trial(ticket) => ticket,
        refusal => panic!("not admitted: {refusal:?}"),
    }
}

fn fail(backoff: &mut Backoff, failure: ServerFailure, now: Moment) -> bool {
    let ticket = ticket(backoff, now);
    backoff.fail(ticket, failure, &schedule(), 0.5, now)
}

#[test]
fn delays_double_from_5_seconds_to_the_minimum() {
    let mut backoff = Backoff::default();
    let mut now = 0;
    for (count, delay) in [5, 10, 20, 40, 80, 160, 300, 300, 300]
        .into_iter()
        .enumerate()
    {
        let begins = fail(&mut backoff, ServerFailure::Connect, at(now));
        assert_eq!(begins, count == 0);
        assert_eq!(backoff.failure(), Some(ServerFailure::Connect));
        assert_eq!(backoff.remaining(at(now)), Some(delay * SECOND));
        assert_eq!(
            backoff.admit(at(now + u64::from(delay) - 1)),
            Admission::Wait(SECOND)
        );
        now += u64::from(delay);
    }
}

#[test]
fn what_only_a_person_can_mend_waits_for_the_minimum_at_once() {
    use ServerFailure::*;
    for (failure, needs_operator, fallback) in [
        (Connect, false, true),
        (Greeting, false, true),
        (Tls, false, true),
        (Unavailable, false, true),
        (Token, false, false),
        (Certificate, true, true),
        (Auth, true, false),
        (Access, true, false),
        (Usage, true, false),
        (Mapping, true, false),
        (Wallet, true, false),
        (Missing, true, false),
    ] {
        assert_eq!(failure.needs_operator(), needs_operator, "{failure:?}");
        assert_eq!(failure.allows_fallback(), fallback, "{failure:?}");
        let mut backoff = Backoff::default();
        assert!(fail(&mut backoff, failure, at(0)));
        let delay = if needs_operator { 300 } else { 5 };
        assert_eq!(
            backoff.remaining(at(0)),
            Some(delay * SECOND),
            "{failure:?}"
        );
    }
}

#[test]
fn jitter_is_a_tenth_either_way() {
    for (jitter, millis) in [(0.0, 4500), (1.0, 5500), (f64::NAN, 5000), (7.0, 5000)] {
        let mut backoff = Backoff::default();
        let ticket = ticket(&mut backoff, at(0));
        backoff.fail(ticket, ServerFailure::Connect, &schedule(), jitter, at(0));
        let wait = backoff.remaining(at(0)).unwrap();
        let difference = wait.abs_diff(Duration::from_millis(millis));
        assert!(difference < Duration::from_micros(1), "{jitter}: {wait:?}");
    }
}

#[test]
fn one_connection_is_tried_at_the_end() {
    let mut backoff = Backoff::default();
    fail(&mut backoff, ServerFailure::Connect, at(0));
    let Admission::Trial(trial) = backoff.admit(at(5)) else {
        panic!("no trial")
    };
    for later in [5, 6, 10_000] {
        assert_eq!(backoff.admit(at(later)), Admission::TrialUnderWay);
    }
    assert_eq!(backoff.remaining(at(6)), Some(Duration::ZERO));
    backoff.succeed(trial);
    assert!(matches!(backoff.admit(at(6)), Admission::Open(_)));
    assert!(matches!(backoff.admit(at(6)), Admission::Open(_)));
    assert_eq!((backoff.failure(), backoff.remaining(at(6))), (None, None));
    // And it begins anew.
    assert!(fail(&mut backoff, ServerFailure::Connect, at(6)));
    assert_eq!(backoff.remaining(at(6)), Some(5 * SECOND));
}

#[test]
fn a_trial_without_a_result_makes_room_for_another() {
    let mut backoff = Backoff::default();
    fail(&mut backoff, ServerFailure::Connect, at(0));
    let trial = ticket(&mut backoff, at(5));
    backoff.abandon(trial);
    let trial = ticket(&mut backoff, at(5));
    backoff.fail(trial, ServerFailure::Connect, &schedule(), 0.5, at(5));
    // The next one is not over yet, whoever gives up.
    backoff.abandon(trial);
    assert_eq!(backoff.admit(at(5)), Admission::Wait(10 * SECOND));
}

#[test]
fn connections_that_break_together_are_one_failure() {
    let mut backoff = Backoff::default();
    let tickets: Vec<_> = (0..20).map(|_| ticket(&mut backoff, at(0))).collect();
    let begins = tickets
        .iter()
        .map(|ticket| backoff.fail(*ticket, ServerFailure::Unavailable, &schedule(), 0.5, at(1)));
    assert_eq!(begins.filter(|begins| *begins).count(), 1);
    assert_eq!(backoff.remaining(at(1)), Some(5 * SECOND));
    // What an older connection still gets through says nothing about new ones.
    backoff.succeed(tickets[7]);
    assert_eq!(backoff.remaining(at(1)), Some(5 * SECOND));
    let trial = ticket(&mut backoff, at(6));
    backoff.succeed(tickets[7]);
    backoff.abandon(tickets[7]);
    assert_eq!(backoff.admit(at(6)), Admission::TrialUnderWay);
    // Nor does its end.
    backoff.succeed(trial);
    let late = backoff.fail(tickets[8], ServerFailure::Connect, &schedule(), 0.5, at(7));
    assert!(!late && matches!(backoff.admit(at(7)), Admission::Open(_)));
}

#[test]
fn an_operator_makes_it_forget() {
    let mut backoff = Backoff::default();
    let old = ticket(&mut backoff, at(0));
    backoff.fail(old, ServerFailure::Auth, &schedule(), 0.5, at(0));
    backoff.forget();
    let new = ticket(&mut backoff, at(0));
    assert_eq!(backoff.remaining(at(0)), None);
    assert!(!backoff.fail(old, ServerFailure::Auth, &schedule(), 0.5, at(0)));
    assert!(backoff.fail(new, ServerFailure::Connect, &schedule(), 0.5, at(0)));
    assert_eq!(backoff.remaining(at(0)), Some(5 * SECOND));
}

#[test]
fn a_short_minimum_is_the_longest_delay() {
    let schedule = Schedule::new(2 * SECOND, 2 * SECOND, HOUR as u32 * SECOND);
    let mut backoff = Backoff::default();
    for now in [0, 2, 4] {
        let ticket = ticket(&mut backoff, at(now));
        backoff.fail(ticket, ServerFailure::Connect, &schedule, 0.5, at(now));
        assert_eq!(backoff.remaining(at(now)), Some(2 * SECOND));
    }
}

#[test]
fn a_clock_that_goes_back_an_hour_begins_the_pause_anew() {
    let mut backoff = Backoff::default();
    fail(&mut backoff, ServerFailure::Auth, at(2 * HOUR));
    assert_eq!(backoff.remaining(at(2 * HOUR + 100)), Some(200 * SECOND));
    assert_eq!(backoff.admit(at(HOUR)), Admission::Wait(300 * SECOND));
    assert_eq!(backoff.admit(at(HOUR + 299)), Admission::Wait(SECOND));
    assert!(matches!(backoff.admit(at(HOUR + 300)), Admission::Trial(_)));
}

#[test]
fn a_clock_that_goes_forward_a_day_admits_one_connection() {
    let mut backoff = Backoff::default();
    fail(&mut backoff, ServerFailure::Auth, at(0));
    assert!(matches!(backoff.admit(at(24 * HOUR)), Admission::Trial(_)));
    assert_eq!(backoff.admit(at(24 * HOUR)), Admission::TrialUnderWay);
}
