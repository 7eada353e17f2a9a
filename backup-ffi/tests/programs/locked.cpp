// A bucket with Object Lock keeps what there was: locked FOLDER TARGET URL NAME=VALUE...
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#include "backup.hpp"

namespace {

void check(bool condition, int line) {
  if (!condition) throw std::logic_error("not so: line " + std::to_string(line));
}
#define CHECK(condition) check((condition), __LINE__)

// Now, with seconds of its own before and after: the store's clock has no finer ones.
std::string a_moment() {
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const std::time_t now = std::time(nullptr);
  char text[32];
  CHECK(std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now)) > 0);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  return text;
}

void run(const std::string &folder, const std::string &target, const std::string &url, backup::Options options) {
  const auto day = std::chrono::hours(24);
  const backup::Runtime runtime;
  const auto credential = backup::Credential::raw_key({7});
  std::string first, seen;
  {
    const auto repo = backup::Repository::init(runtime, url, credential, options);
    repo.protect(day);
    CHECK(repo.protection().period_seconds == 24 * 60 * 60);
    const std::time_t begun = std::time(nullptr);
    const auto done = repo.backup(backup::Source::folder(folder));
    first = done.snapshot();
    CHECK(done.complete() && done.figures.locks_due == 0);
    CHECK(done.figures.locked_until.known != 0);
    CHECK(done.figures.locked_until.seconds >= begun + 24 * 60 * 60 - 60);
    const auto extended = repo.extend_locks();
    CHECK(extended.tampered.empty() && extended.figures.extended_objects == 0);
    seen = a_moment();
    std::ofstream(folder + "/later") << "later";
    const auto second = repo.backup(backup::Source::folder(folder));
    repo.remove({first});
    const auto left = repo.snapshots();
    CHECK(left.size() == 1 && left.front().id == second.snapshot());
  }
  options.emplace_back("as_of", seen);
  const auto then = backup::Repository::open(runtime, url, credential, options);
  const auto there = then.snapshots();
  CHECK(there.size() == 1 && there.front().id == first);
  CHECK(then.restore(first, backup::Sink::folder(target)).problems.empty());
  try {
    (void)then.backup(backup::Source::folder(folder));
    CHECK(false);
  } catch (const backup::Error &error) {
    CHECK(error.code() == BACKUP_CODE_PERMISSION_DENIED);
  }
}

}  // namespace

int main(int argc, char **argv) {
  try {
    backup::Options options;
    for (int at = 4; at < argc; ++at) {
      const std::string option = argv[at];
      const auto equals = option.find('=');
      options.emplace_back(option.substr(0, equals), option.substr(equals + 1));
    }
    run(argv[1], argv[2], argv[3], options);
    return 0;
  } catch (const std::exception &error) {
    std::cerr << "locked: " << error.what() << "\n";
    return 1;
  }
}
