#![doc = include_str!("../README.md")]

mod decision;
mod pattern;

pub use decision::{Entry, GrantType, Question, decide};
pub use pattern::{
    HostPattern, PatternError, PatternProblem, candidates, contains_host, domain_level, domains,
    equals_host,
};
