/*
 * Part of backup.hpp, which includes it: Microsoft 365 through Microsoft Graph. A library that is built without it answers with code 2.
 */
#ifndef BACKUP_GRAPH_HPP
#define BACKUP_GRAPH_HPP

#ifndef BACKUP_HPP
#error "include backup.hpp"
#endif

namespace backup {

/* Somebody or something in a tenant. */
struct GraphEntry {
  std::uint32_t kind; /* a BACKUP_GRAPH_KIND_ */
  std::string id;
  std::string name;
  std::string address;
  std::string owner_id; /* of a drive */
  std::string owner;
  std::uint32_t code; /* for BACKUP_GRAPH_KIND_FAILED: why */
  std::string message;
};

/* A client of one tenant. */
class Graph {
 public:
  /* An application that proves itself by a client secret. Options as for backup_graph_secret(). */
  static Graph secret(const Runtime &runtime, const std::string &tenant, const std::string &client_id,
                      std::string_view secret, const Options &options = {}) {
    Graph made;
    detail::check(backup_graph_secret(runtime.c_handle(), tenant.c_str(), client_id.c_str(), bytes(secret), secret.size(),
                                      detail::options(options).get(), detail::out(made.handle_)));
    return made;
  }
  /* One that proves itself by a certificate: private key and certificate in PEM. */
  static Graph certificate(const Runtime &runtime, const std::string &tenant, const std::string &client_id,
                           std::string_view pem, const Options &options = {}) {
    Graph made;
    detail::check(backup_graph_certificate(runtime.c_handle(), tenant.c_str(), client_id.c_str(), bytes(pem), pem.size(),
                                           detail::options(options).get(), detail::out(made.handle_)));
    return made;
  }
  /* A token that somebody else has got. */
  static Graph token(const Runtime &runtime, std::string_view token, const Options &options = {}) {
    Graph made;
    detail::check(backup_graph_token(runtime.c_handle(), bytes(token), token.size(), detail::options(options).get(),
                                     detail::out(made.handle_)));
    return made;
  }

  [[nodiscard]] std::vector<GraphEntry> users() const { return list(backup_graph_users); }
  [[nodiscard]] std::vector<GraphEntry> groups() const { return list(backup_graph_groups); }
  [[nodiscard]] std::vector<GraphEntry> sites() const { return list(backup_graph_sites); }
  /* Every drive of users, groups and sites, each once. */
  [[nodiscard]] std::vector<GraphEntry> every_drive() const { return list(backup_graph_every_drive); }
  /* The drives of a user, group or site: `kind` is a BACKUP_GRAPH_KIND_. */
  [[nodiscard]] std::vector<GraphEntry> drives(std::uint32_t kind, const std::string &owner) const {
    return list([&](const backup_graph *graph, backup_graph_list **out) {
      return backup_graph_drives(graph, kind, owner.c_str(), out);
    });
  }

  [[nodiscard]] Source drive_source(const std::string &drive, const Options &options = {}) const {
    Source made;
    detail::check(backup_graph_drive_source(handle_.get(), drive.c_str(), detail::options(options).get(),
                                            detail::out(made.handle_)));
    return made;
  }
  /* Restores into the folder of this id, or into the drive's root. */
  [[nodiscard]] Sink drive_sink(const std::string &drive, const std::string &folder = {},
                                const Options &options = {}) const {
    Sink made;
    detail::check(backup_graph_drive_sink(handle_.get(), drive.c_str(), folder.empty() ? nullptr : folder.c_str(),
                                          detail::options(options).get(), detail::out(made.handle_)));
    return made;
  }
  [[nodiscard]] const backup_graph *c_handle() const noexcept { return handle_.get(); }

 private:
  Graph() = default;
  static const std::uint8_t *bytes(std::string_view text) noexcept {
    return reinterpret_cast<const std::uint8_t *>(text.data());
  }
  template <typename Ask>
  std::vector<GraphEntry> list(const Ask &ask) const {
    detail::Handle<backup_graph_list, backup_graph_list_free> list;
    detail::check(ask(handle_.get(), detail::out(list)));
    std::vector<GraphEntry> all;
    const std::uint64_t count = backup_graph_list_count(list.get());
    for (std::uint64_t i = 0; i < count; i++) {
      auto entry = detail::sized<backup_graph_entry>();
      detail::check(backup_graph_list_at(list.get(), i, &entry));
      all.push_back({entry.kind, detail::text(entry.id), detail::text(entry.name), detail::text(entry.address),
                     detail::text(entry.owner_id), detail::text(entry.owner), entry.code, detail::text(entry.message)});
    }
    return all;
  }
  detail::Handle<backup_graph, backup_graph_free> handle_;
};

}  // namespace backup

#endif  // BACKUP_GRAPH_HPP
