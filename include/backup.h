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
 *            made the call, one at a time; they must not call a function that takes a backup_repo or backup_runtime.
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
 * A switch that stops operations from another thread.
 */
typedef struct backup_cancel backup_cancel;

/**
 * A passphrase or a key. Wiped when it is freed.
 */
typedef struct backup_credential backup_credential;

/**
 * Why a call failed. Belongs to the caller.
 */
typedef struct backup_error backup_error;

/**
 * Names and values for a call that takes options.
 */
typedef struct backup_options backup_options;

/**
 * A list of problems.
 */
typedef struct backup_problems backup_problems;

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
} backup_result;

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
} backup_snapshot;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

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
 * what is new is read at the next opening; it may be shared, deleted and lost.
 */
BACKUP_API
BACKUP_NODISCARD
backup_error *backup_repo_open(const backup_runtime *runtime,
                               const char *url,
                               const backup_options *options,
                               const backup_credential *credential,
                               backup_repo **out);

/**
 * Tells the end of the log. Costs no request.
 */
BACKUP_API BACKUP_NODISCARD backup_error *backup_repo_head(const backup_repo *repo, backup_head *out);

/**
 * Frees a repository. Nothing is lost: what calls have returned is in the store.
 */
BACKUP_API void backup_repo_free(backup_repo *repo);

/**
 * Backs up a source: a new snapshot.
 *
 * Items that cannot be read are no error; the result counts and `problems` names them. Options (may be NULL):
 * `full` (true, false), enumerate everything although the source could tell what changed; `label.NAME`, a text of your
 * own that the snapshot keeps; `checkpoint_bytes`, stored bytes after which a crash loses nothing.
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
 * to restore and to leave out. Items that cannot be restored are no error; the result counts and `problems` names them.
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
