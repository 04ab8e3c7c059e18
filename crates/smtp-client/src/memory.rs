//! Allocations that may fail.
//!
//! Rust ends the process when an allocation fails, unless the code asked for the failure. What can be large is
//! therefore allocated here, or its size is asked for with [`require`] before it is allocated piece by piece.
//!
//! An allocator that keeps a reserve for everything else can tell the two apart by [`is_fallible`].

use std::cell::Cell;
use std::hint::black_box;

use crate::error::NetError;

thread_local! {
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
}

/// Runs code that deals with a failed allocation itself, such as `try_reserve`.
pub fn fallible<T>(allocate: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FALLIBLE.set(self.0);
        }
    }
    let _restore = Restore(FALLIBLE.replace(true));
    allocate()
}

/// Whether this thread runs such code.
pub fn is_fallible() -> bool {
    FALLIBLE.get()
}

/// Makes sure that so many octets can be allocated now. They are not kept.
///
/// # Errors
/// [`NetError::OutOfMemory`].
pub fn require(octets: usize) -> Result<(), NetError> {
    let mut room: Vec<u8> = Vec::new();
    reserve(&mut room, octets)?;
    // The optimiser may not drop an allocation that is looked at.
    black_box(&room);
    Ok(())
}

/// Makes room for so many more elements.
///
/// # Errors
/// [`NetError::OutOfMemory`]. The vector is as it was.
pub fn reserve<T>(vector: &mut Vec<T>, additional: usize) -> Result<(), NetError> {
    fallible(|| vector.try_reserve(additional)).map_err(|_| NetError::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_an_error() {
        assert!(require(64 * 1024).is_ok());
        assert!(matches!(
            require(isize::MAX as usize - 64 * 1024),
            Err(NetError::OutOfMemory)
        ));
        let mut vector = vec![1u8];
        assert!(reserve(&mut vector, isize::MAX as usize - 64 * 1024).is_err());
        assert_eq!(vector, [1]);
    }

    #[test]
    fn code_is_fallible_for_as_long_as_it_runs() {
        assert!(!is_fallible());
        assert!(fallible(|| fallible(is_fallible) && is_fallible()));
        let unwound = std::panic::catch_unwind(|| fallible(|| panic!("unwinds")));
        assert!(unwound.is_err() && !is_fallible());
    }
}
