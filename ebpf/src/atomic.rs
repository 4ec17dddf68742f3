//! Atomic operations with full barriers (Linux 5.12). `core` has none for this target.

use core::arch::asm;

/// Adds to `word`; what it was before.
///
/// # Safety
/// `word` points into a map's value, at a multiple of eight.
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, mut value: u64) -> u64 {
    // SAFETY: as the caller says.
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({word} + 0), {value})", word = in(reg) word, value = inout(reg) value);
    }
    value
}

/// Puts `value` into `word`; what it was before.
///
/// # Safety
/// As [`fetch_add`].
#[inline(always)]
pub unsafe fn exchange(word: *mut u64, mut value: u64) -> u64 {
    // SAFETY: as the caller says.
    unsafe {
        asm!("{value} = xchg_64({word} + 0, {value})", word = in(reg) word, value = inout(reg) value);
    }
    value
}
