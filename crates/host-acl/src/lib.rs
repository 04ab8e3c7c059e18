#![doc = include_str!("../README.md")]

mod decision;
mod pattern;

pub use decision::{Asker, Decision, Entry, GrantType, Question};
pub use pattern::{
    HostPattern, PatternError, PatternProblem, candidates, contains_host, domain_level, domains,
    equals_host,
};
