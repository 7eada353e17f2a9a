/*
 * Part of backup.hpp, which includes it: your own sources, sinks and stores.
 *
 * Derive from ItemSource, ItemSink or ObjectStore and hand a shared pointer to Source::of(), Sink::of() or Repository::init(). The
 * functions are called on threads of the library's that may block; docs/ffi.md says which and when. They may throw: backup::Error is the
 * failure of that call (of one item, where it concerns one), any other exception ends the operation and comes out of the call that
 * ran it.
 */
#ifndef BACKUP_OWN_HPP
#define BACKUP_OWN_HPP

#ifndef BACKUP_HPP
#error "include backup.hpp"
#endif

#include <cstddef>
#include <new>
#include <optional>

namespace backup {

using TimePoint = std::chrono::system_clock::time_point;

namespace detail {

inline backup_bytes bytes(std::string_view text) noexcept {
  return backup_bytes{reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

inline std::string_view view(const backup_bytes &bytes) noexcept {
  if (bytes.len == 0) return {};
  return {reinterpret_cast<const char *>(bytes.bytes), static_cast<std::size_t>(bytes.len)};
}

inline backup_time time(const std::optional<TimePoint> &point) noexcept {
  if (!point) return backup_time{0, 0, 0};
  const auto since = point->time_since_epoch();
  auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds);
  return backup_time{static_cast<std::int64_t>(seconds.count()), static_cast<std::uint32_t>(nanos.count()), 1};
}

inline std::optional<TimePoint> time(const backup_time &time) {
  if (time.known == 0) return std::nullopt;
  const auto since = std::chrono::seconds(time.seconds) + std::chrono::nanoseconds(time.nanos);
  return TimePoint(std::chrono::duration_cast<TimePoint::duration>(since));
}

/* Runs what C has called; what it throws goes on as an error that carries the exception. */
template <typename Call>
backup_error *guarded(const Call &call) noexcept {
  try {
    call();
    return nullptr;
  } catch (const Error &error) {
    return backup_error_new(error.code(), error.what(), nullptr,
                            static_cast<std::uint64_t>(error.retry_after().count()));
  } catch (const std::exception &error) {
    return thrown(error.what());
  } catch (...) {
    return thrown("an exception of the embedding program");
  }
}

}  // namespace detail

/* Typed attributes by name. */
class Attributes {
 public:
  Attributes() { detail::check(backup_attributes_new(detail::out(handle_))); }

  Attributes &put(const std::string &name, std::string_view value) {
    auto attribute = named(name, BACKUP_TYPE_TEXT);
    attribute.bytes = detail::bytes(value);
    return put(attribute);
  }
  Attributes &put(const std::string &name, const char *value) { return put(name, std::string_view(value)); }
  Attributes &put(const std::string &name, std::int64_t value) {
    auto attribute = named(name, BACKUP_TYPE_INT);
    attribute.integer = value;
    return put(attribute);
  }
  Attributes &put(const std::string &name, int value) { return put(name, static_cast<std::int64_t>(value)); }
  Attributes &put(const std::string &name, bool value) {
    auto attribute = named(name, BACKUP_TYPE_BOOL);
    attribute.integer = value ? 1 : 0;
    return put(attribute);
  }
  Attributes &put(const std::string &name, double value) {
    auto attribute = named(name, BACKUP_TYPE_FLOAT);
    attribute.number = value;
    return put(attribute);
  }
  /* Anything else that backup_attribute can say, such as lists and maps. */
  Attributes &put(const backup_attribute &attribute) {
    detail::check(backup_attributes_put(handle_.get(), &attribute));
    return *this;
  }
  [[nodiscard]] const backup_attributes *c_handle() const noexcept { return handle_.get(); }

 private:
  static backup_attribute named(const std::string &name, std::uint32_t type) noexcept {
    auto attribute = detail::sized<backup_attribute>();
    attribute.type = type;
    attribute.name = name.c_str();
    return attribute;
  }
  detail::Handle<backup_attributes, backup_attributes_free> handle_;
};

/* A named stream of bytes of an item. */
struct Stream {
  std::string name;
  std::optional<std::uint64_t> size;
  /* Bytes under this name never change. */
  bool immutable = false;
};

/* An item as an own source names it. Ids, names and tags are bytes. */
struct Item {
  std::string id;
  std::string parent; /* nothing at the top */
  std::string name;
  std::uint32_t kind = BACKUP_ITEM_KIND_FILE;
  std::string tag;
  std::string hard_link;
  std::optional<TimePoint> created;
  std::optional<TimePoint> modified;
  std::vector<Stream> streams;
  std::optional<Attributes> attributes;
  std::optional<Attributes> details;

  static Item folder(std::string id, std::string parent, std::string name) {
    Item item;
    item.id = std::move(id);
    item.parent = std::move(parent);
    item.name = std::move(name);
    item.kind = BACKUP_ITEM_KIND_FOLDER;
    return item;
  }
  /* With the stream "content". */
  static Item file(std::string id, std::string parent, std::string name, std::string tag,
                   std::optional<std::uint64_t> size = std::nullopt) {
    Item item = folder(std::move(id), std::move(parent), std::move(name));
    item.kind = BACKUP_ITEM_KIND_FILE;
    item.tag = std::move(tag);
    item.streams.push_back({"content", size, false});
    return item;
  }
};

/* An item that the library shows for the time of a call. */
class ItemView {
 public:
  explicit ItemView(const backup_item &item) noexcept : item_(item) {}
  [[nodiscard]] std::string_view id() const noexcept { return detail::view(item_.id); }
  [[nodiscard]] std::string_view parent() const noexcept { return detail::view(item_.parent); }
  [[nodiscard]] std::string_view name() const noexcept { return detail::view(item_.name); }
  [[nodiscard]] std::string_view tag() const noexcept { return detail::view(item_.tag); }
  [[nodiscard]] std::uint32_t kind() const noexcept { return item_.kind; }
  [[nodiscard]] bool is_container() const noexcept {
    return item_.kind == BACKUP_ITEM_KIND_FOLDER || item_.kind == BACKUP_ITEM_KIND_PACKAGE;
  }
  [[nodiscard]] std::optional<TimePoint> modified() const { return detail::time(item_.modified); }
  [[nodiscard]] std::vector<Stream> streams() const {
    std::vector<Stream> all;
    for (std::uint64_t i = 0; i < item_.streams_count; i++) {
      const auto &stream = item_.streams[i];
      const bool known = stream.size != BACKUP_SIZE_UNKNOWN;
      all.push_back({stream.name, known ? std::optional<std::uint64_t>(stream.size) : std::nullopt,
                     (stream.flags & BACKUP_STREAM_IMMUTABLE) != 0});
    }
    return all;
  }
  /* Everything else. */
  [[nodiscard]] const backup_item &c() const noexcept { return item_; }

 private:
  const backup_item &item_;
};

/* Where a source names its changes. */
class Changes {
 public:
  explicit Changes(backup_changes *out) noexcept : out_(out) {}
  void upsert(const Item &item) { upsert(item, {}); }
  /* With all that its first streams hold, in their order: these are not opened. For short content that is at hand. */
  void upsert(const Item &item, const std::vector<std::string_view> &contents) {
    auto given = detail::sized<backup_item>();
    given.kind = item.kind;
    given.id = detail::bytes(item.id);
    given.parent = detail::bytes(item.parent);
    given.name = detail::bytes(item.name);
    given.tag = detail::bytes(item.tag);
    given.hard_link = detail::bytes(item.hard_link);
    given.created = detail::time(item.created);
    given.modified = detail::time(item.modified);
    std::vector<backup_stream> streams;
    for (const auto &stream : item.streams)
      streams.push_back({stream.name.c_str(), stream.size.value_or(BACKUP_SIZE_UNKNOWN),
                         stream.immutable ? std::uint64_t{BACKUP_STREAM_IMMUTABLE} : 0});
    given.streams = streams.data();
    given.streams_count = streams.size();
    if (item.attributes) given.attributes = item.attributes->c_handle();
    if (item.details) given.details = item.details->c_handle();
    std::vector<backup_bytes> bytes;
    for (const auto content : contents) bytes.push_back(detail::bytes(content));
    detail::check(backup_changes_upsert_with(out_, &given, bytes.data(), bytes.size()));
  }
  void remove(std::string_view id) {
    const auto given = detail::bytes(id);
    detail::check(backup_changes_remove(out_, given.bytes, id.size()));
  }
  /* The item (if it is known) and what is below it could not be looked at. */
  void unreadable(std::string_view id, const std::string &place, std::uint32_t code, const std::string &message) {
    const auto given = detail::bytes(id);
    detail::check(backup_changes_unreadable(out_, given.bytes, id.size(), place.c_str(), code, message.c_str()));
  }
  void cursor(std::string_view cursor) {
    const auto given = detail::bytes(cursor);
    detail::check(backup_changes_cursor(out_, given.bytes, cursor.size()));
  }
  void reset() { detail::check(backup_changes_reset(out_)); }

 private:
  backup_changes *out_;
};

/* Where content is written to. Waits while the library has enough. */
class Writer {
 public:
  explicit Writer(backup_reader *out) noexcept : out_(out) {}
  void push(const void *bytes, std::size_t len) {
    detail::check(backup_reader_push(out_, static_cast<const std::uint8_t *>(bytes), len));
  }
  void push(std::string_view bytes) { push(bytes.data(), bytes.size()); }

 private:
  backup_reader *out_;
};

/* A stream that is being read. */
class Content {
 public:
  [[nodiscard]] std::optional<std::uint64_t> size() const noexcept {
    const auto size = backup_content_size(handle_.get());
    return size != BACKUP_SIZE_UNKNOWN ? std::optional<std::uint64_t>(size) : std::nullopt;
  }
  /* The next bytes, at most `len`; 0 only at the end. */
  std::size_t read(void *buffer, std::size_t len) {
    std::size_t got = 0;
    detail::check(backup_content_read(handle_.get(), static_cast<std::uint8_t *>(buffer), len, &got));
    return got;
  }
  /* All of it; for short content. */
  std::string all() {
    std::string text;
    std::array<char, 65536> buffer;
    while (const auto got = read(buffer.data(), buffer.size())) text.append(buffer.data(), got);
    return text;
  }

 private:
  friend class Contents;
  detail::Handle<backup_content, backup_content_free> handle_;
};

/* The streams of an item that is being put. */
class Contents {
 public:
  explicit Contents(const backup_contents *contents) noexcept : contents_(contents) {}
  [[nodiscard]] Content open(const std::string &stream) const {
    Content made;
    detail::check(backup_contents_open(contents_, stream.c_str(), detail::out(made.handle_)));
    return made;
  }

 private:
  const backup_contents *contents_;
};

/* Where an item is to be put. */
struct Place {
  Conflict conflict;
  /* What put() called the containing item; none at the top. */
  std::optional<std::string> parent;
  /* What put() called the item that this one is a further hard link of. */
  std::optional<std::string> link;
};

enum class Action : std::uint32_t {
  created = BACKUP_ACTION_CREATED,
  replaced = BACKUP_ACTION_REPLACED,
  skipped = BACKUP_ACTION_SKIPPED,
  renamed = BACKUP_ACTION_RENAMED
};

/* What became of an item, and what the sink calls it. */
struct Placement {
  Action action;
  std::string placed;
  /* What could not be restored of it: codes and messages. */
  std::vector<std::pair<std::uint32_t, std::string>> problems = {};
};

/* Something of yours that can be backed up. backup_source_vtable says what each function has to do. */
class ItemSource {
 public:
  ItemSource() = default;
  ItemSource(const ItemSource &) = delete;
  ItemSource &operator=(const ItemSource &) = delete;
  virtual ~ItemSource() = default;
  /* What changed since the cursor, or everything if that is empty. */
  virtual void changes(std::string_view cursor, Changes &out) = 0;
  virtual void open(const ItemView &item, const std::string &stream, Writer &out) = 0;
  /* A cursor that covers what `cursor` does but for these items; nothing if there is none. */
  virtual std::string cursor_without(std::string_view cursor, const std::vector<std::string_view> &missed) {
    (void)cursor;
    (void)missed;
    return {};
  }
};

/* A place of yours that items can be restored to. backup_sink_vtable says what each function has to do. */
class ItemSink {
 public:
  ItemSink() = default;
  ItemSink(const ItemSink &) = delete;
  ItemSink &operator=(const ItemSink &) = delete;
  virtual ~ItemSink() = default;
  virtual Placement put(const ItemView &item, const Place &place, const Contents &contents) = 0;
  virtual void close(const ItemView &item, std::string_view placed) {
    (void)item;
    (void)placed;
  }
  virtual void finish() {}
};

/* A place of yours for repositories. backup_store_vtable says what each function has to do. */
class ObjectStore {
 public:
  /* Name, length in bytes, seconds since 1970 at which it was created (0: not known). */
  using Add = std::function<void(const std::string &key, std::uint64_t size, std::int64_t modified)>;

  ObjectStore() = default;
  ObjectStore(const ObjectStore &) = delete;
  ObjectStore &operator=(const ObjectStore &) = delete;
  virtual ~ObjectStore() = default;
  /* False if the name is taken. */
  virtual bool create(const std::string &key, std::string_view bytes) = 0;
  /* The whole object if there is no range: where it begins and how long it is. */
  virtual void read(const std::string &key, std::optional<std::pair<std::uint64_t, std::uint64_t>> range, Writer &out) = 0;
  virtual std::uint64_t size(const std::string &key) = 0;
  virtual void list(const std::string &prefix, const Add &add) = 0;
  virtual void remove(const std::string &key) = 0;
};

namespace detail {

template <typename T>
T &mine(void *object) noexcept {
  return **static_cast<std::shared_ptr<T> *>(object);
}

template <typename T>
void forget(void *object) noexcept {
  delete static_cast<std::shared_ptr<T> *>(object);
}

struct OwnSource {
  static backup_error *changes(void *object, backup_bytes cursor, backup_changes *out) noexcept {
    return guarded([&] {
      Changes changes(out);
      mine<ItemSource>(object).changes(view(cursor), changes);
    });
  }
  static backup_error *open(void *object, const backup_item *item, const char *stream, backup_reader *out) noexcept {
    return guarded([&] {
      Writer writer(out);
      mine<ItemSource>(object).open(ItemView(*item), stream, writer);
    });
  }
  static backup_error *cursor_without(void *object, backup_bytes cursor, const backup_bytes *missed, std::uint64_t count,
                                      backup_reader *out) noexcept {
    return guarded([&] {
      std::vector<std::string_view> ids;
      for (std::uint64_t i = 0; i < count; i++) ids.push_back(view(missed[i]));
      Writer(out).push(mine<ItemSource>(object).cursor_without(view(cursor), ids));
    });
  }
};

struct OwnSink {
  static backup_error *put(void *object, const backup_item *item, const backup_place *place,
                           const backup_contents *contents, backup_placement *out) noexcept {
    return guarded([&] {
      const auto named = [](const backup_bytes &bytes) {
        return bytes.bytes != nullptr ? std::optional<std::string>(view(bytes)) : std::nullopt;
      };
      const Place where{static_cast<Conflict>(place->conflict), named(place->parent), named(place->link)};
      const auto said = mine<ItemSink>(object).put(ItemView(*item), where, Contents(contents));
      for (const auto &[code, message] : said.problems) check(backup_placement_problem(out, code, message.c_str()));
      const auto placed = bytes(said.placed);
      check(backup_placement_set(out, static_cast<std::uint32_t>(said.action), placed.bytes, said.placed.size()));
    });
  }
  static backup_error *close(void *object, const backup_item *item, backup_bytes placed) noexcept {
    return guarded([&] { mine<ItemSink>(object).close(ItemView(*item), view(placed)); });
  }
  static backup_error *finish(void *object) noexcept {
    return guarded([&] { mine<ItemSink>(object).finish(); });
  }
};

struct OwnStore {
  static backup_error *create(void *object, const char *key, const std::uint8_t *data, std::size_t len,
                              std::uint32_t *created) noexcept {
    return guarded([&] {
      const std::string_view content(reinterpret_cast<const char *>(data), len);
      *created = mine<ObjectStore>(object).create(key, content) ? 1 : 0;
    });
  }
  static backup_error *read(void *object, const char *key, std::uint64_t offset, std::uint64_t len,
                            backup_reader *out) noexcept {
    return guarded([&] {
      Writer writer(out);
      std::optional<std::pair<std::uint64_t, std::uint64_t>> range;
      if (len != BACKUP_WHOLE) range.emplace(offset, len);
      mine<ObjectStore>(object).read(key, range, writer);
    });
  }
  static backup_error *size(void *object, const char *key, std::uint64_t *size) noexcept {
    return guarded([&] { *size = mine<ObjectStore>(object).size(key); });
  }
  static backup_error *list(void *object, const char *prefix, backup_entries *out) noexcept {
    return guarded([&] {
      mine<ObjectStore>(object).list(prefix, [&](const std::string &key, std::uint64_t size, std::int64_t modified) {
        check(backup_entries_add(out, key.c_str(), size, modified));
      });
    });
  }
  static backup_error *remove(void *object, const char *key) noexcept {
    return guarded([&] { mine<ObjectStore>(object).remove(key); });
  }
};

/* A table to fill, and a place on the heap for the pointer that its functions get. */
template <typename Table, typename T>
std::pair<Table, std::unique_ptr<std::shared_ptr<T>>> table(std::shared_ptr<T> own) {
  if (own == nullptr) throw std::invalid_argument("there is no object to call");
  auto made = sized<Table>();
  made.release = &forget<T>;
  return {made, std::make_unique<std::shared_ptr<T>>(std::move(own))};
}

using StoreHandle = Handle<backup_store, backup_store_free>;

inline StoreHandle own_store(std::shared_ptr<ObjectStore> own) {
  auto [functions, object] = table<backup_store_vtable>(std::move(own));
  functions.create = &OwnStore::create;
  functions.read = &OwnStore::read;
  functions.size = &OwnStore::size;
  functions.list = &OwnStore::list;
  functions.remove = &OwnStore::remove;
  StoreHandle made;
  check(backup_store_new(&functions, object.get(), out(made)));
  (void)object.release(); /* the library's from here on */
  return made;
}

}  // namespace detail

inline Source Source::of(std::shared_ptr<ItemSource> own, const std::string &collection_id,
                         const std::string &collection_kind, const Options &options) {
  auto [functions, object] = detail::table<backup_source_vtable>(std::move(own));
  functions.changes = &detail::OwnSource::changes;
  functions.open = &detail::OwnSource::open;
  functions.cursor_without = &detail::OwnSource::cursor_without;
  Source made;
  detail::check(backup_source_new(&functions, object.get(), collection_id.c_str(), collection_kind.c_str(),
                                  detail::options(options).get(), detail::out(made.handle_)));
  (void)object.release();
  return made;
}

inline Sink Sink::of(std::shared_ptr<ItemSink> own, const Options &options) {
  auto [functions, object] = detail::table<backup_sink_vtable>(std::move(own));
  functions.put = &detail::OwnSink::put;
  functions.close = &detail::OwnSink::close;
  functions.finish = &detail::OwnSink::finish;
  Sink made;
  detail::check(backup_sink_new(&functions, object.get(), detail::options(options).get(), detail::out(made.handle_)));
  (void)object.release();
  return made;
}

inline Repository Repository::init(const Runtime &runtime, std::shared_ptr<ObjectStore> store,
                                   const Credential &credential, const Options &options) {
  const auto own = detail::own_store(std::move(store));
  Repository made;
  detail::check(backup_repo_init_store(runtime.c_handle(), own.get(), detail::options(options).get(),
                                       credential.c_handle(), detail::out(made.handle_)));
  return made;
}

inline Repository Repository::open(const Runtime &runtime, std::shared_ptr<ObjectStore> store,
                                   const Credential &credential, const Options &options) {
  const auto own = detail::own_store(std::move(store));
  Repository made;
  detail::check(backup_repo_open_store(runtime.c_handle(), own.get(), detail::options(options).get(),
                                       credential.c_handle(), detail::out(made.handle_)));
  return made;
}

}  // namespace backup

#endif  // BACKUP_OWN_HPP
