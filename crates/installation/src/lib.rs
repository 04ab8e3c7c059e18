#![doc = include_str!("../README.md")]

mod history;

pub use history::{End, History};

use std::fmt;
use std::str::FromStr;

/// What tells an installation of a database from another one.
///
/// Its text has four or five words with one space between: the system identifier, the OID of the
/// database, inode and time of birth of the data directory with a hyphen between, the timeline, and
/// the name if there is one. All numbers are decimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installation {
    /// The number that initdb gave to the cluster. Physical copies have the same.
    pub system: u64,
    /// The OID of the database.
    pub database: u32,
    /// Inode of the data directory, and its time of birth in nanoseconds since 1970 or 0 where
    /// that is not known.
    pub directory: (u64, u128),
    /// The timeline that is written.
    pub timeline: u32,
    /// What its administrator calls the installation, see [`is_name`]; empty: nothing.
    pub name: String,
}

/// Whether a text can be the name of an installation: empty, or at most 64 visible ASCII
/// characters.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|octet| octet.is_ascii_graphic())
}

/// The text is not that of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of an installation")]
pub struct ParseError;

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inode, born) = self.directory;
        let (system, database, timeline) = (self.system, self.database, self.timeline);
        write!(f, "{system} {database} {inode}-{born} {timeline}")?;
        match self.name.is_empty() {
            true => Ok(()),
            false => write!(f, " {}", self.name),
        }
    }
}

impl FromStr for Installation {
    type Err = ParseError;

    /// # Errors
    /// [`ParseError`] for every text that is not the one that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(ParseError);
        let (system, database, directory, timeline) = (word()?, word()?, word()?, word()?);
        let name = words.next().unwrap_or_default();
        let (inode, born) = directory.split_once('-').ok_or(ParseError)?;
        let installation = Self {
            system: number(system)?,
            database: number(database)?,
            directory: (number(inode)?, number(born)?),
            timeline: number(timeline)?,
            name: name.to_owned(),
        };
        match is_name(name) && installation.to_string() == text {
            true => Ok(installation),
            false => Err(ParseError),
        }
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, ParseError> {
    word.parse().map_err(|_| ParseError)
}

/// What is known of an installation besides what it is.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// How its timeline came about.
    pub history: &'a History,
    /// Whether it was seen to be a standby, in this data directory and before its present
    /// timeline.
    pub was_standby: bool,
}

/// What an installation is to one that queued something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the same.
    Same,
    /// It is a standby that took over.
    Promoted,
    /// It is a copy, or has nothing to do with it.
    Copy,
}

impl Installation {
    /// What this installation is to the one that queued something.
    pub fn judge(&self, queued_by: &Self, evidence: &Evidence<'_>) -> Verdict {
        if self == queued_by {
            return Verdict::Same;
        }
        let is_cluster_of = self.system == queued_by.system
            && self.database == queued_by.database
            && self.name == queued_by.name;
        if !is_cluster_of || self.timeline <= queued_by.timeline {
            return Verdict::Copy;
        }
        let continued = evidence.history.leads_on_from(queued_by.timeline);
        match continued && (evidence.was_standby || !self.name.is_empty()) {
            true => Verdict::Promoted,
            false => Verdict::Copy,
        }
    }
}

#[cfg(test)]
mod tests;
