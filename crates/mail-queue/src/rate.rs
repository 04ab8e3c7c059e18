//! How fast mail may go to a server: messages per minute, recipients per day.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::Moment;

/// Messages per minute, as a token bucket: it holds a minute's worth, is filled at that rate, and
/// each message takes one.
///
/// After a quiet minute that many may go at once, and from then on one after the other, so the
/// worst minute has not quite twice as many. A clock that goes back takes nothing away: the bucket
/// stays as full as it was.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    per_minute: NonZeroU32,
    /// The moment from which the bucket is full (GCRA: the theoretical arrival time).
    full_at: Moment,
    /// The last moment that was seen.
    seen: Moment,
}

impl TokenBucket {
    const MINUTE: Duration = Duration::from_secs(60);

    /// A full bucket.
    pub fn new(per_minute: NonZeroU32, now: Moment) -> Self {
        Self {
            per_minute,
            full_at: now,
            seen: now,
        }
    }

    /// The time until a message may go; zero if it may go now.
    pub fn wait(&mut self, now: Moment) -> Duration {
        let room = Self::MINUTE.saturating_sub(self.interval());
        self.missing(now).saturating_sub(room)
    }

    /// Takes a token for a message that goes now.
    ///
    /// # Errors
    /// The time until there is one.
    pub fn take(&mut self, now: Moment) -> Result<(), Duration> {
        match self.wait(now) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(now).after(self.interval());
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Gives a token back: the message that took it was not sent.
    pub fn give_back(&mut self) {
        let full_at = self.full_at.elapsed().saturating_sub(self.interval());
        self.full_at = Moment::new(full_at);
    }

    /// Changes the rate. What was sent counts on.
    pub fn set(&mut self, per_minute: NonZeroU32, now: Moment) {
        let factor = f64::from(self.per_minute.get()) / f64::from(per_minute.get());
        let missing = self.missing(now).as_secs_f64() * factor;
        let missing = Duration::try_from_secs_f64(missing).unwrap_or(Self::MINUTE);
        self.full_at = now.after(missing.min(Self::MINUTE));
        self.per_minute = per_minute;
    }

    /// The time in which the bucket fills up.
    fn missing(&mut self, now: Moment) -> Duration {
        let back = self.seen.since(now);
        self.full_at = Moment::new(self.full_at.elapsed().saturating_sub(back));
        self.seen = now;
        self.full_at.since(now)
    }

    /// The time between two messages at this rate.
    fn interval(&self) -> Duration {
        Self::MINUTE / self.per_minute.get()
    }
}

/// Recipients in any 24 hours.
///
/// Kept to the minute: a recipient counts for up to a minute longer than a day, never for less. A
/// clock that goes back takes nothing away and makes nothing wait longer.
#[derive(Clone, Debug)]
pub struct DailyLimit {
    limit: NonZeroU32,
    /// Until when how many count; the earliest first.
    slots: VecDeque<(Moment, u32)>,
    /// The last moment that was seen.
    seen: Moment,
}

impl DailyLimit {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const SLOT: Duration = Duration::from_secs(60);

    /// `sent`: how long ago how many recipients were sent to, in any order, as a log has it. What
    /// is older than a day doesn't count.
    pub fn new(
        limit: NonZeroU32,
        now: Moment,
        sent: impl IntoIterator<Item = (Duration, u32)>,
    ) -> Self {
        let recent = sent.into_iter().filter(|(age, _)| *age < Self::DAY);
        let mut recent: Vec<_> = recent.collect();
        recent.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        let mut this = Self {
            limit,
            slots: VecDeque::new(),
            seen: now,
        };
        for (age, count) in recent {
            this.count_until(now.after(Self::DAY.saturating_sub(age)), count);
        }
        this
    }

    /// How many more may go now.
    pub fn room(&mut self, now: Moment) -> u32 {
        self.tidy(now);
        let counted = self.counted();
        u32::try_from(u64::from(self.limit.get()).saturating_sub(counted)).unwrap_or(0)
    }

    /// The time until `count` recipients may go at once; zero if they may go now. More than the
    /// limit count as the limit: they go in parts.
    pub fn wait(&mut self, now: Moment, count: u32) -> Duration {
        self.tidy(now);
        let limit = u64::from(self.limit.get());
        let mut excess = (self.counted() + u64::from(count).min(limit)).saturating_sub(limit);
        for (until, counted) in &self.slots {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(u64::from(*counted));
            if excess == 0 {
                return until.since(now);
            }
        }
        Duration::ZERO
    }

    /// Counts recipients that are sent to now, whether or not there is room.
    pub fn add(&mut self, now: Moment, count: u32) {
        self.tidy(now);
        self.count_until(now.after(Self::DAY), count);
    }

    /// Takes back the newest of what was counted: those recipients were not sent to.
    pub fn give_back(&mut self, mut count: u32) {
        while count > 0
            && let Some((_, counted)) = self.slots.back_mut()
        {
            let taken = count.min(*counted);
            *counted -= taken;
            count -= taken;
            if *counted == 0 {
                self.slots.pop_back();
            }
        }
    }

    /// Changes the limit. What was sent counts on.
    pub fn set(&mut self, limit: NonZeroU32) {
        self.limit = limit;
    }

    fn counted(&self) -> u64 {
        self.slots.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// What is counted together stops counting together, when the last of it may.
    fn count_until(&mut self, until: Moment, count: u32) {
        match self.slots.back_mut() {
            _ if count == 0 => {}
            Some((slot, counted)) if until <= *slot => *counted = counted.saturating_add(count),
            _ => self.slots.push_back((until.after(Self::SLOT), count)),
        }
    }

    fn tidy(&mut self, now: Moment) {
        let back = self.seen.since(now);
        self.seen = now;
        if !back.is_zero() {
            for (until, _) in &mut self.slots {
                *until = Moment::new(until.elapsed().saturating_sub(back));
            }
        }
        while self.slots.front().is_some_and(|(until, _)| *until <= now) {
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
