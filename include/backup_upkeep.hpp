/*
 * Part of backup.hpp, which includes it: stores, results of what keeps repositories in order, and policies.
 */
#ifndef BACKUP_UPKEEP_HPP
#define BACKUP_UPKEEP_HPP

#ifndef BACKUP_HPP
#error "include backup.hpp"
#endif

namespace backup {

/* What is to become of a snapshot. */
struct Decision {
  std::string collection;
  std::string snapshot;
  bool keep;
  /* Why it stays, for people; empty if it may go. */
  std::string reasons;
  /* The same for programs, a JSON array. */
  std::string reasons_json;
};

struct PruneResult {
  backup_prune_result figures;
  std::vector<Problem> findings;
};

/* A passphrase or key that opens a repository. */
struct KeySlot {
  std::string id;
  std::uint64_t size;
};

struct ExtendResult {
  backup_extend_result figures;
  /* Objects that somebody has hidden or written over. */
  std::vector<std::string> tampered;
  [[nodiscard]] std::optional<Time> locked_until() const { return detail::when(figures.locked_until); }
};

struct ParityResult {
  backup_parity_result figures;
  std::vector<Problem> findings;
};

struct MirrorResult {
  backup_mirror_result figures;
  std::vector<Problem> findings;
};

/* An object that is not what it was. */
struct Damage {
  std::string object;
  bool missing;
  std::uint64_t bad_blocks;
  std::uint64_t blocks;
  /* A BACKUP_REPAIR_ number. */
  std::uint32_t repair;
};

struct ScrubResult {
  backup_scrub_result figures;
  std::vector<Damage> damages;
  std::vector<Problem> findings;
  [[nodiscard]] bool sound() const noexcept { return figures.sound != 0; }
};

struct SalvageResult {
  backup_salvage_result figures;
  /* Ids of snapshots that nobody vouches for. */
  std::vector<std::string> unconfirmed;
  /* Ids of snapshots that are still stored although they were removed. */
  std::vector<std::string> removed;
  std::vector<Problem> findings;
  [[nodiscard]] bool whole() const noexcept { return figures.whole != 0; }
};

struct DrillResult {
  backup_drill_result figures;
  /* The result in one line. */
  std::string statement;
  /* All of it, as JSON. */
  std::string report;
  [[nodiscard]] bool clean() const noexcept { return figures.clean != 0; }
};

namespace detail {

using NamesHandle = Handle<backup_names, backup_names_free>;
using DecisionsHandle = Handle<backup_decisions, backup_decisions_free>;

inline std::vector<std::string> names(const NamesHandle &list) {
  std::vector<std::string> all;
  const std::uint64_t count = backup_names_count(list.get());
  for (std::uint64_t i = 0; i < count; i++) all.emplace_back(backup_names_at(list.get(), i));
  return all;
}

inline std::vector<Decision> decisions(const DecisionsHandle &list) {
  std::vector<Decision> all;
  const std::uint64_t count = backup_decisions_count(list.get());
  for (std::uint64_t i = 0; i < count; i++) {
    auto decision = sized<backup_decision>();
    check(backup_decisions_at(list.get(), i, &decision));
    all.push_back({text(decision.collection), decision.snapshot, decision.keep != 0, text(decision.reasons),
                   text(decision.reasons_json)});
  }
  return all;
}

/* Texts as C takes them; they live as long as what they came from. */
inline std::vector<const char *> pointers(const std::vector<std::string> &texts) {
  std::vector<const char *> all;
  for (const auto &text : texts) all.push_back(text.c_str());
  return all;
}

inline const backup_cancel *c(const Cancel *cancel) noexcept { return cancel != nullptr ? cancel->c_handle() : nullptr; }

}  // namespace detail

/* A place that holds named bytes, for what works on one beside a repository's own. */
class Store {
 public:
  static Store open(const Runtime &runtime, const std::string &url, const Options &options = {}) {
    Store made;
    detail::check(backup_store_open(runtime.c_handle(), url.c_str(), detail::options(options).get(),
                                    detail::out(made.handle_)));
    return made;
  }
  /* Tries what it does; refuses one that is not safe for a repository. */
  [[nodiscard]] backup_probe probe(const Runtime &runtime) const {
    auto found = detail::sized<backup_probe>();
    detail::check(backup_store_probe(runtime.c_handle(), handle_.get(), &found));
    return found;
  }
  /* Checks everything that parity protects, and mends it with the option "repair", without any secret. */
  [[nodiscard]] ScrubResult scrub(const Runtime &runtime, const std::string &public_key, const Options &options = {},
                                  const OnProgress &on_progress = {}, const Cancel *cancel = nullptr) const {
    ScrubResult done{detail::sized<backup_scrub_result>(), {}, {}};
    detail::Handle<backup_damages, backup_damages_free> damages;
    detail::ProblemsHandle findings;
    detail::Thunk thunk(on_progress);
    thunk.finish(backup_store_scrub(runtime.c_handle(), handle_.get(), public_key.c_str(),
                                    detail::options(options).get(), detail::c(cancel), &done.figures,
                                    detail::out(damages), detail::out(findings), thunk.function(), &thunk));
    const std::uint64_t count = backup_damages_count(damages.get());
    for (std::uint64_t i = 0; i < count; i++) {
      auto damage = detail::sized<backup_damage>();
      detail::check(backup_damages_at(damages.get(), i, &damage));
      done.damages.push_back(
          {detail::text(damage.object), damage.missing != 0, damage.bad_blocks, damage.blocks, damage.repair});
    }
    done.findings = detail::problems(findings);
    return done;
  }
  [[nodiscard]] const backup_store *c_handle() const noexcept { return handle_.get(); }

 private:
  Store() = default;
  detail::Handle<backup_store, backup_store_free> handle_;
};

/* Policies: what is protected, how often and for how long. JSON in, JSON out; backup.h says of which form. */
namespace policy {

inline void validate(const std::string &policy) { detail::check(backup_policy_validate(policy.c_str())); }

inline std::string rule_for(const std::string &policy, const std::string &protectable) {
  detail::TextHandle rule;
  detail::check(backup_policy_rule_for(policy.c_str(), protectable.c_str(), detail::out(rule)));
  return detail::text(rule);
}

/* What is due at `now`, a time such as 2026-11-24T08:20:00Z. */
inline std::string plan(const std::string &policy, const std::string &now, const std::string &listed,
                        const std::string &last) {
  detail::TextHandle plan;
  detail::check(
      backup_policy_plan(policy.c_str(), now.c_str(), listed.c_str(), last.c_str(), detail::out(plan)));
  return detail::text(plan);
}

/* What is protected at `now`, and what is not. */
inline std::string coverage(const std::string &policy, const std::string &now, const std::string &listed,
                            const std::string &last) {
  detail::TextHandle coverage;
  detail::check(
      backup_policy_coverage(policy.c_str(), now.c_str(), listed.c_str(), last.c_str(), detail::out(coverage)));
  return detail::text(coverage);
}

}  // namespace policy

/* Checks one retention, a JSON object. */
inline void validate_retention(const std::string &retention) {
  detail::check(backup_retention_validate(retention.c_str()));
}

}  // namespace backup

#endif  // BACKUP_UPKEEP_HPP
