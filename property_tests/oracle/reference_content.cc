#include "property_tests/oracle/reference_content.h"

#include <cstddef>
#include <span>

#include "property_tests/oracle/reference_attention.h"

namespace kvrm {
namespace {

// Appends the head's vector at one position. Eight dimensions share a content word.
void append_content(const ModelShape& shape, const ContentOwner& owner, ContentPart part,
                    std::uint32_t layer, std::uint32_t position, std::uint32_t head,
                    std::vector<double>& out) {
  std::uint64_t word = 0;
  for (std::uint32_t dim = 0; dim < shape.head_dim; ++dim) {
    if (dim % 8 == 0)
      word = content_word(owner.key_at(position), part, layer, position, head, dim / 8);
    const float value = content_element(word, dim % 8, part);
    out.push_back(part == ContentPart::query ? value : round_to(shape.kv_dtype, value));
  }
}

}  // namespace

std::vector<float> reference_content_attention(const ModelShape& shape, const ContentOwner& owner,
                                               std::uint32_t positions) {
  std::vector<float> output;
  output.reserve(std::size_t{shape.layers} * shape.query_heads * shape.head_dim);
  std::vector<double> query;
  std::vector<double> keys;
  std::vector<double> values;
  std::vector<double> weights;
  std::vector<double> head_output(shape.head_dim);
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (std::uint32_t head = 0; head < shape.query_heads; ++head) {
      const std::uint32_t kv_head = head / shape.queries_per_kv_head();
      if (head % shape.queries_per_kv_head() == 0) {
        keys.clear();
        values.clear();
        for (std::uint32_t i = 0; i < positions; ++i) {
          append_content(shape, owner, ContentPart::key, layer, i, kv_head, keys);
          append_content(shape, owner, ContentPart::value, layer, i, kv_head, values);
        }
      }
      query.clear();
      append_content(shape, owner, ContentPart::query, layer, positions - 1, head, query);
      reference_attention(query, keys, values, weights, head_output);
      output.insert(output.end(), head_output.begin(), head_output.end());
    }
  }
  return output;
}

}  // namespace kvrm
