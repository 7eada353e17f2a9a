//! The door between C and Rust: the only place that catches panics, turns pointers into references and boxes handles.
//!
//! A panic must not leave an `extern "C"` function: it would end the host's process. It becomes an error with code 99,
//! and every handle that the call had touched is poisoned, because what it holds may be half changed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use backup_core::{Error, ErrorKind, Result};

use crate::error::backup_error;

/// Whether a panic passed through a handle.
#[derive(Debug, Default)]
pub(crate) struct Poison(AtomicBool);

/// An object that C holds by pointer.
pub(crate) trait Handle {
    fn poison(&self) -> &Poison;
}

/// A struct that the caller allocates and a call fills.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: u32`, it holds plain numbers, arrays and pointers, and
/// `SIZE_MIN` is the size that it had when it was first released.
pub(crate) unsafe trait Crossing: Copy {
    const SIZE_MIN: usize;
}

/// A struct that the caller fills and a call reads.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size: u32`, all bytes being zero is a value of it, and `SIZE_MIN` is the size that
/// it had when it was first released.
pub(crate) unsafe trait Incoming: Copy {
    const SIZE_MIN: usize;
}

/// No struct that crosses is longer: a size beyond it is memory that nobody has set.
const STRUCT_SIZE_MAX: usize = 4_096;

/// Runs the work of a call that can fail. NULL is success.
pub(crate) fn boundary<'a>(work: impl FnOnce(&Door<'a>) -> Result<()>) -> *mut backup_error {
    let door = Door { touched: RefCell::new(Vec::new()) };
    let error = match catch_unwind(AssertUnwindSafe(|| work(&door))) {
        Ok(Ok(())) => return std::ptr::null_mut(),
        Ok(Err(error)) => error,
        Err(panic) => {
            for poison in door.touched.borrow().iter() {
                poison.0.store(true, Ordering::Relaxed);
            }
            Error::new(ErrorKind::Bug, format!("the library panicked: {}", panic_text(&*panic)))
        }
    };
    Box::into_raw(Box::new(backup_error::new(error)))
}

/// Runs the work of a call that cannot fail: `fallback` for a NULL handle.
///
/// # Safety
/// `handle` is NULL or points to a live `T`.
pub(crate) unsafe fn query<T, R>(handle: *const T, fallback: R, work: impl FnOnce(&T) -> R) -> R {
    if handle.is_null() || !handle.is_aligned() {
        return fallback;
    }
    // SAFETY: checked above and promised by the caller.
    let handle = unsafe { &*handle };
    catch_unwind(AssertUnwindSafe(|| work(handle))).unwrap_or(fallback)
}

/// Frees a handle. NULL is nothing to free.
///
/// # Safety
/// `handle` is NULL or came from [`Output::give`] of the same type and was not freed before.
pub(crate) unsafe fn release<T>(handle: *mut T) {
    if !handle.is_null() && handle.is_aligned() {
        // SAFETY: promised by the caller.
        let boxed = unsafe { Box::from_raw(handle) };
        // Dropping runs an embedder's code at most in a later version; a panic of it has nowhere to go.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(boxed)));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}

fn refuse(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("argument `{name}` {what}"))
}

/// Turns one call's pointers into references, and knows which handles the call has touched.
///
/// The references live as long as the caller keeps the pointers valid, which is at least for the call.
pub(crate) struct Door<'a> {
    touched: RefCell<Vec<&'a Poison>>,
}

impl<'a> Door<'a> {
    fn check<T>(pointer: *const T, name: &str) -> Result<()> {
        match pointer {
            _ if pointer.is_null() => Err(refuse(name, "is NULL")),
            _ if !pointer.is_aligned() => Err(refuse(name, "is not aligned")),
            _ => Ok(()),
        }
    }

    fn touch(&self, poison: &'a Poison, name: &str) -> Result<()> {
        if poison.0.load(Ordering::Relaxed) {
            let message = format!("argument `{name}` cannot be used after a fault of the library; free it");
            return Err(Error::new(ErrorKind::Bug, message));
        }
        self.touched.borrow_mut().push(poison);
        Ok(())
    }

    /// # Safety
    /// `handle` is NULL or points to a `T` that lives for `'a` and that nobody changes meanwhile.
    pub(crate) unsafe fn handle<T: Handle>(&self, handle: *const T, name: &str) -> Result<&'a T> {
        Self::check(handle, name)?;
        // SAFETY: checked above and promised by the caller.
        let handle = unsafe { &*handle };
        self.touch(handle.poison(), name)?;
        Ok(handle)
    }

    /// A handle that may be left out.
    ///
    /// # Safety
    /// As [`handle`](Self::handle).
    pub(crate) unsafe fn optional<T: Handle>(&self, handle: *const T, name: &str) -> Result<Option<&'a T>> {
        if handle.is_null() {
            return Ok(None);
        }
        // SAFETY: the same promise.
        unsafe { self.handle(handle, name) }.map(Some)
    }

    /// # Safety
    /// `text` is NULL or points to a NUL-terminated text that lives for `'a`.
    pub(crate) unsafe fn text(&self, text: *const c_char, name: &str) -> Result<&'a str> {
        Self::check(text, name)?;
        // SAFETY: checked above and promised by the caller.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_str().map_err(|error| refuse(name, "is not UTF-8").with_source(error))
    }

    /// # Safety
    /// As [`text`](Self::text).
    pub(crate) unsafe fn path(&self, path: *const c_char, name: &str) -> Result<&'a Path> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            Self::check(path, name)?;
            // SAFETY: checked above and promised by the caller.
            let path = unsafe { CStr::from_ptr(path) };
            Ok(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))
        }
        // SAFETY: the same promise.
        #[cfg(not(unix))]
        unsafe { self.text(path, name) }.map(Path::new)
    }

    /// With a length of 0 the pointer is not looked at.
    ///
    /// # Safety
    /// `bytes` is NULL or points to `len` bytes that live for `'a`.
    pub(crate) unsafe fn bytes(&self, bytes: *const u8, len: usize, name: &str) -> Result<&'a [u8]> {
        if len == 0 {
            return Ok(&[]);
        }
        Self::check(bytes, name)?;
        if isize::try_from(len).is_err() {
            return Err(refuse(name, "is longer than memory"));
        }
        // SAFETY: checked above and promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts(bytes, len) })
    }

    /// One of several plain structs that lie one after the other.
    ///
    /// # Safety
    /// `first` is NULL or points to more than `number` of them that live for `'a`, and all their bytes are set.
    pub(crate) unsafe fn element<T: Copy>(&self, first: *const T, number: usize, name: &str) -> Result<T> {
        Self::check(first, name)?;
        // SAFETY: checked above and promised by the caller.
        Ok(unsafe { first.add(number).read() })
    }

    /// Reads a struct that the caller has filled. What an older caller does not know is zero; what a newer one knows besides must be.
    ///
    /// # Safety
    /// `place` is NULL or points to a readable `u32` that says how many bytes from there on may be read.
    pub(crate) unsafe fn take<T: Incoming>(&self, place: *const T, name: &str) -> Result<T> {
        Self::check(place, name)?;
        // SAFETY: checked above and promised by the caller; the struct may be shorter than `T`, so only its first field is read.
        let size = unsafe { place.cast::<u32>().read() };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(T::SIZE_MIN..=STRUCT_SIZE_MAX).contains(&size) {
            return Err(refuse(name, "has a struct_size that it cannot have; set it to sizeof the struct"));
        }
        let known = size.min(size_of::<T>());
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: the caller promised `size` readable bytes; the value has room for those that it knows, and zero is good for the rest.
        let (value, rest) = unsafe {
            std::ptr::copy_nonoverlapping(place.cast::<u8>(), value.as_mut_ptr().cast::<u8>(), known);
            (value.assume_init(), std::slice::from_raw_parts(place.cast::<u8>().add(known), size - known))
        };
        if rest.iter().any(|byte| *byte != 0) {
            let message = format!(
                "argument `{name}` asks for something that this version of the library does not have"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(value)
    }

    /// Several texts.
    ///
    /// # Safety
    /// `texts` is NULL or points to `count` pointers, each as for [`text`](Self::text).
    pub(crate) unsafe fn texts(
        &self,
        texts: *const *const c_char,
        count: usize,
        name: &str,
    ) -> Result<Vec<&'a str>> {
        // SAFETY: the same promise.
        let pointers = unsafe { self.array(texts, count, name) }?;
        // SAFETY: the same promise.
        pointers.iter().map(|text| unsafe { self.text(*text, name) }).collect()
    }

    /// Several handles.
    ///
    /// # Safety
    /// `handles` is NULL or points to `count` pointers, each as for [`handle`](Self::handle).
    pub(crate) unsafe fn handles<T: Handle>(
        &self,
        handles: *const *const T,
        count: usize,
        name: &str,
    ) -> Result<Vec<&'a T>> {
        // SAFETY: the same promise.
        let pointers = unsafe { self.array(handles, count, name) }?;
        // SAFETY: the same promise.
        pointers.iter().map(|handle| unsafe { self.handle(*handle, name) }).collect()
    }

    /// # Safety
    /// `first` is NULL or points to `count` pointers that live for `'a`.
    unsafe fn array<T>(&self, first: *const *const T, count: usize, name: &str) -> Result<&'a [*const T]> {
        if count == 0 {
            return Ok(&[]);
        }
        Self::check(first, name)?;
        if count.checked_mul(size_of::<usize>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Err(refuse(name, "is longer than memory"));
        }
        // SAFETY: checked above and promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// Where bytes go. With a length of 0 the pointer is not looked at.
    ///
    /// # Safety
    /// `place` is NULL or points to `len` bytes that may be written to until the call ends.
    pub(crate) unsafe fn buffer(&self, place: *mut u8, len: usize, name: &str) -> Result<Buffer> {
        if len > 0 {
            Self::check(place, name)?;
        }
        Ok(Buffer { place, len, written: Cell::new(0) })
    }

    /// Where a number goes.
    ///
    /// # Safety
    /// `place` is NULL or may be written to until the call ends.
    pub(crate) unsafe fn number<T>(&self, place: *mut T, name: &str) -> Result<Number<T>> {
        Self::check(place, name)?;
        Ok(Number(place))
    }

    /// Where a new handle goes.
    ///
    /// # Safety
    /// `place` is NULL or may be written to until the call ends.
    pub(crate) unsafe fn output<T>(&self, place: *mut *mut T, name: &str) -> Result<Output<T>> {
        Self::check(place, name)?;
        Ok(Output(place))
    }

    /// Where a new handle goes, if the caller wants it.
    ///
    /// # Safety
    /// As [`output`](Self::output).
    pub(crate) unsafe fn optional_output<T>(
        &self,
        place: *mut *mut T,
        name: &str,
    ) -> Result<Option<Output<T>>> {
        if place.is_null() {
            return Ok(None);
        }
        // SAFETY: the same promise.
        unsafe { self.output(place, name) }.map(Some)
    }

    /// A struct that the caller has allocated and set `struct_size` of.
    ///
    /// # Safety
    /// `place` is NULL or points to a readable `u32` that says how many bytes from there on may be written to until
    /// the call ends.
    pub(crate) unsafe fn fill<T: Crossing>(&self, place: *mut T, name: &str) -> Result<Fill<T>> {
        Self::check(place, name)?;
        // SAFETY: checked above and promised by the caller; the struct may be an older, shorter one than `T`, so only
        // its first field is read.
        let size = unsafe { place.cast::<u32>().read() };
        match usize::try_from(size) {
            Ok(size) if size >= T::SIZE_MIN => Ok(Fill { place, size }),
            _ => Err(refuse(name, "has a struct_size that is too small; set it to sizeof the struct")),
        }
    }

    /// A struct to fill, if the caller wants it.
    ///
    /// # Safety
    /// As [`fill`](Self::fill).
    pub(crate) unsafe fn optional_fill<T: Crossing>(
        &self,
        place: *mut T,
        name: &str,
    ) -> Result<Option<Fill<T>>> {
        if place.is_null() {
            return Ok(None);
        }
        // SAFETY: the same promise.
        unsafe { self.fill(place, name) }.map(Some)
    }
}

/// A place for a new handle.
pub(crate) struct Output<T>(*mut *mut T);

impl<T> Output<T> {
    /// Boxes the value and hands it over.
    pub(crate) fn give(self, value: T) {
        // SAFETY: `Door::output` was promised that the place may be written to.
        unsafe { self.0.write(Box::into_raw(Box::new(value))) }
    }
}

impl<T> Output<T> {
    /// Hands over nothing: there is no more of what was asked for.
    pub(crate) fn give_none(self) {
        // SAFETY: `Door::output` was promised that the place may be written to.
        unsafe { self.0.write(std::ptr::null_mut()) }
    }
}

/// A place for a number.
pub(crate) struct Number<T>(*mut T);

impl<T> Number<T> {
    pub(crate) fn write(self, value: T) {
        // SAFETY: `Door::number` was promised that the place may be written to.
        unsafe { self.0.write(value) }
    }
}

/// A place for bytes.
pub(crate) struct Buffer {
    place: *mut u8,
    len: usize,
    written: Cell<usize>,
}

impl Buffer {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn written(&self) -> usize {
        self.written.get()
    }

    /// Writes as much as there is room for, behind what was written before.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let written = self.written.get();
        let count = bytes.len().min(self.len - written);
        if count > 0 {
            // SAFETY: `Door::buffer` was promised `len` writable bytes, and no more than that are ever written.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.place.add(written), count) }
            self.written.set(written + count);
        }
    }
}

/// A place for a struct.
pub(crate) struct Fill<T> {
    place: *mut T,
    size: usize,
}

impl<T: Crossing> Fill<T> {
    /// Writes as much of the struct as the caller knows; `struct_size` keeps the caller's value.
    pub(crate) fn write(self, value: T) {
        let skip = size_of::<u32>();
        let len = self.size.min(size_of::<T>()) - skip;
        // SAFETY: `Door::fill` was promised `size` writable bytes, and `value` has the others; both begin with the
        // four bytes that are skipped (`SIZE_MIN` is larger).
        unsafe {
            let (from, to) = ((&raw const value).cast::<u8>().add(skip), self.place.cast::<u8>().add(skip));
            std::ptr::copy_nonoverlapping(from, to, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair {
        struct_size: u32,
        first: u32,
        second: u64,
    }

    // SAFETY: as the trait asks; `second` stands for a field of a later version.
    unsafe impl Crossing for Pair {
        const SIZE_MIN: usize = 8;
    }

    struct Thing(Poison);

    impl Handle for Thing {
        fn poison(&self) -> &Poison {
            &self.0
        }
    }

    fn code(error: *mut backup_error) -> (u32, String) {
        // SAFETY: the error comes from `boundary` and is freed once.
        unsafe {
            let text = CStr::from_ptr(crate::backup_error_message(error)).to_str().unwrap().to_owned();
            let code = crate::backup_error_code(error);
            crate::backup_error_free(error);
            (code, text)
        }
    }

    #[test]
    fn a_panic_keeps_its_text_and_poisons_what_it_touched() {
        let (thing, other) = (Thing(Poison::default()), Thing(Poison::default()));
        let (number, text) = code(boundary(|door| {
            // SAFETY: the reference is a valid pointer.
            unsafe { door.handle(&raw const thing, "thing") }?;
            panic!("fuse {} blew", 7)
        }));
        assert_eq!((number, text.as_str()), (99, "the library panicked: fuse 7 blew"));
        // SAFETY: the references are valid pointers.
        let use_it = |thing: &Thing| boundary(|door| unsafe { door.handle(thing, "thing") }.map(drop));
        assert_eq!(code(use_it(&thing)).0, 99);
        assert!(use_it(&other).is_null());
        // SAFETY: the references are valid pointers.
        let use_optional =
            |thing: &Thing| boundary(|door| unsafe { door.optional(thing, "thing") }.map(drop));
        assert_eq!(code(use_optional(&thing)).0, 99);
    }

    #[test]
    fn structs_of_older_and_newer_callers_are_filled_as_far_as_both_know_them() {
        let value = Pair { struct_size: 16, first: 1, second: 2 };
        for (size, second) in [(8, 77), (12, 77), (16, 2), (400, 2)] {
            let mut pair = Pair { struct_size: size, first: 0, second: 77 };
            assert!(
                boundary(|door| {
                    // SAFETY: the pointer is valid for the whole struct; a larger size is not written.
                    unsafe { door.fill(&raw mut pair, "pair") }?.write(value);
                    Ok(())
                })
                .is_null()
            );
            assert_eq!((pair.struct_size, pair.first), (size, 1));
            if size != 12 {
                assert_eq!(pair.second, second);
            }
        }
        let mut pair = Pair { struct_size: 7, first: 0, second: 0 };
        // SAFETY: the pointer is valid.
        assert_eq!(code(boundary(|door| unsafe { door.fill(&raw mut pair, "pair") }.map(drop))).0, 1);
    }

    #[test]
    fn bytes_of_length_zero_need_no_pointer() {
        // SAFETY: NULL is allowed.
        let empty = boundary(|door| unsafe { door.bytes(std::ptr::null(), 0, "bytes") }.map(drop));
        assert!(empty.is_null());
        // SAFETY: NULL is allowed.
        let null = boundary(|door| unsafe { door.bytes(std::ptr::null(), 1, "bytes") }.map(drop));
        assert_eq!(code(null), (1, "argument `bytes` is NULL".to_owned()));
    }

    #[test]
    fn arrays_are_refused_for_what_is_wrong_in_them() {
        let (thing, other) = (Thing(Poison::default()), Thing(Poison::default()));
        other.0.0.store(true, Ordering::Relaxed);
        let texts = |texts: &[*const c_char]| {
            // SAFETY: the slice has as many pointers as it says, each NULL or NUL-terminated.
            boundary(|door| unsafe { door.texts(texts.as_ptr(), texts.len(), "texts") }.map(drop))
        };
        let things = |things: &[*const Thing]| {
            // SAFETY: the slice has as many pointers as it says, each NULL or a live handle.
            boundary(|door| unsafe { door.handles(things.as_ptr(), things.len(), "things") }.map(drop))
        };
        assert!(texts(&[c"a".as_ptr(), c"".as_ptr()]).is_null() && texts(&[]).is_null());
        assert_eq!(
            code(texts(&[c"a".as_ptr(), std::ptr::null()])),
            (1, "argument `texts` is NULL".to_owned())
        );
        assert_eq!(code(texts(&[c"\xff".as_ptr()])).0, 1);
        assert!(things(&[&raw const thing]).is_null());
        assert_eq!(code(things(&[&raw const thing, std::ptr::null()])).0, 1);
        assert_eq!(code(things(&[&raw const thing, &raw const other])).0, 99);
        for count in [1, usize::MAX / 8, usize::MAX] {
            // SAFETY: NULL is allowed, and what is longer than memory is not read.
            let error = boundary(|door| unsafe { door.texts(std::ptr::null(), count, "texts") }.map(drop));
            assert_eq!(code(error).0, 1);
        }
        let one = [c"a".as_ptr()];
        // SAFETY: a count that no memory has is refused before anything is read.
        let error = boundary(|door| unsafe { door.texts(one.as_ptr(), usize::MAX / 8, "texts") }.map(drop));
        assert_eq!(code(error).0, 1);
    }

    #[test]
    fn a_buffer_takes_what_it_has_room_for() {
        let mut bytes = [0u8; 6];
        let done = boundary(|door| {
            // SAFETY: five of the six bytes may be written to.
            let buffer = unsafe { door.buffer(bytes.as_mut_ptr(), 5, "buffer") }?;
            buffer.write(b"abc");
            buffer.write(b"");
            buffer.write(b"defg");
            buffer.write(b"h");
            assert_eq!((buffer.len(), buffer.written()), (5, 5));
            Ok(())
        });
        assert!(done.is_null());
        assert_eq!(&bytes, b"abcde\0");
        // SAFETY: NULL is allowed.
        assert!(boundary(|door| unsafe { door.buffer(std::ptr::null_mut(), 0, "b") }.map(drop)).is_null());
        // SAFETY: NULL is allowed.
        let null = boundary(|door| unsafe { door.buffer(std::ptr::null_mut(), 1, "b") }.map(drop));
        assert_eq!(code(null).0, 1);
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Given {
        struct_size: u32,
        first: u32,
        second: u64,
    }

    // SAFETY: as the trait asks; `second` stands for a field of a later version.
    unsafe impl Incoming for Given {
        const SIZE_MIN: usize = 8;
    }

    #[test]
    fn structs_of_older_callers_are_read_as_far_as_they_go_and_newer_ones_must_not_ask_for_more() {
        #[repr(C)]
        struct Newer(Given, u64);
        // SAFETY: the pointer is valid for what `struct_size` says.
        let take = |place: *const Given| boundary(|door| unsafe { door.take(place, "given") }.map(drop));
        let given = Given { struct_size: 8, first: 1, second: 77 };
        let read = boundary(|door| {
            // SAFETY: the pointer is valid.
            let read = unsafe { door.take(&raw const given, "given") }?;
            assert_eq!((read.first, read.second), (1, 0));
            Ok(())
        });
        assert!(read.is_null());
        let newer = |extra| Newer(Given { struct_size: 24, first: 1, second: 2 }, extra);
        let (same, more) = (newer(0), newer(1));
        assert!(take((&raw const same).cast()).is_null());
        assert_eq!(code(take((&raw const more).cast())).0, 2);
        for size in [0, 7, 5_000, u32::MAX] {
            let wrong = Given { struct_size: size, ..given };
            assert_eq!(code(take(&raw const wrong)).0, 1);
        }
    }
}
