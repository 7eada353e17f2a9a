/*
 * Sources, sinks and stores that do everything wrong. Each kind of nonsense must come back as an error that says what it was, and the
 * repository must be what it was before.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "backup.h"

static int failures;
static backup_runtime *runtime;
static backup_credential *credential;
static backup_repo *repo;
static backup_cancel *stop;
static unsigned long emitted;

static void expect(const char *what, backup_error *error, uint32_t code, const char *part) {
  const char *message = error != NULL ? backup_error_message(error) : "success";
  if (backup_error_code(error) != code || strstr(message, part) == NULL) {
    fprintf(stderr, "%s: [%u] %s; expected [%u] ...%s...\n", what, (unsigned)backup_error_code(error), message,
            (unsigned)code, part);
    failures++;
  }
  backup_error_free(error);
}

static backup_bytes text(const char *text) {
  backup_bytes bytes = {(const uint8_t *)text, strlen(text)};
  return bytes;
}

static const backup_stream content = {"content", BACKUP_SIZE_UNKNOWN, 0};

static backup_item item(const char *id) {
  backup_item item;
  memset(&item, 0, sizeof item);
  item.struct_size = sizeof item;
  item.kind = BACKUP_ITEM_KIND_FILE;
  item.id = item.name = text(id);
  item.streams = &content;
  item.streams_count = 1;
  return item;
}

/* What a source does wrong; the object of the source points to one. */
enum wrong {
  NOTHING,
  NO_ID,
  NO_KIND,
  BAD_STREAM_NAME,
  STREAMS_OF_NULL,
  SHORT_STRUCT,
  LONG_STRUCT,
  LENGTH_BEYOND_MEMORY,
  NULL_ITEM,
  SWALLOWED,
  EMPTY_CURSOR,
  MORE_CONTENTS,
  CONTENTS_OF_NULL,
  ERROR_WITHOUT_MESSAGE,
  ERROR_WITHOUT_CODE,
  ERROR_OF_LIBRARY,
  UNAUTHENTICATED,
  ENDLESS_CHANGES,
  ENDLESS_CONTENT,
  CALLS_BACK,
  NULL_BYTES,
  WRONG_SIZE
};

static backup_error *changes(void *object, backup_bytes cursor, backup_changes *out) {
  const enum wrong wrong = *(const enum wrong *)object;
  backup_item one = item("one");
  backup_stream bad = {"content", 1, 0};
  backup_error *error = NULL;
  backup_snapshots *list = NULL;
  uint8_t longer[sizeof(backup_item) + 8];
  (void)cursor;
  switch (wrong) {
    case NO_ID: one.id.len = 0; break;
    case NO_KIND: one.kind = 0; break;
    case BAD_STREAM_NAME: bad.name = "\xff\xfe"; one.streams = &bad; break;
    case STREAMS_OF_NULL: one.streams = NULL; one.streams_count = 3; break;
    case SHORT_STRUCT: one.struct_size = 8; break;
    case LENGTH_BEYOND_MEMORY: one.name.len = UINT64_MAX; break;
    case NULL_ITEM: return backup_changes_upsert(out, NULL);
    case LONG_STRUCT: /* of a later version, with something in it */
      one.struct_size = sizeof longer;
      memset(longer, 1, sizeof longer);
      memcpy(longer, &one, sizeof one);
      return backup_changes_upsert(out, (const backup_item *)(const void *)longer);
    case SWALLOWED:
      one.id.len = 0;
      backup_error_free(backup_changes_upsert(out, &one));
      return NULL;
    case EMPTY_CURSOR: return backup_changes_cursor(out, NULL, 0);
    case MORE_CONTENTS: return backup_changes_upsert_with(out, &one, &one.id, 2);
    case CONTENTS_OF_NULL: return backup_changes_upsert_with(out, &one, NULL, 1);
    case ERROR_WITHOUT_MESSAGE: return backup_error_new(BACKUP_CODE_UNAVAILABLE, NULL, NULL, 5000);
    case ERROR_WITHOUT_CODE: return backup_error_new(12345, "of no kind", "an item", 0);
    case ERROR_OF_LIBRARY: return backup_error_new(BACKUP_CODE_BUG, "not \xff text\nat all", NULL, 0);
    case CALLS_BACK: return backup_repo_snapshots(repo, &list);
    case ENDLESS_CHANGES:
      while (error == NULL) {
        if (emitted++ == 1000) backup_error_free(backup_cancel_request(stop));
        error = backup_changes_upsert(out, &one);
      }
      return error;
    case WRONG_SIZE: bad.size = 7; one.streams = &bad; break;
    default: break;
  }
  if (wrong == NOTHING) one.id = one.name = text("good");
  return backup_changes_upsert(out, &one);
}

static backup_error *open_stream(void *object, const backup_item *item, const char *stream, backup_reader *out) {
  static const uint8_t bytes[100000];
  const enum wrong wrong = *(const enum wrong *)object;
  backup_error *error = NULL;
  (void)item;
  (void)stream;
  switch (wrong) {
    case UNAUTHENTICATED: return backup_error_new(BACKUP_CODE_UNAUTHENTICATED, "who are you", NULL, 0);
    case NULL_BYTES: return backup_reader_push(out, NULL, 10);
    case ENDLESS_CONTENT:
      while (error == NULL) {
        if (emitted++ == 100) backup_error_free(backup_cancel_request(stop));
        error = backup_reader_push(out, bytes, sizeof bytes);
      }
      return error;
    default: return backup_reader_push(out, bytes, 5);
  }
}

static backup_error *back_up(enum wrong wrong, backup_result *done, backup_problems **problems) {
  const backup_source_vtable functions = {sizeof functions, 0, changes, open_stream, NULL, NULL};
  backup_source *source = NULL;
  backup_error *error = backup_source_new(&functions, &wrong, "nonsense", "test", NULL, &source);
  emitted = 0;
  backup_cancel_free(stop);
  stop = NULL;
  if (error == NULL) error = backup_cancel_new(&stop);
  if (error == NULL) error = backup_repo_backup(repo, source, NULL, stop, done, problems, NULL, NULL);
  backup_source_free(source);
  return error;
}

static void source_does(const char *what, enum wrong wrong, uint32_t code, const char *part) {
  expect(what, back_up(wrong, NULL, NULL), code, part);
}

static void sources(void) {
  backup_source_vtable functions = {0};
  backup_source *source = NULL;
  backup_problems *problems = NULL;
  backup_problem problem = {sizeof problem, 0, NULL, NULL};
  expect("no size", backup_source_new(&functions, NULL, "a", "b", NULL, &source), 1, "struct_size");
  functions.struct_size = sizeof functions;
  expect("no functions", backup_source_new(&functions, NULL, "a", "b", NULL, &source), 1, "`changes`");
  functions.changes = changes;
  expect("no open", backup_source_new(&functions, NULL, "a", "b", NULL, &source), 1, "`open`");
  functions.open = open_stream;
  expect("no collection", backup_source_new(&functions, NULL, "", "b", NULL, &source), 1, "collection");
  expect("bad collection", backup_source_new(&functions, NULL, "\xff", "b", NULL, &source), 1, "not UTF-8");

  source_does("no id", NO_ID, 1, "id is empty");
  source_does("no kind", NO_KIND, 1, "`kind`");
  source_does("bad stream name", BAD_STREAM_NAME, 1, "`stream name` is not UTF-8");
  source_does("streams of NULL", STREAMS_OF_NULL, 1, "`streams` is NULL");
  source_does("short struct", SHORT_STRUCT, 1, "struct_size");
  source_does("long struct", LONG_STRUCT, 2, "does not have");
  source_does("length beyond memory", LENGTH_BEYOND_MEMORY, 1, "longer than memory");
  source_does("NULL item", NULL_ITEM, 1, "`item` is NULL");
  source_does("swallowed", SWALLOWED, 1, "id is empty");
  source_does("empty cursor", EMPTY_CURSOR, 1, "`cursor` is empty");
  source_does("more contents than streams", MORE_CONTENTS, 1, "`contents_count`");
  source_does("contents of NULL", CONTENTS_OF_NULL, 1, "`contents` is NULL");
  source_does("error without message", ERROR_WITHOUT_MESSAGE, 14, "does not say why");
  source_does("error without code", ERROR_WITHOUT_CODE, 40, "of no kind: an item");
  source_does("error of the library", ERROR_OF_LIBRARY, 40, "at all");
  source_does("unauthenticated", UNAUTHENTICATED, 17, "who are you");
  source_does("calls back", CALLS_BACK, 1, "from a callback");
  source_does("endless changes", ENDLESS_CHANGES, 3, "cancel");
  source_does("endless content", ENDLESS_CONTENT, 3, "cancel");

  /* What concerns one item only is in the list of problems. */
  expect("bytes of NULL", back_up(NULL_BYTES, NULL, &problems), 0, "success");
  if (backup_problems_count(problems) != 1) failures++;
  expect("the problem", backup_problems_at(problems, 0, &problem), 0, "success");
  if (problem.code != 1 || strstr(problem.message, "`bytes` is NULL") == NULL) failures++;
  backup_problems_free(problems);
}

static backup_error *silent_put(void *object, const backup_item *item, const backup_place *place,
                                const backup_contents *contents, backup_placement *out) {
  backup_content *content = NULL;
  backup_error *error;
  uint8_t byte;
  size_t len = 99;
  (void)item;
  (void)place;
  switch (*(const int *)object) {
    case 0: return NULL;
    case 1: return backup_placement_set(out, 77, NULL, 0);
    case 2: return backup_placement_set(out, 0, NULL, 5);
    case 3: return backup_contents_open(contents, "no such stream", &content);
    case 4: /* An error that is swallowed is one all the same. */
      backup_error_free(backup_placement_set(out, 77, NULL, 0));
      return backup_placement_set(out, BACKUP_ACTION_CREATED, (const uint8_t *)"x", 1);
    default: /* Content that outlives its call gives errors, not bytes. */
      if ((error = backup_contents_open(contents, "content", &content)) != NULL) return error;
      error = backup_content_read(content, &byte, 0, &len);
      expect("no room", error, 1, "`buffer_len` is 0");
      backup_content_free(content);
      return backup_placement_set(out, BACKUP_ACTION_CREATED, (const uint8_t *)"x", 1);
  }
}

static void sinks(const char *snapshot) {
  static const char *const parts[] = {"does not say what became", "`action`", "`placed` is NULL", "", "`action`", NULL};
  static const uint32_t codes[] = {40, 1, 1, 10, 1, 0};
  backup_sink_vtable functions = {0};
  backup_sink *sink = NULL;
  int i;
  functions.struct_size = sizeof functions;
  expect("no put", backup_sink_new(&functions, NULL, NULL, &sink), 1, "`put`");
  functions.put = silent_put;
  for (i = 0; i < 6; i++) {
    backup_problems *problems = NULL;
    backup_problem problem = {sizeof problem, 0, NULL, NULL};
    expect("sink", backup_sink_new(&functions, &i, NULL, &sink), 0, "success");
    expect("restore", backup_repo_restore(repo, snapshot, sink, 0, NULL, NULL, NULL, &problems, NULL, NULL), 0, "success");
    if (backup_problems_count(problems) != (parts[i] != NULL)) failures++;
    if (parts[i] != NULL) {
      expect("the problem", backup_problems_at(problems, 0, &problem), 0, "success");
      if (problem.code != codes[i] || strstr(problem.message, parts[i]) == NULL) {
        fprintf(stderr, "sink %d: [%u] %s\n", i, (unsigned)problem.code, problem.message);
        failures++;
      }
    }
    backup_problems_free(problems);
    backup_sink_free(sink);
    sink = NULL;
  }
}

/* A store that answers every question wrongly in one way. */
static backup_error *create(void *object, const char *key, const uint8_t *bytes, size_t len, uint32_t *created) {
  (void)key;
  (void)bytes;
  (void)len;
  if (*(const int *)object == 0) return NULL; /* without a word */
  *created = *(const int *)object == 1 ? 7 : 1;
  return NULL;
}

static backup_error *read_object(void *object, const char *key, uint64_t offset, uint64_t len, backup_reader *out) {
  static const uint8_t bytes[65536];
  backup_error *error = NULL;
  (void)key;
  (void)offset;
  if (*(const int *)object == 2) return backup_reader_push(out, bytes, len != BACKUP_WHOLE && len > 1 ? (size_t)len - 1 : 1);
  if (*(const int *)object > 3) return backup_error_new(BACKUP_CODE_NOT_FOUND, "never seen it", key, 0);
  while (error == NULL) error = backup_reader_push(out, bytes, sizeof bytes); /* never ends by itself */
  return error;
}

static backup_error *size_of(void *object, const char *key, uint64_t *size) {
  (void)object;
  (void)key;
  (void)size;
  return NULL;
}

static backup_error *list_objects(void *object, const char *prefix, backup_entries *out) {
  (void)prefix;
  if (*(const int *)object == 4) return backup_entries_add(out, "../../etc/passwd", 1, 0);
  return *(const int *)object == 5 ? backup_entries_add(out, NULL, 1, 0) : NULL;
}

static backup_error *remove_object(void *object, const char *key) {
  (void)object;
  (void)key;
  return NULL;
}

static void stores(void) {
  backup_store_vtable functions = {sizeof functions, 0, create, read_object, size_of, list_objects, remove_object, NULL};
  backup_store *store = NULL;
  backup_repo *other = NULL;
  int i;
  functions.remove = NULL;
  expect("no remove", backup_store_new(&functions, NULL, &store), 1, "`remove`");
  functions.remove = remove_object;
  for (i = 0; i < 6; i++) {
    backup_error *error;
    expect("store", backup_store_new(&functions, &i, &store), 0, "success");
    error = backup_repo_init_store(runtime, store, NULL, credential, &other);
    fprintf(stderr, "store %d: %s\n", i, backup_error_message(error));
    if (error == NULL) failures++;
    backup_error_free(error);
    error = backup_repo_open_store(runtime, store, NULL, credential, &other);
    fprintf(stderr, "store %d: %s\n", i, backup_error_message(error));
    if (error == NULL) failures++;
    backup_error_free(error);
    backup_store_free(store);
    store = NULL;
  }
}

int main(void) {
  backup_result done = {0};
  backup_verify_result verified = {0};
  static const uint8_t key[32] = {7};
  done.struct_size = sizeof done;
  verified.struct_size = sizeof verified;
  expect("runtime", backup_runtime_new(1, &runtime), 0, "success");
  expect("credential", backup_credential_raw_key(key, sizeof key, &credential), 0, "success");
  expect("init", backup_repo_init(runtime, "memory://", NULL, credential, &repo), 0, "success");
  expect("good backup", back_up(NOTHING, &done, NULL), 0, "success");

  sources();
  sinks(done.snapshot);
  stores();

  /* Nothing of it has done any harm. */
  expect("verify", backup_repo_verify(repo, BACKUP_LEVEL_EVERY_BYTE, NULL, &verified, NULL, NULL, NULL), 0, "success");
  if (!verified.sound) failures++;
  expect("good backup", back_up(NOTHING, &done, NULL), 0, "success");
  if (done.items != 1 || done.bytes != 5) failures++;

  backup_cancel_free(stop);
  backup_repo_free(repo);
  backup_credential_free(credential);
  backup_runtime_free(runtime);
  if (failures > 0) fprintf(stderr, "%d failures\n", failures);
  return failures > 0;
}
