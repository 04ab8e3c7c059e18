//! A copy never sends what its original has queued.
