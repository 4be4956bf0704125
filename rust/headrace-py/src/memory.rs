//! Where results lie: large ones in huge pages, where the system has these.
//!
//! A result of 24 MB is 6,000 pages of 4 KiB, and the kernel takes longer to hand them out one by one than a hasher takes
//! to fill them. numpy asks for huge pages for its own arrays, from the same size on; what is made here becomes numpy's.
#![allow(unsafe_code, reason = "an allocator is a contract between pointers; it does nothing but ask the system's own")]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator. What it gives in one piece of [`LARGE`] bytes or more is advised to lie in huge pages.
struct HugePages;

/// As numpy has it.
const LARGE: usize = 1 << 22;
/// A multiple of the size of any page that is not huge.
#[cfg(target_os = "linux")]
const PAGE: usize = 1 << 16;

#[global_allocator]
static ALLOCATOR: HugePages = HugePages;

// SAFETY: every call is the system allocator's, and advice changes no memory.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the callee's, here and below.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        advised(unsafe { System.realloc(start, layout, size) }, size)
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[inline]
fn advised(start: *mut u8, size: usize) -> *mut u8 {
    if size >= LARGE && !start.is_null() {
        advise(start, size);
    }
    start
}

/// Advice that is not taken changes nothing, so its outcome does not matter.
#[cfg(target_os = "linux")]
#[cold]
fn advise(start: *mut u8, size: usize) {
    let skip = start.addr().next_multiple_of(PAGE) - start.addr();
    let length = (size - skip) / PAGE * PAGE;
    // SAFETY: these pages lie within the piece of memory that begins at `start` and has `size` bytes.
    let _ = unsafe { libc::madvise(start.add(skip).cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_start: *mut u8, _size: usize) {}
