//! Comma-separated values (RFC 4180).

use std::io::{self, Write};

use memchr::{memchr, memchr_iter, memchr3};

use crate::{Column, Table};

/// Comma-separated values as RFC 4180 §2 defines them, with CR LF at the end of each record.
///
/// A cell without a value is an empty field, the empty text is `""`. In a table of one column both
/// are `""`: an empty line is no record for many readers.
#[derive(Debug)]
pub struct Csv<W> {
    output: W,
    header: bool,
    columns: usize,
}

impl<W: Write> Csv<W> {
    /// With or without a first record of the names of the columns.
    pub fn new(output: W, header: bool) -> Self {
        Self {
            output,
            header,
            columns: 0,
        }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn field(&mut self, value: Option<&[u8]>) -> io::Result<()> {
        match value {
            None if self.columns != 1 => Ok(()),
            Some(value) if !needs_quotes(value) => self.output.write_all(value),
            value => self.quoted(value.unwrap_or_default()),
        }
    }

    /// With each quotation mark doubled.
    fn quoted(&mut self, value: &[u8]) -> io::Result<()> {
        self.output.write_all(b"\"")?;
        let mut begin = 0;
        for mark in memchr_iter(b'"', value) {
            self.output.write_all(&value[begin..=mark])?;
            begin = mark;
        }
        self.output.write_all(&value[begin..])?;
        self.output.write_all(b"\"")
    }
}

fn needs_quotes(value: &[u8]) -> bool {
    value.is_empty()
        || memchr3(b'"', b',', b'\n', value).is_some()
        || memchr(b'\r', value).is_some()
}

impl<W: Write> Table for Csv<W> {
    fn begin(&mut self, columns: &mut dyn Iterator<Item = Column<'_>>) -> io::Result<()> {
        for column in columns {
            if self.header {
                if self.columns > 0 {
                    self.output.write_all(b",")?;
                }
                self.columns += 1;
                self.field(Some(column.name))?;
            } else {
                self.columns += 1;
            }
        }
        match self.header {
            true => self.output.write_all(b"\r\n"),
            false => Ok(()),
        }
    }

    fn row(&mut self, cells: &mut dyn Iterator<Item = Option<&[u8]>>) -> io::Result<()> {
        for (index, value) in cells.enumerate() {
            if index > 0 {
                self.output.write_all(b",")?;
            }
            self.field(value)?;
        }
        self.output.write_all(b"\r\n")
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
