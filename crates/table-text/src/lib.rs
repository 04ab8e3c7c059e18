#![doc = include_str!("../README.md")]

mod csv;
mod html;

use std::io;

pub use csv::Csv;
pub use html::Html;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// What stands above it.
    pub name: &'a [u8],
    /// Whether its values are numbers, which are compared by their last digits.
    pub is_number: bool,
}

/// Where the rows of a table go: [`begin`](Table::begin) once, [`row`](Table::row) for each row,
/// [`end`](Table::end) once.
pub trait Table {
    /// The columns, in order.
    ///
    /// # Errors
    /// The first error of the writer below.
    fn begin(&mut self, columns: &mut dyn Iterator<Item = Column<'_>>) -> io::Result<()>;

    /// The values of a row, in the order of the columns; `None` is a cell without a value.
    ///
    /// # Errors
    /// The first error of the writer below.
    fn row(&mut self, cells: &mut dyn Iterator<Item = Option<&[u8]>>) -> io::Result<()>;

    /// What follows the last row.
    ///
    /// # Errors
    /// The first error of the writer below.
    fn end(&mut self) -> io::Result<()>;
}
