#include "harness/config/load_yaml.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace kvrm {
namespace {

using Kind = ConfigNode::Kind;

ConfigNode any_scalar() {
  ConfigNode node;
  node.kind = Kind::scalar;
  const auto length = *rc::gen::inRange(0, 12);
  for (int i = 0; i < length; ++i) {
    node.text += *rc::gen::elementOf(std::string("aZ09 _-./+:#{}[],&*!|>'\"%@`~?=$<\\\n\t"));
  }
  node.quoted = true;
  return node;
}

ConfigNode any_tree(int depth) {
  const auto kind = *rc::gen::inRange(0, depth > 0 ? 5 : 2);
  if (kind <= 1) return any_scalar();
  ConfigNode node;
  node.kind = kind <= 3 ? Kind::map : Kind::list;
  const auto count = *rc::gen::inRange(0, 4);
  for (int i = 0; i < count; ++i) {
    ConfigNode child = any_tree(depth - 1);
    if (node.kind == Kind::map) child.key = any_scalar().text + std::to_string(i);
    node.children.push_back(std::move(child));
  }
  return node;
}

bool same_tree(const ConfigNode& a, const ConfigNode& b) {
  if (a.kind != b.kind || a.text != b.text || a.key != b.key) return false;
  if (a.children.size() != b.children.size()) return false;
  for (std::size_t i = 0; i < a.children.size(); ++i) {
    if (!same_tree(a.children[i], b.children[i])) return false;
  }
  return true;
}

RC_GTEST_PROP(LoadYaml, EmittedTreesReadBackEqual, ()) {
  const ConfigNode tree = any_tree(4);
  const std::string text = emit_yaml(tree);
  RC_LOG() << text;
  const Result<ConfigNode> read = load_yaml_text(text, "text");
  RC_ASSERT(read.has_value());
  RC_ASSERT(same_tree(tree, *read));
}

TEST(LoadYaml, KeepsPlacesQuotesAndVariables) {
  const Result<ConfigNode> tree =
      load_yaml_text("a: {b: ${KVRM_DATA_DIR}/x, c: '1'}\nd:\n  - null\n  -\n", "f.yaml");
  ASSERT_TRUE(tree.has_value()) << tree.error().message;
  const ConfigNode& b = *look_up(*tree, "a.b").node;
  EXPECT_EQ(b.text, "${KVRM_DATA_DIR}/x");
  EXPECT_FALSE(b.quoted);
  EXPECT_EQ(place_text(b.place), "f.yaml:1:8");
  EXPECT_EQ(place_text(b.key_place), "f.yaml:1:5");
  const ConfigNode& c = *look_up(*tree, "a.c").node;
  EXPECT_TRUE(c.quoted);
  EXPECT_EQ(place_text(c.place), "f.yaml:1:31");
  EXPECT_EQ(look_up(*tree, "d.0").node->text, "null");
  EXPECT_EQ(look_up(*tree, "d.1").node->text, "");
  EXPECT_EQ(look_up(*tree, "d.1").node->kind, Kind::nothing);
}

}  // namespace
}  // namespace kvrm
