//! The MIME parts of a message and how they are nested (RFC 2046 §5.1, RFC 2387).

use mail_builder::headers::content_type::ContentType as Built;
use mail_builder::headers::message_id::MessageId;
use mail_builder::mime::{BodyPart, MimePart};
use memchr::memmem;

use crate::content_type::ContentType;
use crate::draft::{Draft, Stamp};
use crate::part::{Attachment, BodyText, Disposition, FileName, InlineImage};

/// `mixed(alternative(text, related(html, images…)), files…)`, without the levels that have one
/// part.
pub(crate) fn tree<'a>(draft: &'a Draft<'_>, stamp: &Stamp) -> MimePart<'a> {
    let boundaries = Boundaries::new(draft, stamp);
    let mut parts = Vec::new();
    let text = draft.text.as_ref();
    let text = text.map(|text| body(draft.text_type.clone(), text));
    let html = draft.html.as_ref().map(|html| {
        let html = body(ContentType::html(), html);
        match draft.images.is_empty() {
            true => html,
            false => {
                let images = draft.images.iter().map(image);
                let parts = std::iter::once(html).chain(images).collect();
                multipart(boundaries.related().attribute("type", "text/html"), parts)
            }
        }
    });
    match (text, html) {
        (Some(text), Some(html)) => {
            parts.push(multipart(boundaries.alternative(), vec![text, html]));
        }
        (text, html) => parts.extend(text.or(html)),
    }
    if draft.html.is_none() {
        parts.extend(draft.images.iter().map(image));
    }
    let bodies = parts.len();
    parts.extend(draft.attachments.iter().map(attachment));
    match (parts.pop(), parts.len()) {
        (None, _) => MimePart::new(ContentType::plain().built(), ""),
        (Some(only), 0) if bodies == 1 => only,
        (Some(last), _) => {
            parts.push(last);
            multipart(boundaries.mixed(), parts)
        }
    }
}

fn body<'a>(content_type: ContentType, text: &'a BodyText<'_>) -> MimePart<'a> {
    let text = text.as_str();
    MimePart::new(content_type.labelled(text).built(), text)
}

fn multipart<'a>(content_type: Built<'a>, parts: Vec<MimePart<'a>>) -> MimePart<'a> {
    MimePart::new(content_type, parts)
}

fn attachment<'a>(attachment: &'a Attachment<'_>) -> MimePart<'a> {
    file(
        &attachment.content_type,
        attachment.content,
        attachment.disposition,
        attachment.file_name.as_ref(),
    )
}

fn image<'a>(image: &'a InlineImage<'_>) -> MimePart<'a> {
    file(
        &image.content_type,
        image.content,
        Disposition::Inline,
        image.file_name.as_ref(),
    )
    .header("Content-ID", MessageId::new(image.content_id.as_str()))
}

fn file<'a>(
    content_type: &ContentType,
    content: &'a [u8],
    disposition: Disposition,
    file_name: Option<&'a FileName<'a>>,
) -> MimePart<'a> {
    let content_type = content_type.clone();
    let content_type = match content_type.is_text() && !disposition.keeps(content) {
        true => content_type.opaque(),
        false => content_type.built().into(),
    };
    MimePart {
        headers: vec![("Content-Type".into(), content_type)],
        contents: BodyPart::Binary(content.into()),
    }
    .header("Content-Disposition", disposition.built(file_name))
}

/// Boundaries that no content has: base64 has no underscore, quoted-printable no `=_`, and texts
/// that may stand as they are have been searched.
struct Boundaries(String);

impl Boundaries {
    fn new(draft: &Draft<'_>, stamp: &Stamp) -> Self {
        let bodies = [&draft.text, &draft.html].into_iter().flatten();
        let attachments = draft.attachments.iter();
        let files = attachments
            .map(|file| (&file.content_type, file.content))
            .chain(
                draft
                    .images
                    .iter()
                    .map(|image| (&image.content_type, image.content)),
            )
            .filter(|(content_type, _)| content_type.is_text())
            .map(|(_, content)| content);
        let contents: Vec<&[u8]> = bodies
            .map(|body| body.as_str().as_bytes())
            .chain(files)
            .collect();
        let unique = stamp.unique();
        let mut number = 0_usize;
        loop {
            let common = format!("_{number}_{unique}");
            let finder = memmem::Finder::new(&common);
            if !contents
                .iter()
                .any(|content| finder.find(content).is_some())
            {
                return Self(common);
            }
            number += 1;
        }
    }

    fn mixed<'a>(&self) -> Built<'a> {
        self.of("multipart/mixed", 'm')
    }

    fn alternative<'a>(&self) -> Built<'a> {
        self.of("multipart/alternative", 'a')
    }

    fn related<'a>(&self) -> Built<'a> {
        self.of("multipart/related", 'r')
    }

    fn of<'a>(&self, content_type: &'static str, level: char) -> Built<'a> {
        Built::new(content_type).attribute("boundary", format!("=_{level}{}", self.0))
    }
}
