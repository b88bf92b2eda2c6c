#include "property_tests/oracle/reference_content.h"

#include <cstddef>
#include <span>

#include "harness/base/mutation.h"
#include "harness/contract/content.h"
#include "property_tests/oracle/ruled_attention.h"

namespace kvrm {
namespace {

// Keys, values or queries of one head in one layer.
struct HeadContent {
  const ModelShape& shape;
  const ContentHistory& content;
  std::uint32_t layer = 0;
  std::uint32_t head = 0;

  // Appends the vector at one position. Eight dimensions share a content word.
  void append(ContentPart part, std::uint32_t position, std::vector<double>& out) const {
    const std::uint64_t key =
        content_key_at(content.content_key, content.prefix_key,
                       KVRM_MUTATE(oracle_prefix_is_own, content.prefix_tokens, 0U), position);
    std::uint64_t word = 0;
    for (std::uint32_t dim = 0; dim < shape.head_dim; ++dim) {
      if (dim % 8 == 0) word = content_word(key, part, layer, position, head, dim / 8);
      const float value = content_element(word, dim % 8, part);
      out.push_back(part == ContentPart::query ? value : round_to(shape.kv_dtype, value));
    }
  }
};

// Appends the outputs of all query heads that share one kv head.
void append_outputs(const HeadContent& kv_head, const FarHistoryRule& rule, ShadowError& shadow,
                    std::vector<float>& output) {
  const ModelShape& shape = kv_head.shape;
  const std::uint32_t positions = kv_head.content.positions;
  std::vector<double> keys;
  std::vector<double> values;
  for (std::uint32_t i = 0; i < positions; ++i) {
    kv_head.append(ContentPart::key, i, keys);
    kv_head.append(ContentPart::value, i, values);
  }
  const Attended history{.keys = keys, .values = values, .bias = {}};
  ReferenceFarHistory far(rule, shape.kv_dtype, shape.head_dim);
  far.advance(positions - 1, history);
  RuledAttention attention(history, far);
  std::vector<double> head_output(shape.head_dim);
  for (std::uint32_t i = 0; i < shape.queries_per_kv_head(); ++i) {
    HeadContent query_head = kv_head;
    query_head.head = kv_head.head * shape.queries_per_kv_head() + i;
    std::vector<double> query;
    query_head.append(ContentPart::query, positions - 1, query);
    attention.attend(query, &shadow, head_output);
    output.insert(output.end(), head_output.begin(), head_output.end());
  }
}

}  // namespace

std::vector<float> reference_content_attention(const ModelShape& shape,
                                               const ContentHistory& content,
                                               const FarHistoryRule& rule, ShadowError& shadow) {
  std::vector<float> output;
  output.reserve(std::size_t{shape.layers} * shape.query_heads * shape.head_dim);
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (std::uint32_t head = 0; head < shape.kv_heads; ++head) {
      append_outputs({shape, content, layer, head}, rule, shadow, output);
    }
  }
  return output;
}

}  // namespace kvrm
