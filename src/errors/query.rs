//! Queries that have no result for a message.

use std::io;

use super::{Report, sqlstate};
use crate::pg::caller_query::QueryError;

const HINT: &str = "Give one SELECT, VALUES or TABLE statement.";

impl From<QueryError> for Report {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Empty => Self::new(sqlstate::SYNTAX_ERROR, "the query is empty").hint(HINT),
            QueryError::Several(count) => {
                let message = "the query is more than one statement";
                Self::new(sqlstate::SYNTAX_ERROR, message)
                    .detail(format!("It has {count} statements."))
                    .hint(HINT)
            }
            QueryError::NotAQuery(name) => {
                let message = format!("{name} is not a query");
                Self::new(sqlstate::SYNTAX_ERROR, message).hint(HINT)
            }
            QueryError::Writes(name) => {
                let message = format!("the query must not write: {name}");
                Self::new(sqlstate::READ_ONLY, message).hint(HINT)
            }
            QueryError::NoSnapshot => {
                let message = "there is no snapshot to run the query with";
                Self::new(sqlstate::INVALID_TRANSACTION_STATE, message)
                    .hint("Call the function in an SQL statement.")
            }
            QueryError::Refused(code) => {
                let message = format!("the query can't be run: SPI error {code}");
                Self::new(sqlstate::INTERNAL_ERROR, message)
            }
            QueryError::Output(error) if error.kind() == io::ErrorKind::FileTooLarge => Self::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                "the result of the query is too large",
            )
            .detail("A value of type text has less than 1 GB.")
            .hint("Select fewer rows or columns, or send several messages."),
            QueryError::Output(error) => Self::new(sqlstate::INTERNAL_ERROR, error.to_string()),
        }
    }
}
