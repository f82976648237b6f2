//! How soon freed memory goes back to the system.
//!
//! The allocator keeps what was freed for a while, for whoever asks next: a second, unless it is told otherwise. In that time uploads from
//! many clients free many times what they ever hold at once. A tenth of a second is long enough for a buffer to be used
//! again, and short enough that the rest does not add up.

// The allocator's options are set by a function of its C library, and no crate wraps it.
#![allow(unsafe_code)]

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc 3, which the crate does not name: milliseconds that freed memory is kept.
const PURGE_DELAY: mi_option_t = 15;

/// What the allocator does by itself, in milliseconds.
const USUAL: c_long = 1_000;

/// What it is to do, in milliseconds.
const SHORT: c_long = 100;

/// Has freed memory go back sooner. Whoever set another delay in the environment (`MIMALLOC_PURGE_DELAY`) keeps it.
pub fn give_back_soon() {
    // SAFETY: both functions read and write one entry of a static table of numbers, which the option indexes; 15 is within
    // it, and the library checks that again. They may be called at any time from any thread: mimalloc reads the option anew
    // at each purge.
    unsafe {
        if mi_option_get(PURGE_DELAY) == USUAL {
            mi_option_set(PURGE_DELAY, SHORT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        if std::env::vars().any(|(name, _)| name.starts_with("MIMALLOC_")) {
            return;
        }
        // No other option of this mimalloc is 1,000 unless it is told.
        assert_eq!(delay(), USUAL);
        give_back_soon();
        assert_eq!(delay(), SHORT);
    }
}
