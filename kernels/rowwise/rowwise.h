// Everything of a decode step that works on each row alone: embedding, normalisation, rotary
// embedding, SwiGLU, greedy sampling, and the generated content of attention_only. One item per row
// in each; row-invariant by construction.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/ids.h"

namespace kvrm {

struct EmbeddingArgs {
  const float* table = nullptr;    // [vocabulary, dim]
  const TokenId* token = nullptr;  // [rows]; kNoToken: a row of zeros
  float* hidden = nullptr;         // [rows, dim]
  std::uint32_t dim = 0;
};

// hidden += delta (where there is one), then output = hidden * weight / sqrt(mean(hidden^2) +
// epsilon).
struct AddNormArgs {
  float* hidden = nullptr;        // [rows, dim]
  const float* delta = nullptr;   // [rows, dim] or null
  const float* weight = nullptr;  // [dim]
  float* output = nullptr;        // [rows, dim]
  std::uint32_t dim = 0;
  float epsilon = 0;
};

// Rotates adjacent pairs of query and key in place: pair i of a head by position * theta^(-2i /
// head_dim).
struct RotaryArgs {
  const float* table = nullptr;  // [max_len, head_dim / 2, 2] cosine, sine (fill_rotary_table)
  const std::uint32_t* position = nullptr;  // [rows]
  float* query = nullptr;                   // [rows, query_heads, head_dim]
  float* key = nullptr;                     // [rows, kv_heads, head_dim]
  std::uint32_t query_heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t row_stride = 0;  // floats between rows, of both
};
void fill_rotary_table(float* table, std::uint32_t max_len, std::uint32_t head_dim, float theta);

// gate = silu(gate) * up.
struct SwiGluArgs {
  float* gate = nullptr;      // [rows, row_stride]
  const float* up = nullptr;  // [rows, row_stride]
  std::uint32_t hidden_dim = 0;
  std::uint32_t row_stride = 0;
};

// Greedy sampling: the first maximum wins. Digest = the token.
struct ArgmaxArgs {
  const float* logits = nullptr;  // [rows, row_stride]
  std::uint32_t vocabulary = 0;
  std::uint32_t row_stride = 0;
  const std::uint32_t* length = nullptr;  // [rows] or null; 0: the row samples kNoToken
  TokenId* token = nullptr;               // [rows]
};

// attention_only: query, key and value of each row from its content key and position
// (harness/contract/content.h).
struct ContentArgs {
  const std::uint64_t* content_key = nullptr;  // [rows]
  const std::uint32_t* position = nullptr;     // [rows]
  const std::uint32_t* length = nullptr;       // [rows]; 0: zeros
  float* query = nullptr;  // [rows, query_heads, head_dim]; null: keys and values only
  float* key = nullptr;    // [rows, kv_heads, head_dim]
  float* value = nullptr;  // [rows, kv_heads, head_dim]
  std::uint32_t query_heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t layer = 0;
  std::uint32_t query_stride = 0;  // floats between rows
  std::uint32_t kv_stride = 0;     // floats between rows of key and of value
};

// attention_only: hash of each row's output bytes.
struct DigestArgs {
  const float* output = nullptr;  // [rows, row_stride]
  std::uint32_t count = 0;        // floats hashed of each row
  std::uint32_t row_stride = 0;
  const std::uint32_t* length = nullptr;  // [rows]; 0: digest 0
  std::uint64_t* digest = nullptr;        // [rows]
};

}  // namespace kvrm
