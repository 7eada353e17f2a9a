// Own sources, sinks and stores in C++: a whole round through all three, and exceptions that come out of the call that ran them.
#include <algorithm>
#include <iostream>
#include <map>
#include <mutex>
#include <string>

#include "backup.hpp"

namespace {

struct Boom {
  int number;
};

struct Notes final : backup::ItemSource {
  std::map<std::string, std::string> texts;
  std::string fail;
  int opened = 0;
  bool along = false;

  void changes(std::string_view cursor, backup::Changes &out) override {
    if (fail == "changes") throw Boom{1};
    if (!cursor.empty() && cursor != "all") out.reset();
    auto top = backup::Item::folder("top", "", "notes");
    top.attributes.emplace().put("mode", 0755).put("shared", true);
    out.upsert(top);
    for (const auto &[name, text] : texts) {
      auto item = backup::Item::file("id:" + name, "top", name, std::to_string(std::hash<std::string>{}(text)), text.size());
      item.modified = std::chrono::system_clock::from_time_t(1700000000) + std::chrono::milliseconds(5);
      item.details.emplace().put("subject", text).put("stars", 4.5);
      if (along)
        out.upsert(item, {text});
      else
        out.upsert(item);
    }
    if (!cursor.empty()) out.remove("id:gone");
    if (fail == "unreadable") out.unreadable("id:a", "notes/a", BACKUP_CODE_PERMISSION_DENIED, "locked");
    out.cursor("all");
  }

  void open(const backup::ItemView &item, const std::string &stream, backup::Writer &out) override {
    opened++;
    if (fail == "open") throw Boom{2};
    if (fail == "item") throw std::runtime_error("disk on fire");
    if (stream != "content" || item.streams().size() != 1) throw std::logic_error("which stream?");
    if (fail == "gone") backup::detail::check(backup_error_new(BACKUP_CODE_NOT_FOUND, "vanished", nullptr, 0));
    out.push(texts.at(std::string(item.name())));
  }
};

struct Shelf final : backup::ItemSink {
  std::map<std::string, std::string> found;
  int closed = 0;
  bool finished = false;
  std::string fail;

  backup::Placement put(const backup::ItemView &item, const backup::Place &place,
                        const backup::Contents &contents) override {
    if (fail == "put" && !item.is_container()) throw Boom{3};
    const auto path = (place.parent ? *place.parent + "/" : "") + std::string(item.name());
    if (item.is_container()) return {backup::Action::created, path};
    if (backup_attributes_count(item.c().details) != 2) throw std::logic_error("details are missing");
    found[path] = contents.open("content").all();
    return {backup::Action::created, path, {{BACKUP_CODE_UNSUPPORTED, "no colours here"}}};
  }
  void close(const backup::ItemView &, std::string_view placed) override { closed += placed == "notes"; }
  void finish() override {
    if (fail == "finish") throw Boom{4};
    finished = true;
  }
};

struct Shelves final : backup::ObjectStore {
  std::mutex mutex;
  std::map<std::string, std::string> objects;
  std::string fail;

  bool create(const std::string &key, std::string_view bytes) override {
    const std::lock_guard<std::mutex> lock(mutex);
    if (fail == "create") throw Boom{5};
    return objects.emplace(key, bytes).second;
  }
  void read(const std::string &key, std::optional<std::pair<std::uint64_t, std::uint64_t>> range,
            backup::Writer &out) override {
    std::string_view bytes;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      bytes = find(key);
    }
    if (!range) return out.push(bytes);
    if (range->first + range->second > bytes.size())
      backup::detail::check(backup_error_new(BACKUP_CODE_INVALID_ARGUMENT, "no such range", key.c_str(), 0));
    out.push(bytes.substr(range->first, range->second));
  }
  std::uint64_t size(const std::string &key) override {
    const std::lock_guard<std::mutex> lock(mutex);
    return find(key).size();
  }
  void list(const std::string &prefix, const Add &add) override {
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto &[key, bytes] : objects)
      if (key == prefix || key.rfind(prefix + "/", 0) == 0) add(key, bytes.size(), 0);
  }
  void remove(const std::string &key) override {
    const std::lock_guard<std::mutex> lock(mutex);
    objects.erase(key);
  }

 private:
  const std::string &find(const std::string &key) {
    const auto found = objects.find(key);
    if (found == objects.end())
      backup::detail::check(backup_error_new(BACKUP_CODE_NOT_FOUND, "no such object", key.c_str(), 0));
    return found->second;
  }
};

// The number of the Boom that the call throws; 0 if it throws none.
template <typename Call>
int boom(Call call) {
  try {
    call();
  } catch (const Boom &boom) {
    return boom.number;
  } catch (const backup::Error &error) {
    std::cerr << error.code() << " " << error.what() << "\n";
    return -static_cast<int>(error.code());
  }
  return 0;
}

int run() {
  const backup::Runtime runtime;
  const auto credential = backup::Credential::raw_key({7});
  const auto store = std::make_shared<Shelves>();
  const auto notes = std::make_shared<Notes>();
  const auto shelf = std::make_shared<Shelf>();
  const auto source = backup::Source::of(notes, "notes:ada", "notes", {{"concurrency", "3"}, {"label.ticket", "4711"}});
  const auto sink = backup::Sink::of(shelf);
  notes->texts = {{"a", "first"}, {"b", std::string(300000, 'b')}, {"empty", ""}};
  std::string snapshot;
  {
    const auto repo = backup::Repository::init(runtime, store, credential);
    const auto done = repo.backup(source);
    if (!done.complete() || done.figures.items != 4 || notes->opened != 3) return 10;
    const auto restored = repo.restore(done.snapshot(), sink);
    if (shelf->found.size() != 3 || shelf->found["notes/b"] != notes->texts["b"] || shelf->closed != 1 || !shelf->finished)
      return 11;
    if (restored.problems.size() != 3 || restored.problems[0].message != "no colours here") return 12;
    snapshot = done.snapshot();

    // With the cursor, and only what has another tag is read.
    notes->texts["a"] = "second";
    if (repo.backup(source).figures.bytes_read != 6 || notes->opened != 4) return 13;

    // What comes along with its item is not opened.
    notes->along = true;
    notes->texts["a"] = "third one";
    if (repo.backup(source).figures.bytes_read != 9 || notes->opened != 4) return 14;
    notes->along = false;

    for (const auto &[what, number] : {std::pair{"changes", 1}, {"open", 2}}) {
      notes->fail = what;
      notes->texts["a"] += "!";
      if (boom([&] { (void)repo.backup(source); }) != number) return 20 + number;
    }
    for (const auto &[what, number] : {std::pair{"put", 3}, {"finish", 4}}) {
      shelf->fail = what;
      if (boom([&] { (void)repo.restore(snapshot, sink); }) != number) return 20 + number;
    }
    store->fail = "create";
    notes->fail = "";
    if (boom([&] { (void)repo.backup(source); }) != 5) return 25;
    store->fail = "";

    // Any other exception, too, with its type.
    notes->fail = "item";
    try {
      (void)repo.backup(source);
      return 26;
    } catch (const std::runtime_error &error) {
      if (std::string(error.what()) != "disk on fire") return 27;
    }
    // An error of the library's own type is the failure of the one item.
    notes->fail = "gone";
    const auto gone = repo.backup(source);
    if (gone.problems.size() != 1 || gone.problems[0].code != BACKUP_CODE_NOT_FOUND) return 28;
    notes->fail = "unreadable";
    const auto locked = repo.backup(source);
    if (locked.complete() || locked.problems.size() != 1 || locked.problems[0].code != BACKUP_CODE_PERMISSION_DENIED) return 29;
    notes->fail = "";
    if (!repo.backup(source).complete() || !repo.verify(backup::Level::every_byte).sound()) return 30;
  }
  // Everything is in the map, nothing in this process: a copy elsewhere, as of the first snapshot.
  const auto repo = backup::Repository::open(runtime, store, credential);
  const auto other = backup::Repository::init(runtime, "memory://", credential);
  const auto copied = other.backup(repo.as_source(snapshot));
  if (!copied.complete() || copied.figures.items != 4) return 31;
  shelf->fail = "";
  shelf->found.clear();
  (void)other.restore(copied.snapshot(), sink);
  if (shelf->found["notes/a"] != "first") return 32;
  if (boom([&] { (void)backup::Source::of(notes, "", "notes"); }) != -1) return 33;
  std::cout << store->objects.size() << " objects\n";
  return 0;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception &error) {
    std::cerr << "own: " << error.what() << "\n";
    return 1;
  }
}
