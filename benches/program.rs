//! What compare.py measures: the example `folder` of `backup-core`, linked with an allocator as a program that embeds the engine would be.
//!
//! A library does not choose one. With jemalloc the same work takes about a tenth less CPU than with glibc's (docs/decisions/0004-speed.md).

#[path = "../backup-core/examples/folder.rs"]
mod folder;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc as the program starts. One arena: threads give what they have freed to each other, instead of keeping it.
/// What is free goes back to the system after half a second instead of ten.
#[allow(unsafe_code, reason = "the name is jemalloc's own for this setting")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static SETTINGS: &[u8; 29] = b"narenas:1,dirty_decay_ms:500\0";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    folder::main()
}
