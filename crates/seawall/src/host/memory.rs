//! How the kernel gives memory to the guard.

/// Has it given in pages of 4 KiB from now on, not in huge ones of 2 MiB. The allocator asks for huge ones, and its parts for each thread and
/// size then hold two or three times what is in use; nothing that the guard does for a request goes through enough memory to profit.
/// Programs that it starts are given theirs in the same way.
pub(crate) fn without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "failed to do without huge pages; the guard takes some 50 MB more");
    }
}
