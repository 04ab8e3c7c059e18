//! What the crates say of a text, said of an argument.

use std::fmt::Display;

use host_acl::PatternError;
use pem_wallet::IdentityError;
use smtp_core::command::LineTooLong;
use smtp_core::host::HostError;
use smtp_core::text::TextError;

use super::Report;
use super::hints::Flaw;

/// Turns the error of a parser into the error for the argument that it parsed.
pub trait OfArgument<T> {
    fn of_argument(self, argument: &'static str) -> Result<T, Report>;

    /// The same for an element of an argument that is an array, counted from 1.
    fn of_element(self, argument: &'static str, number: usize) -> Result<T, Report>;
}

/// Errors about a text.
pub trait TextProblem: Display {
    fn flaw(&self) -> Flaw {
        Flaw::Other
    }
}

impl TextProblem for TextError {
    fn flaw(&self) -> Flaw {
        match self {
            Self::Unexpected {
                character: '\n' | '\r',
                ..
            } => Flaw::LineBreak,
            _ => Flaw::Other,
        }
    }
}

impl TextProblem for LineTooLong {}
impl TextProblem for HostError {}
impl TextProblem for IdentityError {}
impl TextProblem for PatternError {}

impl<T, E: TextProblem> OfArgument<T> for Result<T, E> {
    fn of_argument(self, argument: &'static str) -> Result<T, Report> {
        self.map_err(|error| Report::flawed(argument, &error.to_string(), error.flaw()))
    }

    fn of_element(self, argument: &'static str, number: usize) -> Result<T, Report> {
        self.map_err(|error| {
            Report::flawed(
                argument,
                &format!("element {number}: {error}"),
                error.flaw(),
            )
        })
    }
}
