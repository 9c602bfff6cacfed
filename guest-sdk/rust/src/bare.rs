//! What the standard library would bring: an allocator, and a panic handler that says why before it traps.
//!
//! Memory comes from the C library of the target, as with the standard library, because the canonical ABI's `cabi_realloc` does too:
//! what the gateway hands over is freed here. Nothing that imports WASI is reached.

use crate::host::{Severity, log};
use alloc::string::ToString;
use core::alloc::{GlobalAlloc, Layout};

#[link(name = "c")]
unsafe extern "C" {
    fn aligned_alloc(align: usize, size: usize) -> *mut u8;
    fn calloc(count: usize, size: usize) -> *mut u8;
    fn free(block: *mut u8);
    fn malloc(size: usize) -> *mut u8;
    fn realloc(block: *mut u8, size: usize) -> *mut u8;
    fn cabi_realloc(block: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8;
}

/// Keeps the linker from dropping what the gateway calls.
#[used]
static HANDED_OVER: unsafe extern "C" fn(*mut u8, usize, usize, usize) -> *mut u8 = cabi_realloc;

struct CLibrary;

/// `malloc` aligns to this.
const ALIGNMENT: usize = 16;

#[global_allocator]
static ALLOCATOR: CLibrary = CLibrary;

// SAFETY: the C functions keep the contract of `GlobalAlloc`; a block from `malloc`, `calloc` or `aligned_alloc` may go to `free`.
unsafe impl GlobalAlloc for CLibrary {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            unsafe { malloc(layout.size()) }
        } else {
            unsafe { aligned_alloc(layout.align(), layout.pad_to_align().size()) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            return unsafe { calloc(1, layout.size()) };
        }
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            return unsafe { realloc(block, size) };
        }
        let larger = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !larger.is_null() {
            unsafe { larger.copy_from_nonoverlapping(block, layout.size().min(size)) };
            unsafe { free(block) };
        }
        larger
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        unsafe { free(block) }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log(Severity::Warn, &info.to_string());
    core::arch::wasm32::unreachable()
}
