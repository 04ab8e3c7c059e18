//! A composed message: its envelope, and its octets on demand.

use std::io::{self, Write};

use mail_builder::headers::HeaderType;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::{IoWriter, MessageBuilder, Writer};
use smtp_core::envelope::Envelope;
use smtp_core::memory::{self, OutOfMemory};

use crate::address::AddressList;
use crate::draft::{Draft, Stamp};
use crate::header::addresses;
use crate::tree::tree;

/// A message that has been checked. It borrows the draft.
pub struct Message<'a> {
    envelope: Envelope,
    shows_utf8: bool,
    builder: MessageBuilder<'a>,
}

impl<'a> Message<'a> {
    pub(crate) fn new(draft: &'a Draft<'_>, envelope: Envelope, stamp: Stamp) -> Self {
        let builder = fields(draft, &stamp).body(tree(draft, &stamp));
        Self {
            envelope,
            shows_utf8: draft.shows_utf8(),
            builder,
        }
    }

    /// The sender and each recipient once, those of Bcc included.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Whether the server must offer SMTPUTF8: an address in the envelope or in the header has a
    /// local part that is not ASCII. All else of a message is ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        self.shows_utf8 || self.envelope.needs_smtputf8()
    }

    /// How many octets the message has. They are encoded and counted, in pieces of 64 KiB.
    pub fn size(&self) -> usize {
        let mut count = Count::default();
        self.serialize(&mut count);
        count.octets
    }

    /// Writes the message, with CR LF at the end of each line and of the whole. At most 64 KiB are
    /// held beside the contents of the draft.
    ///
    /// # Errors
    /// The first error of `output`.
    pub fn write_to(&self, output: impl Write) -> io::Result<()> {
        let mut writer = IoWriter::new(output);
        self.serialize(&mut writer);
        writer.finish()?.flush()
    }

    /// The message in one buffer of exactly its size, which is the only copy: of a file of 100 MB,
    /// 137 MB are held beside the 100 MB that the draft borrows. It is encoded twice, to know the
    /// size.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn octets(&self) -> Result<Vec<u8>, OutOfMemory> {
        let size = self.size();
        let mut octets = Vec::new();
        memory::fallible(|| octets.try_reserve_exact(size)).map_err(|_| OutOfMemory)?;
        self.serialize(&mut octets);
        Ok(octets)
    }

    fn serialize(&self, output: &mut impl Writer) {
        let mut ended = Ended {
            output,
            last: [0; 2],
        };
        // Nothing but header fields is copied: contents are borrowed.
        self.builder.clone().serialize(&mut ended);
        if ended.last != *b"\r\n" {
            ended.output.write(b"\r\n");
        }
    }
}

/// All header fields but those of the content.
fn fields<'a>(draft: &'a Draft<'_>, stamp: &Stamp) -> MessageBuilder<'a> {
    let id = format!("{}@{}", stamp.unique(), draft.sender.domain());
    let mut builder = MessageBuilder::new()
        .message_id(MessageId::new(id))
        .date(Date::new(stamp.date()))
        .header("From", addresses([&draft.sender].into_iter()));
    let lists: [(&str, &AddressList); 3] = [
        ("To", &draft.to),
        ("Cc", &draft.cc),
        ("Reply-To", &draft.reply_to),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            builder = builder.header(name, addresses(list.iter()));
        }
    }
    if let Some(subject) = &draft.subject {
        builder = builder.header("Subject", subject.built());
    }
    if let Some(priority) = draft.priority {
        builder = builder
            .header("X-Priority", raw(priority.number().to_string()))
            .header("Importance", raw(priority.importance()));
    }
    for header in &draft.headers {
        builder = builder.header(header.name(), header.built());
    }
    builder.header("MIME-Version", raw("1.0"))
}

fn raw<'a>(value: impl Into<Raw<'a>>) -> HeaderType<'a> {
    value.into().into()
}

/// Counts octets.
#[derive(Default)]
struct Count {
    octets: usize,
}

impl Writer for Count {
    fn write(&mut self, bytes: &[u8]) {
        self.octets += bytes.len();
    }
}

/// Remembers the last two octets. It reserves nothing: mail-builder's estimate is above the size.
struct Ended<'a, W> {
    output: &'a mut W,
    last: [u8; 2],
}

fn follow(last: &mut [u8; 2], bytes: &[u8]) {
    match bytes {
        [] => {}
        [byte] => *last = [last[1], *byte],
        [.., before, byte] => *last = [*before, *byte],
    }
}

impl<W: Writer> Writer for Ended<'_, W> {
    fn write(&mut self, bytes: &[u8]) {
        follow(&mut self.last, bytes);
        self.output.write(bytes);
    }

    fn append_with<T>(&mut self, len: usize, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let Self { output, last } = self;
        output.append_with(len, |buffer| {
            let start = buffer.len();
            let result = append(buffer);
            follow(last, &buffer[start..]);
            result
        })
    }

    fn append_limit(&self) -> usize {
        self.output.append_limit()
    }
}
