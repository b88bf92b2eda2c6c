#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "harness/base/hash.h"
#include "harness/contract/content.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/rowwise/rowwise_kernels.h"

namespace kvrm {
namespace {

void embedding(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const EmbeddingArgs*>(raw_args);
  float* hidden = args.hidden + std::size_t{row} * args.dim;
  const TokenId token = args.token[row];
  if (token == kNoToken) {
    std::memset(hidden, 0, args.dim * sizeof(float));
  } else {
    std::memcpy(hidden, args.table + std::size_t{token} * args.dim, args.dim * sizeof(float));
  }
}

void add_norm(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const AddNormArgs*>(raw_args);
  const std::size_t first = std::size_t{row} * args.dim;
  float* hidden = args.hidden + first;
  float squares = 0;
  for (std::uint32_t i = 0; i < args.dim; ++i) {
    if (args.delta != nullptr) hidden[i] += args.delta[first + i];
    squares += hidden[i] * hidden[i];
  }
  const float factor = 1.0F / std::sqrt(squares / static_cast<float>(args.dim) + args.epsilon);
  for (std::uint32_t i = 0; i < args.dim; ++i) {
    args.output[first + i] = args.weight[i] * (factor * hidden[i]);
  }
}

void rotate_heads(float* heads, std::uint32_t pairs, std::uint32_t pairs_per_head,
                  const float* cosine_sine) {
  for (std::uint32_t pair = 0; pair < pairs; ++pair) {
    const float cosine = cosine_sine[2 * (pair % pairs_per_head)];
    const float sine = cosine_sine[2 * (pair % pairs_per_head) + 1];
    const float x = heads[2 * pair];
    const float y = heads[2 * pair + 1];
    heads[2 * pair] = x * cosine - y * sine;
    heads[2 * pair + 1] = x * sine + y * cosine;
  }
}

void rotary(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const RotaryArgs*>(raw_args);
  const std::uint32_t half = args.head_dim / 2;
  const float* cosine_sine = args.table + std::size_t{args.position[row]} * args.head_dim;
  const std::size_t first = std::size_t{row} * args.row_stride;
  rotate_heads(args.query + first, args.query_heads * half, half, cosine_sine);
  rotate_heads(args.key + first, args.kv_heads * half, half, cosine_sine);
}

void swiglu(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const SwiGluArgs*>(raw_args);
  const std::size_t first = std::size_t{row} * args.row_stride;
  float* gate = args.gate + first;
  for (std::uint32_t i = 0; i < args.hidden_dim; ++i) {
    gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * args.up[first + i];
  }
}

void argmax(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ArgmaxArgs*>(raw_args);
  if (args.length != nullptr && args.length[row] == 0) {
    args.token[row] = kNoToken;
    return;
  }
  const float* logits = args.logits + std::size_t{row} * args.row_stride;
  TokenId best = 0;
  float maximum = -std::numeric_limits<float>::infinity();
  for (TokenId token = 0; token < args.vocabulary; ++token) {
    if (logits[token] > maximum) {
      maximum = logits[token];
      best = token;
    }
  }
  args.token[row] = best;
}

void fill_part(const ContentArgs& args, std::uint32_t row, ContentPart part, std::uint32_t heads,
               float* output) {
  for (std::uint32_t head = 0; head < heads; ++head) {
    for (std::uint32_t dim = 0; dim < args.head_dim; ++dim, ++output) {
      *output = args.length[row] == 0 ? 0.0F
                                      : content_value(args.content_key[row], part, args.layer,
                                                      args.position[row], head, dim);
    }
  }
}

void content(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ContentArgs*>(raw_args);
  const std::size_t kv_first = std::size_t{row} * args.kv_stride;
  if (args.query != nullptr) {
    fill_part(args, row, ContentPart::query, args.query_heads,
              args.query + std::size_t{row} * args.query_stride);
  }
  fill_part(args, row, ContentPart::key, args.kv_heads, args.key + kv_first);
  fill_part(args, row, ContentPart::value, args.kv_heads, args.value + kv_first);
}

void digest(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const DigestArgs*>(raw_args);
  const std::span<const float> output(args.output + std::size_t{row} * args.row_stride, args.count);
  args.digest[row] = args.length[row] == 0 ? 0 : hash_bytes(std::as_bytes(output));
}

constexpr RowwiseKernels kKernels = {
    {"add_norm/reference", add_norm}, {"rotary/reference", rotary},   {"swiglu/reference", swiglu},
    {"argmax/reference", argmax},     {"content/reference", content},
};
constexpr Kernel kEmbedding = {"embedding/common", embedding};
constexpr Kernel kDigest = {"digest/common", digest};

}  // namespace

const RowwiseKernels& reference::rowwise_kernels() { return kKernels; }
const Kernel& embedding_kernel() { return kEmbedding; }
const Kernel& digest_kernel() { return kDigest; }

void fill_rotary_table(float* table, std::uint32_t max_len, std::uint32_t head_dim, float theta) {
  for (std::uint32_t position = 0; position < max_len; ++position) {
    for (std::uint32_t dim = 0; dim < head_dim; dim += 2) {
      const double frequency = std::pow(static_cast<double>(theta), -double(dim) / head_dim);
      *table++ = static_cast<float>(std::cos(position * frequency));
      *table++ = static_cast<float>(std::sin(position * frequency));
    }
  }
}

}  // namespace kvrm
