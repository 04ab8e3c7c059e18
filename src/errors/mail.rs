//! Arguments that no message can have.

use mail_compose::{ComposeError, Field, Problem};

use super::{Report, sentence, sqlstate};

impl From<ComposeError> for Report {
    fn from(error: ComposeError) -> Self {
        let detail = sentence(&error.to_string());
        match error.field {
            Field::Priority => Self::new(
                sqlstate::INVALID_PARAMETER_VALUE,
                "ORA-44101: invalid priority",
            )
            .detail(detail),
            _ => {
                let report = Self::new(sqlstate::BAD_ARGUMENT, "ORA-29261: bad argument");
                let report = report.detail(detail);
                match error.field {
                    Field::Sender | Field::To | Field::Cc | Field::Bcc | Field::ReplyTo => report
                        .hint("Give addresses such as a@example.com, \"B, C\" <b@example.com>."),
                    Field::Recipients => report.hint("Give recipients, cc or bcc."),
                    Field::TextType | Field::AttachmentType => {
                        report.hint("Give a type such as text/plain; charset=utf-8.")
                    }
                    _ if matches!(error.problem, Problem::Text(_)) => {
                        report.hint("Take out control characters such as line ends and tabs.")
                    }
                    _ => report,
                }
            }
        }
    }
}
