#include "harness/config/load_yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <utility>

#include "harness/config/diagnose.h"

namespace kvrm {
namespace {

constexpr std::uintmax_t kLargestFile = std::uintmax_t{16} << 20;

// `${NAME}` is no plain scalar inside {...} or [...], because braces end it there. It is written
// `$<NAME>` while yaml-cpp reads, which keeps every column.
std::string swap_braces(std::string text, char open_from, char close_from, char open, char close) {
  for (std::size_t at = text.find('$'); at != std::string::npos; at = text.find('$', at + 1)) {
    if (at + 1 >= text.size() || text[at + 1] != open_from) continue;
    const std::size_t end = text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", at + 2);
    if (end == std::string::npos || end == at + 2 || text[end] != close_from) continue;
    text[at + 1] = open;
    text[end] = close;
  }
  return text;
}

class TreeBuilder final : public YAML::EventHandler {
 public:
  // `text` is what is being read.
  TreeBuilder(const std::string& text, std::string source, bool has_lines)
      : text_(text), source_(std::move(source)), has_lines_(has_lines) {}

  Result<ConfigNode> take() {
    if (error_) return tl::unexpected<Error>(*error_);
    return std::move(root_);
  }

  bool failed() const { return error_.has_value(); }

  SourcePlace place(const YAML::Mark& mark) const {
    if (!has_lines_) return {source_, 0, 0};
    const auto from_one = [](int number) {
      return static_cast<std::uint32_t>(number < 0 ? 1 : number + 1);
    };
    return {source_, from_one(mark.line), from_one(mark.column)};
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second YAML document", "one document");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    ConfigNode node = make(ConfigNode::Kind::nothing, mark);
    // There is an engine of that name.
    const auto position = static_cast<std::size_t>(mark.pos);
    if (position < text_.size() && text_.compare(position, 4, "null") == 0) node.text = "null";
    add(std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    refuse(mark, "an alias (*)", "values written out, or `extends`");
    add(make(ConfigNode::Kind::nothing, mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    ConfigNode node = make(ConfigNode::Kind::scalar, mark);
    node.text = swap_braces(value, '<', '>', '{', '}');
    node.quoted = tag == "!";
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    start(ConfigNode::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { finish(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    start(ConfigNode::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { finish(); }

 private:
  struct Open {
    ConfigNode node;
    std::optional<ConfigNode> pending_key;  // map: its value comes next
  };

  ConfigNode make(ConfigNode::Kind kind, const YAML::Mark& mark) const {
    ConfigNode node;
    node.kind = kind;
    node.place = place(mark);
    return node;
  }

  void refuse(const YAML::Mark& mark, std::string_view found, std::string_view allowed) {
    if (!error_) error_ = config_error(place(mark), path(), found, allowed).value();
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) refuse(mark, "an anchor (&)", "values written out, or `extends`");
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {
      refuse(mark, fmt::format("the tag \"{}\"", tag), "values without a tag");
    }
  }

  void start(ConfigNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
             YAML::anchor_t anchor) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open_.push_back({make(kind, mark), std::nullopt});
  }

  void finish() {
    ConfigNode node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(ConfigNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == ConfigNode::Kind::list) {
      parent.node.children.push_back(std::move(node));
    } else if (!parent.pending_key) {
      take_key(parent, std::move(node));
    } else {
      node.key = parent.pending_key->text;
      node.key_place = parent.pending_key->place;
      // yaml-cpp places an absent value at whatever comes next.
      if (node.kind == ConfigNode::Kind::nothing && node.text.empty()) node.place = node.key_place;
      parent.pending_key.reset();
      parent.node.children.push_back(std::move(node));
    }
  }

  void take_key(Open& map, ConfigNode key) {
    if (key.kind != ConfigNode::Kind::scalar) {
      if (!error_)
        error_ = config_error(key.place, path(), describe(key) + " as a key", "a name").value();
    } else if (map.node.find(key.text) != nullptr && !error_) {
      error_ = config_error(key.place, join_path(path(), key.text), "the key a second time",
                            "each key once")
                   .value();
    }
    map.pending_key = std::move(key);
  }

  std::string path() const {
    std::string text;
    for (const Open& open : open_) {
      if (open.node.kind == ConfigNode::Kind::list) {
        text = join_path(text, std::to_string(open.node.children.size()));
      } else if (open.pending_key) {
        text = join_path(text, open.pending_key->text);
      }
    }
    return text;
  }

  const std::string& text_;
  std::string source_;
  bool has_lines_;
  int documents_ = 0;
  std::vector<Open> open_;
  ConfigNode root_;
  std::optional<Error> error_;
};

// Place of the first byte that no text file holds; line 0: all is text.
SourcePlace first_binary_byte(const std::string& text, const std::string& source) {
  SourcePlace place{source, 1, 1};
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '\n') {
      ++place.line;
      place.column = 1;
      continue;
    }
    if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7f) return place;
    ++place.column;
  }
  return {source, 0, 0};
}

}  // namespace

Result<ConfigNode> load_yaml_text(const std::string& text, const std::string& source,
                                  bool has_lines) {
  if (const SourcePlace bad = first_binary_byte(text, source); bad.line != 0) {
    return config_error(bad, "", "a control character", "a YAML text");
  }
  const std::string readable = swap_braces(text, '{', '}', '<', '>');
  TreeBuilder builder(readable, source, has_lines);
  try {
    std::istringstream in(readable);
    YAML::Parser parser(in);
    // At a stray bracket yaml-cpp finds one empty document after the other without end.
    while (!builder.failed() && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    return config_error(builder.place(error.mark), "",
                        fmt::format("text that is not YAML ({})", error.msg), "a YAML map");
  }
  return builder.take();
}

Result<ConfigNode> load_yaml_file(const std::string& file) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(file, ignored);
  if (!std::filesystem::exists(status)) {
    return bad_input(fmt::format("{}: found no such file, allowed: a YAML file", file));
  }
  if (std::filesystem::is_directory(status)) {
    return bad_input(fmt::format("{}: found a directory, allowed: a YAML file", file));
  }
  const std::uintmax_t bytes = std::filesystem::file_size(file, ignored);
  if (!std::filesystem::is_regular_file(status) || bytes > kLargestFile) {
    return bad_input(
        fmt::format("{}: found no regular file of at most 16 MiB, allowed: a YAML file", file));
  }
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return bad_input(
        fmt::format("{}: found a file that cannot be opened, allowed: a readable YAML file", file));
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  return load_yaml_text(text, file);
}

}  // namespace kvrm
