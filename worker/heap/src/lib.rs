//! What C's allocator does with the large blocks that requests and results come in.
//!
//! By itself it asks the system for every large block and gives it back when it is freed: a call with 7 MB in
//! and out spends half its time on the page faults of memory that the last one has just let go of. Here freed
//! memory is kept while calls follow each other, and given back at rest. Supervisor and runners both do so;
//! this crate holds the two calls that need unsafe code.

#![deny(unsafe_code)]

use std::time::Duration;

/// Requests and results from this size on are worth the two functions here, in bytes.
pub const LARGE: usize = 1 << 20;

/// How long a process is at rest before it gives memory back: longer than the pauses of a client that calls in
/// a loop.
pub const REST: Duration = Duration::from_secs(1);

/// Keeps freed memory for what is allocated next: blocks of up to 32 MiB, 64 MiB of them in all. glibc's
/// own bounds, which it would come to by itself after a block of 32 MiB was freed.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 64 << 20)] {
        // SAFETY: it sets a number under the allocator's lock.
        #[expect(unsafe_code, reason = "mallopt has no safe binding")]
        unsafe {
            libc::mallopt(parameter, bytes);
        }
    }
}

/// Gives free memory back to the system: what the main thread has used above all. Takes up to a millisecond.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only releases what is free, under the allocator's lock.
    #[expect(unsafe_code, reason = "malloc_trim has no safe binding")]
    unsafe {
        libc::malloc_trim(0);
    }
}
