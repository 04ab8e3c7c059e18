//! The history file of a timeline: which timelines were before it, and how each of them ended.

/// The timelines before the present one, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    ends: Vec<(u32, End)>,
}

/// How a timeline ended and another one began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a promotion, or at the end of the log.
    Log,
    /// At a recovery target.
    Target,
}

/// What PostgreSQL writes where a timeline ended neither at a transaction, a time, a position, nor
/// a named restore point.
const NO_TARGET: &str = "no recovery target specified";

impl History {
    /// Reads a history file of PostgreSQL: a line for each earlier timeline, with its number, the
    /// position where it ended, and the reason. Lines that are empty, comments or nonsense are
    /// passed over, as PostgreSQL does with the first two.
    pub fn parse(text: &str) -> Self {
        let ends = text.lines().filter_map(|line| {
            let mut words = line.trim_start().splitn(3, char::is_whitespace);
            let timeline = words.next()?.parse().ok()?;
            let reason = words.nth(1).unwrap_or_default();
            let end = match reason.trim() == NO_TARGET {
                true => End::Log,
                false => End::Target,
            };
            Some((timeline, end))
        });
        Self {
            ends: ends.collect(),
        }
    }

    /// Whether the present timeline continues an earlier one, by promotions that never stopped at
    /// a recovery target.
    pub fn leads_on_from(&self, timeline: u32) -> bool {
        let Some(first) = self.ends.iter().position(|(number, _)| *number == timeline) else {
            return false;
        };
        self.ends[first..].iter().all(|(_, end)| *end == End::Log)
    }
}
