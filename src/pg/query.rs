//! Statements that are run once, within [`super::owner::with_owner_rights`] or with the rights of
//! the caller.

use std::borrow::Cow;
use std::ffi::{CString, c_char};

use pgrx::spi::SpiClient;
use pgrx::{FromDatum, pg_sys};

use super::datum::{Bytes, Text};
use super::encoding::{self, EncodingError};

/// A value for `$1` and so on: its type, and `None` for NULL.
pub type Parameter = (pg_sys::Oid, Option<pg_sys::Datum>);

/// The rows of a result, as long as no other statement is run.
pub struct Rows<'a> {
    table: &'a pg_sys::SPITupleTable,
}

/// Runs a statement that may write, with a snapshot of its own; returns how many rows it has found
/// or written.
pub fn run(_: &mut SpiClient<'_>, statement: &str, parameters: &[Parameter]) -> u64 {
    let statement = CString::new(statement).expect("a statement has no NUL");
    let mut types: Vec<pg_sys::Oid> = parameters.iter().map(|(of, _)| *of).collect();
    let null = |value: &Option<pg_sys::Datum>| if value.is_none() { b'n' } else { b' ' };
    let nulls: Vec<c_char> = parameters
        .iter()
        .map(|(_, value)| null(value) as c_char)
        .collect();
    let datum = |value: Option<pg_sys::Datum>| value.unwrap_or(pg_sys::Datum::null());
    let mut values: Vec<pg_sys::Datum> =
        parameters.iter().map(|(_, value)| datum(*value)).collect();
    // SAFETY: within SPI; as many types, values and marks as parameters.
    let result = unsafe {
        pg_sys::SPI_execute_with_args(
            statement.as_ptr(),
            parameters.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            false,
            0,
        )
    };
    assert!(result >= 0, "SPI refuses a statement: {result}");
    // SAFETY: set by the call.
    unsafe { pg_sys::SPI_processed }
}

/// Runs a query and gives its rows.
pub fn rows<'a>(client: &'a mut SpiClient<'_>, query: &str, parameters: &[Parameter]) -> Rows<'a> {
    run(client, query, parameters);
    Rows::of_last(client)
}

impl<'a> Rows<'a> {
    /// Those of the statement that was run last.
    pub(super) fn of_last(_: &'a mut SpiClient<'_>) -> Self {
        // SAFETY: a statement with a result has set it, and it lives until the next one or the end
        // of SPI, which the client outlives.
        let table = unsafe { pg_sys::SPI_tuptable.as_ref() };
        Self {
            table: table.expect("a statement with a result"),
        }
    }

    pub fn len(&self) -> usize {
        self.table.numvals as usize
    }

    /// The value of a column, counted from 1; `None` where it is NULL.
    pub fn get<T: Column>(&self, row: usize, column: i32) -> Option<T> {
        assert!(row < self.len(), "there are {} rows", self.len());
        // SAFETY: the table has so many rows; the column is of the type that is read.
        unsafe {
            let descriptor = self.table.tupdesc;
            assert_eq!(pg_sys::SPI_gettypeid(descriptor, column), T::TYPE);
            let mut is_null = true;
            let tuple = *self.table.vals.add(row);
            let value = pg_sys::SPI_getbinval(tuple, descriptor, column, &mut is_null);
            T::read(value, is_null)
        }
    }
}

/// A type of column that is read.
pub trait Column: Sized {
    const TYPE: pg_sys::Oid;

    /// # Safety
    /// The value is of the type, unless it is NULL.
    unsafe fn read(value: pg_sys::Datum, is_null: bool) -> Option<Self>;
}

macro_rules! column {
    ($($of:ty: $type:ident),*) => {$(
        impl Column for $of {
            const TYPE: pg_sys::Oid = pg_sys::$type;

            unsafe fn read(value: pg_sys::Datum, is_null: bool) -> Option<Self> {
                // SAFETY: as the caller promises.
                unsafe { Self::from_datum(value, is_null) }
            }
        }
    )*};
}

column!(
    bool: BOOLOID, i16: INT2OID, i32: INT4OID, i64: INT8OID, pg_sys::Oid: OIDOID, Text: TEXTOID
);

/// Microseconds since 2000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timestamp(pub pg_sys::TimestampTz);

impl Column for Timestamp {
    const TYPE: pg_sys::Oid = pg_sys::TIMESTAMPTZOID;

    unsafe fn read(value: pg_sys::Datum, is_null: bool) -> Option<Self> {
        (!is_null).then(|| Self(value.value() as i64))
    }
}

/// A text, which may have characters that UTF-8 has not.
pub struct StoredText(pub Result<String, EncodingError>);

impl Column for StoredText {
    const TYPE: pg_sys::Oid = pg_sys::TEXTOID;

    unsafe fn read(value: pg_sys::Datum, is_null: bool) -> Option<Self> {
        // SAFETY: as the caller promises.
        let bytes = unsafe { Bytes::from_datum(value, is_null) }?;
        Some(Self(encoding::to_str(bytes.get()).map(Cow::into_owned)))
    }
}

impl Column for Vec<u8> {
    const TYPE: pg_sys::Oid = pg_sys::BYTEAOID;

    unsafe fn read(value: pg_sys::Datum, is_null: bool) -> Option<Self> {
        // SAFETY: as the caller promises.
        let bytes = unsafe { Bytes::from_datum(value, is_null) }?;
        Some(bytes.get().to_vec())
    }
}
