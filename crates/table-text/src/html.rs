//! A table in HTML.

use std::io::{self, Write};

use crate::{Column, Table};

/// The styles stand in each element: many mail readers drop style sheets.
const TABLE: &str =
    "border-collapse:collapse;font-family:Arial,Helvetica,sans-serif;font-size:14px";
const CAPTION: &str = "font-weight:bold;text-align:left;padding:4px 0";
const CELL: &str = "border:1px solid #bbb;padding:4px 8px;vertical-align:top";
const HEADING: &str = ";background-color:#eee;color:#222";

/// A `<table>`, to be put into the body of a mail.
#[derive(Debug)]
pub struct Html<'a, W> {
    output: W,
    caption: Option<&'a [u8]>,
    is_number: Vec<bool>,
}

impl<'a, W: Write> Html<'a, W> {
    /// With or without a line of text above it.
    pub fn new(output: W, caption: Option<&'a [u8]>) -> Self {
        Self {
            output,
            caption,
            is_number: Vec::new(),
        }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        let mut begin = 0;
        for (at, octet) in text.iter().enumerate() {
            let Some(reference) = reference(*octet) else {
                continue;
            };
            self.output.write_all(&text[begin..at])?;
            // CR LF is one line end.
            if *octet != b'\r' || text.get(at + 1) != Some(&b'\n') {
                self.output.write_all(reference)?;
            }
            begin = at + 1;
        }
        self.output.write_all(&text[begin..])
    }
}

/// What stands for a character that has a meaning of its own.
fn reference(octet: u8) -> Option<&'static [u8]> {
    Some(match octet {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => b"&quot;",
        b'\n' | b'\r' => b"<br>",
        _ => return None,
    })
}

fn align(is_number: bool) -> &'static str {
    match is_number {
        true => "right",
        false => "left",
    }
}

impl<W: Write> Table for Html<'_, W> {
    fn begin(&mut self, columns: &mut dyn Iterator<Item = Column<'_>>) -> io::Result<()> {
        writeln!(self.output, "<table style=\"{TABLE}\">")?;
        if let Some(caption) = self.caption {
            write!(self.output, "<caption style=\"{CAPTION}\">")?;
            self.text(caption)?;
            writeln!(self.output, "</caption>")?;
        }
        write!(self.output, "<thead><tr>")?;
        for column in columns {
            let align = align(column.is_number);
            self.is_number.push(column.is_number);
            let style = format_args!("{CELL}{HEADING};text-align:{align}");
            write!(self.output, "<th scope=\"col\" style=\"{style}\">")?;
            self.text(column.name)?;
            write!(self.output, "</th>")?;
        }
        writeln!(self.output, "</tr></thead>\n<tbody>")
    }

    fn row(&mut self, cells: &mut dyn Iterator<Item = Option<&[u8]>>) -> io::Result<()> {
        self.output.write_all(b"<tr>")?;
        for (index, value) in cells.enumerate() {
            let align = align(self.is_number.get(index) == Some(&true));
            write!(self.output, "<td style=\"{CELL};text-align:{align}\">")?;
            self.text(value.unwrap_or_default())?;
            self.output.write_all(b"</td>")?;
        }
        self.output.write_all(b"</tr>\n")
    }

    fn end(&mut self) -> io::Result<()> {
        self.output.write_all(b"</tbody>\n</table>\n")
    }
}
