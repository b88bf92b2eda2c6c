// What every engine and the oracle must agree on about the model: its shape, its number types, the
// canonical order of attention, and its weights as plain spans. How an engine packs or runs them is
// not here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "harness/base/half.h"
#include "harness/base/ids.h"

namespace kvrm {

enum class DType : std::uint8_t { f32, f16, bf16 };

constexpr std::size_t dtype_bytes(DType type) { return type == DType::f32 ? 4 : 2; }
inline float round_to(DType type, float value) {  // to the nearest value of `type`
  return type == DType::f32   ? value
         : type == DType::f16 ? f16_to_float(float_to_f16(value))
                              : bf16_to_float(float_to_bf16(value));
}
constexpr std::string_view dtype_name(DType type) {
  return type == DType::f32 ? "f32" : type == DType::f16 ? "f16" : "bf16";
}

// `decoder` runs a whole Llama; `attention_only` runs the KV path alone, its queries, keys and
// values being pure functions of (request, layer, position) as in content.h.
enum class ModelKind : std::uint8_t { decoder, attention_only };

struct ModelShape {
  ModelKind kind = ModelKind::decoder;
  std::uint32_t layers = 0;
  std::uint32_t model_dim = 0;   // decoder only
  std::uint32_t hidden_dim = 0;  // decoder only
  std::uint32_t query_heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t vocabulary = 0;  // decoder only
  std::uint32_t max_len = 0;     // positions of the longest history
  float rope_theta = 10000.0F;
  float norm_epsilon = 1e-5F;
  DType weight_dtype = DType::f32;
  DType kv_dtype = DType::f32;
  // Canonical order (DESIGN 5): tiles of positions fold in ascending order within chunks of
  // split_tiles tiles.
  std::uint32_t tile_tokens = 16;
  std::uint32_t split_tiles = 16;

  std::uint32_t queries_per_kv_head() const { return query_heads / kv_heads; }
  std::uint32_t chunk_tokens() const { return tile_tokens * split_tiles; }
  std::uint32_t max_chunks() const { return (max_len + chunk_tokens() - 1) / chunk_tokens(); }
  // KV bytes of one position, all layers, keys and values.
  std::size_t kv_bytes_per_token() const {
    return std::size_t{2} * layers * kv_heads * head_dim * dtype_bytes(kv_dtype);
  }
};

// Row-major [out, in] matrices. Values are already rounded to weight_dtype, so that every reader
// computes with the same numbers.
struct LayerWeights {
  std::span<const float> attention_norm;  // [model_dim]
  std::span<const float> query;           // [query_heads * head_dim, model_dim]
  std::span<const float> key;             // [kv_heads * head_dim, model_dim]
  std::span<const float> value;           // [kv_heads * head_dim, model_dim]
  std::span<const float> output;          // [model_dim, query_heads * head_dim]
  std::span<const float> ffn_norm;        // [model_dim]
  std::span<const float> gate;            // [hidden_dim, model_dim]
  std::span<const float> up;              // [hidden_dim, model_dim]
  std::span<const float> down;            // [model_dim, hidden_dim]
};

struct ModelWeights {
  std::span<const float> embedding;   // [vocabulary, model_dim]
  std::span<const float> final_norm;  // [model_dim]
  std::span<const float> classifier;  // [vocabulary, model_dim]
  std::vector<LayerWeights> layers;   // empty for attention_only
};

// A loaded model. Engines get a richer type from the composition root; the oracle needs no more
// than this.
class Model {
 public:
  virtual ~Model() = default;
  const ModelShape& shape() const { return do_shape(); }
  const ModelWeights& weights() const { return do_weights(); }
  // Changes whenever a weight, the shape or a number type does.
  std::uint64_t digest() const { return do_digest(); }

 private:
  virtual const ModelShape& do_shape() const = 0;
  virtual const ModelWeights& do_weights() const = 0;
  virtual std::uint64_t do_digest() const = 0;
};

}  // namespace kvrm
