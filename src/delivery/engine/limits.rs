//! How much mail a server gets: messages per minute, recipients per day.

use std::num::NonZeroU32;
use std::time::Duration;

use mail_queue::clock::Moment;
use mail_queue::rate::{DailyLimit, TokenBucket};

use crate::servers::options::QueueOptions;

/// The limits of a server, and how much of them is used.
#[derive(Default)]
pub struct Limits {
    options: Option<Options>,
    minute: Option<TokenBucket>,
    day: Option<DailyLimit>,
    /// Until when nothing more may go.
    until: Option<Moment>,
}

/// What the server's options say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Options {
    per_minute: Option<NonZeroU32>,
    per_day: Option<NonZeroU32>,
}

impl Options {
    /// Whether recipients are counted over a day.
    pub fn have_day(self) -> bool {
        self.per_day.is_some()
    }
}

impl From<&QueueOptions> for Options {
    fn from(options: &QueueOptions) -> Self {
        Self {
            per_minute: options.max_messages_per_minute,
            per_day: options.max_recipients_per_day,
        }
    }
}

/// Whether a message may go.
pub enum Room {
    /// Yes, to all of its recipients.
    All,
    /// To so many of them.
    Some(usize),
    None,
}

impl Limits {
    /// What is kept to; `None`: nothing is known yet.
    pub fn options(&self) -> Option<Options> {
        self.options
    }

    /// Keeps to other options from now on.
    pub fn set(&mut self, options: Options, sent: Vec<(Duration, u32)>, now: Moment) {
        self.options = Some(options);
        self.until = None;
        match (&mut self.minute, options.per_minute) {
            (Some(bucket), Some(rate)) => bucket.set(rate, now),
            (bucket, rate) => *bucket = rate.map(|rate| TokenBucket::new(rate, now)),
        }
        match (&mut self.day, options.per_day) {
            (Some(day), Some(limit)) => day.set(limit),
            (day, limit) => *day = limit.map(|limit| DailyLimit::new(limit, now, sent)),
        }
    }

    /// How many messages may go now, up to `most`.
    pub fn room(&mut self, most: usize, now: Moment) -> usize {
        if self.remaining(now).is_some() {
            return 0;
        }
        let mut room = most;
        if let Some(day) = &mut self.day {
            room = room.min(day.room(now) as usize);
            if room == 0 {
                self.until = Some(now.after(day.wait(now, 1)));
            }
        }
        if let Some(bucket) = &mut self.minute {
            let mut trial = *bucket;
            let taken = (0..room).take_while(|_| trial.take(now).is_ok()).count();
            if room > 0 && taken == 0 {
                self.until = Some(now.after(bucket.wait(now)));
            }
            room = taken;
        }
        room
    }

    /// Takes room for a message to so many recipients.
    pub fn take(&mut self, recipients: usize, now: Moment) -> Room {
        let mut taken = recipients;
        if let Some(day) = &mut self.day {
            let (room, count) = (day.room(now), u32::try_from(recipients).unwrap_or(u32::MAX));
            if count > room {
                let wait = day.wait(now, count);
                let goes_in_parts = self
                    .options
                    .and_then(|options| options.per_day)
                    .is_some_and(|limit| count > limit.get());
                if room == 0 || !goes_in_parts {
                    self.until = Some(now.after(wait));
                    return Room::None;
                }
                taken = room as usize;
            }
        }
        if let Some(bucket) = &mut self.minute
            && let Err(wait) = bucket.take(now)
        {
            self.until = Some(now.after(wait));
            return Room::None;
        }
        if let Some(day) = &mut self.day {
            day.add(now, u32::try_from(taken).unwrap_or(u32::MAX));
        }
        match taken == recipients {
            true => Room::All,
            false => Room::Some(taken),
        }
    }

    /// A message that had room was not sent.
    pub fn give_back(&mut self, recipients: usize) {
        if let Some(bucket) = &mut self.minute {
            bucket.give_back();
        }
        if let Some(day) = &mut self.day {
            day.give_back(u32::try_from(recipients).unwrap_or(u32::MAX));
        }
    }

    /// How long nothing more may go; `None`: something may.
    pub fn remaining(&self, now: Moment) -> Option<Duration> {
        let left = self.until?.since(now);
        (!left.is_zero()).then_some(left)
    }
}
