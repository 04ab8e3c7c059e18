//! Arguments that are arrays of a row type.

use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use pgrx::{FromDatum, pg_sys};

use super::datum::{Bytes, sql_is_handwritten, varlena_arguments};

/// An array whose elements are records.
#[derive(Clone, Copy)]
pub struct RecordArray<'a> {
    array: Option<NonNull<pg_sys::varlena>>,
    _lent: PhantomData<&'a [u8]>,
}

/// One record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    header: pg_sys::HeapTupleHeader,
    _lent: PhantomData<&'a [u8]>,
}

impl<'a> RecordArray<'a> {
    /// The row type, and the elements of all dimensions in storage order. Neither an array that
    /// PL/pgSQL holds in expanded form nor a record is copied.
    pub fn elements(self) -> (pg_sys::Oid, Vec<Option<Record<'a>>>) {
        let Some(array) = self.array.map(NonNull::as_ptr) else {
            return (pg_sys::InvalidOid, Vec::new());
        };
        // SAFETY: an array of a row type. What detoasting and taking apart allocate lives as long
        // as the call.
        let (row_type, values, nulls, count) = unsafe {
            let any = pg_sys::DatumGetAnyArrayP(pg_sys::Datum::from(array));
            match (*any).flt.vl_len_ == pg_sys::EOH_HEADER_MAGIC {
                true => expanded(&raw mut (*any).xpn),
                false => flat(&raw mut (*any).flt),
            }
        };
        let record = |index: usize| {
            // SAFETY: both have that many values, but for the second where no element is NULL.
            unsafe {
                if !nulls.is_null() && *nulls.add(index) {
                    return None;
                }
                let header = pg_sys::pg_detoast_datum((*values.add(index)).cast_mut_ptr());
                Some(Record {
                    header: header.cast(),
                    _lent: PhantomData,
                })
            }
        };
        (row_type, (0..count).map(record).collect())
    }
}

type Elements = (pg_sys::Oid, *mut pg_sys::Datum, *mut bool, usize);

/// # Safety
/// `array` is an expanded array.
unsafe fn expanded(array: *mut pg_sys::ExpandedArrayHeader) -> Elements {
    // SAFETY: as the caller promises; once taken apart, the fields are valid.
    unsafe {
        pg_sys::deconstruct_expanded_array(array);
        let count = usize::try_from((*array).nelems).unwrap_or_default();
        let array = &*array;
        (array.element_type, array.dvalues, array.dnulls, count)
    }
}

/// # Safety
/// `array` is an array of a row type, not toasted.
unsafe fn flat(array: *mut pg_sys::ArrayType) -> Elements {
    let (mut values, mut nulls, mut count) = (null_mut(), null_mut(), 0);
    // SAFETY: as the caller promises; records are varlenas with the alignment of doubles.
    unsafe {
        let element = (*array).elemtype;
        let alignment = pg_sys::TYPALIGN_DOUBLE as _;
        pg_sys::deconstruct_array(
            array,
            element,
            -1,
            false,
            alignment,
            &mut values,
            &mut nulls,
            &mut count,
        );
        let count = usize::try_from(count).unwrap_or_default();
        (element, values, nulls, count)
    }
}

impl<'a> Record<'a> {
    /// A field by its number, counted from 1.
    ///
    /// # Safety
    /// The field is of type `text` or `bytea`.
    pub unsafe fn bytes(self, number: i16) -> Option<Bytes<'a>> {
        let mut is_null = false;
        // SAFETY: a record; PostgreSQL checks the version of its row type.
        let value = unsafe { pg_sys::GetAttributeByNum(self.header, number, &mut is_null) };
        // SAFETY: as the caller promises.
        unsafe { Bytes::from_polymorphic_datum(value, is_null, pg_sys::BYTEAOID) }
    }
}

varlena_arguments!(RecordArray: array);

sql_is_handwritten!(RecordArray<'_>);
