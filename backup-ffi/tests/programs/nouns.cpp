// Uses every noun of the C++ interface once: nouns REPOSITORY BEFORE AFTER TARGET, as nouns.c.
#include <cstdio>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string>

#include "backup.hpp"

namespace {

void check(bool condition, int line) {
  if (!condition) throw std::logic_error("not so: line " + std::to_string(line));
}
#define CHECK(condition) check((condition), __LINE__)

template <typename Call>
std::uint32_t code_of(Call call) {
  try {
    call();
  } catch (const backup::Error &error) {
    return error.code();
  }
  return 0;
}

void run(const std::string &url, const std::string &before, const std::string &after, const std::string &target) {
  std::mutex told;
  int lines = 0;
  backup::Runtime runtime;
  runtime.log(BACKUP_LOG_LEVEL_INFO, [&](backup_log_level level, std::string_view line) {
    const std::lock_guard<std::mutex> guard(told);
    if (level == BACKUP_LOG_LEVEL_INFO && !line.empty()) ++lines;
  });
  const auto credential = backup::Credential::raw_key({7});
  const auto repo = backup::Repository::init(runtime, url, credential);
  CHECK(repo.id().size() == 32 && repo.probe().known == 1);
  {
    const std::lock_guard<std::mutex> guard(told);
    CHECK(lines > 0);
  }
  runtime.log(BACKUP_LOG_LEVEL_INFO, {});
  const auto source = [](const std::string &folder) { return backup::Source::folder(folder, {{"collection_id", "work"}}); };
  const auto first = repo.backup(source(before), {}, {{"label.ticket", "4711"}});
  const auto second = repo.backup(source(after));
  CHECK(first.suspicions() == 0 && second.suspicions() == BACKUP_SUSPICION_MASS_REMOVAL);

  repo.refresh();
  const auto latest = repo.latest("work");
  CHECK(latest && latest->id == second.snapshot() && latest->suspicious && !latest->held && latest->confirmed);
  CHECK(!repo.latest("play"));
  const auto info = repo.info(first.snapshot());
  CHECK(!info.parent && info.labels.size() == 1 && info.labels.front().name == "ticket" && info.labels.front().value == "4711");
  CHECK(info.stats.items == first.figures.items && info.problems.empty() && info.suspicions == 0);
  CHECK(repo.info(second.snapshot()).parent == first.snapshot());
  repo.hold({first.snapshot()});
  CHECK(code_of([&] { repo.remove({first.snapshot()}); }) == BACKUP_CODE_PERMISSION_DENIED);
  repo.release({first.snapshot()});

  const auto browser = repo.browse(first.snapshot());
  CHECK(browser.info().summary.id == first.snapshot());
  const auto large = browser.stat("deep/large");
  CHECK(large.name() == "large" && large.kind() == BACKUP_ITEM_KIND_FILE && large.size() == 1200000 && large.modified());
  CHECK(large.streams().size() == 1 && large.streams().front().name == "content" && !large.is_container());
  CHECK(browser.path(large.id()) == "deep/large" && browser.item(large.parent()).name() == "deep");
  char bytes[8];
  CHECK(browser.read(large.id(), 4000, bytes, sizeof bytes) == 8 && bytes[1] == 1000 >> 8);
  CHECK(browser.read(large.id(), 1199998, bytes, sizeof bytes) == 2);
  std::size_t items = 0, folders = 0;
  auto listing = browser.list();
  for (const auto &entry : listing) {
    items++;
    folders += entry.is_container();
  }
  CHECK(items == 601 && folders == 1);
  CHECK(browser.list_below(large.parent()).next()->name() == "large" && browser.list_below().next());
  auto differences = repo.diff(first.snapshot(), second.snapshot());
  std::size_t removed = 0;
  while (const auto difference = differences.next()) {
    if (difference->kind == BACKUP_DIFFERENCE_REMOVED) {
      CHECK(difference->before && !difference->after);
      removed++;
    }
  }
  CHECK(removed == second.figures.removed);
  const auto restored = repo.restore(first.snapshot(), backup::Sink::folder(target), {{"undo", second.snapshot()}});
  CHECK(restored.figures.created >= removed);

  const auto third = repo.backup(source(after), {}, {{"suspicious_percent", "101"}});
  const std::string rules = R"({"work": {"last": 1, "floor_days": 0}})";
  backup::validate_retention(R"({"daily": 7})");
  CHECK(repo.decide(rules).size() == 3 && repo.snapshots().size() == 3);
  const auto decided = repo.retain(rules);
  CHECK(decided.size() == 3 && decided.back().keep && decided.back().snapshot == third.snapshot());
  CHECK(!decided.front().keep && decided.front().reasons.empty() && repo.snapshots().size() == 1);
  CHECK(repo.prune({{"dry_run", "true"}, {"grace_seconds", "0"}}).figures.unused_bytes > 0);
  CHECK(repo.prune({{"grace_seconds", "0"}, {"unused_percent", "0"}}).findings.empty());

  const auto other = backup::Credential::raw_key({9});
  const auto slot = repo.add_key(other);
  CHECK(repo.keys().size() == 2);
  CHECK(backup::Repository::open(runtime, url, other, {{"probe", "true"}}).probe().known == 1);
  repo.remove_key(slot);
  CHECK(repo.keys().size() == 1 && repo.keys().front().id != slot);

  CHECK(code_of([&] { repo.protect(std::chrono::hours(1)); }) == BACKUP_CODE_UNSAFE_STORE);
  CHECK(repo.protection().period_seconds == 0 && repo.extend_locks().tampered.empty() && !repo.extend_locks().locked_until());

  CHECK(repo.add_parity().figures.new_sets > 0);
  const auto store = backup::Store::open(runtime, url);
  CHECK(store.probe(runtime).known == 1);
  CHECK(std::remove((url + "/log/0000000000000001").c_str()) == 0);
  CHECK(!store.scrub(runtime, repo.public_key()).sound());
  const auto mended = store.scrub(runtime, repo.public_key(), {{"repair", "true"}});
  CHECK(mended.sound() && mended.damages.size() == 1 && mended.damages.front().repair == BACKUP_REPAIR_DONE);

  const auto copy = backup::Store::open(runtime, "memory://");
  CHECK(repo.mirror(copy).figures.copied_objects > 0 && repo.mirror(copy, {{"check", "true"}}).findings.empty());
  const auto [saved, left] = backup::Repository::salvage(runtime, copy, credential, {{"known_head", repo.head()}});
  CHECK(left.whole() && left.figures.known_head == BACKUP_REACHED_YES && left.unconfirmed.empty());
  CHECK(saved.snapshots().size() == 1);

  const auto compared = source(after);
  const auto drill = repo.drill({{"items", "1000"}}, {&compared});
  CHECK(drill.clean() && drill.figures.compared > 0 && drill.report.front() == '{' && !drill.statement.empty());

  const std::string policy = R"({"rules": [{"name": "all", "include": {}, "every_minutes": 60}]})";
  const std::string listed = R"([{"collection": {"id": "a", "kind": "folder"}}])";
  backup::policy::validate(policy);
  CHECK(code_of([] { backup::policy::validate("{}"); }) == BACKUP_CODE_INVALID_ARGUMENT);
  CHECK(backup::policy::plan(policy, "2026-11-24T08:20:00Z", listed, "[]").find("\"never\":true") != std::string::npos);
  CHECK(backup::policy::coverage(policy, "2026-11-24T08:20:00Z", listed, "[]").find("\"gone\":[]") != std::string::npos);
  CHECK(backup::policy::rule_for(policy, R"({"collection": {"id": "a", "kind": "folder"}})").find("\"all\"") !=
        std::string::npos);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  try {
    run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const backup::Error &error) {
    std::cerr << error.detail() << '\n';
    return 1;
  } catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
