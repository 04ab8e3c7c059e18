//! Errors about the options of servers and user mappings.

use super::hints::Flaw;
use super::{Report, hints, sentence, sqlstate};

impl Report {
    /// An option that does not exist. `known`: those that do.
    pub fn unknown_option(name: &str, known: &[&str]) -> Self {
        let report = Self::new(
            sqlstate::INVALID_OPTION_NAME,
            format!("invalid option \"{name}\""),
        );
        match known {
            [] => report.hint("There are no valid options in this context."),
            _ => report.hint(format!(
                "Valid options in this context are: {}.",
                known.join(", ")
            )),
        }
    }

    /// A value that an option can't have. `reason` is a phrase that can stand alone. It never holds
    /// a secret. `valid`: a sentence about what is valid.
    pub fn option(name: &str, reason: &str, valid: Option<String>) -> Self {
        let message = format!("invalid value for option \"{name}\"");
        let mut report =
            Self::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(sentence(reason));
        let of_argument = match name {
            "helo" => "domain",
            "token_wallet_path" => "wallet_path",
            "parameters" => "form",
            _ => name,
        };
        report.hint =
            valid.or_else(|| hints::for_value(of_argument, Flaw::Other).map(str::to_owned));
        report
    }

    pub fn option_missing(name: &str, hint: &str) -> Self {
        let message = format!("option \"{name}\" is required");
        Self::new(sqlstate::INVALID_PARAMETER_VALUE, message).hint(hint)
    }
}
