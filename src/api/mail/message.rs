//! `utl_mail.send_message`: text, HTML, inline images and files.

use std::borrow::Cow;

use mail_compose::{
    Address, AddressList, Attachment, BodyText, ComposeError, ContentId, ContentType, Disposition,
    Draft, Field, FileName, Header, InlineImage, Priority, Subject,
};
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{Composed, HEADER_ARGUMENT, deliver, header, stamp, text};
use crate::api::rows::descriptor_of;
use crate::api::{admit, caller};
use crate::errors::{OfMessage, Report};
use crate::pg::datum::{Bytes, TextArray};
use crate::pg::encoding;
use crate::pg::record_array::{Record, RecordArray};

/// The types of the attributes of `utl_mail.attachment`.
const ATTACHMENT: &[pg_sys::Oid] = &[
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::BYTEAOID,
    pg_sys::TEXTOID,
];

/// `utl_mail.send_message`
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn utl_mail_send_message(
    sender: Option<Bytes<'_>>,
    recipients: Option<Bytes<'_>>,
    subject: Option<Bytes<'_>>,
    message: Option<Bytes<'_>>,
    html: Option<Bytes<'_>>,
    attachments: Option<RecordArray<'_>>,
    cc: Option<Bytes<'_>>,
    bcc: Option<Bytes<'_>>,
    replyto: Option<Bytes<'_>>,
    priority: Option<i32>,
    headers: Option<TextArray<'_>>,
) -> Option<i64> {
    let arguments = Arguments {
        sender,
        recipients,
        subject,
        message,
        html,
        attachments,
        cc,
        bcc,
        replyto,
        priority,
        headers,
    };
    send(&arguments).unwrap_or_else(|report| report.raise())
}

struct Arguments<'a> {
    sender: Option<Bytes<'a>>,
    recipients: Option<Bytes<'a>>,
    subject: Option<Bytes<'a>>,
    message: Option<Bytes<'a>>,
    html: Option<Bytes<'a>>,
    attachments: Option<RecordArray<'a>>,
    cc: Option<Bytes<'a>>,
    bcc: Option<Bytes<'a>>,
    replyto: Option<Bytes<'a>>,
    priority: Option<i32>,
    headers: Option<TextArray<'a>>,
}

/// Composes the message before it connects: what can't be sent needs no server. The result is the
/// id in the queue, of which a message that is sent at once has none.
fn send(arguments: &Arguments<'_>) -> Result<Option<i64>, Report> {
    let role = caller()?;
    admit()?;
    let composed = {
        let given = Given::read(arguments)?;
        let draft = given.draft(arguments.priority)?;
        Composed::new(&draft.compose(stamp()?).of_message()?)?
    };
    deliver::send(role, &composed)
}

/// The arguments as texts. The empty text is NULL, as it is in Oracle.
struct Given<'a> {
    sender: Option<Cow<'a, str>>,
    recipients: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
    html: Option<Cow<'a, str>>,
    attachments: Vec<File<'a>>,
    cc: Option<Cow<'a, str>>,
    bcc: Option<Cow<'a, str>>,
    replyto: Option<Cow<'a, str>>,
    headers: Vec<Cow<'a, str>>,
}

/// A value of type `utl_mail.attachment`.
struct File<'a> {
    name: Option<Cow<'a, str>>,
    mime_type: Option<Cow<'a, str>>,
    content: &'a [u8],
    content_id: Option<Cow<'a, str>>,
}

impl<'a> Given<'a> {
    fn read(arguments: &Arguments<'a>) -> Result<Self, Report> {
        Ok(Self {
            sender: header("sender", arguments.sender)?,
            recipients: header("recipients", arguments.recipients)?,
            subject: header("subject", arguments.subject)?,
            message: non_empty("message", arguments.message)?,
            html: non_empty("html", arguments.html)?,
            attachments: arguments.attachments.map_or(Ok(Vec::new()), files)?,
            cc: header("cc", arguments.cc)?,
            bcc: header("bcc", arguments.bcc)?,
            replyto: header("replyto", arguments.replyto)?,
            headers: arguments.headers.map_or(Ok(Vec::new()), fields)?,
        })
    }

    fn draft(&self, priority: Option<i32>) -> Result<Draft<'_>, Report> {
        let sender = self.sender.as_deref().unwrap_or_default();
        let mut draft = Draft::new(Address::parse(Field::Sender, sender).of_message()?);
        draft.to = list(Field::To, &self.recipients)?;
        draft.cc = list(Field::Cc, &self.cc)?;
        draft.bcc = list(Field::Bcc, &self.bcc)?;
        draft.reply_to = list(Field::ReplyTo, &self.replyto)?;
        let subject = self.subject.as_deref().map(Subject::parse);
        draft.subject = subject.transpose().of_message()?;
        // NULL is the default.
        draft.priority = priority.map(Priority::new).transpose().of_message()?;
        draft.text = body(Field::Text, &self.message)?;
        draft.html = body(Field::Html, &self.html)?;
        for (index, field) in self.headers.iter().enumerate() {
            draft.headers.push(extra(index + 1, field)?);
        }
        for (index, file) in self.attachments.iter().enumerate() {
            file.attach(&mut draft).of_element(index + 1)?;
        }
        Ok(draft)
    }
}

fn non_empty<'a>(
    argument: &'static str,
    value: Option<Bytes<'a>>,
) -> Result<Option<Cow<'a, str>>, Report> {
    Ok(text(argument, value)?.filter(|text| !text.is_empty()))
}

fn list(field: Field, text: &Option<Cow<'_, str>>) -> Result<AddressList, Report> {
    match text {
        Some(text) => AddressList::parse(field, text).of_message(),
        None => Ok(AddressList::default()),
    }
}

fn body<'a>(field: Field, text: &'a Option<Cow<'_, str>>) -> Result<Option<BodyText<'a>>, Report> {
    let text = text.as_deref().map(|text| BodyText::parse(field, text));
    text.transpose().of_message()
}

/// `Name: value`
fn extra(number: usize, field: &str) -> Result<Header<'_>, Report> {
    let (name, value) = field.split_once(':').ok_or_else(|| {
        let reason = format!("element {number}: no colon between a name and a value");
        Report::argument("headers", &reason)
            .hint("Give a field such as 'Auto-Submitted: auto-generated'.")
    })?;
    Header::parse(name, value.trim_matches(' ')).of_element(number)
}

/// The elements of `headers`.
fn fields<'a>(array: TextArray<'a>) -> Result<Vec<Cow<'a, str>>, Report> {
    const HEADERS: &str = "headers";
    let elements = array.elements();
    let length = elements
        .iter()
        .flatten()
        .map(|field| field.length())
        .sum::<usize>();
    if length > HEADER_ARGUMENT {
        let reason = format!("values of {length} octets, allowed are {HEADER_ARGUMENT}");
        return Err(Report::argument(HEADERS, &reason));
    }
    let field = |(index, element): (usize, Option<Bytes<'a>>)| {
        let number = index + 1;
        let field = element.ok_or_else(|| null_element(HEADERS, number))?;
        encoding::to_str(field.get()).map_err(|error| {
            Report::encoding(HEADERS, error).detail(format!("Element {number}: {error}."))
        })
    };
    elements.into_iter().enumerate().map(field).collect()
}

/// The elements of `attachments`.
fn files<'a>(array: RecordArray<'a>) -> Result<Vec<File<'a>>, Report> {
    let (row_type, elements) = array.elements();
    if elements.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: the elements of the array are of a row type.
    unsafe { descriptor_of(row_type, ATTACHMENT) };
    let file = |(index, element): (usize, Option<Record<'a>>)| {
        let number = index + 1;
        File::read(
            number,
            element.ok_or_else(|| null_element("attachments", number))?,
        )
    };
    elements.into_iter().enumerate().map(file).collect()
}

impl<'a> File<'a> {
    fn read(number: usize, record: Record<'a>) -> Result<Self, Report> {
        // SAFETY: the attributes are ATTACHMENT's.
        let [name, mime_type, content, content_id] =
            [1, 2, 3, 4].map(|attribute| unsafe { record.bytes(attribute) });
        let content = content.ok_or_else(|| {
            let reason = format!("element {number}: its content is NULL");
            Report::argument("attachments", &reason)
                .hint("coalesce(..., '') is a file without content.")
        })?;
        let text = |value| header("attachments", value);
        Ok(Self {
            name: text(name)?,
            mime_type: text(mime_type)?,
            content: content.get(),
            content_id: text(content_id)?,
        })
    }

    /// With a content id it is an image that the HTML shows.
    fn attach<'b>(&'b self, draft: &mut Draft<'b>) -> Result<(), ComposeError> {
        let mime_type = self
            .mime_type
            .as_deref()
            .unwrap_or("application/octet-stream");
        let content_type = ContentType::parse(Field::AttachmentType, mime_type)?;
        let file_name = self.name.as_deref().map(FileName::parse).transpose()?;
        match &self.content_id {
            Some(content_id) => draft.images.push(InlineImage {
                content_type,
                content: self.content,
                content_id: ContentId::parse(content_id)?,
                file_name,
            }),
            None => draft.attachments.push(Attachment {
                content_type,
                content: self.content,
                file_name,
                disposition: Disposition::Attachment,
            }),
        }
        Ok(())
    }
}

fn null_element(argument: &str, number: usize) -> Report {
    Report::argument(argument, &format!("element {number}: it is NULL"))
}
