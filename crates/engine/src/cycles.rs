//! The processor's counter of cycles, which is read without asking the system: only `clock` does.
//!
//! Uses `unsafe` for the processor's own instruction, which reads a register and nothing else.
#![allow(unsafe_code, reason = "an instruction; see above")]

/// Cycles since some moment, at a constant rate; `None` where there is no such counter that can be read this way.
#[inline]
pub(crate) fn cycles() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86_64 processor has the instruction, and Linux and the others let programs use it.
    unsafe {
        Some(std::arch::x86_64::_rdtsc())
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    None
}
