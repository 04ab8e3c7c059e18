//! Oracle's routines: `send`, `send_attach_raw`, `send_attach_varchar2`.

use std::borrow::Cow;

use mail_compose::{
    Address, AddressList, Attachment, BodyText, ContentType, Disposition, Draft, Field, FileName,
    Priority, Subject,
};
use pgrx::prelude::*;

use super::{Composed, deliver, header, stamp, text};
use crate::api::{admit, caller};
use crate::errors::Report;
use crate::pg::datum::Bytes;

/// The arguments that all routines have.
struct Arguments<'a> {
    sender: Option<Bytes<'a>>,
    recipients: Option<Bytes<'a>>,
    cc: Option<Bytes<'a>>,
    bcc: Option<Bytes<'a>>,
    subject: Option<Bytes<'a>>,
    message: Option<Bytes<'a>>,
    mime_type: Option<Bytes<'a>>,
    priority: Option<i32>,
    replyto: Option<Bytes<'a>>,
}

/// The arguments about an attachment.
struct Attached<'a> {
    content: Option<Content<'a>>,
    inline: Option<bool>,
    mime_type: Option<Bytes<'a>>,
    file_name: Option<Bytes<'a>>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Octets(&'a [u8]),
    /// It goes out as UTF-8, whatever its type says.
    Text(&'a str),
}

/// `utl_mail.send`
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn utl_mail_send(
    sender: Option<Bytes<'_>>,
    recipients: Option<Bytes<'_>>,
    cc: Option<Bytes<'_>>,
    bcc: Option<Bytes<'_>>,
    subject: Option<Bytes<'_>>,
    message: Option<Bytes<'_>>,
    mime_type: Option<Bytes<'_>>,
    priority: Option<i32>,
    replyto: Option<Bytes<'_>>,
) {
    let arguments = Arguments {
        sender,
        recipients,
        cc,
        bcc,
        subject,
        message,
        mime_type,
        priority,
        replyto,
    };
    send(arguments, None).unwrap_or_else(|report| report.raise());
}

/// `utl_mail.send_attach_raw`
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn utl_mail_send_attach_raw(
    sender: Option<Bytes<'_>>,
    recipients: Option<Bytes<'_>>,
    cc: Option<Bytes<'_>>,
    bcc: Option<Bytes<'_>>,
    subject: Option<Bytes<'_>>,
    message: Option<Bytes<'_>>,
    mime_type: Option<Bytes<'_>>,
    priority: Option<i32>,
    attachment: Option<Bytes<'_>>,
    att_inline: Option<bool>,
    att_mime_type: Option<Bytes<'_>>,
    att_filename: Option<Bytes<'_>>,
    replyto: Option<Bytes<'_>>,
) {
    let arguments = Arguments {
        sender,
        recipients,
        cc,
        bcc,
        subject,
        message,
        mime_type,
        priority,
        replyto,
    };
    let attached = Attached {
        content: attachment.map(|attachment| Content::Octets(attachment.get())),
        inline: att_inline,
        mime_type: att_mime_type,
        file_name: att_filename,
    };
    send(arguments, Some(attached)).unwrap_or_else(|report| report.raise());
}

/// `utl_mail.send_attach_varchar2`: the attachment is text, and is sent as UTF-8.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn utl_mail_send_attach_varchar2(
    sender: Option<Bytes<'_>>,
    recipients: Option<Bytes<'_>>,
    cc: Option<Bytes<'_>>,
    bcc: Option<Bytes<'_>>,
    subject: Option<Bytes<'_>>,
    message: Option<Bytes<'_>>,
    mime_type: Option<Bytes<'_>>,
    priority: Option<i32>,
    attachment: Option<Bytes<'_>>,
    att_inline: Option<bool>,
    att_mime_type: Option<Bytes<'_>>,
    att_filename: Option<Bytes<'_>>,
    replyto: Option<Bytes<'_>>,
) {
    let arguments = Arguments {
        sender,
        recipients,
        cc,
        bcc,
        subject,
        message,
        mime_type,
        priority,
        replyto,
    };
    let text = text("attachment", attachment).unwrap_or_else(|report| report.raise());
    let attached = Attached {
        content: text.as_deref().map(Content::Text),
        inline: att_inline,
        mime_type: att_mime_type,
        file_name: att_filename,
    };
    send(arguments, Some(attached)).unwrap_or_else(|report| report.raise());
}

/// Composes the message before it connects: what can't be sent needs no server.
fn send(arguments: Arguments<'_>, attached: Option<Attached<'_>>) -> Result<(), Report> {
    let role = caller()?;
    admit()?;
    let text = Texts::read(&arguments)?;
    let mut draft = text.draft(arguments.priority)?;
    let file_name = attached.as_ref().and_then(|attached| attached.file_name);
    let file_name = header("att_filename", file_name)?;
    if let Some(attached) = &attached {
        draft.attachments.push(attachment(attached, &file_name)?);
    }
    let composed = Composed::new(&draft.compose(stamp()?)?)?;
    deliver::send(role, &composed).map(drop)
}

/// The text arguments. The empty text is NULL, as it is in Oracle.
struct Texts<'a> {
    sender: Option<Cow<'a, str>>,
    recipients: Option<Cow<'a, str>>,
    cc: Option<Cow<'a, str>>,
    bcc: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
    mime_type: Option<Cow<'a, str>>,
    replyto: Option<Cow<'a, str>>,
}

impl<'a> Texts<'a> {
    fn read(arguments: &Arguments<'a>) -> Result<Self, Report> {
        Ok(Self {
            sender: header("sender", arguments.sender)?,
            recipients: header("recipients", arguments.recipients)?,
            cc: header("cc", arguments.cc)?,
            bcc: header("bcc", arguments.bcc)?,
            subject: header("subject", arguments.subject)?,
            message: text("message", arguments.message)?,
            mime_type: header("mime_type", arguments.mime_type)?,
            replyto: header("replyto", arguments.replyto)?,
        })
    }

    fn draft(&self, priority: Option<i32>) -> Result<Draft<'_>, Report> {
        let list = |field, text: &Option<Cow<'_, str>>| match text {
            Some(text) => AddressList::parse(field, text),
            None => Ok(AddressList::default()),
        };
        let sender = self.sender.as_deref().unwrap_or_default();
        let mut draft = Draft::new(Address::parse(Field::Sender, sender)?);
        draft.to = list(Field::To, &self.recipients)?;
        draft.cc = list(Field::Cc, &self.cc)?;
        draft.bcc = list(Field::Bcc, &self.bcc)?;
        draft.reply_to = list(Field::ReplyTo, &self.replyto)?;
        draft.subject = self.subject.as_deref().map(Subject::parse).transpose()?;
        // NULL, which a caller in Oracle may give, is the default.
        draft.priority = priority.map(Priority::new).transpose()?;
        if let Some(mime_type) = &self.mime_type {
            draft.text_type = ContentType::parse(Field::TextType, mime_type)?;
        }
        let message = self.message.as_deref().unwrap_or_default();
        draft.text = Some(BodyText::parse(Field::Text, message)?);
        Ok(draft)
    }
}

fn attachment<'a>(
    attached: &Attached<'a>,
    file_name: &'a Option<Cow<'_, str>>,
) -> Result<Attachment<'a>, Report> {
    let content = attached
        .content
        .ok_or_else(|| Report::null_argument("attachment"))?;
    let mime_type = header("att_mime_type", attached.mime_type)?;
    let mime_type = mime_type.as_deref().unwrap_or("application/octet");
    let content_type = ContentType::parse(Field::AttachmentType, mime_type)?;
    let (content_type, content) = match content {
        Content::Octets(octets) => (content_type, octets),
        Content::Text(text) => (content_type.labelled(text), text.as_bytes()),
    };
    Ok(Attachment {
        content_type,
        content,
        file_name: file_name.as_deref().map(FileName::parse).transpose()?,
        disposition: match attached.inline.unwrap_or(true) {
            true => Disposition::Inline,
            false => Disposition::Attachment,
        },
    })
}
