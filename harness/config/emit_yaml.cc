#include <fmt/format.h>

#include <cctype>

#include "harness/config/load_yaml.h"

namespace kvrm {
namespace {

// Characters that mean nothing to YAML wherever they stand in a plain scalar.
bool is_plain(const std::string& text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ' || text == "-") return false;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string_view("_./+- ").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return text.substr(0, 2) != "- " && text.substr(0, 3) != "---" && text.substr(0, 3) != "...";
}

std::string emit_scalar(const ConfigNode& node) {
  if (!node.quoted && is_plain(node.text)) return node.text;
  std::string quoted = "\"";
  for (const char c : node.text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (c == '\r') {
      quoted += "\\r";
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string emit_key(const std::string& key) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::scalar;
  node.text = key;
  return emit_scalar(node);
}

bool holds_maps(const ConfigNode& list) {
  for (const ConfigNode& child : list.children) {
    if (child.kind == ConfigNode::Kind::map) return true;
  }
  return false;
}

bool is_block(const ConfigNode& node) {
  if (node.children.empty()) return false;
  return node.kind == ConfigNode::Kind::map ||
         (node.kind == ConfigNode::Kind::list && holds_maps(node));
}

void emit_block(const ConfigNode& node, std::size_t indent, std::string& out) {
  const std::string spaces(indent, ' ');
  for (const ConfigNode& child : node.children) {
    if (node.kind == ConfigNode::Kind::list) {
      out += fmt::format("{}- {}\n", spaces, emit_yaml_flow(child));
    } else if (is_block(child)) {
      out += fmt::format("{}{}:\n", spaces, emit_key(child.key));
      emit_block(child, indent + 2, out);
    } else {
      out += fmt::format("{}{}: {}\n", spaces, emit_key(child.key), emit_yaml_flow(child));
    }
  }
}

}  // namespace

std::string emit_yaml_flow(const ConfigNode& node) {
  if (node.kind == ConfigNode::Kind::nothing) return node.text.empty() ? "~" : node.text;
  if (node.kind == ConfigNode::Kind::scalar) return emit_scalar(node);
  const bool is_map = node.kind == ConfigNode::Kind::map;
  std::string out = is_map ? "{" : "[";
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const ConfigNode& child = node.children[i];
    if (i > 0) out += ", ";
    if (is_map) out += emit_key(child.key) + ": ";
    out += emit_yaml_flow(child);
  }
  return out + (is_map ? "}" : "]");
}

std::string emit_yaml(const ConfigNode& node) {
  if (!is_block(node)) return emit_yaml_flow(node) + "\n";
  std::string out;
  emit_block(node, 0, out);
  return out;
}

}  // namespace kvrm
