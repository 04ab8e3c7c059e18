//! The tables of the queue.

/// Parts of a statement as a C string.
macro_rules! c_text {
    ($($part:expr),+ $(,)?) => {
        match std::ffi::CStr::from_bytes_with_nul(concat!($($part),+, "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!("a NUL in a statement"),
        }
    };
}

pub mod claim;
pub mod due;
pub mod operate;
pub mod record;
pub mod refresh_token;
pub mod rescue;
pub mod settle;
mod sql;
pub mod state;
pub mod suppression;
pub mod upkeep;
pub mod watch;
