#include "harness/config/reference.h"

#include <fmt/format.h>

#include "harness/config/sections.h"

namespace kvrm {
namespace {

std::string default_text(const KeyInfo& info) {
  if (info.presence == Presence::required) return "required";
  if (info.presence == Presence::later || !info.nested.empty() || info.fallback.empty()) return "";
  if (info.presence == Presence::derived && (info.fallback == "0" || info.fallback == "\"\""))
    return "";
  return fmt::format("`{}`", info.fallback);
}

std::string meaning_text(const KeyInfo& info) {
  if (info.presence == Presence::later) return "A word of a later version; this one refuses it.";
  if (info.kinds.empty()) return info.meaning;
  return fmt::format("{} Kinds: {}.", info.meaning, join_names(info.kinds));
}

void add_rows(const std::vector<KeyInfo>& keys, const std::string& prefix, std::string& out) {
  for (const KeyInfo& info : keys) {
    const std::string path = join_path(prefix, info.name);
    out += fmt::format("| `{}` | {} | {} | {} |\n", path, info.allowed, default_text(info),
                       meaning_text(info));
    add_rows(info.nested, info.is_list ? path + "[]" : path, out);
  }
}

}  // namespace

std::string experiment_key_table(const std::vector<std::string>& engine_kinds,
                                 const std::vector<std::string>& backend_kinds) {
  std::string out = "| key | value | default | meaning |\n|---|---|---|---|\n";
  add_rows(experiment_keys(engine_kinds, backend_kinds), "", out);
  return out;
}

}  // namespace kvrm
