//! Arguments and results of built-in types, and rows.

use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{FromDatum, IntoDatum, PgTupleDesc, pg_sys, varlena};
use smtp_core::memory::{self, OutOfMemory};

use super::encoding;

/// An argument of type `text` or `bytea`: the bytes in the database's encoding. They are fetched
/// when they are asked for.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    varlena: Option<NonNull<pg_sys::varlena>>,
    _lent: PhantomData<&'a [u8]>,
}

/// An argument of type `text[]`.
#[derive(Clone, Copy)]
pub struct TextArray<'a> {
    array: Option<NonNull<pg_sys::varlena>>,
    _lent: PhantomData<&'a [u8]>,
}

/// A result of type `text`.
pub struct Text(pub String);

/// A result that is a value already, of the type that the SQL declaration of the function says.
pub struct Value(pub pg_sys::Datum);

impl<'a> Bytes<'a> {
    /// Octets, told without fetching or decompressing them.
    pub fn length(self) -> usize {
        let Some(varlena) = self.varlena.map(NonNull::as_ptr) else {
            return 0;
        };
        // SAFETY: a varlena; the size of one that is stored elsewhere or compressed is in its
        // header.
        unsafe {
            if varlena::varatt_is_4b_c(varlena) || varlena::varatt_is_1b_e(varlena) {
                let size = pg_sys::toast_raw_datum_size(pg_sys::Datum::from(varlena));
                size.saturating_sub(pg_sys::VARHDRSZ)
            } else {
                varlena::varsize_any_exhdr(varlena)
            }
        }
    }

    /// All of it.
    pub fn get(self) -> &'a [u8] {
        let Some(mut varlena) = self.varlena.map(NonNull::as_ptr) else {
            return &[];
        };
        // SAFETY: a varlena; what detoasting allocates lives as long as the call.
        unsafe {
            if varlena::varatt_is_4b_c(varlena) || varlena::varatt_is_1b_e(varlena) {
                varlena = pg_sys::pg_detoast_datum_packed(varlena);
            }
            varlena::varlena_to_byte_slice(varlena)
        }
    }
}

impl<'a> TextArray<'a> {
    /// The elements, of all dimensions in storage order.
    pub fn elements(self) -> Vec<Option<Bytes<'a>>> {
        let Some(array) = self.array.map(NonNull::as_ptr) else {
            return Vec::new();
        };
        let (mut values, mut nulls, mut count) = (null_mut(), null_mut(), 0);
        // SAFETY: an array of text, whose elements are varlenas with the alignment of integers.
        // What detoasting and taking apart allocate lives as long as the call.
        let (values, nulls) = unsafe {
            let array = pg_sys::pg_detoast_datum(array).cast();
            let (element, alignment) = (pg_sys::TEXTOID, pg_sys::TYPALIGN_INT as _);
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
            (slice_of(values, count), slice_of(nulls, count))
        };
        // SAFETY: the elements are varlenas.
        let element = |(value, is_null): (&pg_sys::Datum, &bool)| unsafe {
            Bytes::from_polymorphic_datum(*value, *is_null, pg_sys::TEXTOID)
        };
        values.iter().zip(nulls).map(element).collect()
    }
}

/// # Safety
/// `first` is the first of `count` values, or there are none.
unsafe fn slice_of<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: as the caller promises.
        _ => unsafe { std::slice::from_raw_parts(first, count) },
    }
}

/// Arguments that are declared as a varlena type in SQL: structs of the pointer, in a field of this
/// name, and `_lent`.
macro_rules! varlena_arguments {
    ($($type:ident: $pointer:ident),*) => {$(
        impl ::pgrx::FromDatum for $type<'_> {
            unsafe fn from_polymorphic_datum(
                datum: ::pgrx::pg_sys::Datum,
                is_null: bool,
                _: ::pgrx::pg_sys::Oid,
            ) -> Option<Self> {
                (!is_null).then(|| Self {
                    $pointer: ::std::ptr::NonNull::new(datum.cast_mut_ptr()),
                    _lent: ::std::marker::PhantomData,
                })
            }
        }

        // SAFETY: the datum is of the type that the SQL declaration of the function gives the argument.
        unsafe impl<'fcx> ::pgrx::callconv::ArgAbi<'fcx> for $type<'fcx> {
            unsafe fn unbox_arg_unchecked(arg: ::pgrx::callconv::Arg<'_, 'fcx>) -> Self {
                // SAFETY: as above.
                unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or(Self {
                    $pointer: None,
                    _lent: ::std::marker::PhantomData,
                })
            }
        }
    )*};
}

pub(crate) use varlena_arguments;

varlena_arguments!(Bytes: varlena, TextArray: array);

// SAFETY: a text datum, for a function declared to return text.
unsafe impl BoxRet for Text {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(text_datum(&self.0)) }
    }
}

// SAFETY: whoever makes it knows the declaration.
unsafe impl BoxRet for Value {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

/// What can't become UTF-8 is replaced.
impl FromDatum for Text {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        of_type: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: as the caller promises.
        let bytes = unsafe { Bytes::from_polymorphic_datum(datum, is_null, of_type) }?.get();
        let text = encoding::to_str(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes));
        Some(Self(text.into_owned()))
    }
}

impl IntoDatum for Text {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(text_datum(&self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

/// # Safety
/// `descriptor` is valid for as long as the result is used.
pub unsafe fn attribute_types(descriptor: pg_sys::TupleDesc) -> impl Iterator<Item = pg_sys::Oid> {
    // SAFETY: as the caller promises.
    let attributes = unsafe { PgTupleDesc::from_pg_unchecked(descriptor) };
    (0..attributes.len()).filter_map(move |index| Some(attributes.get(index)?.atttypid))
}

/// # Safety
/// `descriptor` is of a row type and has as many attributes as there are values, of their types. No
/// value is toasted.
pub unsafe fn row_datum<const ATTRIBUTES: usize>(
    descriptor: pg_sys::TupleDesc,
    values: [Option<pg_sys::Datum>; ATTRIBUTES],
) -> pg_sys::Datum {
    let mut nulls = values.map(|value| value.is_none());
    let mut datums = values.map(|value| value.unwrap_or(pg_sys::Datum::null()));
    // SAFETY: as the caller promises; a tuple without toasted values is a datum as it is.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::Datum::from((*tuple).t_data)
    }
}

/// A `bytea` of two parts, one behind the other; `None` where they are larger than a value can be,
/// which is 1 GB.
pub fn bytea_datum(first: &[u8], second: &[u8]) -> Option<pg_sys::Datum> {
    // MaxAllocSize
    const LARGEST: usize = 0x3fff_ffff;
    let size = pg_sys::VARHDRSZ + first.len() + second.len();
    if size > LARGEST {
        return None;
    }
    // SAFETY: as many octets are allocated as are written.
    unsafe {
        let varlena: *mut pg_sys::varlena = pg_sys::palloc(size).cast();
        varlena::set_varsize_4b(varlena, size as i32);
        let content = varlena.cast::<u8>().add(pg_sys::VARHDRSZ);
        content.copy_from_nonoverlapping(first.as_ptr(), first.len());
        let content = content.add(first.len());
        content.copy_from_nonoverlapping(second.as_ptr(), second.len());
        Some(pg_sys::Datum::from(varlena))
    }
}

pub fn text_datum(text: &str) -> pg_sys::Datum {
    let bytes = encoding::from_utf8(text);
    // SAFETY: the bytes are valid for their length, and are copied.
    unsafe {
        pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
            bytes.as_ptr().cast(),
            bytes.len() as i32,
        ))
    }
}

/// Room for a value of type `bytea` that is filled in place, for statements that copy it.
pub struct OctetBuffer {
    /// The header of a varlena, then the octets. malloc aligns it for any type.
    varlena: Vec<u8>,
}

impl OctetBuffer {
    /// Room for so many octets.
    pub fn new(octets: usize) -> Result<Self, OutOfMemory> {
        let mut varlena = Vec::new();
        memory::reserve(&mut varlena, pg_sys::VARHDRSZ + octets)?;
        varlena.extend_from_slice(&[0; pg_sys::VARHDRSZ]);
        Ok(Self { varlena })
    }

    pub fn len(&self) -> usize {
        self.varlena.len() - pg_sys::VARHDRSZ
    }

    /// Appends what there is room for; returns the rest.
    pub fn fill<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let room = self.varlena.capacity() - self.varlena.len();
        let (taken, rest) = octets.split_at(octets.len().min(room));
        self.varlena.extend_from_slice(taken);
        rest
    }

    pub fn clear(&mut self) {
        self.varlena.truncate(pg_sys::VARHDRSZ);
    }

    /// The value, for as long as the buffer is not changed.
    pub fn datum(&mut self) -> pg_sys::Datum {
        let length = self.varlena.len() as i32;
        let varlena: *mut pg_sys::varlena = self.varlena.as_mut_ptr().cast();
        // SAFETY: the header is part of the buffer, which has this length.
        unsafe { varlena::set_varsize_4b(varlena, length) };
        pg_sys::Datum::from(varlena)
    }
}

/// The SQL declarations are hand-written (`sql/install/`), so pgrx needs no name for these types;
/// it asks all the same.
macro_rules! sql_is_handwritten {
    (generic $parameter:ident, $type:ty) => {
        sql_is_handwritten!(@ [$parameter] $type);
    };
    (@ [$($parameter:ident)?] $type:ty) => {
        // SAFETY: no SQL is generated from it.
        unsafe impl$(<$parameter>)? ::pgrx::pgrx_sql_entity_graph::metadata::SqlTranslatable for $type {
            const TYPE_IDENT: &'static str = stringify!($type);
            const TYPE_ORIGIN: ::pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin =
                ::pgrx::pgrx_sql_entity_graph::metadata::TypeOrigin::External;
            const ARGUMENT_SQL: Result<
                ::pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef,
                ::pgrx::pgrx_sql_entity_graph::metadata::ArgumentError,
            > = Ok(::pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::Skip);
            const RETURN_SQL: Result<
                ::pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef,
                ::pgrx::pgrx_sql_entity_graph::metadata::ReturnsError,
            > = Ok(::pgrx::pgrx_sql_entity_graph::metadata::ReturnsRef::One(
                ::pgrx::pgrx_sql_entity_graph::metadata::SqlMappingRef::Skip,
            ));
        }
    };
    ($($type:ty),*) => {
        $(sql_is_handwritten!(@ [] $type);)*
    };
}

pub(crate) use sql_is_handwritten;

sql_is_handwritten!(Bytes<'_>, TextArray<'_>, Text, Value);
