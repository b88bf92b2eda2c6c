#include "engines/decoder/model_shape.h"

#include <fmt/core.h>

#include <string_view>

#include "kernels/linear/linear.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {
namespace {

// content_word() packs layer, head and word in 12, 10 and 8 bits.
constexpr std::uint32_t kMaxLayers = 4096;
constexpr std::uint32_t kMaxHeads = 1024;
constexpr std::uint32_t kMaxHeadDim = 256;
constexpr std::uint32_t kMaxVocabulary = 1U << 24;
constexpr std::uint32_t kMaxHistory = 1U << 26;
constexpr std::uint32_t kMaxTileTokens = 64;
constexpr std::uint32_t kMaxSplitTiles = 1U << 16;

struct FieldRange {
  std::string_view key;
  std::uint32_t value = 0;
  std::uint32_t max = 0;
};

Status check_ranges(const ModelShape& shape) {
  const bool decoder = shape.kind == ModelKind::decoder;
  const FieldRange ranges[] = {
      {"layers", shape.layers, kMaxLayers},
      {"query_heads", shape.query_heads, kMaxHeads},
      {"kv_heads", shape.kv_heads, kMaxHeads},
      {"head_dim", shape.head_dim, kMaxHeadDim},
      {"max_len", shape.max_len, kMaxHistory},
      {"tile_tokens", shape.tile_tokens, kMaxTileTokens},
      {"split_tiles", shape.split_tiles, kMaxSplitTiles},
      {"model_dim", decoder ? shape.model_dim : 1, kMaxLinearInputs},
      {"hidden_dim", decoder ? shape.hidden_dim : 1, kMaxLinearInputs},
      {"vocabulary", decoder ? shape.vocabulary : 1, kMaxVocabulary},
  };
  for (const FieldRange& range : ranges) {
    if (range.value >= 1 && range.value <= range.max) continue;
    return bad_input(fmt::format("model.shape.{}: {} is not between 1 and {}", range.key,
                                 range.value, range.max));
  }
  return {};
}

Status check_multiples(const ModelShape& shape) {
  if (shape.head_dim % 8 != 0) {
    return bad_input(
        fmt::format("model.shape.head_dim: {} is not a multiple of 8", shape.head_dim));
  }
  if (shape.query_heads % shape.kv_heads != 0) {
    return bad_input(fmt::format("model.shape.query_heads: {} is not a multiple of kv_heads, {}",
                                 shape.query_heads, shape.kv_heads));
  }
  if (shape.tile_tokens % kLaneTokens != 0) {
    return bad_input(fmt::format("model.shape.tile_tokens: {} is not a multiple of {}",
                                 shape.tile_tokens, kLaneTokens));
  }
  return {};
}

Status check_arithmetic(const ModelShape& shape) {
  if (shape.kind != ModelKind::decoder) return {};
  const std::uint32_t attention_width = shape.query_heads * shape.head_dim;
  if (attention_width > kMaxLinearInputs) {
    return bad_input(fmt::format("model.shape.query_heads: {} heads of {} are {} wide, at most {}",
                                 shape.query_heads, shape.head_dim, attention_width,
                                 kMaxLinearInputs));
  }
  if (shape.weight_dtype == DType::f16) {
    return bad_input("model.weight_dtype: f16 weights are not supported, only f32 and bf16");
  }
  if (!(shape.rope_theta > 0)) return bad_input("model.shape.rope_theta: is not positive");
  if (!(shape.norm_epsilon > 0)) return bad_input("model.shape.norm_epsilon: is not positive");
  return {};
}

}  // namespace

Status check_model_shape(const ModelShape& shape) {
  return check_ranges(shape).and_then([&] { return check_multiples(shape); }).and_then([&] {
    return check_arithmetic(shape);
  });
}

}  // namespace kvrm
