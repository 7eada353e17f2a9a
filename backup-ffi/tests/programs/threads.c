/*
 * Eight threads on one repository: each backs up its own source, restores it into its own sink, lists and checks. threads [ROUNDS]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"

#define THREADS 8
#define ITEMS 20

static backup_repo *repo;
static int rounds = 3;

typedef struct {
  unsigned number, round;
  unsigned put;
  int failed;
} worker;

static backup_error *changes(void *object, backup_bytes cursor, backup_changes *out) {
  const worker *own = object;
  unsigned i;
  (void)cursor;
  for (i = 0; i < ITEMS; i++) {
    char id[32], tag[32];
    backup_stream stream = {"content", BACKUP_SIZE_UNKNOWN, 0};
    backup_item item;
    backup_error *error;
    memset(&item, 0, sizeof item);
    snprintf(id, sizeof id, "item %u", i);
    snprintf(tag, sizeof tag, "%u", own->round);
    item.struct_size = sizeof item;
    item.kind = BACKUP_ITEM_KIND_FILE;
    item.id.bytes = item.name.bytes = (const uint8_t *)id;
    item.id.len = item.name.len = strlen(id);
    item.tag.bytes = (const uint8_t *)tag;
    item.tag.len = strlen(tag);
    item.streams = &stream;
    item.streams_count = 1;
    if ((error = backup_changes_upsert(out, &item)) != NULL) return error;
  }
  return NULL;
}

static backup_error *open_stream(void *object, const backup_item *item, const char *stream, backup_reader *out) {
  const worker *own = object;
  uint8_t bytes[4000];
  unsigned i;
  (void)stream;
  memset(bytes, (int)(own->number * 16 + own->round), sizeof bytes);
  memcpy(bytes, item->id.bytes, (size_t)item->id.len);
  for (i = 0; i < 30; i++) {
    backup_error *error = backup_reader_push(out, bytes, sizeof bytes);
    if (error != NULL) return error;
  }
  return NULL;
}

static backup_error *put(void *object, const backup_item *item, const backup_place *place, const backup_contents *contents,
                         backup_placement *out) {
  worker *own = object;
  backup_content *content = NULL;
  backup_error *error;
  uint8_t buffer[3000];
  size_t len = 0, all = 0;
  (void)place;
  if ((error = backup_contents_open(contents, "content", &content)) != NULL) return error;
  while ((error = backup_content_read(content, buffer, sizeof buffer, &len)) == NULL && len > 0) all += len;
  backup_content_free(content);
  if (error != NULL) return error;
  if (all == 120000) own->put++;
  return backup_placement_set(out, BACKUP_ACTION_CREATED, item->id.bytes, (size_t)item->id.len);
}

static int good(worker *own, backup_error *error) {
  if (error == NULL) return 1;
  fprintf(stderr, "%u: [%u] %s\n", own->number, (unsigned)backup_error_code(error), backup_error_message(error));
  backup_error_free(error);
  own->failed = 1;
  return 0;
}

static void *work(void *userdata) {
  const backup_source_vtable source_functions = {sizeof source_functions, 0, changes, open_stream, NULL, NULL};
  const backup_sink_vtable sink_functions = {sizeof sink_functions, 0, put, NULL, NULL, NULL};
  worker *own = userdata;
  backup_source *source = NULL;
  backup_sink *sink = NULL;
  char collection[32];
  snprintf(collection, sizeof collection, "worker %u", own->number);
  if (!good(own, backup_source_new(&source_functions, own, collection, "test", NULL, &source))) return NULL;
  if (!good(own, backup_sink_new(&sink_functions, own, NULL, &sink))) return NULL;
  for (own->round = 0; own->round < (unsigned)rounds && !own->failed; own->round++) {
    backup_result done;
    backup_snapshots *list = NULL;
    memset(&done, 0, sizeof done);
    done.struct_size = sizeof done;
    own->put = 0;
    if (!good(own, backup_repo_backup(repo, source, NULL, NULL, &done, NULL, NULL, NULL))) break;
    if (!good(own, backup_repo_restore(repo, done.snapshot, sink, 0, NULL, NULL, NULL, NULL, NULL, NULL))) break;
    if (!good(own, backup_repo_snapshots(repo, &list))) break;
    if (done.items != ITEMS || own->put != ITEMS || backup_snapshots_count(list) <= own->round) own->failed = 1;
    backup_snapshots_free(list);
  }
  backup_sink_free(sink);
  backup_source_free(source);
  return NULL;
}

int main(int argc, char **argv) {
  static const uint8_t key[32] = {9};
  backup_runtime *runtime = NULL;
  backup_credential *credential = NULL;
  backup_verify_result verified = {0};
  pthread_t threads[THREADS];
  worker workers[THREADS];
  unsigned i;
  int failed = 0;
  if (argc > 1) rounds = atoi(argv[1]);
  verified.struct_size = sizeof verified;
  memset(workers, 0, sizeof workers);
  if (backup_runtime_new(0, &runtime) != NULL) return 2;
  if (backup_credential_raw_key(key, sizeof key, &credential) != NULL) return 2;
  if (backup_repo_init(runtime, "memory://", NULL, credential, &repo) != NULL) return 2;
  for (i = 0; i < THREADS; i++) {
    workers[i].number = i;
    if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) return 2;
  }
  for (i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    failed |= workers[i].failed;
  }
  failed |= backup_repo_verify(repo, BACKUP_LEVEL_EVERY_BYTE, NULL, &verified, NULL, NULL, NULL) != NULL || !verified.sound;
  failed |= verified.snapshots != (uint64_t)(THREADS * rounds);
  backup_repo_free(repo);
  backup_credential_free(credential);
  backup_runtime_free(runtime);
  return failed;
}
