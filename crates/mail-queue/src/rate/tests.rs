use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(millis: u64) -> Moment {
    // Behind the origin, so that a clock can go back.
    Moment::new(Duration::from_secs(10 * DAY) + Duration::from_millis(millis))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// How many go now.
fn drain(bucket: &mut TokenBucket, now: Moment) -> u32 {
    (0..).find(|_| bucket.take(now).is_err()).unwrap()
}

#[test]
fn a_minutes_worth_goes_at_once_and_then_one_by_one() {
    let mut bucket = TokenBucket::new(count(30), at(0));
    assert_eq!(drain(&mut bucket, at(0)), 30);
    assert_eq!(bucket.take(at(0)), Err(secs(2)));
    assert_eq!(bucket.take(at(1500)), Err(Duration::from_millis(500)));
    assert_eq!(bucket.wait(at(1999)), Duration::from_millis(1));
    assert_eq!(drain(&mut bucket, at(2000)), 1);
    assert_eq!(drain(&mut bucket, at(32_000)), 15);
    assert_eq!(drain(&mut bucket, at(500_000)), 30);
}

#[test]
fn one_a_minute_is_one_a_minute() {
    let mut bucket = TokenBucket::new(count(1), at(0));
    assert_eq!(bucket.take(at(0)), Ok(()));
    assert_eq!(bucket.take(at(0)), Err(secs(60)));
    assert_eq!(bucket.take(at(59_999)), Err(Duration::from_millis(1)));
    assert_eq!(bucket.take(at(60_000)), Ok(()));
}

#[test]
fn an_unused_token_goes_back() {
    let mut bucket = TokenBucket::new(count(2), at(0));
    assert_eq!(drain(&mut bucket, at(0)), 2);
    bucket.give_back();
    assert_eq!(drain(&mut bucket, at(0)), 1);
    // Never more than there were.
    bucket.give_back();
    bucket.give_back();
    bucket.give_back();
    assert_eq!(drain(&mut bucket, at(0)), 2);
}

#[test]
fn a_changed_rate_counts_what_was_sent() {
    let mut bucket = TokenBucket::new(count(60), at(0));
    (0..15).for_each(|_| bucket.take(at(0)).unwrap());
    bucket.set(count(20), at(0));
    assert_eq!(drain(&mut bucket, at(0)), 5);
    bucket.set(count(60), at(0));
    assert_eq!(drain(&mut bucket, at(0)), 40);
    // A minute is the most that anybody waits for.
    bucket.set(count(1), at(0));
    assert_eq!(bucket.wait(at(0)), secs(60));
}

#[test]
fn a_bucket_survives_a_set_clock() {
    let mut bucket = TokenBucket::new(count(60), at(0));
    assert_eq!(drain(&mut bucket, at(HOUR * 1000)), 60);
    assert_eq!(bucket.wait(at(0)), secs(1));
    assert_eq!(drain(&mut bucket, at(1000)), 1);
    assert_eq!(drain(&mut bucket, at(DAY * 1000)), 60);
}

#[test]
fn a_day_has_so_many_recipients() {
    let mut limit = DailyLimit::new(count(100), at(0), []);
    assert_eq!(limit.room(at(0)), 100);
    limit.add(at(0), 60);
    limit.add(at(HOUR * 1000), 30);
    assert_eq!(limit.room(at(HOUR * 1000)), 10);
    assert_eq!(limit.wait(at(HOUR * 1000), 10), Duration::ZERO);
    // A minute later than a day after.
    assert_eq!(limit.wait(at(HOUR * 1000), 11), secs(23 * HOUR + 60));
    assert_eq!(limit.wait(at(HOUR * 1000), 70), secs(23 * HOUR + 60));
    assert_eq!(limit.wait(at(HOUR * 1000), 71), secs(DAY + 60));
    // More than ever go at once wait for all that can.
    assert_eq!(limit.wait(at(HOUR * 1000), 1000), secs(DAY + 60));
    assert_eq!(limit.room(at(DAY * 1000)), 10);
    assert_eq!(limit.room(at((DAY + 60) * 1000)), 70);
    assert_eq!(limit.room(at((DAY + HOUR + 60) * 1000)), 100);
}

#[test]
fn a_log_has_what_was_sent_before() {
    let sent = [
        (secs(DAY), 500),
        (secs(HOUR), 10),
        (secs(DAY - 1), 40),
        (secs(0), 5),
        (secs(2 * DAY), 500),
    ];
    let mut limit = DailyLimit::new(count(100), at(0), sent);
    assert_eq!(limit.room(at(0)), 45);
    assert_eq!(limit.wait(at(0), 46), secs(61));
    assert_eq!(limit.room(at(61_000)), 85);
}

#[test]
fn more_than_the_limit_leaves_no_room() {
    let mut limit = DailyLimit::new(
        count(10),
        at(0),
        [(secs(10), u32::MAX), (secs(9), u32::MAX)],
    );
    assert_eq!(limit.room(at(0)), 0);
    assert_eq!(limit.wait(at(0), 1), secs(DAY + 50));
    limit.set(count(u32::MAX));
    assert_eq!(limit.room(at(0)), 0);
}

#[test]
fn a_recipient_who_was_not_sent_to_goes_back() {
    let mut limit = DailyLimit::new(count(10), at(0), [(secs(HOUR), 4)]);
    limit.add(at(0), 3);
    limit.give_back(1);
    assert_eq!(limit.room(at(0)), 4);
    limit.give_back(5);
    assert_eq!(limit.room(at(0)), 9);
    limit.give_back(5);
    assert_eq!(limit.room(at(0)), 10);
    limit.set(count(3));
    assert_eq!(limit.room(at(0)), 3);
}

#[test]
fn a_days_memory_is_bounded() {
    let mut limit = DailyLimit::new(count(1), at(0), []);
    (0..2 * DAY).for_each(|second| limit.add(at(second * 1000), 1));
    assert!(limit.slots.len() <= 24 * 60 + 2, "{}", limit.slots.len());
}

#[test]
fn a_day_survives_a_set_clock() {
    let mut limit = DailyLimit::new(count(10), at(0), []);
    limit.add(at(2 * HOUR * 1000), 10);
    // An hour back: no more, and not for longer.
    assert_eq!(limit.room(at(HOUR * 1000)), 0);
    assert_eq!(limit.wait(at(HOUR * 1000), 1), secs(DAY + 60));
    assert_eq!(limit.room(at((HOUR + DAY + 60) * 1000)), 10);
}

proptest! {
    /// In no window are more than a bucket and what was filled in meanwhile, and whoever waits as
    /// long as he was told may go.
    #[test]
    fn no_window_has_more_than_the_rate(
        rate in 1u32..200,
        pauses in proptest::collection::vec(0u64..30_000, 1..200),
    ) {
        let mut bucket = TokenBucket::new(count(rate), at(0));
        let (mut now, mut sent) = (0, Vec::new());
        for pause in pauses {
            now += pause;
            match bucket.take(at(now)) {
                Ok(()) => sent.push(now),
                Err(wait) => {
                    let mut later = bucket;
                    prop_assert!(later.take(at(now).after(wait)).is_ok());
                    let early = wait.saturating_sub(Duration::from_nanos(1));
                    prop_assert!(bucket.take(at(now).after(early)).is_err());
                    // The look ahead has moved its clock.
                    bucket = TokenBucket { seen: at(now), ..bucket };
                }
            }
        }
        for (index, first) in sent.iter().enumerate() {
            for (more, last) in sent[index..].iter().enumerate() {
                let filled = (last - first) as f64 * f64::from(rate) / 60_000.0;
                prop_assert!(more as f64 <= f64::from(rate) + filled);
            }
        }
    }

    /// In no 24 hours are more than the limit, and a day and a minute after everything there is room.
    #[test]
    fn no_day_has_more_than_its_limit(
        daily in 1u32..300,
        sent in proptest::collection::vec((0u64..6 * HOUR, 1u32..100), 1..100),
    ) {
        let mut limit = DailyLimit::new(count(daily), at(0), []);
        let (mut now, mut log) = (0, Vec::new());
        for (pause, wanted) in sent {
            now += pause;
            let going = wanted.min(limit.room(at(now * 1000)));
            let exact: u32 = log.iter().filter(|(then, _)| now - then < DAY).map(|(_, n)| n).sum();
            prop_assert!(exact + going <= daily);
            let lax: u32 = log.iter().filter(|(then, _)| now - then <= DAY + 60).map(|(_, n)| n).sum();
            prop_assert!(limit.room(at(now * 1000)) >= daily - lax.min(daily));
            let wait = limit.wait(at(now * 1000), wanted);
            prop_assert_eq!(wait.is_zero(), limit.room(at(now * 1000)) >= wanted.min(daily));
            let mut later = limit.clone();
            prop_assert!(later.room(at(now * 1000).after(wait)) >= wanted.min(daily));
            limit.add(at(now * 1000), going);
            log.push((now, going));
            // A worker that starts now knows the same from its log.
            let ages = log.iter().map(|(then, n)| (secs(now - then), *n));
            let mut anew = DailyLimit::new(count(daily), at(now * 1000), ages);
            prop_assert_eq!(anew.counted(), {
                let all: u32 = log.iter().filter(|(then, _)| now - then < DAY).map(|(_, n)| n).sum();
                u64::from(all)
            });
            prop_assert!(anew.room(at(now * 1000)) >= limit.room(at(now * 1000)));
        }
    }
}
