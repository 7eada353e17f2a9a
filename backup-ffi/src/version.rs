//! Which library this is.

use std::ffi::c_char;

/// The version of the interface that a program was compiled against. Functions are added within one; anything else
/// makes another. Compare with `backup_abi_version()`.
pub const BACKUP_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has.
#[unsafe(no_mangle)]
pub extern "C" fn backup_abi_version() -> u32 {
    BACKUP_ABI_VERSION
}

/// The version of the library, such as "1.2.3". Static.
#[unsafe(no_mangle)]
pub extern "C" fn backup_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
