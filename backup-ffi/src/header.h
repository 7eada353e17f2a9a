/*
 * Embeddable backup engine: C interface. Generated; do not edit. The manual is docs/ffi.md.
 *
 * Errors     A call that can fail returns `backup_error *`: NULL is success, anything else belongs to the caller and
 *            goes to backup_error_free(). Outputs are written on success only. No call ends the process: a fault of
 *            the library itself comes back as code 99, and the handles it concerned then refuse further use.
 * Ownership  Handles are opaque. What _new, _init, _open and the like give is freed by the _free of its type;
 *            _free(NULL) does nothing. Handles may be freed in any order. Text and bytes that go in are copied.
 *            A pointer that comes out lives as long as the handle that it came from.
 * Text       NUL-terminated UTF-8. Paths are the bytes that the system uses.
 * Structs    Set `struct_size` to sizeof of the struct before a call fills it. Structs only ever grow at the end.
 * Threads    Calls block until they are done. A handle passed as a pointer to const may be used by several threads at
 *            once, another only by one at a time, and none while it is being freed. Callbacks come on the thread that
 *            made the call, one at a time; they must not call a function that takes a backup_repo, backup_runtime,
 *            backup_browser, backup_listing or backup_differences.
 *            Functions of own sources, sinks and stores are called on threads of the library's that may block.
 *            After fork() a child must not use handles of its parent.
 */

#define BACKUP_VERSION "@VERSION@"
#define BACKUP_VERSION_MAJOR @MAJOR@
#define BACKUP_VERSION_MINOR @MINOR@
#define BACKUP_VERSION_PATCH @PATCH@

/* Define BACKUP_STATIC when linking the static library on Windows. */
#if defined(_WIN32) && !defined(BACKUP_STATIC)
#define BACKUP_API __declspec(dllimport)
#else
#define BACKUP_API
#endif

#if defined(__cplusplus) && __cplusplus >= 201703L
#define BACKUP_NODISCARD [[nodiscard]]
#elif defined(__GNUC__)
#define BACKUP_NODISCARD __attribute__((warn_unused_result))
#else
#define BACKUP_NODISCARD
#endif
