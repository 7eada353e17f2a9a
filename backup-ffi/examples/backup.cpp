// The same round as backup.c, in C++17: backup REPOSITORY FOLDER TARGET.
#include <iostream>
#include <string>
#include <thread>

#include "backup.hpp"

namespace {

// Code of the backup::Error that `call` throws, 0 if it throws none.
template <typename Call>
std::uint32_t code_of(Call call) {
  try {
    call();
  } catch (const backup::Error &error) {
    std::cerr << "[" << error.code() << "] " << error.what() << " (hint: " << error.hint() << ")\n";
    return error.code();
  }
  return 0;
}

struct Enough {
  int items;
};

int run(const std::string &url, const std::string &folder, const std::string &target) {
  const backup::Runtime runtime;
  const auto credential = backup::Credential::passphrase("correct horse battery staple");
  const auto repo = backup::Repository::init(runtime, url, credential);
  const auto source = backup::Source::folder(folder, {{"exclude", "*.tmp"}});

  // An exception of the callback's own comes out as it went in, whatever its type.
  try {
    (void)repo.backup(source, [](const backup::Progress &) -> bool { throw Enough{7}; });
    return 10;
  } catch (const Enough &enough) {
    if (enough.items != 7) return 11;
  }
  if (code_of([&] { (void)repo.backup(source, [](const auto &) { return false; }); }) != BACKUP_CODE_CANCELED) return 12;

  // A switch may be thrown from another thread.
  const backup::Cancel cancel;
  std::thread([&] { cancel.request(); }).join();
  if (code_of([&] { (void)repo.backup(source, {}, {}, &cancel); }) != BACKUP_CODE_CANCELED) return 13;

  int calls = 0;
  const auto done = repo.backup(source, [&](const backup::Progress &) { return ++calls > 0; }, {{"label.ticket", "4711"}});
  if (calls == 0 || !done.complete() || !done.problems.empty()) return 14;
  const auto snapshots = repo.snapshots();
  if (snapshots.size() != 1 || snapshots.front().id != done.snapshot()) return 15;

  (void)repo.restore(done.snapshot(), backup::Sink::folder(target));
  if (!repo.verify(backup::Level::every_byte).sound()) return 16;

  // Rollback is noticed by whoever keeps the head.
  const auto again = backup::Repository::open(runtime, url, credential, {{"known_head", repo.head()}});
  if (again.head() != repo.head()) return 17;

  const auto wrong = backup::Credential::passphrase("wrong");
  if (code_of([&] { (void)backup::Repository::open(runtime, url, wrong); }) != BACKUP_CODE_WRONG_KEY) return 18;
  if (code_of([&] { (void)backup::Repository::open(runtime, url, credential, {{"colour", "red"}}); }) !=
      BACKUP_CODE_INVALID_ARGUMENT)
    return 19;
  // Blocking calls from a callback are refused; the exception passes through the outer call.
  if (code_of([&] {
        (void)repo.backup(source, [&](const backup::Progress &) { return !repo.snapshots().empty(); });
      }) != BACKUP_CODE_INVALID_ARGUMENT)
    return 20;
  std::cout << "backed up and restored " << done.figures.items << " items\n";
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::cerr << "usage: backup REPOSITORY FOLDER TARGET\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2], argv[3]);
  } catch (const std::exception &error) {
    std::cerr << "backup: " << error.what() << '\n';
    return 1;
  }
}
