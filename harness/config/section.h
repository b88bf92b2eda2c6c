// The keys of one map of the experiment, each declared once: name, value, range, default, meaning.
// The same declaration reads a map into a struct, writes defaults out, and documents the key.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/codec.h"
#include "harness/config/config_node.h"
#include "harness/config/diagnose.h"

namespace kvrm {

enum class Presence : std::uint8_t {
  optional,  // the default stands for an absent key
  required,
  derived,  // absent, it follows from other keys; no default is written out
  later,    // a known word of a later version
};

// What there is to say of a key without its type.
struct KeyInfo {
  std::string name;
  std::string allowed;
  std::string fallback;  // YAML text of the default; empty: none
  std::string meaning;
  Presence presence = Presence::optional;
  std::vector<std::string> kinds;  // kinds (of the map's `kind`) that have the key; empty: all
  bool is_list = false;            // a list of maps with the nested keys
  std::vector<KeyInfo> nested;     // of a map
};

// The value of a map's `kind`, its default if absent; `inherited` for a map without that key.
std::string kind_of(const ConfigNode& map, std::span<const KeyInfo> keys,
                    const std::string& inherited);

// A map, of known keys, none missing, none of another kind.
Status check_keys(const ConfigNode& map, const std::string& path, std::span<const KeyInfo> keys,
                  const std::string& kind);

// Adds the default of every absent optional key, in nested maps too, and puts all keys in the order
// of their declaration. Of a map that check_keys() passed, in each of its kinds.
void write_defaults(ConfigNode& map, std::span<const KeyInfo> keys,
                    const std::string& inherited_kind = {});

Status refuse_value(const ConfigNode& node, const std::string& path, const std::string& allowed,
                    std::span<const std::string> choices,
                    std::span<const std::string> later_choices);

// How a key is declared; what is left out has the usual value.
struct KeyText {
  std::string name;
  std::string meaning;
  Presence presence = Presence::optional;
  std::vector<std::string> kinds = {};
};

template <class T>
class Section {
 public:
  explicit Section(T initial = T{}) : initial_(std::move(initial)) {}

  // `access` is a pointer to a member of T, or a function from T& to a reference.
  template <class Access, class V>
  Section& key(KeyText declared, Access access, Codec<V> codec) {
    const V initial = std::invoke(access, initial_);
    return apply(std::move(declared), std::move(codec), initial,
                 [access](T& out, V value) { std::invoke(access, out) = std::move(value); });
  }

  // A key that is more than one member: `set` puts its value in.
  template <class V, class Set>
  Section& apply(KeyText declared, Codec<V> codec, const V& initial, Set set) {
    KeyInfo info = make_info(std::move(declared), codec.allowed);
    if (info.presence != Presence::required) info.fallback = codec.write(initial);
    infos_.push_back(std::move(info));
    readers_.push_back([set, codec](const ConfigNode& node, const std::string& path,
                                    const std::string& /*kind*/, T& out) -> Status {
      auto value = codec.read(node);
      if (!value) {
        return refuse_value(node, path, codec.allowed, codec.choices, codec.later_choices);
      }
      set(out, std::move(*value));
      return {};
    });
    return *this;
  }

  // A nested map.
  template <class Access, class U>
  Section& map(KeyText declared, Access access, Section<U> inner) {
    KeyInfo info = make_info(std::move(declared), "a map");
    info.nested = inner.keys();
    infos_.push_back(std::move(info));
    readers_.push_back([access, inner = std::move(inner)](const ConfigNode& node,
                                                          const std::string& path,
                                                          const std::string& kind, T& out) {
      return inner.read_into(node, path, kind, std::invoke(access, out));
    });
    return *this;
  }

  // A word that a later version will know.
  Section& later(KeyText declared) {
    declared.presence = Presence::later;
    infos_.push_back(make_info(std::move(declared), ""));
    readers_.emplace_back();
    return *this;
  }

  // `kind` is the enclosing map's, for a section that has no key `kind` itself.
  Status read_into(const ConfigNode& map, const std::string& path, const std::string& kind,
                   T& out) const {
    const std::string own_kind = kind_of(map, infos_, kind);
    // The kind first: which other keys are allowed follows from it.
    if (Status status = read_keys(map, path, own_kind, true, out); !status) return status;
    if (Status status = check_keys(map, path, infos_, own_kind); !status) return status;
    return read_keys(map, path, own_kind, false, out);
  }

  Result<T> read(const ConfigNode& map, const std::string& path,
                 const std::string& kind = {}) const {
    T value = initial_;
    if (Status status = read_into(map, path, kind, value); !status)
      return tl::unexpected<Error>(status.error());
    return value;
  }

  const std::vector<KeyInfo>& keys() const { return infos_; }

 private:
  using Reader =
      std::function<Status(const ConfigNode&, const std::string&, const std::string&, T&)>;

  // Reads `kind`, or everything else, in the order of declaration.
  Status read_keys(const ConfigNode& map, const std::string& path, const std::string& kind,
                   bool only_kind, T& out) const {
    for (std::size_t i = 0; i < infos_.size(); ++i) {
      const ConfigNode* node = map.find(infos_[i].name);
      if ((infos_[i].name == "kind") != only_kind || node == nullptr) continue;
      const std::string key_path = join_path(path, infos_[i].name);
      if (Status status = readers_[i](*node, key_path, kind, out); !status) return status;
    }
    return {};
  }

  static KeyInfo make_info(KeyText declared, std::string allowed) {
    KeyInfo info;
    info.name = std::move(declared.name);
    info.allowed = std::move(allowed);
    info.meaning = std::move(declared.meaning);
    info.presence = declared.presence;
    info.kinds = std::move(declared.kinds);
    return info;
  }

  T initial_;
  std::vector<KeyInfo> infos_;
  std::vector<Reader> readers_;  // parallel to infos_
};

}  // namespace kvrm
