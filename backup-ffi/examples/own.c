/*
 * A source and a sink of one's own: a stream of bytes that no file holds is backed up, and restored into a callback.
 *
 *   own [REPOSITORY]          (default: memory://)
 *
 * Exits with 0 only if every byte came back; tests run it that way.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backup.h"

/* What the stream holds: a function of the position, so that nobody has to keep it. */
#define STREAM_BYTES 5000000u

static uint8_t byte_at(uint64_t position) { return (uint8_t)((position * 2654435761u) >> 13); }

static backup_bytes text(const char *text) {
  backup_bytes bytes = {(const uint8_t *)text, strlen(text)};
  return bytes;
}

/* Names everything there is: one item with one stream. It has no cursor, so each backup asks again; the tag says whether to read. */
static backup_error *changes(void *object, backup_bytes cursor, backup_changes *out) {
  backup_stream stream = {"content", STREAM_BYTES, 0};
  backup_item item;
  (void)object;
  (void)cursor;
  memset(&item, 0, sizeof item);
  item.struct_size = sizeof item;
  item.kind = BACKUP_ITEM_KIND_FILE;
  item.id = item.name = text("measurements");
  item.tag = text("version 1");
  item.streams = &stream;
  item.streams_count = 1;
  return backup_changes_upsert(out, &item);
}

/* Gives the bytes, a piece at a time: backup_reader_push() waits while the library has enough. */
static backup_error *open_stream(void *object, const backup_item *item, const char *stream, backup_reader *out) {
  uint64_t position = 0;
  unsigned *opened = object;
  (void)item;
  (void)stream;
  *opened += 1;
  while (position < STREAM_BYTES) {
    uint8_t piece[10000];
    size_t len = 0;
    backup_error *error;
    while (len < sizeof piece && position < STREAM_BYTES) piece[len++] = byte_at(position++);
    if ((error = backup_reader_push(out, piece, len)) != NULL) return error; /* not wanted any more */
  }
  return NULL;
}

/* What the sink has seen. */
typedef struct {
  uint64_t bytes;
  int wrong;
  int finished;
} seen;

static backup_error *put(void *object, const backup_item *item, const backup_place *place, const backup_contents *contents,
                         backup_placement *out) {
  seen *all = object;
  backup_content *content = NULL;
  backup_error *error;
  uint8_t buffer[8192];
  size_t len = 0;
  (void)place;
  if (item->streams_count != 1) return backup_error_new(BACKUP_CODE_UNSUPPORTED, "this sink takes one stream", NULL, 0);
  if ((error = backup_contents_open(contents, item->streams[0].name, &content)) != NULL) return error;
  do {
    size_t i;
    if ((error = backup_content_read(content, buffer, sizeof buffer, &len)) != NULL) break;
    for (i = 0; i < len; i++) all->wrong |= buffer[i] != byte_at(all->bytes++);
  } while (len > 0);
  backup_content_free(content);
  if (error != NULL) return error;
  return backup_placement_set(out, BACKUP_ACTION_CREATED, item->id.bytes, (size_t)item->id.len);
}

static backup_error *finish(void *object) {
  seen *all = object;
  all->finished = 1;
  return NULL;
}

int main(int argc, char **argv) {
  const char *place = argc > 1 ? argv[1] : "memory://";
  const uint8_t key[32] = {42}; /* 32 bytes that nobody can guess, from wherever you keep keys */
  const backup_source_vtable source_functions = {sizeof source_functions, 0, changes, open_stream, NULL, NULL};
  const backup_sink_vtable sink_functions = {sizeof sink_functions, 0, put, NULL, finish, NULL};
  backup_runtime *runtime = NULL;
  backup_credential *credential = NULL;
  backup_repo *repo = NULL;
  backup_source *source = NULL;
  backup_sink *sink = NULL;
  backup_result done;
  backup_error *error;
  unsigned opened = 0;
  seen restored = {0, 0, 0};
  int status = 1;

  memset(&done, 0, sizeof done);
  done.struct_size = sizeof done;
  if ((error = backup_runtime_new(0, &runtime))) goto out;
  if ((error = backup_credential_raw_key(key, sizeof key, &credential))) goto out;
  if ((error = backup_repo_init(runtime, place, NULL, credential, &repo))) goto out;
  if ((error = backup_source_new(&source_functions, &opened, "instrument:7", "instrument", NULL, &source))) goto out;
  if ((error = backup_sink_new(&sink_functions, &restored, NULL, &sink))) goto out;

  if ((error = backup_repo_backup(repo, source, NULL, NULL, &done, NULL, NULL, NULL))) goto out;
  printf("backed up %" PRIu64 " bytes, stored %" PRIu64 "\n", done.bytes, done.bytes_stored);
  /* The tag is the same, so the second one reads nothing. */
  if ((error = backup_repo_backup(repo, source, NULL, NULL, &done, NULL, NULL, NULL))) goto out;
  if (done.state != BACKUP_STATE_COMPLETE || done.bytes != STREAM_BYTES || opened != 1) goto out;

  if ((error = backup_repo_restore(repo, done.snapshot, sink, BACKUP_CONFLICT_SKIP, NULL, NULL, NULL, NULL, NULL, NULL)))
    goto out;
  printf("restored %" PRIu64 " bytes\n", restored.bytes);
  if (restored.bytes == STREAM_BYTES && !restored.wrong && restored.finished) status = 0;

out:
  if (error != NULL) fprintf(stderr, "own: [%u] %s\n", (unsigned)backup_error_code(error), backup_error_detail(error));
  backup_error_free(error);
  backup_sink_free(sink);
  backup_source_free(source);
  backup_repo_free(repo);
  backup_credential_free(credential);
  backup_runtime_free(runtime);
  return status;
}
