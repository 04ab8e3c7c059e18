//! Arguments that no message can have: Oracle's error for Oracle's routines of utl_mail, and for
//! send_message the usual one, which names the argument.

use mail_compose::{ComposeError, Field, Problem};
use smtp_core::memory::OutOfMemory;

use super::{Report, sentence, sqlstate};

impl From<ComposeError> for Report {
    fn from(error: ComposeError) -> Self {
        if error.problem == Problem::OutOfMemory {
            return OutOfMemory.into();
        }
        let (code, message) = match error.field {
            Field::Priority => (
                sqlstate::INVALID_PARAMETER_VALUE,
                "ORA-44101: invalid priority",
            ),
            _ => (sqlstate::BAD_ARGUMENT, "ORA-29261: bad argument"),
        };
        Self::new(code, message)
            .detail(sentence(&error.to_string()))
            .maybe_hint(hint(&error))
    }
}

/// Turns the error of the composer into the error for the argument of send_message.
pub trait OfMessage<T> {
    fn of_message(self) -> Result<T, Report>;

    /// The same for an element of the argument, counted from 1.
    fn of_element(self, number: usize) -> Result<T, Report>;
}

impl<T> OfMessage<T> for Result<T, ComposeError> {
    fn of_message(self) -> Result<T, Report> {
        self.map_err(|error| {
            let reason = match argument(error.field) {
                // Which of the argument's parts it is.
                "attachments" | "headers" => error.to_string(),
                _ => error.problem.to_string(),
            };
            of_argument(&error, &reason)
        })
    }

    fn of_element(self, number: usize) -> Result<T, Report> {
        self.map_err(|error| of_argument(&error, &format!("element {number}: {error}")))
    }
}

fn of_argument(error: &ComposeError, reason: &str) -> Report {
    if error.problem == Problem::OutOfMemory {
        return OutOfMemory.into();
    }
    let argument = argument(error.field);
    let message = format!("invalid value for argument \"{argument}\"");
    Report::new(sqlstate::INVALID_PARAMETER_VALUE, message)
        .detail(sentence(reason))
        .maybe_hint(hint(error))
}

/// The argument of send_message.
fn argument(field: Field) -> &'static str {
    match field {
        Field::Sender => "sender",
        Field::To | Field::Recipients => "recipients",
        Field::Cc => "cc",
        Field::Bcc => "bcc",
        Field::ReplyTo => "replyto",
        Field::Subject => "subject",
        Field::Priority => "priority",
        Field::Text | Field::TextType | Field::Date => "message",
        Field::Html => "html",
        Field::AttachmentType | Field::FileName | Field::ContentId => "attachments",
        Field::HeaderName | Field::HeaderValue => "headers",
    }
}

fn hint(error: &ComposeError) -> Option<&'static str> {
    Some(match (error.field, &error.problem) {
        (Field::Sender | Field::To | Field::Cc | Field::Bcc | Field::ReplyTo, _) => {
            "Give addresses such as a@example.com, \"B, C\" <b@example.com>."
        }
        (Field::Recipients, _) => "Give recipients, cc or bcc.",
        (Field::TextType | Field::AttachmentType, _) => {
            "Give a type such as text/plain; charset=utf-8."
        }
        (Field::HeaderName, Problem::Reserved) => {
            "The other arguments make this field, or it is not the author's to write."
        }
        (Field::HeaderName, Problem::Text(_)) => {
            "Give a field such as 'Auto-Submitted: auto-generated'."
        }
        (Field::ContentId, Problem::Text(_)) => {
            "Give letters, digits and such as logo@example.com; the HTML refers to it as src=\"cid:logo@example.com\"."
        }
        (_, Problem::Text(_)) => "Take out control characters such as line ends and tabs.",
        _ => return None,
    })
}
