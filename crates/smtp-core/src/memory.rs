//! Allocations that may fail.
//!
//! Rust aborts the process when an allocation fails, unless the code handles the failure. So large
//! buffers are allocated here, or [`require`] checks that their size is available before they are
//! allocated in pieces.
//!
//! An allocator that keeps a reserve for all other code can distinguish the two by [`is_fallible`].

use std::cell::Cell;
use std::hint::black_box;

/// Memory could not be allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of memory")]
pub struct OutOfMemory;

thread_local! {
    static FALLIBLE: Cell<bool> = const { Cell::new(false) };
}

/// Runs code that handles a failed allocation itself, such as `try_reserve`.
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

/// Whether this thread runs code that handles a failed allocation itself.
pub fn is_fallible() -> bool {
    FALLIBLE.get()
}

/// Checks that `octets` octets can be allocated now. They are freed again.
///
/// # Errors
/// [`OutOfMemory`].
pub fn require(octets: usize) -> Result<(), OutOfMemory> {
    let mut room: Vec<u8> = Vec::new();
    reserve(&mut room, octets)?;
    // Keeps the optimiser from removing the allocation.
    black_box(&room);
    Ok(())
}

/// Reserves room for `additional` more elements.
///
/// # Errors
/// [`OutOfMemory`]. The vector is as it was.
pub fn reserve<T>(vector: &mut Vec<T>, additional: usize) -> Result<(), OutOfMemory> {
    fallible(|| vector.try_reserve(additional)).map_err(|_| OutOfMemory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_is_an_error() {
        assert!(require(64 * 1024).is_ok());
        assert!(matches!(
            require(isize::MAX as usize - 64 * 1024),
            Err(OutOfMemory)
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
