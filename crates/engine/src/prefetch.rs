//! A hint to the processor that memory will be read soon.
//!
//! Uses `unsafe` for the processor's own instruction, which reads nothing and cannot fault.
#![allow(unsafe_code, reason = "an instruction; see above")]

/// Has the cache line at this address fetched, wherever it is. Any address will do.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint; an address that cannot be read is ignored. Every x86_64 processor has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
