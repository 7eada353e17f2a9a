/*
 * Part of backup.hpp, which includes it: items of snapshots, looking into snapshots and comparing them.
 */
#ifndef BACKUP_BROWSE_HPP
#define BACKUP_BROWSE_HPP

#ifndef BACKUP_HPP
#error "include backup.hpp"
#endif

#include <cstddef>
#include <iterator>
#include <optional>

namespace backup {

using Time = std::chrono::system_clock::time_point;

namespace detail {

using TextHandle = Handle<backup_text, backup_text_free>;
using EntryHandle = Handle<backup_entry, backup_entry_free>;

inline std::string text(const TextHandle &handle) {
  return handle ? std::string(backup_text_get(handle.get()), backup_text_len(handle.get())) : std::string();
}

inline std::string bytes(const backup_bytes &bytes) {
  return bytes.len == 0 ? std::string()
                        : std::string(reinterpret_cast<const char *>(bytes.bytes), static_cast<std::size_t>(bytes.len));
}

inline const std::uint8_t *raw(std::string_view bytes) noexcept {
  return reinterpret_cast<const std::uint8_t *>(bytes.data());
}

inline Time when(std::int64_t seconds, std::uint32_t nanos) {
  const auto since = std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos);
  return Time(std::chrono::duration_cast<Time::duration>(since));
}

inline std::optional<Time> when(const backup_time &time) {
  if (time.known == 0) return std::nullopt;
  return detail::when(time.seconds, time.nanos);
}

inline Snapshot snapshot(const backup_snapshot &snapshot) {
  return {snapshot.id,
          text(snapshot.collection),
          text(snapshot.kind),
          when(snapshot.created_seconds, snapshot.created_nanos),
          snapshot.state == BACKUP_STATE_COMPLETE,
          snapshot.suspicious != 0,
          snapshot.held != 0,
          snapshot.confirmed != 0};
}

}  // namespace detail

/* A label, a name and a value of the embedder's own. */
struct Label {
  std::string name;
  std::string value;
};

/* All that a snapshot says of itself. */
struct SnapshotInfo {
  Snapshot summary;
  backup_stats stats;
  std::optional<std::string> parent;
  std::vector<Label> labels;
  /* Items that could not be read, the first 1,000 of them. */
  std::vector<Problem> problems;
  /* A sum of BACKUP_SUSPICION_ numbers, judged at 25 percent. */
  std::uint32_t suspicions;
};

namespace detail {

using InfoHandle = Handle<backup_info, backup_info_free>;

inline SnapshotInfo info(const InfoHandle &handle) {
  auto summary = sized<backup_snapshot>();
  check(backup_info_summary(handle.get(), &summary));
  SnapshotInfo info{snapshot(summary), sized<backup_stats>(), std::nullopt, {}, {}, 0};
  check(backup_info_stats(handle.get(), &info.stats));
  if (const char *parent = backup_info_parent(handle.get())) info.parent = parent;
  const std::uint64_t count = backup_info_label_count(handle.get());
  for (std::uint64_t i = 0; i < count; i++) {
    auto label = sized<backup_label>();
    check(backup_info_label_at(handle.get(), i, &label));
    info.labels.push_back({text(label.name), text(label.value)});
  }
  ProblemsHandle list;
  check(backup_info_problems(handle.get(), out(list)));
  info.problems = problems(list);
  info.suspicions = backup_info_suspicions(handle.get(), 25);
  return info;
}

}  // namespace detail

/* A stream of bytes of an item. */
struct StreamInfo {
  std::string name;
  std::uint64_t size;
};

/* An item of a snapshot. Ids, names and tags are bytes and need not be UTF-8. */
class Entry {
 public:
  explicit Entry(detail::EntryHandle handle) : handle_(std::move(handle)), item_(detail::sized<backup_item>()) {
    detail::check(backup_entry_item(handle_.get(), &item_));
  }
  [[nodiscard]] std::string id() const { return detail::bytes(item_.id); }
  [[nodiscard]] std::string name() const { return detail::bytes(item_.name); }
  [[nodiscard]] std::string tag() const { return detail::bytes(item_.tag); }
  /* The id of the containing item; nothing at the top. */
  [[nodiscard]] std::string parent() const { return detail::bytes(item_.parent); }
  /* For a further hard link: the id of the item that has the content. */
  [[nodiscard]] std::string hard_link() const { return detail::bytes(item_.hard_link); }
  /* A BACKUP_ITEM_KIND_ number. */
  [[nodiscard]] std::uint32_t kind() const noexcept { return item_.kind; }
  [[nodiscard]] bool is_container() const noexcept {
    return item_.kind == BACKUP_ITEM_KIND_FOLDER || item_.kind == BACKUP_ITEM_KIND_PACKAGE;
  }
  [[nodiscard]] std::optional<Time> created() const { return detail::when(item_.created); }
  [[nodiscard]] std::optional<Time> modified() const { return detail::when(item_.modified); }
  [[nodiscard]] std::vector<StreamInfo> streams() const {
    std::vector<StreamInfo> all;
    for (std::uint64_t i = 0; i < item_.streams_count; i++) {
      all.push_back({detail::text(item_.streams[i].name), item_.streams[i].size});
    }
    return all;
  }
  /* Sum of the streams' lengths in bytes. */
  [[nodiscard]] std::uint64_t size() const noexcept {
    std::uint64_t size = 0;
    for (std::uint64_t i = 0; i < item_.streams_count; i++) size += item_.streams[i].size;
    return size;
  }
  /* The item as C has it, with its attributes; lives as long as this object. */
  [[nodiscard]] const backup_item &c_item() const noexcept { return item_; }

 private:
  detail::EntryHandle handle_;
  backup_item item_;
};

/* The items of a folder, a few at a time: for (const auto &entry : browser.list("letters")) ... */
class Listing {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Entry;
    using difference_type = std::ptrdiff_t;
    using pointer = const Entry *;
    using reference = const Entry &;

    Iterator() = default;
    explicit Iterator(Listing *listing) : listing_(listing) { ++*this; }
    reference operator*() const { return *entry_; }
    pointer operator->() const { return &*entry_; }
    Iterator &operator++() {
      entry_ = listing_->next();
      if (!entry_) listing_ = nullptr;
      return *this;
    }
    bool operator==(const Iterator &other) const noexcept { return listing_ == other.listing_; }
    bool operator!=(const Iterator &other) const noexcept { return listing_ != other.listing_; }

   private:
    Listing *listing_ = nullptr;
    std::optional<Entry> entry_;
  };

  /* The next item in bytewise order of names; nothing at the end. */
  std::optional<Entry> next() {
    detail::EntryHandle entry;
    detail::check(backup_listing_next(handle_.get(), detail::out(entry)));
    if (!entry) return std::nullopt;
    return Entry(std::move(entry));
  }
  Iterator begin() { return Iterator(this); }
  static Iterator end() { return {}; }

 private:
  friend class Browser;
  Listing() = default;
  detail::Handle<backup_listing, backup_listing_free> handle_;
};

/* A read-only view of one snapshot. */
class Browser {
 public:
  [[nodiscard]] SnapshotInfo info() const {
    detail::InfoHandle info;
    detail::check(backup_browser_info(handle_.get(), detail::out(info)));
    return detail::info(info);
  }
  /* The item at a path. */
  [[nodiscard]] Entry stat(const std::string &path) const {
    detail::EntryHandle entry;
    detail::check(backup_browser_stat(handle_.get(), path.c_str(), detail::out(entry)));
    return Entry(std::move(entry));
  }
  [[nodiscard]] Entry item(std::string_view id) const {
    detail::EntryHandle entry;
    detail::check(backup_browser_item(handle_.get(), detail::raw(id), id.size(), detail::out(entry)));
    return Entry(std::move(entry));
  }
  [[nodiscard]] Listing list(const std::string &path = {}) const {
    Listing made;
    detail::check(backup_browser_list(handle_.get(), path.c_str(), detail::out(made.handle_)));
    return made;
  }
  /* What lies below the item with this id; without one, the top items. */
  [[nodiscard]] Listing list_below(std::string_view id = {}) const {
    Listing made;
    detail::check(backup_browser_list_below(handle_.get(), detail::raw(id), id.size(), detail::out(made.handle_)));
    return made;
  }
  [[nodiscard]] std::string path(std::string_view id) const {
    detail::TextHandle path;
    detail::check(backup_browser_path(handle_.get(), detail::raw(id), id.size(), detail::out(path)));
    return detail::text(path);
  }
  /* Reads up to `size` bytes from `offset` on; fewer only at the end of the stream. */
  [[nodiscard]] std::size_t read(std::string_view id, std::uint64_t offset, void *buffer, std::size_t size,
                                 const std::string &stream = "content") const {
    std::uint64_t done = 0;
    detail::check(backup_browser_read(handle_.get(), detail::raw(id), id.size(), stream.c_str(), offset,
                                      static_cast<std::uint8_t *>(buffer), size, &done));
    return static_cast<std::size_t>(done);
  }
  [[nodiscard]] const backup_browser *c_handle() const noexcept { return handle_.get(); }

 private:
  friend class Repository;
  Browser() = default;
  detail::Handle<backup_browser, backup_browser_free> handle_;
};

/* How an item differs between two snapshots. */
struct Difference {
  /* A BACKUP_DIFFERENCE_ number. */
  std::uint32_t kind;
  std::optional<Entry> before;
  std::optional<Entry> after;
};

/* The differences between two snapshots, in order of item ids. */
class Differences {
 public:
  /* The next difference; nothing at the end. */
  std::optional<Difference> next() {
    std::uint32_t kind = BACKUP_DIFFERENCE_END;
    detail::EntryHandle before;
    detail::EntryHandle after;
    detail::check(backup_differences_next(handle_.get(), &kind, detail::out(before), detail::out(after)));
    if (kind == BACKUP_DIFFERENCE_END) return std::nullopt;
    Difference found{kind, std::nullopt, std::nullopt};
    if (before) found.before.emplace(std::move(before));
    if (after) found.after.emplace(std::move(after));
    return found;
  }

 private:
  friend class Repository;
  Differences() = default;
  detail::Handle<backup_differences, backup_differences_free> handle_;
};

}  // namespace backup

#endif  // BACKUP_BROWSE_HPP
