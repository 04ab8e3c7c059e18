//! Settings that the caller of another role's function can't impose on it.
//!
//! A value counts if it is configuration, or if the role that set it has the current role's
//! privileges. A SECURITY DEFINER function so sees its own settings and the configuration, not what
//! its caller chose.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::guc::{GucEnum, GucValue};
use pgrx::pg_sys::{self, config_generic};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::setter::{self, Setter};

pub struct CallerSetting<T: Kind> {
    value: GucSetting<T>,
    /// PostgreSQL's record, from the time that the setting is defined.
    record: AtomicPtr<T::Record>,
}

/// A type of setting, as PostgreSQL keeps it.
pub trait Kind: GucValue {
    type Record;
    fn common(record: &Self::Record) -> &config_generic;
    fn reset_setter(record: &Self::Record) -> Setter;
    /// What RESET goes back to.
    fn reset_value(record: &Self::Record) -> Self;
    /// The built-in default.
    fn default(record: &Self::Record) -> Self;
}

macro_rules! kind {
    ($type:ty, $record:ty, $from_raw:expr) => {
        impl Kind for $type {
            type Record = $record;

            fn common(record: &$record) -> &config_generic {
                &record.gen_
            }

            fn reset_setter(record: &$record) -> Setter {
                #[cfg(feature = "pg14")]
                return setter::of_reset_value(&record.gen_, record.reset_extra);
                #[cfg(not(feature = "pg14"))]
                setter::of_reset_value(&record.gen_)
            }

            fn reset_value(record: &$record) -> Self {
                $from_raw(record.reset_val)
            }

            fn default(record: &$record) -> Self {
                $from_raw(record.boot_val)
            }
        }
    };
}

kind!(bool, pg_sys::config_bool, bool::from);
kind!(i32, pg_sys::config_int, i32::from);
kind!(
    super::Trace,
    pg_sys::config_enum,
    <super::Trace as GucEnum>::from_ordinal
);
kind!(
    super::Delivery,
    pg_sys::config_enum,
    <super::Delivery as GucEnum>::from_ordinal
);

kind!(Option<CString>, pg_sys::config_string, owned);

/// A copy of a string that PostgreSQL keeps.
fn owned(string: impl Into<StringValue>) -> Option<CString> {
    let StringValue(string) = string.into();
    // SAFETY: null, or a C string that lives as long as the value of the setting.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_owned())
}

/// The value of a setting, which PostgreSQL declares const where it is the built-in one.
struct StringValue(*const c_char);

impl From<*mut c_char> for StringValue {
    fn from(string: *mut c_char) -> Self {
        Self(string)
    }
}

impl From<*const c_char> for StringValue {
    fn from(string: *const c_char) -> Self {
        Self(string)
    }
}

impl<T: Kind> CallerSetting<T> {
    const fn of(value: GucSetting<T>) -> Self {
        Self {
            value,
            record: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The value that counts for the current role.
    pub fn get(&self) -> T {
        // SAFETY: PostgreSQL's record of a setting of this type, which is never freed.
        let record = unsafe { self.record.load(Ordering::Relaxed).as_ref() };
        let record = record.expect("settings are defined when the library is loaded");
        if setter::of_value(T::common(record)).counts() {
            self.value.get()
        } else if T::reset_setter(record).counts() {
            T::reset_value(record)
        } else {
            T::default(record)
        }
    }

    fn defined(&self, name: &CStr) {
        if let Some(record) = setter::find(name) {
            self.record.store(record.as_ptr().cast(), Ordering::Relaxed);
        }
    }
}

impl CallerSetting<bool> {
    pub const fn new(default: bool) -> Self {
        Self::of(GucSetting::<bool>::new(default))
    }

    pub fn define(&'static self, name: &'static CStr, short: &'static CStr, long: &'static CStr) {
        // SAFETY: the hook, if any, does not panic.
        unsafe {
            GucRegistry::define_bool_guc_with_hooks(
                name,
                short,
                long,
                &self.value,
                GucContext::Userset,
                GucFlags::default(),
                hook(),
                None,
                None,
            );
        }
        self.defined(name);
    }
}

impl CallerSetting<i32> {
    pub const fn new(default: i32) -> Self {
        Self::of(GucSetting::<i32>::new(default))
    }

    pub fn define(
        &'static self,
        name: &'static CStr,
        short: &'static CStr,
        long: &'static CStr,
        range: std::ops::RangeInclusive<i32>,
        unit: GucFlags,
    ) {
        // SAFETY: the hook, if any, does not panic.
        unsafe {
            GucRegistry::define_int_guc_with_hooks(
                name,
                short,
                long,
                &self.value,
                *range.start(),
                *range.end(),
                GucContext::Userset,
                unit,
                hook(),
                None,
                None,
            );
        }
        self.defined(name);
    }
}

impl CallerSetting<Option<CString>> {
    /// Without a value.
    pub const fn new() -> Self {
        Self::of(GucSetting::<Option<CString>>::new(Some(c"")))
    }

    pub fn define(&'static self, name: &'static CStr, short: &'static CStr, long: &'static CStr) {
        // SAFETY: the hook, if any, does not panic.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                name,
                short,
                long,
                &self.value,
                GucContext::Userset,
                GucFlags::default(),
                hook(),
                None,
                None,
            );
        }
        self.defined(name);
    }
}

impl<T: Kind<Record = pg_sys::config_enum> + GucEnum> CallerSetting<T> {
    pub const fn new(default: T) -> Self {
        Self::of(GucSetting::<T>::new(default))
    }

    pub fn define(&'static self, name: &'static CStr, short: &'static CStr, long: &'static CStr) {
        // SAFETY: the hook, if any, does not panic.
        unsafe {
            GucRegistry::define_enum_guc_with_hooks(
                name,
                short,
                long,
                &self.value,
                GucContext::Userset,
                GucFlags::default(),
                hook::<c_int>(),
                None,
                None,
            );
        }
        self.defined(name);
    }
}

type CheckHook<T> = Option<
    unsafe extern "C-unwind" fn(
        *mut T,
        *mut *mut std::ffi::c_void,
        pg_sys::GucSource::Type,
    ) -> bool,
>;

/// The hook that keeps who set a value, where PostgreSQL does not.
fn hook<T>() -> CheckHook<T> {
    #[cfg(feature = "pg14")]
    return Some(setter::keep::<T>);
    #[cfg(not(feature = "pg14"))]
    None
}
