//! A message before it is composed.

use std::collections::HashSet;

use smtp_core::envelope::{Envelope, Recipient};
use smtp_core::text::{Parameters, ReversePath};

use crate::address::{Address, AddressList};
use crate::content_type::ContentType;
use crate::error::{ComposeError, Field, Problem};
use crate::header::{Header, Subject};
use crate::message::Message;
use crate::part::{Attachment, BodyText, InlineImage};

/// How urgent a message is: 1 is the highest, 5 the lowest, 3 is normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// Takes 1 to 5.
    ///
    /// # Errors
    /// For any other number.
    pub fn new(number: i32) -> Result<Self, ComposeError> {
        let (lowest, highest) = (1, 5);
        match u8::try_from(number) {
            Ok(number @ 1..=5) => Ok(Self(number)),
            _ => Err(Problem::Range { lowest, highest }.of(Field::Priority)),
        }
    }

    /// The number, as X-Priority has it.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The value of Importance (RFC 2156 §5.3.4).
    pub(crate) fn importance(self) -> &'static str {
        match self.0 {
            1 | 2 => "high",
            3 => "normal",
            _ => "low",
        }
    }
}

/// What makes a message one of its kind.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    date: i64,
    unique: [u8; 16],
}

impl Stamp {
    /// `date` is in seconds since 1970 (UTC), `unique` are random octets for Message-ID and the
    /// boundaries.
    ///
    /// # Errors
    /// For a date before 1970 or after 9999, whose year has not four digits (RFC 5322 §3.3).
    pub fn new(date: i64, unique: [u8; 16]) -> Result<Self, ComposeError> {
        let (lowest, highest) = (0, 253_402_300_799);
        match (lowest..=highest).contains(&date) {
            true => Ok(Self { date, unique }),
            false => Err(Problem::Range { lowest, highest }.of(Field::Date)),
        }
    }

    pub(crate) fn date(&self) -> i64 {
        self.date
    }

    pub(crate) fn unique(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.unique))
    }
}

/// The parts of a message.
#[derive(Clone)]
pub struct Draft<'a> {
    /// From, and the sender of the envelope.
    pub sender: Address,
    /// To.
    pub to: AddressList,
    /// Cc.
    pub cc: AddressList,
    /// Those who get the message without being named in it.
    pub bcc: AddressList,
    /// Reply-To.
    pub reply_to: AddressList,
    /// Subject.
    pub subject: Option<Subject<'a>>,
    /// X-Priority and Importance.
    pub priority: Option<Priority>,
    /// Other header fields.
    pub headers: Vec<Header<'a>>,
    /// The body for readers that show no HTML, or the only one.
    pub text: Option<BodyText<'a>>,
    /// What `text` is. Its charset becomes utf-8, unless it is us-ascii and true.
    pub text_type: ContentType,
    /// The body in HTML.
    pub html: Option<BodyText<'a>>,
    /// Images that the body in HTML shows. Without one they are inline attachments.
    pub images: Vec<InlineImage<'a>>,
    /// Files.
    pub attachments: Vec<Attachment<'a>>,
}

impl<'a> Draft<'a> {
    /// An empty message without recipients.
    pub fn new(sender: Address) -> Self {
        Self {
            sender,
            to: AddressList::default(),
            cc: AddressList::default(),
            bcc: AddressList::default(),
            reply_to: AddressList::default(),
            subject: None,
            priority: None,
            headers: Vec::new(),
            text: None,
            text_type: ContentType::plain(),
            html: None,
            images: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// The message. It borrows the bodies and the contents of the draft; nothing is encoded yet.
    ///
    /// # Errors
    /// Where To, Cc and Bcc are all empty, where two images have the same content id, and where a
    /// header field that may occur once (RFC 5322 §3.6) is given again.
    pub fn compose(&self, stamp: Stamp) -> Result<Message<'_>, ComposeError> {
        let envelope = self.envelope();
        if envelope.recipients.is_empty() {
            return Err(Problem::Missing.of(Field::Recipients));
        }
        let ids = self.images.iter().map(|image| image.content_id.as_str());
        once(Field::ContentId, ids)?;
        let single = self.headers.iter().filter(|header| header.is_single());
        once(
            Field::HeaderName,
            single.map(|header| header.name().to_ascii_lowercase()),
        )?;
        Ok(Message::new(self, envelope, stamp))
    }

    /// Each recipient once, in the order of To, Cc and Bcc.
    fn envelope(&self) -> Envelope {
        let mut known = HashSet::new();
        let recipients = [&self.to, &self.cc, &self.bcc]
            .into_iter()
            .flat_map(AddressList::iter)
            .map(Address::mailbox)
            .filter(|mailbox| known.insert(mailbox.canonical()))
            .map(|mailbox| Recipient::from(mailbox.clone()))
            .collect();
        Envelope {
            sender: ReversePath::Mailbox(self.sender.mailbox().clone()),
            parameters: Parameters::default(),
            recipients,
        }
    }

    /// Whether an address that the message shows is not ASCII (RFC 6532).
    pub(crate) fn shows_utf8(&self) -> bool {
        [&self.to, &self.cc, &self.reply_to]
            .into_iter()
            .flat_map(AddressList::iter)
            .chain([&self.sender])
            .any(|address| address.mailbox().needs_smtputf8())
    }
}

fn once<T: Eq + std::hash::Hash>(
    field: Field,
    mut values: impl Iterator<Item = T>,
) -> Result<(), ComposeError> {
    let mut known = HashSet::new();
    match values.all(|value| known.insert(value)) {
        true => Ok(()),
        false => Err(Problem::Repeated.of(field)),
    }
}
