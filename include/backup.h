#ifndef BACKUP_H
#define BACKUP_H

#include <stddef.h>
#include <stdint.h>

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

#define BACKUP_VERSION "0.1.0"
#define BACKUP_VERSION_MAJOR 0
#define BACKUP_VERSION_MINOR 1
#define BACKUP_VERSION_PATCH 0

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

/**
 * The size of a stream that is not known.
 */
#define BACKUP_SIZE_UNKNOWN 18446744073709551615ull

/**
 * Flag of a stream: the source promises that bytes under this name never change. They are read once, even if the item's tag changes.
 */
#define BACKUP_STREAM_IMMUTABLE 1

/**
 * The length of a range that goes to the end of an object.
 */
#define BACKUP_WHOLE 18446744073709551615ull

/**
 * The version of the interface that a program was compiled against. Functions are added within one; anything else
 * makes another. Compare with `backup_abi_version()`.
 */
#define BACKUP_ABI_VERSION 1

/**
 * Error codes. Numbers are permanent and never reused; code that switches over them needs a default.
 */
enum backup_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * No error.
   */
  BACKUP_CODE_OK = 0,
  /**
   * An argument has no meaning here.
   */
  BACKUP_CODE_INVALID_ARGUMENT = 1,
  /**
   * This build, store or service cannot do it.
   */
  BACKUP_CODE_UNSUPPORTED = 2,
  /**
   * The caller canceled; the next run continues from a checkpoint.
   */
  BACKUP_CODE_CANCELED = 3,
  /**
   * A bound was exceeded.
   */
  BACKUP_CODE_LIMIT_EXCEEDED = 4,
  /**
   * Something asked for by name is not there.
   */
  BACKUP_CODE_NOT_FOUND = 10,
  /**
   * Something that was to be created is there already.
   */
  BACKUP_CODE_ALREADY_EXISTS = 11,
  /**
   * The other side refused for lack of rights.
   */
  BACKUP_CODE_PERMISSION_DENIED = 12,
  /**
   * The other side asks for fewer requests.
   */
  BACKUP_CODE_THROTTLED = 13,
  /**
   * The other side could not be reached, which may pass.
   */
  BACKUP_CODE_UNAVAILABLE = 14,
  /**
   * No space is left.
   */
  BACKUP_CODE_OUT_OF_SPACE = 15,
  /**
   * The system reported a failure that fits no other code.
   */
  BACKUP_CODE_IO = 16,
  /**
   * The credentials for the service were refused.
   */
  BACKUP_CODE_UNAUTHENTICATED = 17,
  /**
   * No key slot opens with this passphrase or key.
   */
  BACKUP_CODE_WRONG_KEY = 20,
  /**
   * Stored bytes are not what was written.
   */
  BACKUP_CODE_CORRUPT = 21,
  /**
   * The repository was written by a newer version.
   */
  BACKUP_CODE_NEWER_FORMAT = 22,
  /**
   * The store shows an older state than one seen before.
   */
  BACKUP_CODE_ROLLED_BACK = 23,
  /**
   * There is no repository at this place.
   */
  BACKUP_CODE_NOT_A_REPOSITORY = 24,
  /**
   * An object that the repository needs is gone.
   */
  BACKUP_CODE_MISSING = 25,
  /**
   * A prune took away what a backup under way relied on; run it again.
   */
  BACKUP_CODE_FENCED = 26,
  /**
   * The store does not do what keeping data safe needs; nothing was created.
   */
  BACKUP_CODE_UNSAFE_STORE = 27,
  /**
   * The content changed while it was read.
   */
  BACKUP_CODE_CHANGED_WHILE_READING = 30,
  /**
   * The content is not what the source announced.
   */
  BACKUP_CODE_SOURCE_MISMATCH = 31,
  /**
   * The service forgot the cursor.
   */
  BACKUP_CODE_CURSOR_EXPIRED = 32,
  /**
   * Code of the embedding program failed or broke its contract.
   */
  BACKUP_CODE_EXTENSION = 40,
  /**
   * A fault of the library; please report it.
   */
  BACKUP_CODE_BUG = 99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_code backup_code;
#else
typedef uint32_t backup_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a restore does where a name is taken.
 */
enum backup_conflict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Leave what is there.
   */
  BACKUP_CONFLICT_SKIP = 0,
  /**
   * Put the restored item in its place.
   */
  BACKUP_CONFLICT_REPLACE = 1,
  /**
   * Put the restored item beside it under another name.
   */
  BACKUP_CONFLICT_KEEP_BOTH = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_conflict backup_conflict;
#else
typedef uint32_t backup_conflict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an operation is at. Later versions may know more.
 */
enum backup_phase
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Reading the state of the repository.
   */
  BACKUP_PHASE_OPENING = 0,
  /**
   * Moving content.
   */
  BACKUP_PHASE_TRANSFERRING = 1,
  /**
   * Writing trees, index and log, or closing folders.
   */
  BACKUP_PHASE_COMMITTING = 2,
  /**
   * Finished.
   */
  BACKUP_PHASE_DONE = 3,
  /**
   * Something that this version has no number for.
   */
  BACKUP_PHASE_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_phase backup_phase;
#else
typedef uint32_t backup_phase;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How whole a snapshot is. Later versions may know more.
 */
enum backup_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Everything that the source named is in it.
   */
  BACKUP_STATE_COMPLETE = 1,
  /**
   * Some items could not be read.
   */
  BACKUP_STATE_INCOMPLETE = 2,
  /**
   * Something that this version has no number for.
   */
  BACKUP_STATE_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_state backup_state;
#else
typedef uint32_t backup_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How thorough a check is.
 */
enum backup_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Everything that snapshots need is there.
   */
  BACKUP_LEVEL_STRUCTURE = 0,
  /**
   * Also every stored byte is what was written. Reads the whole repository.
   */
  BACKUP_LEVEL_EVERY_BYTE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_level backup_level;
#else
typedef uint32_t backup_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an item is. Numbers from 0x8000 on are the embedder's own; all others that are not here are kept as they are.
 */
enum backup_item_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Contains other items.
   */
  BACKUP_ITEM_KIND_FOLDER = 1,
  /**
   * A file with a stream "content".
   */
  BACKUP_ITEM_KIND_FILE = 2,
  /**
   * A symbolic link; its target is the attribute "link_target".
   */
  BACKUP_ITEM_KIND_SYMLINK = 3,
  /**
   * A folder that its service treats as one thing.
   */
  BACKUP_ITEM_KIND_PACKAGE = 4,
  /**
   * A mail message with a stream "mime" or "export".
   */
  BACKUP_ITEM_KIND_MESSAGE = 10,
  /**
   * A calendar event.
   */
  BACKUP_ITEM_KIND_EVENT = 11,
  /**
   * A contact.
   */
  BACKUP_ITEM_KIND_CONTACT = 12,
  /**
   * An object of a directory service.
   */
  BACKUP_ITEM_KIND_DIRECTORY_OBJECT = 20,
  /**
   * Anything else; say what it is in an attribute.
   */
  BACKUP_ITEM_KIND_OTHER = 32767,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_item_kind backup_item_kind;
#else
typedef uint32_t backup_item_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an attribute's value is. Later versions may know more.
 */
enum backup_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * `integer` is 0 or 1.
   */
  BACKUP_TYPE_BOOL = 1,
  /**
   * `integer`.
   */
  BACKUP_TYPE_INT = 2,
  /**
   * `number`.
   */
  BACKUP_TYPE_FLOAT = 3,
  /**
   * `bytes`, as UTF-8.
   */
  BACKUP_TYPE_TEXT = 4,
  /**
   * `bytes`.
   */
  BACKUP_TYPE_BYTES = 5,
  /**
   * `integer` seconds since 1970-01-01T00:00:00Z and `nanos`.
   */
  BACKUP_TYPE_TIME = 6,
  /**
   * The values of `children`, in order; their names are not looked at.
   */
  BACKUP_TYPE_LIST = 7,
  /**
   * `children`.
   */
  BACKUP_TYPE_MAP = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_type backup_type;
#else
typedef uint32_t backup_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Reasons to look at a snapshot before earlier ones are let go. Numbers are added up; later versions may know more.
 */
enum backup_suspicion
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Many items are gone.
   */
  BACKUP_SUSPICION_MASS_REMOVAL = 1,
  /**
   * Many items differ from what they were, as after an encryption.
   */
  BACKUP_SUSPICION_MASS_CHANGE = 2,
  /**
   * Something that this version has no number for.
   */
  BACKUP_SUSPICION_OTHER = 1073741824,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_suspicion backup_suspicion;
#else
typedef uint32_t backup_suspicion;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How creations of one name by two at once end. Later versions may know more.
 */
enum backup_contest
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * One created the object, the other was told that it is there.
   */
  BACKUP_CONTEST_DECIDED = 0,
  /**
   * One created the object, the other got an error. Costs a writer that meets another one a read.
   */
  BACKUP_CONTEST_LOSER_FAILS = 1,
  /**
   * Something that this version has no number for.
   */
  BACKUP_CONTEST_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_contest backup_contest;
#else
typedef uint32_t backup_contest;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * When something takes effect in a store. Later versions may know more.
 */
enum backup_effect
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * When the call returns.
   */
  BACKUP_EFFECT_AT_ONCE = 0,
  /**
   * Some time after the call has returned.
   */
  BACKUP_EFFECT_LATE = 1,
  /**
   * Not at all: the call is refused. A prune gives nothing back then.
   */
  BACKUP_EFFECT_REFUSED = 2,
  /**
   * Something that this version has no number for.
   */
  BACKUP_EFFECT_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_effect backup_effect;
#else
typedef uint32_t backup_effect;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What became of a damaged object. Later versions may know more.
 */
enum backup_repair
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Its bytes can be computed: scrub again with the option `repair`, or see the findings for why they could not be put in place.
   */
  BACKUP_REPAIR_POSSIBLE = 0,
  /**
   * It is what it was again.
   */
  BACKUP_REPAIR_DONE = 1,
  /**
   * More is damaged than the parity makes good. Another copy of the repository may have it.
   */
  BACKUP_REPAIR_IMPOSSIBLE = 2,
  /**
   * Something that this version has no number for.
   */
  BACKUP_REPAIR_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_repair backup_repair;
#else
typedef uint32_t backup_repair;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How an item differs between two snapshots. Later versions may know more.
 */
enum backup_difference
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * There are no more differences.
   */
  BACKUP_DIFFERENCE_END = 0,
  /**
   * Only the later snapshot has it.
   */
  BACKUP_DIFFERENCE_ADDED = 1,
  /**
   * Only the earlier snapshot has it.
   */
  BACKUP_DIFFERENCE_REMOVED = 2,
  /**
   * It was renamed or moved, or its attributes changed; its content is the same.
   */
  BACKUP_DIFFERENCE_CHANGED = 3,
  /**
   * The bytes of a stream differ.
   */
  BACKUP_DIFFERENCE_CONTENT = 4,
  /**
   * Something that this version has no number for.
   */
  BACKUP_DIFFERENCE_OTHER = 255,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_difference backup_difference;
#else
typedef uint32_t backup_difference;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether the log of a salvaged repository reaches a head that was seen before.
 */
enum backup_reached
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * No head was given.
   */
  BACKUP_REACHED_UNKNOWN = 0,
  /**
   * The log still has it unchanged.
   */
  BACKUP_REACHED_YES = 1,
  /**
   * It does not.
   */
  BACKUP_REACHED_NO = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_reached backup_reached;
#else
typedef uint32_t backup_reached;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a sink did with an item.
 */
enum backup_action
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It was not there and was created.
   */
  BACKUP_ACTION_CREATED = 0,
  /**
   * It took the place of what was there.
   */
  BACKUP_ACTION_REPLACED = 1,
  /**
   * What was there was left as it is.
   */
  BACKUP_ACTION_SKIPPED = 2,
  /**
   * It was created under another name.
   */
  BACKUP_ACTION_RENAMED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_action backup_action;
#else
typedef uint32_t backup_action;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an entry of a listing of a tenant is.
 */
enum backup_graph_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * A user.
   */
  BACKUP_GRAPH_KIND_USER = 1,
  /**
   * A group.
   */
  BACKUP_GRAPH_KIND_GROUP = 2,
  /**
   * A site.
   */
  BACKUP_GRAPH_KIND_SITE = 3,
  /**
   * A drive.
   */
  BACKUP_GRAPH_KIND_DRIVE = 4,
  /**
   * Somebody whose drives are not known, because the service refused to tell them.
   */
  BACKUP_GRAPH_KIND_FAILED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_graph_kind backup_graph_kind;
#else
typedef uint32_t backup_graph_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How much a line matters.
 */
enum backup_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Something is lost or damaged.
   */
  BACKUP_LOG_LEVEL_ERROR = 1,
  /**
   * Something did not go as it should, and the run goes on.
   */
  BACKUP_LOG_LEVEL_WARNING = 2,
  /**
   * A run began, ended, or changed what belongs to the repository.
   */
  BACKUP_LOG_LEVEL_INFO = 3,
  /**
   * Single steps.
   */
  BACKUP_LOG_LEVEL_DEBUG = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum backup_log_level backup_log_level;
#else
typedef uint32_t backup_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Names and values.
 */
typedef struct backup_attributes backup_attributes;

/**
 * A read-only view of one snapshot. Keeps what it needs of its repository and runtime.
 */
typedef struct backup_browser backup_browser;

/**
 * A switch that stops operations from another thread.
 */
typedef struct backup_cancel backup_cancel;

/**
 * Where an own source tells its changes. Lives as long as the call that it was given to; any of its threads may use it.
 */
typedef struct backup_changes backup_changes;

/**
 * A stream that is being read. Belongs to the caller.
 */
typedef struct backup_content backup_content;

/**
 * The streams of an item that is being put. Lives as long as the call that it was given to.
 */
typedef struct backup_contents backup_contents;

/**
 * A passphrase or a key. Wiped when it is freed.
 */
typedef struct backup_credential backup_credential;

/**
 * A list of damaged objects.
 */
typedef struct backup_damages backup_damages;

/**
 * What is to become of snapshots.
 */
typedef struct backup_decisions backup_decisions;

/**
 * The differences between two snapshots, one at a time. Keeps what it needs of its repository and runtime.
 */
typedef struct backup_differences backup_differences;

/**
 * Where an own store names objects. Lives as long as the call that it was given to.
 */
typedef struct backup_entries backup_entries;

/**
 * An item of a snapshot. Belongs to the caller, and needs neither browser nor repository any more.
 */
typedef struct backup_entry backup_entry;

/**
 * Why a call failed. Belongs to the caller.
 */
typedef struct backup_error backup_error;

/**
 * A client of one tenant. Sources and sinks made of it share its connections and what it knows of the service's limits.
 */
typedef struct backup_graph backup_graph;

/**
 * What a tenant has, as it was when it was asked.
 */
typedef struct backup_graph_list backup_graph_list;

/**
 * All that a snapshot says of itself.
 */
typedef struct backup_info backup_info;

/**
 * A list of key slots as they were when it was made.
 */
typedef struct backup_keys backup_keys;

/**
 * The items of a folder, a few at a time. Keeps what it needs of its browser.
 */
typedef struct backup_listing backup_listing;

/**
 * A list of texts: names of objects, ids of snapshots.
 */
typedef struct backup_names backup_names;

/**
 * Names and values for a call that takes options.
 */
typedef struct backup_options backup_options;

/**
 * Where an own sink says what became of an item. Lives as long as the call that it was given to.
 */
typedef struct backup_placement backup_placement;

/**
 * A list of problems.
 */
typedef struct backup_problems backup_problems;

/**
 * Where a function of the embedder's pushes bytes. Lives as long as the call that it was given to.
 */
typedef struct backup_reader backup_reader;

/**
 * An open repository.
 */
typedef struct backup_repo backup_repo;

/**
 * Threads for input and output and for computing.
 */
typedef struct backup_runtime backup_runtime;

/**
 * Something that items can be restored to.
 */
typedef struct backup_sink backup_sink;

/**
 * A list of snapshots as they were when it was made.
 */
typedef struct backup_snapshots backup_snapshots;

/**
 * Something that can be backed up.
 */
typedef struct backup_source backup_source;

/**
 * A place that holds named bytes.
 */
typedef struct backup_store backup_store;

/**
 * A text that belongs to the caller.
 */
typedef struct backup_text backup_text;

/**
 * Bytes of somebody else's. With a length of 0 the pointer is not looked at.
 */
typedef struct {
  /**
   * Where they begin.
   */
  const uint8_t *bytes;
  /**
   * How many there are.
   */
  uint64_t len;
} backup_bytes;

/**
 * One attribute. What of it counts is said at `backup_type`.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * What the value is, a `backup_type`.
   */
  uint32_t type;
  /**
   * Its name; NULL in a list.
   */
  const char *name;
  /**
   * A whole number, 0 or 1, or seconds.
   */
  int64_t integer;
  /**
   * A floating-point number.
   */
  double number;
  /**
   * Text or bytes.
   */
  backup_bytes bytes;
  /**
   * The values of a list or map.
   */
  const backup_attributes *children;
  /**
   * Nanoseconds within the second.
   */
  uint32_t nanos;
  /**
   * 0.
   */
  uint32_t reserved;
} backup_attribute;

/**
 * What a mirror did.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Objects that the repository consists of, and that the copy should have.
   */
  uint64_t objects;
  /**
   * Objects that were copied because the other store did not have them.
   */
  uint64_t copied_objects;
  /**
   * Their bytes.
   */
  uint64_t copied_bytes;
  /**
   * Objects of the other store that were not what they should be and are now.
   */
  uint64_t replaced_objects;
  /**
   * Objects of the other store that the repository no longer has and that were deleted there.
   */
  uint64_t deleted_objects;
  /**
   * Objects that are damaged here and were not copied, and such that are damaged there and were not replaced.
   */
  uint64_t findings;
  /**
   * The end of the log that the copy has now, as backup_head has it. Empty if it has none. NUL-terminated.
   */
  char head[96];
} backup_mirror_result;

/**
 * Running totals of one operation. Read fields beyond `bytes_stored` only if `struct_size` says that they are there.
 */
typedef struct {
  /**
   * Size of this struct in the library.
   */
  uint32_t struct_size;
  /**
   * What is going on, a `backup_phase`.
   */
  uint32_t phase;
  /**
   * Items finished; for a check, packs.
   */
  uint64_t items_done;
  /**
   * Items in all, 0 if unknown.
   */
  uint64_t items_total;
  /**
   * Bytes of content read from the source or handed to the sink.
   */
  uint64_t bytes_done;
  /**
   * Bytes of content in all, 0 if unknown.
   */
  uint64_t bytes_total;
  /**
   * Bytes written to the store (backup), or read from it (restore, check).
   */
  uint64_t bytes_stored;
  /**
   * Items that could not be handled.
   */
  uint64_t problems;
} backup_progress;

/**
 * Called with running totals at most ten times a second and when the phase changes, on the thread that made the call.
 * `progress` is valid during the call only. Anything but 0 cancels. Must return: no exception, no longjmp.
 */
typedef int32_t (*backup_progress_fn)(const backup_progress *progress, void *userdata);

/**
 * What is left of a repository, and what is not.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if the log is complete and nothing is known to be lost, else 0.
   */
  uint32_t whole;
  /**
   * 1 if nothing of the log that decides which snapshots there are is missing, as far as can be known; else 0.
   */
  uint32_t log_complete;
  /**
   * Whether the log reaches `known_head`, a `backup_reached`.
   */
  uint32_t known_head;
  /**
   * Log entries that were read.
   */
  uint64_t log_entries;
  /**
   * Checkpoints of the log that were read.
   */
  uint64_t checkpoints;
  /**
   * Snapshots that the log names and that read.
   */
  uint64_t snapshots;
  /**
   * Snapshots that read and of which nobody can say for sure that they belong to the repository.
   */
  uint64_t unconfirmed;
  /**
   * Snapshots that are still stored although the log says that they were removed.
   */
  uint64_t removed;
  /**
   * Segments of the index that were read.
   */
  uint64_t segments;
  /**
   * Packs that these name.
   */
  uint64_t packs;
  /**
   * Further packs, whose own directories were read in the place of segments.
   */
  uint64_t packs_rebuilt;
  /**
   * Chunks in the index, copies included.
   */
  uint64_t chunks;
  /**
   * Objects that should be there and are not, or do not read.
   */
  uint64_t findings;
  /**
   * The newest log entry that counts, as backup_head has it. Empty if there is none. NUL-terminated.
   */
  char head[96];
} backup_salvage_result;

/**
 * What a drill found, and what that says.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if nothing that was looked at is bad, else 0.
   */
  uint32_t clean;
  /**
   * Snapshots that were drawn from.
   */
  uint64_t snapshots;
  /**
   * Snapshots that could not be drawn from, because they do not read. What follows does not speak of them.
   */
  uint64_t lost_snapshots;
  /**
   * Items in all snapshots that were drawn from.
   */
  uint64_t population;
  /**
   * Items that were drawn.
   */
  uint64_t sampled;
  /**
   * Streams of these items.
   */
  uint64_t streams;
  /**
   * Bytes of these streams.
   */
  uint64_t bytes;
  /**
   * Bytes read from the store.
   */
  uint64_t bytes_fetched;
  /**
   * Items that could not be read in full.
   */
  uint64_t failures;
  /**
   * Items whose content was compared with a source's.
   */
  uint64_t compared;
  /**
   * Items that the source has with the same tag and other content.
   */
  uint64_t differing;
  /**
   * Items that were not compared: the source has them in another state by now, or not any more, or without a tag to tell.
   */
  uint64_t changed;
  /**
   * What stood in the way of comparing or placing an item, and is no fault of the repository.
   */
  uint64_t problems;
  /**
   * What the sample was drawn with: the same seed draws the same items again.
   */
  uint64_t seed;
  /**
   * So many of `population` are bad at most.
   */
  uint64_t most_bad;
  /**
   * The same as a share, between 0 and 1.
   */
  double most_bad_share;
  /**
   * How sure that is, between 0 and 1.
   */
  double confidence;
} backup_drill_result;

/**
 * A point in time that may not be known.
 */
typedef struct {
  /**
   * Seconds since 1970-01-01T00:00:00Z.
   */
  int64_t seconds;
  /**
   * Nanoseconds within the second.
   */
  uint32_t nanos;
  /**
   * 1 if it is known, 0 if not.
   */
  uint32_t known;
} backup_time;

/**
 * A named stream of bytes of an item. This struct does not grow.
 */
typedef struct {
  /**
   * "content", "mime", "version/3.0" and so on. At most 255 bytes.
   */
  const char *name;
  /**
   * Length in bytes, or BACKUP_SIZE_UNKNOWN.
   */
  uint64_t size;
  /**
   * BACKUP_STREAM_IMMUTABLE, or 0.
   */
  uint64_t flags;
} backup_stream;

/**
 * One protected thing: a file, a folder, a mail and so on. What is not set (zero) is not there.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * What it is, a `backup_item_kind`.
   */
  uint32_t kind;
  /**
   * Identity within the collection, stable over renames where the service has such ids. 1 to 1,024 bytes.
   */
  backup_bytes id;
  /**
   * The id of the containing item; nothing at the top.
   */
  backup_bytes parent;
  /**
   * Name within the parent; need not be UTF-8. 1 to 1,024 bytes.
   */
  backup_bytes name;
  /**
   * Version mark of the streams: two equal, non-empty ones mean that the streams have not changed. At most 256 bytes.
   */
  backup_bytes tag;
  /**
   * For a further hard link: the id of the item that has the content. Such an item has no streams.
   */
  backup_bytes hard_link;
  /**
   * When it was created.
   */
  backup_time created;
  /**
   * When its content last changed.
   */
  backup_time modified;
  /**
   * The streams, in the order in which they are to be restored.
   */
  const backup_stream *streams;
  /**
   * How many streams there are.
   */
  uint64_t streams_count;
  /**
   * Technical attributes, together at most 64 KiB; may be NULL.
   */
  const backup_attributes *attributes;
  /**
   * Attributes that a person would read, sealed like content, together at most 8 MiB; may be NULL.
   */
  const backup_attributes *details;
} backup_item;

/**
 * Somebody or something in a tenant. Text lives as long as the list, and is NULL where there is none.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * What it is, a `backup_graph_kind`.
   */
  uint32_t kind;
  /**
   * For BACKUP_GRAPH_KIND_FAILED: why, a `backup_code`; otherwise 0.
   */
  uint32_t code;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its id, which stays when it is renamed.
   */
  const char *id;
  /**
   * The name to show.
   */
  const char *name;
  /**
   * A user's sign-in name, a group's mail address, where people open a site or drive.
   */
  const char *address;
  /**
   * For a drive: the id of the user, group or site that it belongs to.
   */
  const char *owner_id;
  /**
   * For a drive: what to call its owner.
   */
  const char *owner;
  /**
   * For BACKUP_GRAPH_KIND_FAILED: why, in one line.
   */
  const char *message;
} backup_graph_entry;

/**
 * One snapshot. `collection` and `kind` live as long as the list.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * How whole it is, a `backup_state`.
   */
  uint32_t state;
  /**
   * When its run began, in seconds since 1970-01-01T00:00:00Z, by the clock of the writer.
   */
  int64_t created_seconds;
  /**
   * Nanoseconds within the second.
   */
  uint32_t created_nanos;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its id, NUL-terminated.
   */
  char id[40];
  /**
   * Id of what it is a state of, such as folder:/srv/data.
   */
  const char *collection;
  /**
   * Kind of what it is a state of, such as folder.
   */
  const char *kind;
  /**
   * 1 if its run reported a `backup_suspicion`, else 0.
   */
  uint32_t suspicious;
  /**
   * 1 if it must not be removed, else 0; see backup_repo_hold().
   */
  uint32_t held;
  /**
   * 1 if the log says for sure that it is in use: always, but in a salvaged repository.
   */
  uint32_t confirmed;
  /**
   * 0.
   */
  uint32_t reserved2;
} backup_snapshot;

/**
 * Figures of the run that made a snapshot.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Items in the snapshot.
   */
  uint64_t items;
  /**
   * Bytes of content in the snapshot.
   */
  uint64_t bytes;
  /**
   * Items that the snapshot before did not have.
   */
  uint64_t added;
  /**
   * Items that differ from the snapshot before.
   */
  uint64_t changed;
  /**
   * Items that only the snapshot before had.
   */
  uint64_t removed;
  /**
   * Bytes of content read from the source.
   */
  uint64_t bytes_read;
  /**
   * Bytes written to the store up to the commit.
   */
  uint64_t bytes_stored;
  /**
   * Items that could not be read.
   */
  uint64_t problems;
} backup_stats;

/**
 * A name and a value of the embedder's own that a snapshot keeps. Both live as long as the info.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its name.
   */
  const char *name;
  /**
   * Its value.
   */
  const char *value;
} backup_label;

/**
 * One key slot.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its length in bytes.
   */
  uint64_t size;
  /**
   * Its id, NUL-terminated.
   */
  char id[40];
} backup_key;

/**
 * How a repository is locked, as the log says.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if an extension of the locks is due, else 0.
   */
  uint32_t locks_due;
  /**
   * How long everything is locked ahead, in seconds; 0 if that is not the policy.
   */
  uint64_t period_seconds;
  /**
   * Until when everything that the snapshots need is locked at least. Not known without a policy, or before the first extension under it.
   */
  backup_time locked_until;
} backup_protection;

/**
 * What an extension of locks did.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Everything in use is locked at least until then. Not known without a policy.
   */
  backup_time locked_until;
  /**
   * Objects whose lock was made longer; 0 if that was not due.
   */
  uint64_t extended_objects;
  /**
   * Objects that somebody has hidden or written over. Their first version was locked all the same: open the repository `as_of` an
   * earlier time.
   */
  uint64_t tampered;
} backup_extend_result;

/**
 * Takes one line of text without a line break, valid during the call, and its `backup_log_level`. Called on any thread, by several at once and
 * in the middle of a run: it returns soon and calls no function of the library.
 */
typedef void (*backup_log_fn)(uint32_t level, const char *line, void *userdata);

/**
 * Gives back what belongs to a callback, once, when it is called no more. May be called on any thread.
 */
typedef void (*backup_release_fn)(void *userdata);

/**
 * Where and how an item is to be put.
 */
typedef struct {
  /**
   * Size of this struct in the library.
   */
  uint32_t struct_size;
  /**
   * What to do if the name is taken, a `backup_conflict`; 0, leaving what is there, also for what a later version may add.
   */
  uint32_t conflict;
  /**
   * What the sink called the containing item; `bytes` is NULL at the top of the restore.
   */
  backup_bytes parent;
  /**
   * For a further hard link: what the sink called the item that it is one of; otherwise `bytes` is NULL.
   */
  backup_bytes link;
} backup_place;

/**
 * The functions of an own sink. Each may block, and is called on threads of the library's that may, also on several at once if the sink
 * asks for that. An error that a function returns belongs to the library; NULL is success. What it is given lives as long as the call.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Creates the item with its streams, parents before children, and says with backup_placement_set() what became of it. An item whose
   * content fails must leave nothing under its name. A container that is there already is entered, whatever `conflict` says. Errors
   * concern this item and what is below it; canceled, out of space and unauthenticated end the restore.
   */
  backup_error *(*put)(void *object,
                       const backup_item *item,
                       const backup_place *place,
                       const backup_contents *contents,
                       backup_placement *out);
  /**
   * May be NULL. Everything below this container was put: the moment to set its times. `placed` is what the sink called it.
   */
  backup_error *(*close)(void *object, const backup_item *item, backup_bytes placed);
  /**
   * May be NULL. Everything was put. What was acknowledged is durable when this returns.
   */
  backup_error *(*finish)(void *object);
  /**
   * May be NULL. Frees `object`: the last call there is, on any thread, once the handle is freed and no other call is under way.
   */
  void (*release)(void *object);
} backup_sink_vtable;

/**
 * The functions of an own source. Each may block, and is called on threads of the library's that may, also on several at once. An error
 * that a function returns belongs to the library; NULL is success. What it is given lives as long as the call.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Tells what changed since `cursor`, or everything there is if that is empty, through the backup_changes_ functions. Called once for
   * each backup, on a thread of its own. An error ends the backup, and what was stored is kept for the next.
   */
  backup_error *(*changes)(void *object, backup_bytes cursor, backup_changes *out);
  /**
   * Gives the bytes of a stream of an item that was named, through backup_reader_push(). Not found means that it has vanished; canceled
   * and unauthenticated end the backup; other errors concern this item only.
   */
  backup_error *(*open)(void *object, const backup_item *item, const char *stream, backup_reader *out);
  /**
   * May be NULL. Pushes a cursor that covers what `cursor` does but for the items of these ids, or nothing if there is none. Must not
   * block: it is called on the thread that made the backup's call.
   */
  backup_error *(*cursor_without)(void *object,
                                  backup_bytes cursor,
                                  const backup_bytes *missed,
                                  uint64_t missed_count,
                                  backup_reader *out);
  /**
   * May be NULL. Frees `object`: the last call there is, on any thread, once the handle is freed and no other call is under way.
   */
  void (*release)(void *object);
} backup_source_vtable;

/**
 * The functions of an own store: a flat map from names to bytes that never change. Each may block, and is called on threads of the
 * library's that may, on several at once. An error that a function returns belongs to the library; NULL is success. What it is given
 * lives as long as the call. Names have segments of a-z, 0-9, -, _ and . joined by /.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Creates an object if the name is free, atomically: of several calls for one name exactly one sets `out_created` to 1, the others
   * to 0 and change nothing. When it returns, the bytes survive a power loss; before, no reader sees any.
   */
  backup_error *(*create)(void *object,
                          const char *key,
                          const uint8_t *bytes,
                          size_t bytes_len,
                          uint32_t *out_created);
  /**
   * Pushes `len` bytes from `offset` on with backup_reader_push(), or the whole object if `len` is BACKUP_WHOLE (`offset` is 0 then).
   * Not found if there is none; invalid argument for a range outside it.
   */
  backup_error *(*read)(void *object, const char *key, uint64_t offset, uint64_t len, backup_reader *out);
  /**
   * The length of an object in bytes. Not found if there is none.
   */
  backup_error *(*size)(void *object, const char *key, uint64_t *out_size);
  /**
   * Names, with backup_entries_add(), the objects whose name is `prefix` or begins with `prefix` and a /, in any order.
   */
  backup_error *(*list)(void *object, const char *prefix, backup_entries *out);
  /**
   * Deletes an object; one that is not there is fine.
   */
  backup_error *(*remove)(void *object, const char *key);
  /**
   * May be NULL. Frees `object`: the last call there is, on any thread, once the handle and all repositories in the store are freed and
   * no other call is under way.
   */
  void (*release)(void *object);
} backup_store_vtable;

/**
 * What is protected now.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Objects that parity protects now.
   */
  uint64_t objects;
  /**
   * Sets of parity that there are now.
   */
  uint64_t sets;
  /**
   * Sets that this run has made.
   */
  uint64_t new_sets;
  /**
   * Bytes of their parity.
   */
  uint64_t new_bytes;
  /**
   * Sets that were given up: what they protected is gone, or in another set now.
   */
  uint64_t dropped_sets;
  /**
   * Objects that are not what they should be. They are in no set.
   */
  uint64_t findings;
} backup_parity_result;

/**
 * What a scrub found and did.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if everything that is protected is what it was, now; else 0.
   */
  uint32_t sound;
  /**
   * Sets of parity that were checked.
   */
  uint64_t sets;
  /**
   * Objects that they protect.
   */
  uint64_t objects;
  /**
   * Objects of the repository that are listed and that no set protects.
   */
  uint64_t unprotected_objects;
  /**
   * Bytes read for the check; repairs read more.
   */
  uint64_t bytes_read;
  /**
   * Damaged objects, repaired or not.
   */
  uint64_t damages;
  /**
   * Sets that do not open, and repairs that failed.
   */
  uint64_t findings;
} backup_scrub_result;

/**
 * One damaged object. The text lives as long as the list.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if it is not there at all, else 0.
   */
  uint32_t missing;
  /**
   * How many of its blocks of 64 KiB are damaged; 0 if it is only longer than it was.
   */
  uint64_t bad_blocks;
  /**
   * How many blocks it has.
   */
  uint64_t blocks;
  /**
   * What became of it, a `backup_repair`.
   */
  uint32_t repair;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its name in the store.
   */
  const char *object;
} backup_damage;

/**
 * One problem. The text lives as long as the list.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * What went wrong, a `backup_code`.
   */
  uint32_t code;
  /**
   * The item, object or snapshot, for people.
   */
  const char *place;
  /**
   * What went wrong, in one line.
   */
  const char *message;
} backup_problem;

/**
 * What a prune did, or would do.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Snapshots and checkpoints of interrupted runs whose needs were marked.
   */
  uint64_t snapshots;
  /**
   * Packs in use before.
   */
  uint64_t packs;
  /**
   * Their bytes.
   */
  uint64_t bytes;
  /**
   * Bytes of these that no snapshot needed before; estimated from the share of each pack.
   */
  uint64_t unused_bytes;
  /**
   * The same afterwards.
   */
  uint64_t unused_bytes_after;
  /**
   * Packs that were condemned because nothing in them is needed.
   */
  uint64_t dead_packs;
  /**
   * Their bytes.
   */
  uint64_t dead_bytes;
  /**
   * Packs that were condemned after what is needed of them had been copied.
   */
  uint64_t copied_packs;
  /**
   * Their bytes.
   */
  uint64_t copied_bytes;
  /**
   * Objects that no log entry names, condemned as the remains of writers that are gone.
   */
  uint64_t stray_objects;
  /**
   * Their bytes.
   */
  uint64_t stray_bytes;
  /**
   * Objects condemned by this run or earlier ones that were deleted.
   */
  uint64_t deleted_objects;
  /**
   * Objects that the store did not let go yet; a later prune tries again.
   */
  uint64_t locked_objects;
  /**
   * Packs that were to be copied and could not be read in full. They stay as they are.
   */
  uint64_t findings;
} backup_prune_result;

/**
 * The end of a repository's log, as this client knows it.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Number of the newest entry: grows by one with each commit.
   */
  uint64_t number;
  /**
   * Keep it outside the store, and give it back as the option `known_head`. NUL-terminated.
   */
  char text[96];
} backup_head;

/**
 * What is to become of one snapshot. The texts live as long as the list.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if it stays, 0 if it may go.
   */
  uint32_t keep;
  /**
   * Id of the snapshot, NUL-terminated.
   */
  char snapshot[40];
  /**
   * Id of what it is a state of.
   */
  const char *collection;
  /**
   * Every reason to keep it, for people, with commas between them; empty if it may go.
   */
  const char *reasons;
  /**
   * The same for programs, a JSON array such as ["newest_clean",{"daily":1}].
   */
  const char *reasons_json;
} backup_decision;

/**
 * What a backup did.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * How whole the snapshot is, a `backup_state`.
   */
  uint32_t state;
  /**
   * Items in the snapshot.
   */
  uint64_t items;
  /**
   * Bytes of content in the snapshot.
   */
  uint64_t bytes;
  /**
   * Items that the snapshot before did not have.
   */
  uint64_t added;
  /**
   * Items that differ from the snapshot before.
   */
  uint64_t changed;
  /**
   * Items that only the snapshot before had.
   */
  uint64_t removed;
  /**
   * Bytes of content read from the source.
   */
  uint64_t bytes_read;
  /**
   * Bytes written to the store.
   */
  uint64_t bytes_stored;
  /**
   * Items that could not be read.
   */
  uint64_t problems;
  /**
   * Id of the snapshot, NUL-terminated.
   */
  char snapshot[40];
  /**
   * Reasons to look at it before earlier ones are let go: a sum of `backup_suspicion` numbers, 0 for none. `removed`,
   * `changed` and `previous_items` are its figures.
   */
  uint32_t suspicions;
  /**
   * 1 if an extension of the locks is due, else 0; see backup_repo_extend_locks().
   */
  uint32_t locks_due;
  /**
   * Items that the snapshot before had.
   */
  uint64_t previous_items;
  /**
   * Until when everything that the snapshot needs is locked at least, if that is the policy.
   */
  backup_time locked_until;
} backup_result;

/**
 * What a restore did.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Items created where nothing was.
   */
  uint64_t created;
  /**
   * Items put in the place of others.
   */
  uint64_t replaced;
  /**
   * Items left alone because something was there.
   */
  uint64_t skipped;
  /**
   * Items created under another name.
   */
  uint64_t renamed;
  /**
   * Bytes handed to the sink.
   */
  uint64_t bytes;
  /**
   * Bytes read from the store.
   */
  uint64_t bytes_fetched;
  /**
   * Items that could not be restored.
   */
  uint64_t problems;
} backup_restore_result;

/**
 * What a check found.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if nothing is wrong, else 0.
   */
  uint32_t sound;
  /**
   * Snapshots whose trees were walked.
   */
  uint64_t snapshots;
  /**
   * Items in all snapshots together.
   */
  uint64_t items;
  /**
   * Chunks that the index names.
   */
  uint64_t chunks;
  /**
   * Packs looked at.
   */
  uint64_t packs;
  /**
   * Bytes read from packs.
   */
  uint64_t bytes_read;
  /**
   * Things that are wrong.
   */
  uint64_t findings;
} backup_verify_result;

/**
 * What a store was seen to do. Whatever would put data at risk is an error instead, code 27.
 */
typedef struct {
  /**
   * Size of this struct; set it before the call.
   */
  uint32_t struct_size;
  /**
   * 1 if the store was probed; if it is 0, what follows says nothing.
   */
  uint32_t known;
  /**
   * How creations of one name by two at once end, a `backup_contest`.
   */
  uint32_t contest;
  /**
   * When a listing names what was created before it, a `backup_effect`.
   */
  uint32_t listing;
  /**
   * When a deletion takes effect, a `backup_effect`.
   */
  uint32_t deletion;
  /**
   * 1 if listings say when objects were created, else 0.
   */
  uint32_t tells_time;
} backup_probe;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a source of a snapshot, for a copy of it in another repository: backing it up there stores it under the other's keys, with all
 * attributes, streams and hard links. The next snapshot of the same collection costs only what differs. Labels tell the origin:
 * `origin.repository`, `origin.snapshot`, `origin.created`. One request. `repo` may be freed before the source.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_as_source(const backup_repo *repo,
                                    const char *snapshot,
                                    backup_source **out);

/**
 * Makes an empty set of attributes.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_attributes_new(backup_attributes **out);

/**
 * Adds an attribute; the one that had its name goes. For a list give no name (NULL): the value is appended. `children` are copied.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_attributes_put(backup_attributes *attributes,
                                    const backup_attribute *attribute);

/**
 * How many attributes there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_attributes_count(const backup_attributes *attributes);

/**
 * Fills `out` with the attribute of this number, the first being 0. What it points to lives until the attributes are changed or freed.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_attributes_at(const backup_attributes *attributes,
                                   uint64_t index,
                                   backup_attribute *out);

/**
 * Frees attributes.
 */
BACKUP_API void backup_attributes_free(backup_attributes *attributes);

/**
 * Looks into a snapshot, named by its id, without restoring it. One request.
 *
 * Paths are names joined by '/', and begin below the top: a collection with a single top item that is a folder has it as "", one
 * with several top items begins with their names.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_browse(const backup_repo *repo,
                                 const char *snapshot,
                                 backup_browser **out);

/**
 * Tells what the snapshot says of itself. Costs no request.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_info(const backup_browser *browser,
                                  backup_info **out);

/**
 * Gives the item at a path; of several with the same name, the one with the smallest id. Code 10 if there is none.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_stat(const backup_browser *browser,
                                  const char *path,
                                  backup_entry **out);

/**
 * Gives the item with this id. Code 10 if there is none.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_item(const backup_browser *browser,
                                  const uint8_t *id,
                                  size_t id_len,
                                  backup_entry **out);

/**
 * Begins a listing of what a folder holds, in bytewise order of names. Holds 256 items in memory at most, however many there are.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_list(const backup_browser *browser,
                                  const char *path,
                                  backup_listing **out);

/**
 * The same for what lies below the item with this id; without one (a length of 0), the top items.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_list_below(const backup_browser *browser,
                                        const uint8_t *id,
                                        size_t id_len,
                                        backup_listing **out);

/**
 * Gives the path of the item with this id, for people: what is not UTF-8 in names is shown as \xNN.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_path(const backup_browser *browser,
                                  const uint8_t *id,
                                  size_t id_len,
                                  backup_text **out);

/**
 * Reads bytes of a stream ("content" of a file) from `offset` on into `buffer`, and tells in `bytes_read` how many: fewer than
 * `buffer_len` only at the end of the stream, 0 from there on.
 *
 * Fetches only what the range touches. Whoever reads a stream from beginning to end does well to ask for 1 MiB or more at a time, or to
 * restore it. After an error the buffer's content has no meaning. Several threads may read at once.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_browser_read(const backup_browser *browser,
                                  const uint8_t *id,
                                  size_t id_len,
                                  const char *stream,
                                  uint64_t offset,
                                  uint8_t *buffer,
                                  size_t buffer_len,
                                  uint64_t *bytes_read);

/**
 * Frees a browser.
 */
BACKUP_API void backup_browser_free(backup_browser *browser);

/**
 * Gives the next item of a listing, NULL if there is none any more. After an error the same call may be tried again.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_listing_next(backup_listing *listing,
                                  backup_entry **out);

/**
 * Frees a listing.
 */
BACKUP_API void backup_listing_free(backup_listing *listing);

/**
 * Copies the repository to another store, or brings such a copy up to date. The copy is a repository of its own that opens with the same
 * keys; do not write to it.
 *
 * Options (may be NULL): `check` (true, false), also read what the other store has already, and replace what is not the same: so a copy mends
 * where it came from; `delete` (true, false), also delete there what prunes have taken from here. `cancel`, `result`, `findings` and
 * `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_mirror(const backup_repo *repo,
                                 const backup_store *to,
                                 const backup_options *options,
                                 const backup_cancel *cancel,
                                 backup_mirror_result *result,
                                 backup_problems **findings,
                                 backup_progress_fn progress,
                                 void *userdata);

/**
 * Opens what is left of a damaged repository, for reading only. Damage is no error: the result counts and `findings` names it.
 *
 * What comes out can be listed, browsed, restored, drilled and verified; whatever would write is code 12. Options (may be NULL): `known_head`,
 * a text from backup_repo_head(): then the result says whether the log reaches it; `with_removed` (true, false), take snapshots too that
 * the log says were removed. `result`, `unconfirmed` and `removed` (ids of snapshots) and `findings` may be NULL. docs/recovery.md has more.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_salvage(const backup_runtime *runtime,
                                  const backup_store *store,
                                  const backup_options *options,
                                  const backup_credential *credential,
                                  backup_repo **out,
                                  backup_salvage_result *result,
                                  backup_names **unconfirmed,
                                  backup_names **removed,
                                  backup_problems **findings);

/**
 * Begins a comparison of two snapshots, named by their ids. Reads only what differs, as it is asked for.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_diff(const backup_repo *repo,
                               const char *before,
                               const char *after,
                               backup_differences **out);

/**
 * Gives the next difference, in order of item ids.
 *
 * `kind` gets a `backup_difference`, BACKUP_DIFFERENCE_END if there is none any more. `before` and `after` (may be NULL) get the item
 * as the earlier and the later snapshot have it, and NULL where that one does not have it. After an error the comparison is over.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_differences_next(backup_differences *differences,
                                      uint32_t *kind,
                                      backup_entry **before,
                                      backup_entry **after);

/**
 * Frees a comparison.
 */
BACKUP_API void backup_differences_free(backup_differences *differences);

/**
 * Reads a random sample of items in full, as a restore does, and says how many of all can be bad at most. Writes nothing into the
 * repository. Damage is no error: the result counts and `report` names it.
 *
 * `against` has `against_count` sources: what was drawn from their collections is compared with what they have now, where tags are the same. `sink`
 * (may be NULL) gets the items that were read. Options (may be NULL): `snapshot`, any number of ids to draw from (default: the newest of each
 * collection); `items`, how many to draw; `confidence` (default 0.95); `share` (default 0.01): draw as many as it takes to say, if none is bad,
 * that fewer than this share are; `seed`. `cancel`, `result`, `statement` (the result in one line, for people), `report` (all of it as JSON) and
 * `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_drill(const backup_repo *repo,
                                const backup_source *const *against,
                                size_t against_count,
                                const backup_sink *sink,
                                const backup_options *options,
                                const backup_cancel *cancel,
                                backup_drill_result *result,
                                backup_text **statement,
                                backup_text **report,
                                backup_progress_fn progress,
                                void *userdata);

/**
 * Fills `out` with the item. Sizes of its streams are exact. What `out` points to lives as long as the entry.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_entry_item(const backup_entry *entry, backup_item *out);

/**
 * Frees an entry.
 */
BACKUP_API void backup_entry_free(backup_entry *entry);

/**
 * Makes an error for a callback to return. Never NULL.
 *
 * `code` is a `backup_code`, and says also whether the same call may succeed later: throttled and unavailable may. Numbers
 * that are none, 0 and 99 become 40, code of the embedding program. `message` is one line; `item` (may be NULL) is what it is about;
 * `retry_after_ms` is how long to wait before trying again, 0 if that is not known. Text that is not UTF-8 is taken as far as it is.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_error_new(uint32_t code,
                               const char *message,
                               const char *item,
                               uint64_t retry_after_ms);

/**
 * Lets something travel with an error, in place of the cause that it had: backup_error_payload() finds it in the error that the
 * operation ends with. `release` is called with it once, on any thread, when the error is freed; at once if `error` is NULL.
 */
BACKUP_API
void backup_error_attach(backup_error *error,
                         void *payload,
                         void (*release)(void *payload));

/**
 * What was attached to the error or to one of its causes with this `release`; NULL if nothing was. Lives as long as the error.
 */
BACKUP_API
void *backup_error_payload(const backup_error *error,
                           void (*release)(void *payload));

/**
 * The permanent number of what went wrong, a `backup_code`. 0 for NULL.
 */
BACKUP_API uint32_t backup_error_code(const backup_error *error);

/**
 * What went wrong, in one line. NULL for NULL; lives as long as the error.
 */
BACKUP_API const char *backup_error_message(const backup_error *error);

/**
 * The message with its code and all causes, for a log. NULL for NULL; lives as long as the error.
 */
BACKUP_API const char *backup_error_detail(const backup_error *error);

/**
 * What can be done about it, in one line. NULL for NULL; lives as long as the error.
 */
BACKUP_API const char *backup_error_hint(const backup_error *error);

/**
 * The path, id or object name that it is about. NULL for NULL and where there is none; lives as long as the error.
 */
BACKUP_API
const char *backup_error_item(const backup_error *error);

/**
 * Milliseconds that the other side asked to wait before the same call is made again. 0 if it did not say.
 */
BACKUP_API uint64_t backup_error_retry_after_ms(const backup_error *error);

/**
 * 1 if the same call may succeed later without anybody changing anything, else 0.
 */
BACKUP_API uint32_t backup_error_retryable(const backup_error *error);

/**
 * Frees an error.
 */
BACKUP_API void backup_error_free(backup_error *error);

/**
 * Makes a source of a local folder. Serves one backup at a time.
 *
 * Options (may be NULL): `exclude`, any number of glob patterns of what to leave out; `one_file_system` (true, false);
 * `require_mount_point` (true, false); `collection_id`, a name that stays when the folder moves.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_source_folder(const char *path,
                                   const backup_options *options,
                                   backup_source **out);

/**
 * Makes a sink of a local folder, which is created if it is missing. Serves one restore at a time.
 *
 * Options (may be NULL): `restore_owner` (true, false); `main_stream_only` (true, false).
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_sink_folder(const char *path,
                                 const backup_options *options,
                                 backup_sink **out);

/**
 * Frees a source.
 */
BACKUP_API void backup_source_free(backup_source *source);

/**
 * Frees a sink.
 */
BACKUP_API void backup_sink_free(backup_sink *sink);

/**
 * Makes a client of a tenant for an application that proves itself by a client secret. Costs no request. The library wipes its copy of the
 * secret; wipe yours.
 *
 * `tenant` is its id or one of its domains, `client_id` the application's. Options (may be NULL): `cloud` (`global`, `us_government`,
 * `us_defense`, `china`; default `global`); `graph_url` and `login_url`, other addresses than the cloud's, for a gateway or a simulated tenant;
 * `ca_pem`, further certificate authorities to trust, in PEM; `user_agent`, the program's name for Microsoft
 * (`NONISV|Company|Application/1.0`).
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_secret(const backup_runtime *runtime,
                                  const char *tenant,
                                  const char *client_id,
                                  const uint8_t *secret,
                                  size_t secret_len,
                                  const backup_options *options,
                                  backup_graph **out);

/**
 * As backup_graph_secret() for an application that proves itself by a certificate: `pem` has its private key (not encrypted) and the
 * certificate that is registered with it; further certificates are its chain. Further option: `send_chain` (true, false).
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_certificate(const backup_runtime *runtime,
                                       const char *tenant,
                                       const char *client_id,
                                       const uint8_t *pem,
                                       size_t pem_len,
                                       const backup_options *options,
                                       backup_graph **out);

/**
 * As backup_graph_secret() with a token that somebody else has got. It is not renewed: once it expires, calls end with code 17.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_token(const backup_runtime *runtime,
                                 const uint8_t *token,
                                 size_t token_len,
                                 const backup_options *options,
                                 backup_graph **out);

/**
 * Frees a client. Sources and sinks made of it go on.
 */
BACKUP_API void backup_graph_free(backup_graph *graph);

/**
 * Lists every user, guests and disabled accounts included. One request for each 999. Needs the permission User.Read.All.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_users(const backup_graph *graph,
                                 backup_graph_list **out);

/**
 * Lists every group that has a drive: the Microsoft 365 groups. One request for each 999 groups. Needs the permission GroupMember.Read.All.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_groups(const backup_graph *graph,
                                  backup_graph_list **out);

/**
 * Lists every site, those of groups and persons included. One request a page. Needs the permission Sites.Read.All.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_sites(const backup_graph *graph,
                                 backup_graph_list **out);

/**
 * Lists the drives of a user, group or site: `kind` is a `backup_graph_kind`, `owner` its id, or a user's sign-in name. None for who has
 * none. Mostly one request. Needs the permission Files.Read.All.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_drives(const backup_graph *graph,
                                  uint32_t kind,
                                  const char *owner,
                                  backup_graph_list **out);

/**
 * Lists every drive of users, groups and sites, each once, with its owner. Twenty owners are asked in one request. Where the service
 * refuses to tell an owner's drives, the list has an entry of kind BACKUP_GRAPH_KIND_FAILED. Needs the permissions of the other listings.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_every_drive(const backup_graph *graph,
                                       backup_graph_list **out);

/**
 * How many entries there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_graph_list_count(const backup_graph_list *list);

/**
 * Fills `out` with the entry of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_list_at(const backup_graph_list *list,
                                   uint64_t index,
                                   backup_graph_entry *out);

/**
 * Frees a listing.
 */
BACKUP_API void backup_graph_list_free(backup_graph_list *list);

/**
 * Makes a source of a drive: a OneDrive or a document library. Costs no request.
 *
 * Options (may be NULL): `concurrency`, files that are read at once (default 4); `range_bytes`, length of the ranges in which large files are
 * read; `page_entries`, entries of a page of the listing; `versions` (`none`, `all`, or how many before the current one; default `none`);
 * `permissions` (true, false), those that items have of their own; `fields` (true, false), the columns of the library.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_drive_source(const backup_graph *graph,
                                        const char *drive_id,
                                        const backup_options *options,
                                        backup_source **out);

/**
 * Makes a sink of a drive: restores go into the folder with the id `folder_id`, or into its root if that is NULL. Costs no request.
 *
 * Options (may be NULL): `concurrency`, items that are put at once (default 4); `range_bytes`, length of the ranges in which large files are
 * sent; `versions`, `permissions`, `fields` (true, false; default false), whether what was backed up of them is written back.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_graph_drive_sink(const backup_graph *graph,
                                      const char *drive_id,
                                      const char *folder_id,
                                      const backup_options *options,
                                      backup_sink **out);

/**
 * Tells what a snapshot, named by its id, says of itself. One request.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_snapshot(const backup_repo *repo,
                                   const char *snapshot,
                                   backup_info **out);

/**
 * Fills `out` with what a list of snapshots says of it. `collection` and `kind` live as long as the info.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_info_summary(const backup_info *info, backup_snapshot *out);

/**
 * Fills `out` with the figures of its run.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_info_stats(const backup_info *info, backup_stats *out);

/**
 * The id of the snapshot that its run built on. NULL for NULL and if there was none; lives as long as the info.
 */
BACKUP_API
const char *backup_info_parent(const backup_info *info);

/**
 * How many labels it has. 0 for NULL.
 */
BACKUP_API uint64_t backup_info_label_count(const backup_info *info);

/**
 * Fills `out` with the label of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_info_label_at(const backup_info *info,
                                   uint64_t index,
                                   backup_label *out);

/**
 * Lists the items that could not be read, the first 1,000 of them; backup_stats has their number.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_info_problems(const backup_info *info,
                                   backup_problems **out);

/**
 * Judges the run by its figures: what touches at least 20 items and at least `percent` of those that the snapshot before had is
 * suspicious. The answer is a sum of `backup_suspicion` numbers; 0 for none, and for NULL. Backups ask with 25 unless told otherwise.
 */
BACKUP_API
uint32_t backup_info_suspicions(const backup_info *info,
                                uint32_t percent);

/**
 * Frees an info.
 */
BACKUP_API void backup_info_free(backup_info *info);

/**
 * Lists the key slots in order of their ids. One listing of the store.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_repo_keys(const backup_repo *repo, backup_keys **out);

/**
 * Lets another passphrase or key open the repository too. `out` (may be NULL) gets the id of its slot.
 *
 * Options (may be NULL): `kdf_memory_kib`, `kdf_passes`, `kdf_lanes`, the cost of stretching a passphrase. To change a passphrase, add the new
 * one, then remove the old one's slot. What is stored stays as it is: whoever has copied slot and passphrase before can still open it.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_add_key(const backup_repo *repo,
                                  const backup_credential *credential,
                                  const backup_options *options,
                                  backup_text **out);

/**
 * Takes a key slot, named by its id, away. Clients that have the repository open keep it open. The last slot stays: code 1.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_remove_key(const backup_repo *repo,
                                     const char *id);

/**
 * How many key slots there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_keys_count(const backup_keys *keys);

/**
 * Fills `out` with the key slot of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_keys_at(const backup_keys *keys,
                             uint64_t index,
                             backup_key *out);

/**
 * Frees a list of key slots.
 */
BACKUP_API void backup_keys_free(backup_keys *keys);

/**
 * Protects the repository against whoever can delete: from now on every writer locks what it stores, so that everything that a
 * snapshot needs is locked for so many seconds from its commit on. 0 ends that, which takes back no lock that is there.
 *
 * **A lock cannot be taken back**: what is locked is paid for until the lock ends. Locks grow with time only if
 * backup_repo_extend_locks() is run. Costs one request for each object that there is. Code 27 if the store cannot lock; then nothing has changed.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_protect(const backup_repo *repo,
                                  uint64_t period_seconds);

/**
 * Fills `out` with how the repository is locked, as is known now. Costs no request.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_protection(const backup_repo *repo,
                                     backup_protection *out);

/**
 * Makes the locks of everything in use longer, if that is due. Run it once a day: it does nothing on nine days of ten.
 *
 * `cancel`, `result`, `tampered` (names of objects that somebody has hidden or written over) and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_extend_locks(const backup_repo *repo,
                                       const backup_cancel *cancel,
                                       backup_extend_result *result,
                                       backup_names **tampered,
                                       backup_progress_fn progress,
                                       void *userdata);

/**
 * Has `log` called with lines up to `level` (a `backup_log_level`) from all repositories of this runtime, from now on and in the place of what
 * was set before; NULL ends that. A line may name items, objects and addresses, and never holds a key, a passphrase or content.
 *
 * `release` (may be NULL) is called with `userdata` once, when the callback is called no more. If this call fails, `userdata` stays the caller's
 * and is not released.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_runtime_log(const backup_runtime *runtime,
                                 uint32_t level,
                                 backup_log_fn log,
                                 backup_release_fn release,
                                 void *userdata);

/**
 * Makes an empty set of options. Which ones exist is said where they are taken.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_options_new(backup_options **out);

/**
 * Gives an option a value, in place of those it had.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_options_set(backup_options *options,
                                 const char *key,
                                 const char *value);

/**
 * Adds a value to an option that can have several.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_options_add(backup_options *options,
                                 const char *key,
                                 const char *value);

/**
 * Frees options.
 */
BACKUP_API void backup_options_free(backup_options *options);

/**
 * Opens a stream of the item; it may be opened again, for another try. `out` goes to backup_content_free(), and reads nothing any more
 * once the function has returned.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_contents_open(const backup_contents *contents,
                                   const char *stream,
                                   backup_content **out);

/**
 * The length of the stream in bytes, or BACKUP_SIZE_UNKNOWN. 0 for NULL.
 */
BACKUP_API uint64_t backup_content_size(const backup_content *content);

/**
 * Copies the next bytes into `buffer`, at most `buffer_len` of them, and says in `out_len` how many: 0 only at the end. Waits for them.
 * After an error there is nothing more to read; the item has failed unless the stream is opened again and read well.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_content_read(backup_content *content,
                                  uint8_t *buffer,
                                  size_t buffer_len,
                                  size_t *out_len);

/**
 * Frees content. It need not be read to its end.
 */
BACKUP_API void backup_content_free(backup_content *content);

/**
 * Gives the next bytes, which are copied. Waits while the engine has enough. An error says that they are not wanted or cannot be:
 * the function should free what it holds and return that error.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_reader_push(const backup_reader *reader,
                                 const uint8_t *bytes,
                                 size_t bytes_len);

/**
 * As backup_reader_push() without a copy: the bytes stay the library's until it calls `release` with `userdata`, once, on any thread,
 * also if the call fails. Worth while from 64 KiB on. They must not change; pieces of about 1 MiB are best, since all of it stays in memory.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_reader_push_owned(const backup_reader *reader,
                                       const uint8_t *bytes,
                                       size_t bytes_len,
                                       void (*release)(void *userdata),
                                       void *userdata);

/**
 * Says what became of the item: `action` is a `backup_action`; `placed` is what the sink calls it (an id, a path; at most 64 KiB), which it
 * is told again for what is below the item. The last call counts.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_placement_set(const backup_placement *placement,
                                   uint32_t action,
                                   const uint8_t *placed,
                                   size_t placed_len);

/**
 * Names something that could not be restored of an item that was placed all the same: `code` is a `backup_code`, `message` one line. The
 * restore's result lists it.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_placement_problem(const backup_placement *placement,
                                       uint32_t code,
                                       const char *message);

/**
 * Makes a sink of functions of your own: `object` is what they are called with.
 *
 * Options (may be NULL): `concurrency`, how many items are put at once (1 to 64, default 1). If the call fails, `object` stays the
 * caller's and is not released.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_sink_new(const backup_sink_vtable *vtable,
                              void *object,
                              const backup_options *options,
                              backup_sink **out);

/**
 * The item is there, in this state. An item that is refused ends the backup, also if the source goes on.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_upsert(const backup_changes *out,
                                    const backup_item *item);

/**
 * The item is there, in this state, and here is all that its first streams hold: `contents` has the bytes of the first `contents_count` of
 * them, in their order, and is copied. These streams are not opened for the backup, which costs a short item most of its time; a drill opens
 * them all the same. For content that is at hand when the item is named: rows, messages, small files. What is refused ends the backup, also
 * if the source goes on.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_upsert_with(const backup_changes *out,
                                         const backup_item *item,
                                         const backup_bytes *contents,
                                         uint64_t contents_count);

/**
 * The item of this id is gone, and what is below it, unless that is named otherwise.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_remove(const backup_changes *out,
                                    const uint8_t *id,
                                    size_t id_len);

/**
 * The item of this id (nothing if that is not known either) and what is below it could not be looked at: what the last snapshot has is
 * kept, and the result names the problem. `place` is for people; `code` is a `backup_code`, `message` one line.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_unreadable(const backup_changes *out,
                                        const uint8_t *id,
                                        size_t id_len,
                                        const char *place,
                                        uint32_t code,
                                        const char *message);

/**
 * Everything that was named so far is covered by this cursor, at most 64 KiB of the source's own. The next backup begins with the last
 * one that was given.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_cursor(const backup_changes *out,
                                    const uint8_t *cursor,
                                    size_t cursor_len);

/**
 * What follows is everything there is, although a cursor was given: the source does not know it, or not any more. What was named before
 * is forgotten.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_changes_reset(const backup_changes *out);

/**
 * Makes a source of functions of your own: `object` is what they are called with.
 *
 * `collection_id` names what is protected, unique within the repository and stable over years, at most 1,024 bytes; `collection_kind`
 * says what kind of thing it is, at most 64. Options (may be NULL): `concurrency`, how many streams are opened at once (1 to 64, default
 * 1); `label.` and a name, a label that every snapshot of it gets. If the call fails, `object` stays the caller's and is not released.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_source_new(const backup_source_vtable *vtable,
                                void *object,
                                const char *collection_id,
                                const char *collection_kind,
                                const backup_options *options,
                                backup_source **out);

/**
 * Names an object, its length in bytes, and when it was created in seconds since 1970-01-01T00:00:00Z by the store's clock (0: not
 * known). What is refused fails the listing, also if the function goes on.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_entries_add(const backup_entries *entries,
                                 const char *key,
                                 uint64_t size,
                                 int64_t modified_seconds);

/**
 * Makes a store of functions of your own: `object` is what they are called with. All functions but `release` are needed. Whether they
 * keep the promises that safety needs is tried when a repository is created. If the call fails, `object` stays the caller's and is not
 * released.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_store_new(const backup_store_vtable *vtable,
                               void *object,
                               backup_store **out);

/**
 * Creates a repository in a store and opens it. Options as for backup_repo_init(), but for those of its stores.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_init_store(const backup_runtime *runtime,
                                     const backup_store *store,
                                     const backup_options *options,
                                     const backup_credential *credential,
                                     backup_repo **out);

/**
 * Opens a repository in a store. Options as for backup_repo_open(), but for those of its stores.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_open_store(const backup_runtime *runtime,
                                     const backup_store *store,
                                     const backup_options *options,
                                     const backup_credential *credential,
                                     backup_repo **out);

/**
 * Adds Reed-Solomon parity for all objects that have none yet, so that a scrub finds and mends damage. Run it after backups and prunes;
 * it may run beside either.
 *
 * Options (may be NULL): `parity` (1 to 32) and `members` (1 to 255), which go together: so many parity objects for every so many objects; 2
 * for 20 unless told otherwise. Reads what has no parity yet, once. `cancel`, `result`, `findings` and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_add_parity(const backup_repo *repo,
                                     const backup_options *options,
                                     const backup_cancel *cancel,
                                     backup_parity_result *result,
                                     backup_problems **findings,
                                     backup_progress_fn progress,
                                     void *userdata);

/**
 * Gives what the repository's signatures are checked with, as hexadecimal text: all that a scrub needs. No secret.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_public_key(const backup_repo *repo,
                                     backup_text **out);

/**
 * Checks everything that parity protects in a store, and mends it on request, without any secret. Damage is no error: the result counts
 * and `damages` names it.
 *
 * `public_key` is a text from backup_repo_public_key(); nothing that it did not sign is believed. Options (may be NULL): `repair` (true, false),
 * put what can be computed in the place of what is damaged; two repairs of one store must not run at once. `cancel`, `result`, `damages`,
 * `findings` (sets that do not open, repairs that failed) and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_store_scrub(const backup_runtime *runtime,
                                 const backup_store *store,
                                 const char *public_key,
                                 const backup_options *options,
                                 const backup_cancel *cancel,
                                 backup_scrub_result *result,
                                 backup_damages **damages,
                                 backup_problems **findings,
                                 backup_progress_fn progress,
                                 void *userdata);

/**
 * How many damaged objects there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_damages_count(const backup_damages *damages);

/**
 * Fills `out` with the damaged object of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_damages_at(const backup_damages *damages,
                                uint64_t index,
                                backup_damage *out);

/**
 * Frees a list of damaged objects.
 */
BACKUP_API void backup_damages_free(backup_damages *damages);

/**
 * Checks a policy, a JSON object as docs/retention.md has it. The error names the rule that is wrong.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_policy_validate(const char *policy);

/**
 * Gives the rule that counts for a collection, as JSON; null if none does.
 *
 * `protectable` is a JSON object: {"collection": {"id": "...", "kind": "drive"}, "path": "Sites/A", "groups": [], "labels": [["name", "value"]],
 * "bytes": 1000}. All but `collection` may be left out.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_policy_rule_for(const char *policy,
                                     const char *protectable,
                                     backup_text **out);

/**
 * Gives what is due, and when to ask again, as JSON: {"due": [{"collection": {...}, "rule": "...", "overdue_seconds": 0, "never": true}],
 * "next_at": {"seconds": 0, "nanos": 0}}; `next_at` is null if nothing else becomes due.
 *
 * `now` is a time such as 2026-11-24T08:20:00Z; nobody else is asked for it. `listed` is a JSON array of what there is, as for
 * backup_policy_rule_for(). `last` is a JSON array of when it was backed up: [{"collection": "id", "good": {"seconds": 0, "nanos": 0}, "attempt": null}];
 * both times may be left out.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_policy_plan(const char *policy,
                                 const char *now,
                                 const char *listed,
                                 const char *last,
                                 backup_text **out);

/**
 * Gives what is protected and what is not, as JSON with the arrays `protected`, `excluded`, `unprotected`, `overdue` and `gone`.
 * Arguments as for backup_policy_plan().
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_policy_coverage(const char *policy,
                                     const char *now,
                                     const char *listed,
                                     const char *last,
                                     backup_text **out);

/**
 * How many problems there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_problems_count(const backup_problems *problems);

/**
 * Fills `out` with the problem of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_problems_at(const backup_problems *problems,
                                 uint64_t index,
                                 backup_problem *out);

/**
 * Frees a list of problems.
 */
BACKUP_API void backup_problems_free(backup_problems *problems);

/**
 * Makes a switch. It serves any number of operations, and once it is switched it stays so.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_cancel_new(backup_cancel **out);

/**
 * Asks all operations that were given the switch to stop soon; they then return code 3. Any thread, any time, also
 * from a callback.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_cancel_request(const backup_cancel *cancel);

/**
 * Frees a switch. Operations that have it go on.
 */
BACKUP_API void backup_cancel_free(backup_cancel *cancel);

/**
 * Gives back the room of what no snapshot needs. Safe beside backups, restores and other prunes.
 *
 * Options (may be NULL): `grace_seconds`, how long what is young is left alone (default 86400; a shorter one endangers nothing, but
 * makes backups under way store some things again or fail with code 26); `unused_percent`, of the bytes that stay how many may be unused (default 10);
 * `dry_run` (true, false), only tell what would be done. `cancel`, `result`, `findings` and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_prune(const backup_repo *repo,
                                const backup_options *options,
                                const backup_cancel *cancel,
                                backup_prune_result *result,
                                backup_problems **findings,
                                backup_progress_fn progress,
                                void *userdata);

/**
 * Makes a credential of a passphrase: any bytes, as they are. The library wipes its copy; wipe yours.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_credential_passphrase(const uint8_t *passphrase,
                                           size_t passphrase_len,
                                           backup_credential **out);

/**
 * Makes a credential of 32 unpredictable bytes. The library wipes its copy; wipe yours.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_credential_raw_key(const uint8_t *key,
                                        size_t key_len,
                                        backup_credential **out);

/**
 * Frees a credential.
 */
BACKUP_API void backup_credential_free(backup_credential *credential);

/**
 * Creates a repository in an empty store and opens it.
 *
 * `url`: a path or file:///path, memory://, s3://bucket/prefix, az://container/prefix, gs://bucket/prefix; what needs
 * a feature that the library was built without is code 2. Options (may be NULL): `kdf_memory_kib`, `kdf_passes`,
 * `kdf_lanes`, the cost of stretching the passphrase; `known_head` and `index_cache` as for backup_repo_open(); all others
 * go to the store (`aws_region`, `timeout` and so on), which refuses those that it does not know.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_init(const backup_runtime *runtime,
                               const char *url,
                               const backup_options *options,
                               const backup_credential *credential,
                               backup_repo **out);

/**
 * Opens a repository.
 *
 * `url` and options as for backup_repo_init(), without the `kdf_` ones. With `known_head`, a text from
 * backup_repo_head(), a store that shows an older state or another repository is refused with code 23. With `index_cache`,
 * a folder on a local disk that is made if need be, the index is kept there in mapped files instead of memory, and only
 * what is new is read at the next opening; it may be shared, deleted and lost. With `as_of`, a time such as
 * 2026-11-24T08:20:00Z by the store's clock, it is opened as it was then, whatever was hidden, overwritten or added since, and for
 * reading only; the store must keep versions. With `probe` (true, false), what the store does is tried before, as
 * backup_store_probe() does.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_open(const backup_runtime *runtime,
                               const char *url,
                               const backup_options *options,
                               const backup_credential *credential,
                               backup_repo **out);

/**
 * Gives the repository's id. Costs no request.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_repo_id(const backup_repo *repo, backup_text **out);

/**
 * Tells the end of the log. Costs no request.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_repo_head(const backup_repo *repo, backup_head *out);

/**
 * Frees a repository. Nothing is lost: what calls have returned is in the store.
 */
BACKUP_API void backup_repo_free(backup_repo *repo);

/**
 * Checks one retention, a JSON object such as {"daily": 14, "weekly": 8}. Fields that do not exist are refused.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_retention_validate(const char *retention);

/**
 * Decides which snapshots of some collections may go, and removes nothing: a rehearsal of backup_repo_retain().
 *
 * `rules` is a JSON object of retentions by the ids of collections: {"folder:/srv": {"daily": 14, "weekly": 8}}; docs/retention.md has
 * the fields. The list has every snapshot of these collections, by collection in the order of their ids, within it the oldest first.
 * Times are the store's. Costs one listing, and one request a snapshot where a retention asks for labels.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_decide(const backup_repo *repo,
                                 const char *rules,
                                 backup_decisions **out);

/**
 * Removes what backup_repo_decide() lets go, in one log entry. What was removed takes room until backup_repo_prune(). `out` (may be
 * NULL) gets what was decided.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_retain(const backup_repo *repo,
                                 const char *rules,
                                 backup_decisions **out);

/**
 * How many snapshots were decided about. 0 for NULL.
 */
BACKUP_API uint64_t backup_decisions_count(const backup_decisions *decisions);

/**
 * Fills `out` with the decision of this number, the first being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_decisions_at(const backup_decisions *decisions,
                                  uint64_t index,
                                  backup_decision *out);

/**
 * Frees a list of decisions.
 */
BACKUP_API void backup_decisions_free(backup_decisions *decisions);

/**
 * Backs up a source: a new snapshot.
 *
 * Items that cannot be read are no error; the result counts and `problems` names them. Options (may be NULL):
 * `full` (true, false), enumerate everything although the source could tell what changed; `label.NAME`, a text of your
 * own that the snapshot keeps; `compression`, how much work goes into what is stored: `adaptive` (thorough where that pays, the default), `fast` or
 * `thorough`; `checkpoint_bytes`, stored bytes after which a crash loses nothing; `suspicious_percent`, from
 * which share of the items before on a loss or a change is reported as suspicious (default 25, above 100 for never).
 * `cancel`, `result`, `problems` and `progress` may be NULL. Several backups of one repository may run at once.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_backup(const backup_repo *repo,
                                 const backup_source *source,
                                 const backup_options *options,
                                 const backup_cancel *cancel,
                                 backup_result *result,
                                 backup_problems **problems,
                                 backup_progress_fn progress,
                                 void *userdata);

/**
 * Restores a snapshot, named by its id, to a sink.
 *
 * `conflict` is a `backup_conflict`. Options (may be NULL): `only` and `except`, any number of glob patterns of paths
 * to restore and to leave out; `undo`, the id of a later snapshot: only what that one has lost or changed is brought back. Items that cannot be restored are no error; the result counts and `problems` names them.
 * `cancel`, `result`, `problems` and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_restore(const backup_repo *repo,
                                  const char *snapshot,
                                  const backup_sink *sink,
                                  uint32_t conflict,
                                  const backup_options *options,
                                  const backup_cancel *cancel,
                                  backup_restore_result *result,
                                  backup_problems **problems,
                                  backup_progress_fn progress,
                                  void *userdata);

/**
 * Checks the repository. Damage is no error: the result counts and `findings` names it.
 *
 * `level` is a `backup_level`. `cancel`, `result`, `findings` and `progress` may be NULL.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_verify(const backup_repo *repo,
                                 uint32_t level,
                                 const backup_cancel *cancel,
                                 backup_verify_result *result,
                                 backup_problems **findings,
                                 backup_progress_fn progress,
                                 void *userdata);

/**
 * Tells what a source's last run has cost so far, by name: requests, retries, milliseconds waited and so on, as the source has them.
 * A folder has none.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_source_metrics(const backup_source *source,
                                    backup_attributes **out);

/**
 * Makes a runtime with `threads` threads for input and output (0: the library chooses). Computing has one thread per
 * processor besides, started when first needed.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_runtime_new(uint32_t threads,
                                 backup_runtime **out);

/**
 * Frees a runtime. Its threads end with the last repository that uses it.
 */
BACKUP_API void backup_runtime_free(backup_runtime *runtime);

/**
 * Lists all snapshots in the order of their commits, after a look at what other writers have committed since.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_snapshots(const backup_repo *repo,
                                    backup_snapshots **out);

/**
 * Lists the newest snapshot of a collection, after a look at what other writers have committed since. The list is empty if
 * there is none.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_latest(const backup_repo *repo,
                                 const char *collection,
                                 backup_snapshots **out);

/**
 * Reads what other writers have committed since. Calls that need that do it themselves; what costs no request, such as
 * backup_repo_head(), tells what is known.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_refresh(const backup_repo *repo);

/**
 * Gives snapshots, named by their ids, up. They are no longer listed, and backup_repo_prune() gives back what only they needed.
 * Those that are not there are passed over. If one of them is held, none is removed: code 12.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_remove(const backup_repo *repo,
                                 const char *const *snapshots,
                                 size_t snapshots_count);

/**
 * Keeps snapshots, named by their ids, from being removed by whatever rule or hand, until they are released: a legal hold. If one of
 * them is not there, none is held: code 10.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_hold(const backup_repo *repo,
                               const char *const *snapshots,
                               size_t snapshots_count);

/**
 * Lets snapshots, named by their ids, be removed again. If one of them is not there, none is released: code 10.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_release(const backup_repo *repo,
                                  const char *const *snapshots,
                                  size_t snapshots_count);

/**
 * How many snapshots there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_snapshots_count(const backup_snapshots *snapshots);

/**
 * Fills `out` with the snapshot of this number, the oldest being 0.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_snapshots_at(const backup_snapshots *snapshots,
                                  uint64_t index,
                                  backup_snapshot *out);

/**
 * Frees a list of snapshots.
 */
BACKUP_API void backup_snapshots_free(backup_snapshots *snapshots);

/**
 * Opens the store at an address. Costs no request.
 *
 * `url` as for backup_repo_init(). Options (may be NULL) are the store's (`aws_region`, `timeout` and so on), which refuses those that it
 * does not know.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_store_open(const backup_runtime *runtime,
                                const char *url,
                                const backup_options *options,
                                backup_store **out);

/**
 * Tries what a store does, and refuses one that is not safe for a repository: code 27. Creates two objects of 5 KB below probe/ and
 * deletes them again; 24 requests. Creating a repository does the same.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_store_probe(const backup_runtime *runtime,
                                 const backup_store *store,
                                 backup_probe *out);

/**
 * Fills `out` with what the store was seen to do when this repository was created, or opened with the option `probe`. Costs no request.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_probe(const backup_repo *repo,
                                backup_probe *out);

/**
 * Frees a store. Operations that have it go on.
 */
BACKUP_API void backup_store_free(backup_store *store);

/**
 * The text, NUL-terminated. NULL for NULL; lives as long as the handle.
 */
BACKUP_API const char *backup_text_get(const backup_text *text);

/**
 * Its length in bytes, without the NUL. 0 for NULL.
 */
BACKUP_API uint64_t backup_text_len(const backup_text *text);

/**
 * Frees a text.
 */
BACKUP_API void backup_text_free(backup_text *text);

/**
 * How many texts there are. 0 for NULL.
 */
BACKUP_API uint64_t backup_names_count(const backup_names *names);

/**
 * The text of this number, the first being 0. NULL for NULL and where there are not so many; lives as long as the list.
 */
BACKUP_API
const char *backup_names_at(const backup_names *names,
                            uint64_t index);

/**
 * Frees a list of texts.
 */
BACKUP_API void backup_names_free(backup_names *names);

/**
 * The version of the interface that the library has.
 */
BACKUP_API uint32_t backup_abi_version(void);

/**
 * The version of the library, such as "1.2.3". Static.
 */
BACKUP_API const char *backup_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BACKUP_H */
