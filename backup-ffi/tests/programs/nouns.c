/*
 * Uses every noun of the C interface once, and holds what comes back against what must.
 *
 *   nouns REPOSITORY BEFORE AFTER TARGET
 *
 * BEFORE and AFTER are folders, two states of the same: `nouns.rs` makes them. Exits with 0 only if all is as it must be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup.h"

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);     \
      exit(1);                                                            \
    }                                                                     \
  } while (0)
#define MUST(call) fails_with((call), 0, __LINE__, #call)
#define FAILS(code, call) fails_with((call), (code), __LINE__, #call)

static void fails_with(backup_error *error, uint32_t code, int line, const char *call) {
  if (backup_error_code(error) != code) {
    fprintf(stderr, "line %d: %s: %s instead of code %u\n", line, call,
            error != NULL ? backup_error_detail(error) : "success", (unsigned)code);
    exit(1);
  }
  backup_error_free(error);
}

static int32_t stop(const backup_progress *progress, void *userdata) {
  (void)progress;
  *(int *)userdata += 1;
  return 1;
}

static backup_options *option(const char *key, const char *value) {
  backup_options *options = NULL;
  MUST(backup_options_new(&options));
  MUST(backup_options_set(options, key, value));
  return options;
}

/* Backs a folder up as a state of the collection "work". */
static backup_result back_up(const backup_repo *repo, const char *folder, const char *percent) {
  backup_options *named = option("collection_id", "work"), *how = option("suspicious_percent", percent);
  backup_source *source = NULL;
  backup_attributes *metrics = NULL;
  backup_result done;
  memset(&done, 0, sizeof done);
  done.struct_size = sizeof done;
  MUST(backup_options_set(how, "label.ticket", "4711"));
  MUST(backup_options_set(how, "compression", "thorough"));
  MUST(backup_source_folder(folder, named, &source));
  MUST(backup_repo_backup(repo, source, how, NULL, &done, NULL, NULL, NULL));
  MUST(backup_source_metrics(source, &metrics));
  CHECK(backup_attributes_count(metrics) == 0);
  backup_attributes_free(metrics);
  backup_source_free(source);
  backup_options_free(how);
  backup_options_free(named);
  return done;
}

static uint64_t snapshots_of(const backup_repo *repo) {
  backup_snapshots *list = NULL;
  uint64_t count;
  MUST(backup_repo_snapshots(repo, &list));
  count = backup_snapshots_count(list);
  backup_snapshots_free(list);
  return count;
}

static void infos(const backup_repo *repo, const backup_result *first, const backup_result *second) {
  backup_info *info = NULL;
  backup_stats stats = {0};
  backup_label label = {0};
  backup_snapshot summary = {0};
  backup_snapshots *latest = NULL;
  backup_problems *problems = NULL;
  stats.struct_size = sizeof stats;
  label.struct_size = sizeof label;
  summary.struct_size = sizeof summary;

  CHECK(first->suspicions == 0 && first->previous_items == 0 && first->locked_until.known == 0);
  CHECK(second->suspicions == BACKUP_SUSPICION_MASS_REMOVAL && second->previous_items == first->items);
  CHECK(second->removed >= 20 && second->locks_due == 0);
  MUST(backup_repo_snapshot(repo, second->snapshot, &info));
  MUST(backup_info_stats(info, &stats));
  CHECK(stats.items == second->items && stats.removed == second->removed && stats.bytes == second->bytes);
  CHECK(strcmp(backup_info_parent(info), first->snapshot) == 0);
  CHECK(backup_info_label_count(info) == 1);
  MUST(backup_info_label_at(info, 0, &label));
  CHECK(strcmp(label.name, "ticket") == 0 && strcmp(label.value, "4711") == 0);
  FAILS(BACKUP_CODE_NOT_FOUND, backup_info_label_at(info, 1, &label));
  CHECK(backup_info_suspicions(info, 25) == BACKUP_SUSPICION_MASS_REMOVAL && backup_info_suspicions(info, 101) == 0);
  MUST(backup_info_summary(info, &summary));
  CHECK(summary.suspicious == 1 && summary.held == 0 && summary.confirmed == 1);
  CHECK(strcmp(summary.collection, "work") == 0 && strcmp(summary.id, second->snapshot) == 0);
  MUST(backup_info_problems(info, &problems));
  CHECK(backup_problems_count(problems) == 0);
  backup_problems_free(problems);
  backup_info_free(info);

  MUST(backup_repo_refresh(repo));
  MUST(backup_repo_latest(repo, "work", &latest));
  CHECK(backup_snapshots_count(latest) == 1);
  MUST(backup_snapshots_at(latest, 0, &summary));
  CHECK(strcmp(summary.id, second->snapshot) == 0);
  backup_snapshots_free(latest);
  MUST(backup_repo_latest(repo, "play", &latest));
  CHECK(backup_snapshots_count(latest) == 0);
  backup_snapshots_free(latest);
  FAILS(BACKUP_CODE_NOT_FOUND, backup_repo_snapshot(repo, "00000000000000000000000000000000", &info));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_snapshot(repo, "none", &info));
}

static void holds(const backup_repo *repo, const char *id) {
  const char *ids[2];
  ids[0] = id;
  ids[1] = "00000000000000000000000000000000";
  FAILS(BACKUP_CODE_NOT_FOUND, backup_repo_hold(repo, ids, 2));
  MUST(backup_repo_hold(repo, ids, 1));
  FAILS(BACKUP_CODE_PERMISSION_DENIED, backup_repo_remove(repo, ids, 1));
  MUST(backup_repo_release(repo, ids, 1));
  MUST(backup_repo_remove(repo, NULL, 0));
  ids[0] = "none";
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_remove(repo, ids, 1));
}

static uint64_t count(backup_listing *listing) {
  uint64_t items = 0;
  backup_entry *entry = NULL;
  for (;;) {
    MUST(backup_listing_next(listing, &entry));
    if (entry == NULL) break;
    items++;
    backup_entry_free(entry);
  }
  backup_listing_free(listing);
  return items;
}

/* deep/large has 300,000 numbers of four bytes, from 0 on. */
static void browsing(const backup_repo *repo, const char *snapshot) {
  backup_browser *browser = NULL;
  backup_entry *entry = NULL, *same = NULL;
  backup_item item = {0}, other = {0};
  backup_attribute attribute = {0};
  backup_listing *listing = NULL;
  backup_text *path = NULL;
  backup_info *info = NULL;
  uint8_t bytes[4096];
  uint64_t done = 7, i, modes = 0;
  item.struct_size = other.struct_size = sizeof item;
  attribute.struct_size = sizeof attribute;

  MUST(backup_repo_browse(repo, snapshot, &browser));
  MUST(backup_browser_info(browser, &info));
  CHECK(backup_info_parent(info) == NULL);
  backup_info_free(info);
  MUST(backup_browser_stat(browser, "deep/large", &entry));
  MUST(backup_entry_item(entry, &item));
  CHECK(item.kind == BACKUP_ITEM_KIND_FILE && item.streams_count == 1 && item.streams[0].size == 1200000);
  CHECK(strcmp(item.streams[0].name, "content") == 0 && item.modified.known == 1);
  CHECK(item.name.len == 5 && memcmp(item.name.bytes, "large", 5) == 0);
  for (i = 0; i < backup_attributes_count(item.attributes); i++) {
    MUST(backup_attributes_at(item.attributes, i, &attribute));
    modes += strcmp(attribute.name, "mode") == 0 && attribute.type == BACKUP_TYPE_INT;
  }
  CHECK(modes == 1);

  MUST(backup_browser_read(browser, item.id.bytes, item.id.len, "content", 4000, bytes, sizeof bytes, &done));
  CHECK(done == sizeof bytes && bytes[0] == (1000 & 255) && bytes[1] == 1000 >> 8);
  MUST(backup_browser_read(browser, item.id.bytes, item.id.len, "content", 1199999, bytes, sizeof bytes, &done));
  CHECK(done == 1);
  MUST(backup_browser_read(browser, item.id.bytes, item.id.len, "content", 1200001, bytes, sizeof bytes, &done));
  CHECK(done == 0);
  MUST(backup_browser_read(browser, item.id.bytes, item.id.len, "content", 0, NULL, 0, &done));
  FAILS(BACKUP_CODE_NOT_FOUND,
        backup_browser_read(browser, item.id.bytes, item.id.len, "mime", 0, bytes, sizeof bytes, &done));
  MUST(backup_browser_path(browser, item.id.bytes, item.id.len, &path));
  CHECK(strcmp(backup_text_get(path), "deep/large") == 0 && backup_text_len(path) == 10);
  backup_text_free(path);
  MUST(backup_browser_item(browser, item.id.bytes, item.id.len, &same));
  MUST(backup_entry_item(same, &other));
  CHECK(other.parent.len == item.parent.len && memcmp(other.parent.bytes, item.parent.bytes, item.parent.len) == 0);

  MUST(backup_browser_list_below(browser, item.parent.bytes, item.parent.len, &listing));
  CHECK(count(listing) == 1);
  MUST(backup_browser_list_below(browser, NULL, 0, &listing));
  CHECK(count(listing) == 1);
  MUST(backup_browser_list(browser, "", &listing));
  FAILS(BACKUP_CODE_NOT_FOUND, backup_browser_list(browser, "nothing", &listing));
  /* What was handed over needs nothing of what it came from. */
  backup_browser_free(browser);
  CHECK(count(listing) == 601);
  backup_entry_free(entry);
  MUST(backup_entry_item(same, &other));
  backup_entry_free(same);
}

static void differences(const backup_repo *repo, const char *before, const char *after, uint64_t removed) {
  backup_differences *all = NULL;
  backup_entry *old = NULL, *new = NULL;
  uint64_t kinds[5] = {0};
  uint32_t kind;
  MUST(backup_repo_diff(repo, before, after, &all));
  for (;;) {
    MUST(backup_differences_next(all, &kind, &old, &new));
    if (kind == BACKUP_DIFFERENCE_END) break;
    CHECK(kind < 5 && (old != NULL) == (kind != BACKUP_DIFFERENCE_ADDED) && (new != NULL) == (kind != BACKUP_DIFFERENCE_REMOVED));
    kinds[kind]++;
    backup_entry_free(old);
    backup_entry_free(new);
  }
  CHECK(old == NULL && new == NULL);
  CHECK(kinds[BACKUP_DIFFERENCE_REMOVED] == removed && kinds[BACKUP_DIFFERENCE_ADDED] == 1);
  CHECK(kinds[BACKUP_DIFFERENCE_CONTENT] == 1);
  MUST(backup_differences_next(all, &kind, NULL, NULL));
  backup_differences_free(all);
}

static void undo(const backup_repo *repo, const char *target, const char *good, const char *bad, uint64_t removed) {
  backup_options *options = option("undo", bad);
  backup_restore_result done = {0};
  backup_sink *sink = NULL;
  done.struct_size = sizeof done;
  MUST(backup_sink_folder(target, NULL, &sink));
  MUST(backup_repo_restore(repo, good, sink, BACKUP_CONFLICT_REPLACE, options, NULL, &done, NULL, NULL, NULL));
  CHECK(done.created >= removed && done.problems == 0);
  MUST(backup_options_set(options, "undo", "none"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT,
        backup_repo_restore(repo, good, sink, BACKUP_CONFLICT_REPLACE, options, NULL, NULL, NULL, NULL, NULL));
  backup_sink_free(sink);
  backup_options_free(options);
}

static void retention(const backup_repo *repo, const char *kept) {
  const char *rules = "{\"work\": {\"last\": 1, \"floor_days\": 0}}";
  backup_decisions *list = NULL;
  backup_decision decision = {0};
  uint64_t i;
  decision.struct_size = sizeof decision;
  MUST(backup_retention_validate("{\"daily\": 7}"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_retention_validate("{\"dayly\": 7}"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_retention_validate("{\"floor_last\": 0}"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_decide(repo, "[]", &list));
  MUST(backup_repo_decide(repo, rules, &list));
  CHECK(backup_decisions_count(list) == 3);
  for (i = 0; i < 3; i++) {
    MUST(backup_decisions_at(list, i, &decision));
    CHECK(strcmp(decision.collection, "work") == 0 && decision.keep == (i == 2));
    CHECK((decision.reasons[0] == '\0') == (i != 2));
  }
  CHECK(strcmp(decision.snapshot, kept) == 0 && strstr(decision.reasons_json, "{\"last\":1}") != NULL);
  FAILS(BACKUP_CODE_NOT_FOUND, backup_decisions_at(list, 3, &decision));
  backup_decisions_free(list);
  CHECK(snapshots_of(repo) == 3);
  MUST(backup_repo_retain(repo, rules, NULL));
  CHECK(snapshots_of(repo) == 1);
}

static void prune(const backup_repo *repo) {
  backup_options *options = option("grace_seconds", "0");
  backup_prune_result done = {0}, dry = {0};
  int calls = 0;
  done.struct_size = dry.struct_size = sizeof done;
  MUST(backup_options_set(options, "unused_percent", "0"));
  MUST(backup_options_set(options, "dry_run", "true"));
  MUST(backup_repo_prune(repo, options, NULL, &dry, NULL, NULL, NULL));
  CHECK(dry.packs > 0 && dry.unused_bytes > 0 && dry.dead_packs + dry.copied_packs > 0);
  MUST(backup_options_set(options, "dry_run", "false"));
  FAILS(BACKUP_CODE_CANCELED, backup_repo_prune(repo, options, NULL, NULL, NULL, stop, &calls));
  CHECK(calls == 1);
  MUST(backup_repo_prune(repo, options, NULL, &done, NULL, NULL, NULL));
  CHECK(done.snapshots == 1 && done.dead_packs == dry.dead_packs && done.copied_packs == dry.copied_packs);
  CHECK(done.findings == 0 && done.unused_bytes_after == 0 && done.deleted_objects >= dry.deleted_objects);
  MUST(backup_options_set(options, "graze", "1"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_prune(repo, options, NULL, NULL, NULL, NULL, NULL));
  backup_options_free(options);
}

static void keys(const backup_runtime *runtime, const char *url, const backup_repo *repo) {
  uint8_t bytes[32] = {9};
  backup_credential *second = NULL;
  backup_keys *list = NULL;
  backup_key key = {0};
  backup_text *id = NULL;
  backup_repo *other = NULL;
  key.struct_size = sizeof key;
  MUST(backup_credential_raw_key(bytes, sizeof bytes, &second));
  MUST(backup_repo_add_key(repo, second, NULL, &id));
  MUST(backup_repo_keys(repo, &list));
  CHECK(backup_keys_count(list) == 2);
  MUST(backup_keys_at(list, 1, &key));
  CHECK(key.size > 0 && strlen(key.id) == 32);
  FAILS(BACKUP_CODE_NOT_FOUND, backup_keys_at(list, 2, &key));
  backup_keys_free(list);
  MUST(backup_repo_open(runtime, url, NULL, second, &other));
  backup_repo_free(other);
  MUST(backup_repo_remove_key(repo, backup_text_get(id)));
  FAILS(BACKUP_CODE_NOT_FOUND, backup_repo_remove_key(repo, backup_text_get(id)));
  FAILS(BACKUP_CODE_WRONG_KEY, backup_repo_open(runtime, url, NULL, second, &other));
  MUST(backup_repo_keys(repo, &list));
  MUST(backup_keys_at(list, 0, &key));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_remove_key(repo, key.id));
  backup_keys_free(list);
  backup_text_free(id);
  backup_credential_free(second);
}

static void opening(const backup_runtime *runtime, const char *url, const backup_credential *credential) {
  backup_options *options = option("probe", "true");
  backup_store *store = NULL;
  backup_probe probe = {0};
  backup_repo *repo = NULL;
  probe.struct_size = sizeof probe;
  MUST(backup_repo_open(runtime, url, options, credential, &repo));
  MUST(backup_repo_probe(repo, &probe));
  CHECK(probe.known == 1 && probe.contest == BACKUP_CONTEST_DECIDED && probe.tells_time == 1);
  CHECK(probe.listing == BACKUP_EFFECT_AT_ONCE && probe.deletion == BACKUP_EFFECT_AT_ONCE);
  backup_repo_free(repo);
  MUST(backup_repo_open(runtime, url, NULL, credential, &repo));
  MUST(backup_repo_probe(repo, &probe));
  CHECK(probe.known == 0);
  backup_repo_free(repo);
  MUST(backup_store_open(runtime, "memory://", NULL, &store));
  MUST(backup_store_probe(runtime, store, &probe));
  CHECK(probe.known == 1);
  backup_store_free(store);
  FAILS(BACKUP_CODE_UNSUPPORTED, backup_store_open(runtime, "gopher://there", NULL, &store));
  backup_options_free(options);
  options = option("as_of", "yesterday");
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_open(runtime, url, options, credential, &repo));
  MUST(backup_options_set(options, "as_of", "2026-11-24T08:20:00Z"));
  FAILS(BACKUP_CODE_UNSUPPORTED, backup_repo_open(runtime, url, options, credential, &repo));
  backup_options_free(options);
}

static void locks(const backup_repo *repo) {
  backup_protection protection = {0};
  backup_extend_result done = {0};
  backup_names *tampered = NULL;
  protection.struct_size = sizeof protection;
  done.struct_size = sizeof done;
  /* A disk cannot lock; then nothing changes. */
  FAILS(BACKUP_CODE_UNSAFE_STORE, backup_repo_protect(repo, 3600));
  MUST(backup_repo_protection(repo, &protection));
  CHECK(protection.period_seconds == 0 && protection.locked_until.known == 0 && protection.locks_due == 0);
  MUST(backup_repo_extend_locks(repo, NULL, &done, &tampered, NULL, NULL));
  CHECK(done.extended_objects == 0 && done.tampered == 0 && backup_names_count(tampered) == 0);
  CHECK(backup_names_at(tampered, 0) == NULL);
  backup_names_free(tampered);
}

static void parity(const backup_runtime *runtime, const char *url, const backup_repo *repo) {
  char object[4096];
  backup_options *options = option("parity", "3");
  backup_parity_result done = {0};
  backup_scrub_result found = {0};
  backup_damages *damages = NULL;
  backup_damage damage = {0};
  backup_store *store = NULL;
  backup_text *key = NULL;
  done.struct_size = sizeof done;
  found.struct_size = sizeof found;
  damage.struct_size = sizeof damage;
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_repo_add_parity(repo, options, NULL, NULL, NULL, NULL, NULL));
  MUST(backup_options_set(options, "members", "10"));
  MUST(backup_repo_add_parity(repo, options, NULL, &done, NULL, NULL, NULL));
  CHECK(done.new_sets > 0 && done.sets == done.new_sets && done.objects > 0 && done.findings == 0 && done.new_bytes > 0);
  backup_options_free(options);

  MUST(backup_repo_public_key(repo, &key));
  MUST(backup_store_open(runtime, url, NULL, &store));
  snprintf(object, sizeof object, "%s/log/0000000000000001", url);
  CHECK(remove(object) == 0);
  MUST(backup_store_scrub(runtime, store, backup_text_get(key), NULL, NULL, &found, &damages, NULL, NULL, NULL));
  CHECK(found.sound == 0 && found.damages == 1 && backup_damages_count(damages) == 1);
  MUST(backup_damages_at(damages, 0, &damage));
  CHECK(damage.missing == 1 && damage.repair == BACKUP_REPAIR_POSSIBLE && strcmp(damage.object, "log/0000000000000001") == 0);
  FAILS(BACKUP_CODE_NOT_FOUND, backup_damages_at(damages, 1, &damage));
  backup_damages_free(damages);
  options = option("repair", "true");
  MUST(backup_store_scrub(runtime, store, backup_text_get(key), options, NULL, &found, NULL, NULL, NULL, NULL));
  CHECK(found.sound == 1 && found.damages == 1 && found.sets == done.sets && found.objects == done.objects);
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_store_scrub(runtime, store, "key", NULL, NULL, NULL, NULL, NULL, NULL, NULL));
  backup_options_free(options);
  backup_store_free(store);
  backup_text_free(key);
}

static void copies(const backup_runtime *runtime, const backup_repo *repo, const backup_credential *credential) {
  backup_head head = {0};
  backup_mirror_result done = {0};
  backup_salvage_result left = {0};
  backup_names *unconfirmed = NULL, *removed = NULL;
  backup_problems *findings = NULL;
  backup_options *options = NULL;
  backup_store *copy = NULL;
  backup_repo *saved = NULL;
  head.struct_size = sizeof head;
  done.struct_size = sizeof done;
  left.struct_size = sizeof left;
  MUST(backup_repo_head(repo, &head));
  MUST(backup_store_open(runtime, "memory://", NULL, &copy));
  MUST(backup_repo_mirror(repo, copy, NULL, NULL, &done, NULL, NULL, NULL));
  CHECK(done.copied_objects == done.objects && done.copied_bytes > 0 && strcmp(done.head, head.text) == 0);
  options = option("check", "true");
  MUST(backup_options_set(options, "delete", "true"));
  MUST(backup_repo_mirror(repo, copy, options, NULL, &done, &findings, NULL, NULL));
  CHECK(done.copied_objects == 0 && done.replaced_objects == 0 && backup_problems_count(findings) == 0);
  backup_problems_free(findings);
  backup_options_free(options);

  options = option("known_head", head.text);
  MUST(backup_repo_salvage(runtime, copy, options, credential, &saved, &left, &unconfirmed, &removed, &findings));
  CHECK(left.whole == 1 && left.known_head == BACKUP_REACHED_YES && strcmp(left.head, head.text) == 0);
  CHECK(left.snapshots == 1 && left.unconfirmed == 0 && left.findings == 0 && left.chunks > 0);
  CHECK(backup_names_count(unconfirmed) == 0 && backup_problems_count(findings) == 0);
  CHECK(backup_names_count(removed) == left.removed);
  FAILS(BACKUP_CODE_PERMISSION_DENIED, backup_repo_prune(saved, NULL, NULL, NULL, NULL, NULL, NULL));
  CHECK(snapshots_of(saved) == 1);
  backup_repo_free(saved);
  MUST(backup_repo_salvage(runtime, copy, NULL, credential, &saved, &left, NULL, NULL, NULL));
  CHECK(left.known_head == BACKUP_REACHED_UNKNOWN);
  backup_repo_free(saved);
  backup_names_free(unconfirmed);
  backup_names_free(removed);
  backup_problems_free(findings);
  backup_options_free(options);
  backup_store_free(copy);
}

static void drill(const backup_repo *repo, const char *folder) {
  backup_options *named = option("collection_id", "work"), *options = option("items", "1000");
  backup_source *source = NULL;
  const backup_source *against[1];
  backup_drill_result done = {0};
  backup_text *statement = NULL, *report = NULL;
  done.struct_size = sizeof done;
  MUST(backup_source_folder(folder, named, &source));
  against[0] = source;
  MUST(backup_repo_drill(repo, against, 1, NULL, options, NULL, &done, &statement, &report, NULL, NULL));
  CHECK(done.clean == 1 && done.sampled == done.population && done.compared > 0 && done.most_bad == 0);
  CHECK(done.confidence > 0.94 && done.confidence < 0.96);
  CHECK(strstr(backup_text_get(statement), "0 of them are bad") != NULL);
  CHECK(backup_text_get(report)[0] == '{' && strstr(backup_text_get(report), "\"population\":") != NULL);
  MUST(backup_options_set(options, "snapshot", "none"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT,
        backup_repo_drill(repo, NULL, 0, NULL, options, NULL, NULL, NULL, NULL, NULL, NULL));
  backup_text_free(report);
  backup_text_free(statement);
  backup_source_free(source);
  backup_options_free(options);
  backup_options_free(named);
}

static void policies(void) {
  const char *policy = "{\"rules\": [{\"name\": \"scratch\", \"include\": {\"paths\": [\"tmp/**\"]}, \"exclude\": \"made anew\"},"
                       " {\"name\": \"all\", \"include\": {\"kinds\": [\"folder\"]}, \"every_minutes\": 60}]}";
  const char *listed = "[{\"collection\": {\"id\": \"a\", \"kind\": \"folder\"}, \"path\": \"tmp/a\"},"
                       " {\"collection\": {\"id\": \"b\", \"kind\": \"folder\"}, \"path\": \"b\", \"bytes\": 7},"
                       " {\"collection\": {\"id\": \"c\", \"kind\": \"mailbox\"}}]";
  const char *last = "[{\"collection\": \"b\", \"good\": {\"seconds\": 0, \"nanos\": 0}}, {\"collection\": \"d\", \"good\": {\"seconds\": 0, \"nanos\": 0}}]";
  backup_text *text = NULL;
  MUST(backup_policy_validate(policy));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_policy_validate("{\"rules\": [{\"name\": \"\", \"include\": {}}]}"));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_policy_validate("{\"rulez\": []}"));
  MUST(backup_policy_rule_for(policy, "{\"collection\": {\"id\": \"b\", \"kind\": \"folder\"}}", &text));
  CHECK(strstr(backup_text_get(text), "\"name\":\"all\"") != NULL);
  backup_text_free(text);
  MUST(backup_policy_rule_for(policy, "{\"collection\": {\"id\": \"c\", \"kind\": \"mailbox\"}}", &text));
  CHECK(strcmp(backup_text_get(text), "null") == 0);
  backup_text_free(text);
  MUST(backup_policy_plan(policy, "1970-01-01T02:00:00Z", listed, last, &text));
  CHECK(strcmp(backup_text_get(text),
               "{\"due\":[{\"collection\":{\"id\":\"b\",\"kind\":\"folder\"},\"rule\":\"all\",\"overdue_seconds\":3600,\"never\":false}],"
               "\"next_at\":null}") == 0);
  backup_text_free(text);
  MUST(backup_policy_plan(policy, "1970-01-01T00:30:00Z", listed, last, &text));
  CHECK(strcmp(backup_text_get(text), "{\"due\":[],\"next_at\":{\"seconds\":3600,\"nanos\":0}}") == 0);
  backup_text_free(text);
  MUST(backup_policy_coverage(policy, "1970-01-01T00:30:00Z", listed, last, &text));
  CHECK(strstr(backup_text_get(text), "\"reason\":\"made anew\"") != NULL);
  CHECK(strstr(backup_text_get(text), "\"unprotected\":[{\"collection\":{\"id\":\"c\"") != NULL);
  CHECK(strstr(backup_text_get(text), "\"gone\":[\"d\"]") != NULL);
  backup_text_free(text);
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_policy_plan(policy, "now", listed, last, &text));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_policy_plan(policy, "1970-01-01T00:30:00Z", "[{}]", last, &text));
  FAILS(BACKUP_CODE_INVALID_ARGUMENT, backup_policy_plan(policy, "1970-01-01T00:30:00Z", listed, "[{\"collection\": \"b\", \"god\": null}]", &text));
}

int main(int argc, char **argv) {
  uint8_t key[32] = {7};
  backup_runtime *runtime = NULL;
  backup_credential *credential = NULL;
  backup_repo *repo = NULL;
  backup_text *id = NULL;
  backup_verify_result verified = {0};
  backup_result first, second, third;
  CHECK(argc == 5);
  verified.struct_size = sizeof verified;
  MUST(backup_runtime_new(0, &runtime));
  MUST(backup_credential_raw_key(key, sizeof key, &credential));
  MUST(backup_repo_init(runtime, argv[1], NULL, credential, &repo));
  MUST(backup_repo_id(repo, &id));
  CHECK(backup_text_len(id) == 32);
  backup_text_free(id);

  first = back_up(repo, argv[2], "25");
  second = back_up(repo, argv[3], "25");
  infos(repo, &first, &second);
  holds(repo, first.snapshot);
  browsing(repo, first.snapshot);
  differences(repo, first.snapshot, second.snapshot, second.removed);
  undo(repo, argv[4], first.snapshot, second.snapshot, second.removed);
  third = back_up(repo, argv[3], "101");
  CHECK(third.suspicions == 0);
  retention(repo, third.snapshot);
  prune(repo);
  keys(runtime, argv[1], repo);
  opening(runtime, argv[1], credential);
  locks(repo);
  parity(runtime, argv[1], repo);
  copies(runtime, repo, credential);
  drill(repo, argv[3]);
  policies();
  MUST(backup_repo_verify(repo, BACKUP_LEVEL_EVERY_BYTE, NULL, &verified, NULL, NULL, NULL));
  CHECK(verified.sound == 1);
  backup_repo_free(repo);
  backup_credential_free(credential);
  backup_runtime_free(runtime);
  return 0;
}
