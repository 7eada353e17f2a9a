// A folder to an object store and back.
//
//   to_s3 FOLDER TARGET
//
// BACKUP_REPOSITORY is the address (s3://bucket/prefix; any other works too), BACKUP_OPTIONS what goes with it, such as
// "aws_region=eu-north-1,aws_endpoint=http://127.0.0.1:9000"; keys come from there too (aws_access_key_id, aws_secret_access_key).
// BACKUP_PASSPHRASE opens the repository, which is made if there is none.
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "backup.hpp"

namespace {

std::string setting(const char *name) {
  const char *value = std::getenv(name);
  return value != nullptr ? value : "";
}

backup::Options options(const std::string &text) {
  backup::Options all;
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ',');) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos) throw std::invalid_argument("BACKUP_OPTIONS: no value in " + entry);
    all.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return all;
}

int run(const std::string &folder, const std::string &target) {
  const auto url = setting("BACKUP_REPOSITORY"), passphrase = setting("BACKUP_PASSPHRASE");
  if (url.empty() || passphrase.empty()) throw std::invalid_argument("set BACKUP_REPOSITORY and BACKUP_PASSPHRASE");
  const auto store = options(setting("BACKUP_OPTIONS"));
  const backup::Runtime runtime;
  const auto credential = backup::Credential::passphrase(passphrase);
  const auto repo = [&] {
    try {
      return backup::Repository::open(runtime, url, credential, store);
    } catch (const backup::Error &error) {
      if (error.code() != BACKUP_CODE_NOT_A_REPOSITORY) throw;
      return backup::Repository::init(runtime, url, credential, store);
    }
  }();
  const auto done = repo.backup(backup::Source::folder(folder));
  std::cout << done.figures.items << " items, " << done.figures.bytes << " bytes; stored " << done.figures.bytes_stored << "\n";
  for (const auto &problem : done.problems) std::cerr << problem.place << ": " << problem.message << "\n";
  (void)repo.restore(done.snapshot(), backup::Sink::folder(target));
  return done.complete() && repo.verify().sound() ? 0 : 1;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "usage: to_s3 FOLDER TARGET\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception &error) {
    std::cerr << "to_s3: " << error.what() << "\n";
    return 1;
  }
}
