//! Splits a file into its PEM blocks (RFC 7468). Text around the blocks is comment, a byte order
//! mark and CR LF are accepted, and the blocks after a broken one are read.
//!
//! Errors name lines, never their content: a file of another kind may hold secrets.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::warning::BlockProblem;

/// Base64 with or without padding.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One block: the line that it begins on, counted from 1, and its content.
pub(super) struct Block<'a> {
    pub line: usize,
    pub content: Result<Content<'a>, BlockProblem>,
}

/// The content of a block that could be decoded.
pub(super) struct Content<'a> {
    pub label: &'a str,
    /// The block has RFC 1421 headers that say it is encrypted.
    pub legacy_encryption: bool,
    pub der: Zeroizing<Vec<u8>>,
}

/// Whether a file has the beginning of a PEM block.
pub(super) fn looks_like_pem(file: &[u8]) -> bool {
    file.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// All blocks of a file, good and broken, in order.
pub(super) fn blocks(file: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<OpenBlock<'_>> = None;
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    for (index, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if let Some(label) = boundary(line, BEGIN) {
            blocks.extend(open.take().map(OpenBlock::unfinished));
            open = Some(OpenBlock::new(index + 1, label));
        } else if let Some(label) = boundary(line, END) {
            blocks.extend(open.take().map(|block| block.finish(label)));
        } else if let Some(block) = &mut open {
            block.add(line);
        }
    }
    blocks.extend(open.map(OpenBlock::unfinished));
    blocks
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The label of a boundary line.
fn boundary<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(b"-----")
}

struct OpenBlock<'a> {
    line: usize,
    label: &'a [u8],
    legacy_encryption: bool,
    in_headers: bool,
    text: Zeroizing<Vec<u8>>,
}

impl<'a> OpenBlock<'a> {
    fn new(line: usize, label: &'a [u8]) -> Self {
        Self {
            line,
            label,
            legacy_encryption: false,
            in_headers: false,
            text: Zeroizing::default(),
        }
    }

    fn add(&mut self, line: &[u8]) {
        if line.contains(&b':') {
            self.in_headers = true;
            self.legacy_encryption |= line.ends_with(b"ENCRYPTED");
        } else if self.in_headers {
            // Headers end at an empty line. A folded header continues on lines without a colon.
            self.in_headers = !line.is_empty();
        } else {
            let base64 = line.iter().filter(|byte| !byte.is_ascii_whitespace());
            self.text.extend(base64);
        }
    }

    fn finish(self, end: &[u8]) -> Block<'a> {
        let content = if end != self.label {
            Err(BlockProblem::OtherEnd)
        } else {
            self.decode()
        };
        Block {
            line: self.line,
            content,
        }
    }

    fn unfinished(self) -> Block<'a> {
        Block {
            line: self.line,
            content: Err(BlockProblem::NoEnd),
        }
    }

    fn decode(&self) -> Result<Content<'a>, BlockProblem> {
        let label = str::from_utf8(self.label).map_err(|_| BlockProblem::Label)?;
        let der = TOLERANT
            .decode(&*self.text)
            .map(Zeroizing::new)
            .map_err(|_| BlockProblem::NotBase64)?;
        if der.is_empty() {
            return Err(BlockProblem::Empty);
        }
        Ok(Content {
            label,
            legacy_encryption: self.legacy_encryption,
            der,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(file: &[u8]) -> Vec<(usize, String, Vec<u8>)> {
        blocks(file)
            .into_iter()
            .filter_map(|block| {
                let content = block.content.ok()?;
                Some((block.line, content.label.to_owned(), content.der.to_vec()))
            })
            .collect()
    }

    #[test]
    fn byte_order_mark_crlf_and_comments_are_accepted() {
        let file = b"\xef\xbb\xbf-----BEGIN A-----\r\nAQID\r\n-----END A-----\r\n# comment: x\n\n-----BEGIN B-----\n BA\t\n-----END B-----";
        assert_eq!(
            good(file),
            [(1, "A".into(), vec![1, 2, 3]), (6, "B".into(), vec![4])]
        );
    }

    #[test]
    fn blocks_after_a_broken_one_are_read() {
        let file = b"-----BEGIN A-----\n-----BEGIN A-----\n*\n-----END A-----\n-----BEGIN A-----\nAQ==\n-----END B-----\n-----BEGIN A-----\n-----END A-----\n-----BEGIN A-----\nAQ==\n-----END A-----\n-----BEGIN A-----\nAQ==";
        let found: Vec<(usize, Option<BlockProblem>)> = blocks(file)
            .into_iter()
            .map(|block| (block.line, block.content.err()))
            .collect();
        assert_eq!(
            found,
            [
                (1, Some(BlockProblem::NoEnd)),
                (2, Some(BlockProblem::NotBase64)),
                (5, Some(BlockProblem::OtherEnd)),
                (8, Some(BlockProblem::Empty)),
                (10, None),
                (13, Some(BlockProblem::NoEnd)),
            ]
        );
    }

    #[test]
    fn encryption_headers_are_recognized_and_skipped() {
        let file = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAQID\n-----END RSA PRIVATE KEY-----\n";
        let found = blocks(file);
        let content = found[0].content.as_ref().ok().unwrap();
        assert!(content.legacy_encryption);
        assert_eq!(*content.der, [1, 2, 3]);
    }
}
