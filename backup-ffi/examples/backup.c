/*
 * Backs up a folder into a new repository, restores it, and shows what errors look like.
 *
 *   backup REPOSITORY FOLDER TARGET
 *
 * Exits with 0 only if every step did what its comment says; tests run it that way.
 */
#include <stdio.h>
#include <string.h>

#include "backup.h"

/* Prints and frees an error; gives its code back, 0 for none. */
static uint32_t report(const char *what, backup_error *error) {
  uint32_t code = backup_error_code(error);
  if (error != NULL) {
    const char *item = backup_error_item(error);
    fprintf(stderr, "%s: [%u] %s (hint: %s; about: %s)\n", what, (unsigned)code, backup_error_message(error),
            backup_error_hint(error), item != NULL ? item : "-");
    backup_error_free(error);
  }
  return code;
}

static int32_t show(const backup_progress *progress, void *userdata) {
  unsigned *calls = userdata;
  *calls += 1;
  fprintf(stderr, "phase %u: %llu items, %llu bytes\n", (unsigned)progress->phase,
          (unsigned long long)progress->items_done, (unsigned long long)progress->bytes_done);
  return 0;
}

static int32_t stop_at_once(const backup_progress *progress, void *userdata) {
  (void)progress;
  (void)userdata;
  return 1;
}

/* Calls with arguments that are missing are errors, not crashes. */
static int refuses_nonsense(const backup_runtime *runtime) {
  backup_repo *repo = NULL;
  backup_result short_result = {0};
  int ok = report("no runtime", backup_runtime_new(1, NULL)) == BACKUP_CODE_INVALID_ARGUMENT;
  ok &= report("no url", backup_repo_open(runtime, NULL, NULL, NULL, &repo)) == BACKUP_CODE_INVALID_ARGUMENT;
  ok &= report("no repository", backup_repo_backup(NULL, NULL, NULL, NULL, &short_result, NULL, NULL, NULL)) ==
        BACKUP_CODE_INVALID_ARGUMENT;
  ok &= report("no options", backup_options_set(NULL, "key", "value")) == BACKUP_CODE_INVALID_ARGUMENT;
  backup_repo_free(NULL);
  backup_error_free(NULL);
  return ok && repo == NULL && backup_error_message(NULL) == NULL && backup_snapshots_count(NULL) == 0;
}

static int list_snapshots(const backup_repo *repo, const char *expected) {
  backup_snapshots *list = NULL;
  backup_snapshot snapshot = {0};
  int found = 0;
  uint64_t i;
  snapshot.struct_size = sizeof snapshot;
  if (report("snapshots", backup_repo_snapshots(repo, &list))) return 0;
  for (i = 0; i < backup_snapshots_count(list); i++) {
    if (report("snapshot", backup_snapshots_at(list, i, &snapshot))) break;
    printf("snapshot %s of %s, state %u\n", snapshot.id, snapshot.collection, (unsigned)snapshot.state);
    found += strcmp(snapshot.id, expected) == 0;
  }
  found += report("beyond", backup_snapshots_at(list, i, &snapshot)) == BACKUP_CODE_NOT_FOUND;
  backup_snapshots_free(list);
  return found == 2;
}

int main(int argc, char **argv) {
  const char *passphrase = "correct horse battery staple";
  backup_runtime *runtime = NULL;
  backup_credential *credential = NULL, *wrong = NULL;
  backup_repo *repo = NULL, *other = NULL;
  backup_options *exclude = NULL, *labels = NULL;
  backup_source *source = NULL;
  backup_sink *sink = NULL;
  backup_problems *problems = NULL;
  backup_result done = {0};
  backup_restore_result restored = {0};
  backup_verify_result verified = {0};
  unsigned calls = 0;
  int status = 1;

  if (argc != 4) {
    fprintf(stderr, "usage: backup REPOSITORY FOLDER TARGET\n");
    return 2;
  }
  if (backup_abi_version() != BACKUP_ABI_VERSION) return 2;
  done.struct_size = sizeof done;
  restored.struct_size = sizeof restored;
  verified.struct_size = sizeof verified;

  if (report("runtime", backup_runtime_new(0, &runtime))) goto out;
  if (!refuses_nonsense(runtime)) goto out;
  if (report("credential",
             backup_credential_passphrase((const uint8_t *)passphrase, strlen(passphrase), &credential)))
    goto out;
  if (report("init", backup_repo_init(runtime, argv[1], NULL, credential, &repo))) goto out;

  /* What is to be backed up, and a label that the snapshot keeps. */
  if (report("options", backup_options_new(&exclude))) goto out;
  if (report("options", backup_options_add(exclude, "exclude", "*.tmp"))) goto out;
  if (report("source", backup_source_folder(argv[2], exclude, &source))) goto out;
  if (report("options", backup_options_new(&labels))) goto out;
  if (report("options", backup_options_set(labels, "label.ticket", "4711"))) goto out;

  /* A callback that returns anything but 0 cancels. */
  if (report("canceled", backup_repo_backup(repo, source, labels, NULL, &done, NULL, stop_at_once, NULL)) !=
      BACKUP_CODE_CANCELED)
    goto out;
  if (report("backup", backup_repo_backup(repo, source, labels, NULL, &done, &problems, show, &calls))) goto out;
  printf("backed up %llu items, %llu bytes, %llu problems\n", (unsigned long long)done.items,
         (unsigned long long)done.bytes, (unsigned long long)backup_problems_count(problems));
  if (calls == 0 || done.state != BACKUP_STATE_COMPLETE || backup_problems_count(problems) != 0) goto out;
  if (!list_snapshots(repo, done.snapshot)) goto out;

  if (report("sink", backup_sink_folder(argv[3], NULL, &sink))) goto out;
  if (report("restore", backup_repo_restore(repo, done.snapshot, sink, BACKUP_CONFLICT_SKIP, NULL, NULL, &restored,
                                            NULL, NULL, NULL)))
    goto out;
  printf("restored %llu items\n", (unsigned long long)restored.created);
  if (report("no such choice", backup_repo_restore(repo, done.snapshot, sink, 77, NULL, NULL, NULL, NULL, NULL, NULL)) !=
      BACKUP_CODE_INVALID_ARGUMENT)
    goto out;
  if (report("verify", backup_repo_verify(repo, BACKUP_LEVEL_EVERY_BYTE, NULL, &verified, NULL, NULL, NULL))) goto out;
  if (!verified.sound) goto out;

  /* Another passphrase does not open it. */
  if (report("credential", backup_credential_passphrase((const uint8_t *)"wrong", 5, &wrong))) goto out;
  if (report("wrong passphrase", backup_repo_open(runtime, argv[1], NULL, wrong, &other)) != BACKUP_CODE_WRONG_KEY)
    goto out;
  status = 0;

out:
  backup_problems_free(problems);
  backup_sink_free(sink);
  backup_source_free(source);
  backup_options_free(labels);
  backup_options_free(exclude);
  backup_repo_free(other);
  backup_repo_free(repo);
  backup_credential_free(wrong);
  backup_credential_free(credential);
  backup_runtime_free(runtime);
  return status;
}
