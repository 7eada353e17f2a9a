/*
 * Embeddable backup engine: C++17 over backup.h. Header only; link the same library.
 *
 * Handles are move-only objects that free themselves. Failures throw backup::Error. Callbacks may throw anything: the
 * operation is then canceled, and the exception goes on from the call once no C code is on the stack. The rules on
 * threads are those of backup.h: const member functions may be called by several threads at once.
 */
#ifndef BACKUP_HPP
#define BACKUP_HPP

#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "backup.h"

namespace backup {

namespace detail {

/* Frees a handle with the C function of its type. */
template <typename T, void (*release)(T *)>
struct Release {
  void operator()(T *handle) const noexcept { release(handle); }
};

template <typename T, void (*release)(T *)>
using Handle = std::unique_ptr<T, Release<T, release>>;

/* Where a C function puts a new handle. */
template <typename T, void (*release)(T *)>
class Out {
 public:
  explicit Out(Handle<T, release> &handle) noexcept : handle_(handle) {}
  Out(const Out &) = delete;
  Out &operator=(const Out &) = delete;
  ~Out() {
    if (raw_ != nullptr) handle_.reset(raw_);
  }
  operator T **() noexcept { return &raw_; }

 private:
  Handle<T, release> &handle_;
  T *raw_ = nullptr;
};

template <typename T, void (*release)(T *)>
Out<T, release> out(Handle<T, release> &handle) noexcept {
  return Out<T, release>(handle);
}

template <typename T>
T sized() noexcept {
  T value{};
  value.struct_size = static_cast<std::uint32_t>(sizeof(T));
  return value;
}

inline std::string text(const char *text) { return text != nullptr ? std::string(text) : std::string(); }

}  // namespace detail

/* A failure of the library: `what()` is one line. */
class Error : public std::runtime_error {
 public:
  explicit Error(const backup_error *error)
      : std::runtime_error(detail::text(backup_error_message(error))),
        code_(backup_error_code(error)),
        retryable_(backup_error_retryable(error) != 0),
        retry_after_(backup_error_retry_after_ms(error)),
        texts_(std::make_shared<const std::array<std::string, 3>>(std::array<std::string, 3>{
            detail::text(backup_error_hint(error)), detail::text(backup_error_item(error)),
            detail::text(backup_error_detail(error))})) {}

  /* A BACKUP_CODE_ number; newer libraries may have more of them. */
  [[nodiscard]] std::uint32_t code() const noexcept { return code_; }
  /* What can be done about it. */
  [[nodiscard]] const std::string &hint() const noexcept { return (*texts_)[0]; }
  /* The path, id or object that it is about, or nothing. */
  [[nodiscard]] const std::string &item() const noexcept { return (*texts_)[1]; }
  /* The message with all causes, for a log. */
  [[nodiscard]] const std::string &detail() const noexcept { return (*texts_)[2]; }
  /* How long the other side asked to wait; zero if it did not say. */
  [[nodiscard]] std::chrono::milliseconds retry_after() const noexcept { return retry_after_; }
  [[nodiscard]] bool retryable() const noexcept { return retryable_; }

 private:
  std::uint32_t code_;
  bool retryable_;
  std::chrono::milliseconds retry_after_;
  std::shared_ptr<const std::array<std::string, 3>> texts_; /* copying an exception must not throw */
};

namespace detail {

/* An exception on its way through the library: attached to the error that it became. */
inline void forget_exception(void *thrown) noexcept { delete static_cast<std::exception_ptr *>(thrown); }

/* The exception under way as an error that ends the operation. */
inline backup_error *thrown(const char *what) noexcept {
  backup_error *error = backup_error_new(BACKUP_CODE_CANCELED, what, nullptr, 0);
  if (auto *kept = new (std::nothrow) std::exception_ptr(std::current_exception()))
    backup_error_attach(error, kept, &forget_exception);
  return error;
}

/* Throws what an own source, sink or store has thrown, else what the library says. */
inline void check(backup_error *error) {
  const Handle<backup_error, backup_error_free> owned(error);
  if (!owned) return;
  if (const void *kept = backup_error_payload(error, &forget_exception))
    std::rethrow_exception(*static_cast<const std::exception_ptr *>(kept));
  throw Error(error);
}

}  // namespace detail

/* Names and values; a name may occur several times. */
using Options = std::vector<std::pair<std::string, std::string>>;
using Progress = backup_progress;
/* Return false to cancel. */
using OnProgress = std::function<bool(const Progress &)>;

enum class Conflict : std::uint32_t {
  skip = BACKUP_CONFLICT_SKIP,
  replace = BACKUP_CONFLICT_REPLACE,
  keep_both = BACKUP_CONFLICT_KEEP_BOTH
};
enum class Level : std::uint32_t { structure = BACKUP_LEVEL_STRUCTURE, every_byte = BACKUP_LEVEL_EVERY_BYTE };

struct Problem {
  std::uint32_t code;
  std::string place;
  std::string message;
};

struct BackupResult {
  backup_result figures;
  std::vector<Problem> problems;
  [[nodiscard]] std::string snapshot() const { return figures.snapshot; }
  [[nodiscard]] bool complete() const noexcept { return figures.state == BACKUP_STATE_COMPLETE; }
  /* A sum of BACKUP_SUSPICION_ numbers: reasons to look at it before earlier snapshots are let go. */
  [[nodiscard]] std::uint32_t suspicions() const noexcept { return figures.suspicions; }
};

struct RestoreResult {
  backup_restore_result figures;
  std::vector<Problem> problems;
};

struct VerifyResult {
  backup_verify_result figures;
  std::vector<Problem> findings;
  [[nodiscard]] bool sound() const noexcept { return figures.sound != 0; }
};

struct Snapshot {
  std::string id;
  std::string collection;
  std::string kind;
  std::chrono::system_clock::time_point created;
  bool complete;
  /* Its run reported a BACKUP_SUSPICION_. */
  bool suspicious;
  /* It must not be removed. */
  bool held;
  /* The log says for sure that it is in use: always, but in a salvaged repository. */
  bool confirmed;
};

namespace detail {

using OptionsHandle = Handle<backup_options, backup_options_free>;
using ProblemsHandle = Handle<backup_problems, backup_problems_free>;

inline OptionsHandle options(const Options &entries) {
  OptionsHandle handle;
  if (entries.empty()) return handle;
  check(backup_options_new(out(handle)));
  for (const auto &[key, value] : entries) check(backup_options_add(handle.get(), key.c_str(), value.c_str()));
  return handle;
}

inline std::vector<Problem> problems(const ProblemsHandle &list) {
  std::vector<Problem> all;
  const std::uint64_t count = backup_problems_count(list.get());
  for (std::uint64_t i = 0; i < count; i++) {
    auto problem = sized<backup_problem>();
    check(backup_problems_at(list.get(), i, &problem));
    all.push_back({problem.code, text(problem.place), text(problem.message)});
  }
  return all;
}

/* A C++ callback that C can call: exceptions are kept until the C frames are gone. */
class Thunk {
 public:
  explicit Thunk(const OnProgress &callback) noexcept : callback_(callback) {}
  [[nodiscard]] backup_progress_fn function() const noexcept { return callback_ ? &Thunk::call : nullptr; }

  /* Throws what the callback has thrown, else what the call has returned. */
  void finish(backup_error *error) {
    Handle<backup_error, backup_error_free> owned(error);
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    check(owned.release());
  }

 private:
  static std::int32_t call(const backup_progress *progress, void *self) noexcept {
    auto *thunk = static_cast<Thunk *>(self);
    try {
      return thunk->thrown_ == nullptr && thunk->callback_(*progress) ? 0 : 1;
    } catch (...) {
      thunk->thrown_ = std::current_exception();
      return 1;
    }
  }

  const OnProgress &callback_;
  std::exception_ptr thrown_;
};

}  // namespace detail

/* Threads for input, output and computing; shared by any number of repositories. */
class Runtime {
 public:
  explicit Runtime(std::uint32_t threads = 0) { detail::check(backup_runtime_new(threads, detail::out(handle_))); }
  /* Has `take` called with lines for an operator, up to `level`, from all repositories of this runtime; an empty function ends that. It is called
     on any thread, by several at once: it returns soon and calls nothing of the library. What it throws is dropped. */
  void log(backup_log_level level, std::function<void(backup_log_level, std::string_view)> take) {
    if (!take) return detail::check(backup_runtime_log(handle_.get(), level, nullptr, nullptr, nullptr));
    auto kept = std::make_unique<LogFn>(std::move(take));
    detail::check(backup_runtime_log(handle_.get(), level, on_line, on_release, kept.get()));
    (void)kept.release();
  }
  [[nodiscard]] const backup_runtime *c_handle() const noexcept { return handle_.get(); }

 private:
  using LogFn = std::function<void(backup_log_level, std::string_view)>;
  static void on_line(std::uint32_t level, const char *line, void *userdata) noexcept {
    try {
      (*static_cast<LogFn *>(userdata))(static_cast<backup_log_level>(level), line);
    } catch (...) {
    }
  }
  static void on_release(void *userdata) noexcept { delete static_cast<LogFn *>(userdata); }
  detail::Handle<backup_runtime, backup_runtime_free> handle_;
};

/* A passphrase or a key. The library wipes its copy; wipe yours. */
class Credential {
 public:
  static Credential passphrase(std::string_view text) {
    Credential made;
    detail::check(backup_credential_passphrase(bytes(text.data()), text.size(), detail::out(made.handle_)));
    return made;
  }
  static Credential raw_key(const std::array<std::uint8_t, 32> &key) {
    Credential made;
    detail::check(backup_credential_raw_key(key.data(), key.size(), detail::out(made.handle_)));
    return made;
  }
  [[nodiscard]] const backup_credential *c_handle() const noexcept { return handle_.get(); }

 private:
  Credential() = default;
  static const std::uint8_t *bytes(const char *text) noexcept { return reinterpret_cast<const std::uint8_t *>(text); }
  detail::Handle<backup_credential, backup_credential_free> handle_;
};

/* A switch that stops operations from another thread. */
class Cancel {
 public:
  Cancel() { detail::check(backup_cancel_new(detail::out(handle_))); }
  void request() const { detail::check(backup_cancel_request(handle_.get())); }
  [[nodiscard]] const backup_cancel *c_handle() const noexcept { return handle_.get(); }

 private:
  detail::Handle<backup_cancel, backup_cancel_free> handle_;
};

class ItemSource;
class ItemSink;
class ObjectStore;

/* Something that can be backed up. */
class Source {
 public:
  /* A source of your own; backup_own.hpp. Options as for backup_source_new(). */
  static Source of(std::shared_ptr<ItemSource> own, const std::string &collection_id,
                   const std::string &collection_kind, const Options &options = {});
  static Source folder(const std::string &path, const Options &options = {}) {
    Source made;
    detail::check(backup_source_folder(path.c_str(), detail::options(options).get(), detail::out(made.handle_)));
    return made;
  }
  [[nodiscard]] const backup_source *c_handle() const noexcept { return handle_.get(); }

 private:
  friend class Graph;
  friend class Repository;
  Source() = default;
  detail::Handle<backup_source, backup_source_free> handle_;
};

/* Something that items can be restored to. */
class Sink {
 public:
  /* A sink of your own; backup_own.hpp. Options as for backup_sink_new(). */
  static Sink of(std::shared_ptr<ItemSink> own, const Options &options = {});
  static Sink folder(const std::string &path, const Options &options = {}) {
    Sink made;
    detail::check(backup_sink_folder(path.c_str(), detail::options(options).get(), detail::out(made.handle_)));
    return made;
  }
  [[nodiscard]] const backup_sink *c_handle() const noexcept { return handle_.get(); }

 private:
  friend class Graph;
  Sink() = default;
  detail::Handle<backup_sink, backup_sink_free> handle_;
};

/* Which part of a snapshot is restored. */
inline Options only(std::initializer_list<std::string> patterns) {
  Options options;
  for (const auto &pattern : patterns) options.emplace_back("only", pattern);
  return options;
}

}  // namespace backup

#include "backup_browse.hpp"
#include "backup_upkeep.hpp"

namespace backup {

/* An open repository. */
class Repository {
 public:
  static Repository init(const Runtime &runtime, const std::string &url, const Credential &credential,
                         const Options &options = {}) {
    Repository made;
    detail::check(backup_repo_init(runtime.c_handle(), url.c_str(), detail::options(options).get(),
                                   credential.c_handle(), detail::out(made.handle_)));
    return made;
  }
  static Repository open(const Runtime &runtime, const std::string &url, const Credential &credential,
                         const Options &options = {}) {
    Repository made;
    detail::check(backup_repo_open(runtime.c_handle(), url.c_str(), detail::options(options).get(),
                                   credential.c_handle(), detail::out(made.handle_)));
    return made;
  }

  /* In a store of your own; backup_own.hpp. */
  static Repository init(const Runtime &runtime, std::shared_ptr<ObjectStore> store, const Credential &credential,
                         const Options &options = {});
  static Repository open(const Runtime &runtime, std::shared_ptr<ObjectStore> store, const Credential &credential,
                         const Options &options = {});

  /* A snapshot as a source, for a copy of it in another repository. */
  [[nodiscard]] Source as_source(const std::string &snapshot) const {
    Source made;
    detail::check(backup_repo_as_source(handle_.get(), snapshot.c_str(), detail::out(made.handle_)));
    return made;
  }

  BackupResult backup(const Source &source, const OnProgress &on_progress = {}, const Options &options = {},
                      const Cancel *cancel = nullptr) const {
    BackupResult done{detail::sized<backup_result>(), {}};
    detail::ProblemsHandle problems;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_backup(handle_.get(), source.c_handle(), detail::options(options).get(),
                                    cancel != nullptr ? cancel->c_handle() : nullptr, &done.figures,
                                    detail::out(problems), thunk.function(), &thunk));
    done.problems = detail::problems(problems);
    return done;
  }

  RestoreResult restore(const std::string &snapshot, const Sink &sink, const Options &options = {},
                        Conflict conflict = Conflict::skip, const OnProgress &on_progress = {},
                        const Cancel *cancel = nullptr) const {
    RestoreResult done{detail::sized<backup_restore_result>(), {}};
    detail::ProblemsHandle problems;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_restore(handle_.get(), snapshot.c_str(), sink.c_handle(),
                                     static_cast<std::uint32_t>(conflict), detail::options(options).get(),
                                     cancel != nullptr ? cancel->c_handle() : nullptr, &done.figures,
                                     detail::out(problems), thunk.function(), &thunk));
    done.problems = detail::problems(problems);
    return done;
  }

  [[nodiscard]] VerifyResult verify(Level level = Level::structure, const OnProgress &on_progress = {},
                                    const Cancel *cancel = nullptr) const {
    VerifyResult done{detail::sized<backup_verify_result>(), {}};
    detail::ProblemsHandle findings;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_verify(handle_.get(), static_cast<std::uint32_t>(level),
                                    cancel != nullptr ? cancel->c_handle() : nullptr, &done.figures,
                                    detail::out(findings), thunk.function(), &thunk));
    done.findings = detail::problems(findings);
    return done;
  }

  [[nodiscard]] std::vector<Snapshot> snapshots() const {
    detail::Handle<backup_snapshots, backup_snapshots_free> list;
    detail::check(backup_repo_snapshots(handle_.get(), detail::out(list)));
    return all(list);
  }

  /* The newest snapshot of a collection, if there is one. */
  [[nodiscard]] std::optional<Snapshot> latest(const std::string &collection) const {
    detail::Handle<backup_snapshots, backup_snapshots_free> list;
    detail::check(backup_repo_latest(handle_.get(), collection.c_str(), detail::out(list)));
    auto found = all(list);
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  }

  /* What a snapshot says of itself. */
  [[nodiscard]] SnapshotInfo info(const std::string &snapshot) const {
    detail::InfoHandle info;
    detail::check(backup_repo_snapshot(handle_.get(), snapshot.c_str(), detail::out(info)));
    return detail::info(info);
  }

  /* Reads what other writers have committed since. */
  void refresh() const { detail::check(backup_repo_refresh(handle_.get())); }

  void remove(const std::vector<std::string> &snapshots) const {
    const auto ids = detail::pointers(snapshots);
    detail::check(backup_repo_remove(handle_.get(), ids.data(), ids.size()));
  }
  /* Keeps snapshots from being removed until they are released. */
  void hold(const std::vector<std::string> &snapshots) const {
    const auto ids = detail::pointers(snapshots);
    detail::check(backup_repo_hold(handle_.get(), ids.data(), ids.size()));
  }
  void release(const std::vector<std::string> &snapshots) const {
    const auto ids = detail::pointers(snapshots);
    detail::check(backup_repo_release(handle_.get(), ids.data(), ids.size()));
  }

  /* Looks into a snapshot. */
  [[nodiscard]] Browser browse(const std::string &snapshot) const {
    Browser made;
    detail::check(backup_repo_browse(handle_.get(), snapshot.c_str(), detail::out(made.handle_)));
    return made;
  }
  /* Compares two snapshots. */
  [[nodiscard]] Differences diff(const std::string &before, const std::string &after) const {
    Differences made;
    detail::check(backup_repo_diff(handle_.get(), before.c_str(), after.c_str(), detail::out(made.handle_)));
    return made;
  }

  /* Decides which snapshots may go, by a JSON object of retentions by collection, and removes nothing. */
  [[nodiscard]] std::vector<Decision> decide(const std::string &rules) const {
    detail::DecisionsHandle list;
    detail::check(backup_repo_decide(handle_.get(), rules.c_str(), detail::out(list)));
    return detail::decisions(list);
  }
  /* The same, and removes what may go. */
  std::vector<Decision> retain(const std::string &rules) const {
    detail::DecisionsHandle list;
    detail::check(backup_repo_retain(handle_.get(), rules.c_str(), detail::out(list)));
    return detail::decisions(list);
  }

  /* Gives back the room of what no snapshot needs. */
  PruneResult prune(const Options &options = {}, const OnProgress &on_progress = {},
                    const Cancel *cancel = nullptr) const {
    PruneResult done{detail::sized<backup_prune_result>(), {}};
    detail::ProblemsHandle findings;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_prune(handle_.get(), detail::options(options).get(), detail::c(cancel), &done.figures,
                                   detail::out(findings), thunk.function(), &thunk));
    done.findings = detail::problems(findings);
    return done;
  }

  [[nodiscard]] std::vector<KeySlot> keys() const {
    detail::Handle<backup_keys, backup_keys_free> list;
    detail::check(backup_repo_keys(handle_.get(), detail::out(list)));
    std::vector<KeySlot> all;
    const std::uint64_t count = backup_keys_count(list.get());
    for (std::uint64_t i = 0; i < count; i++) {
      auto key = detail::sized<backup_key>();
      detail::check(backup_keys_at(list.get(), i, &key));
      all.push_back({key.id, key.size});
    }
    return all;
  }
  /* Lets another passphrase or key open it too; the id of its slot. */
  std::string add_key(const Credential &credential, const Options &options = {}) const {
    detail::TextHandle id;
    detail::check(backup_repo_add_key(handle_.get(), credential.c_handle(), detail::options(options).get(),
                                      detail::out(id)));
    return detail::text(id);
  }
  void remove_key(const std::string &id) const { detail::check(backup_repo_remove_key(handle_.get(), id.c_str())); }

  /* Locks everything for so long ahead. A lock cannot be taken back. */
  void protect(std::chrono::seconds period) const {
    if (period.count() < 0) throw std::invalid_argument("a period is not negative");
    detail::check(backup_repo_protect(handle_.get(), static_cast<std::uint64_t>(period.count())));
  }
  [[nodiscard]] backup_protection protection() const {
    auto protection = detail::sized<backup_protection>();
    detail::check(backup_repo_protection(handle_.get(), &protection));
    return protection;
  }
  ExtendResult extend_locks(const OnProgress &on_progress = {}, const Cancel *cancel = nullptr) const {
    ExtendResult done{detail::sized<backup_extend_result>(), {}};
    detail::NamesHandle tampered;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_extend_locks(handle_.get(), detail::c(cancel), &done.figures, detail::out(tampered),
                                          thunk.function(), &thunk));
    done.tampered = detail::names(tampered);
    return done;
  }

  /* What the store was seen to do when the repository was created, or opened with the option "probe". */
  [[nodiscard]] backup_probe probe() const {
    auto found = detail::sized<backup_probe>();
    detail::check(backup_repo_probe(handle_.get(), &found));
    return found;
  }
  [[nodiscard]] std::string id() const {
    detail::TextHandle id;
    detail::check(backup_repo_id(handle_.get(), detail::out(id)));
    return detail::text(id);
  }

  /* Adds parity for what has none yet. */
  ParityResult add_parity(const Options &options = {}, const OnProgress &on_progress = {},
                          const Cancel *cancel = nullptr) const {
    ParityResult done{detail::sized<backup_parity_result>(), {}};
    detail::ProblemsHandle findings;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_add_parity(handle_.get(), detail::options(options).get(), detail::c(cancel),
                                        &done.figures, detail::out(findings), thunk.function(), &thunk));
    done.findings = detail::problems(findings);
    return done;
  }
  /* All that Store::scrub() needs. No secret. */
  [[nodiscard]] std::string public_key() const {
    detail::TextHandle key;
    detail::check(backup_repo_public_key(handle_.get(), detail::out(key)));
    return detail::text(key);
  }

  /* Copies the repository to another store, or brings such a copy up to date. */
  MirrorResult mirror(const Store &to, const Options &options = {}, const OnProgress &on_progress = {},
                      const Cancel *cancel = nullptr) const {
    MirrorResult done{detail::sized<backup_mirror_result>(), {}};
    detail::ProblemsHandle findings;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_mirror(handle_.get(), to.c_handle(), detail::options(options).get(), detail::c(cancel),
                                    &done.figures, detail::out(findings), thunk.function(), &thunk));
    done.findings = detail::problems(findings);
    return done;
  }
  /* Opens what is left of a damaged repository, for reading only. */
  static std::pair<Repository, SalvageResult> salvage(const Runtime &runtime, const Store &store,
                                                      const Credential &credential, const Options &options = {}) {
    Repository made;
    SalvageResult done{detail::sized<backup_salvage_result>(), {}, {}, {}};
    detail::NamesHandle unconfirmed;
    detail::NamesHandle removed;
    detail::ProblemsHandle findings;
    detail::check(backup_repo_salvage(runtime.c_handle(), store.c_handle(), detail::options(options).get(),
                                      credential.c_handle(), detail::out(made.handle_), &done.figures,
                                      detail::out(unconfirmed), detail::out(removed), detail::out(findings)));
    done.unconfirmed = detail::names(unconfirmed);
    done.removed = detail::names(removed);
    done.findings = detail::problems(findings);
    return {std::move(made), std::move(done)};
  }
  /* Reads a random sample in full, and says how many of all items can be bad at most. */
  [[nodiscard]] DrillResult drill(const Options &options = {}, const std::vector<const Source *> &against = {},
                                  const Sink *sink = nullptr, const OnProgress &on_progress = {},
                                  const Cancel *cancel = nullptr) const {
    DrillResult done{detail::sized<backup_drill_result>(), {}, {}};
    std::vector<const backup_source *> sources;
    for (const auto *source : against) sources.push_back(source->c_handle());
    detail::TextHandle statement;
    detail::TextHandle report;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_repo_drill(handle_.get(), sources.data(), sources.size(),
                                   sink != nullptr ? sink->c_handle() : nullptr, detail::options(options).get(),
                                   detail::c(cancel), &done.figures, detail::out(statement), detail::out(report),
                                   thunk.function(), &thunk));
    done.statement = detail::text(statement);
    done.report = detail::text(report);
    return done;
  }

  /* The end of the log as text: keep it outside the store, and give it back as the option "known_head". */
  [[nodiscard]] std::string head() const {
    auto head = detail::sized<backup_head>();
    detail::check(backup_repo_head(handle_.get(), &head));
    return head.text;
  }

  [[nodiscard]] const backup_repo *c_handle() const noexcept { return handle_.get(); }

 private:
  Repository() = default;
  static std::vector<Snapshot> all(const detail::Handle<backup_snapshots, backup_snapshots_free> &list) {
    std::vector<Snapshot> all;
    const std::uint64_t count = backup_snapshots_count(list.get());
    for (std::uint64_t i = 0; i < count; i++) {
      auto snapshot = detail::sized<backup_snapshot>();
      detail::check(backup_snapshots_at(list.get(), i, &snapshot));
      all.push_back(detail::snapshot(snapshot));
    }
    return all;
  }
  detail::Handle<backup_repo, backup_repo_free> handle_;
};

}  // namespace backup

#include "backup_graph.hpp"
#include "backup_own.hpp"

#endif  // BACKUP_HPP
