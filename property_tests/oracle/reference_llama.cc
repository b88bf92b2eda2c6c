#include "property_tests/oracle/reference_llama.h"

#include <cmath>
#include <cstddef>

#include "harness/base/check.h"
#include "property_tests/oracle/ruled_attention.h"

namespace kvrm {
namespace {

using Vector = std::vector<double>;

// weights [rows, x.size()] times x.
Vector multiply(std::span<const float> weights, const Vector& x) {
  Vector y(weights.size() / x.size());
  Vector row(x.size());
  for (std::size_t r = 0; r < y.size(); ++r) {
    for (std::size_t i = 0; i < x.size(); ++i) row[i] = weights[r * x.size() + i];
    y[r] = dot(row, x);
  }
  return y;
}

Vector rms_norm(const Vector& x, std::span<const float> weight, double epsilon) {
  const double scale = 1.0 / std::sqrt(dot(x, x) / static_cast<double>(x.size()) + epsilon);
  Vector y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
  return y;
}

// Turns each adjacent pair (2i, 2i + 1) of every head by position * theta^(-2i / head_dim).
void rotate(Vector& heads, std::uint32_t head_dim, std::uint32_t position, double theta) {
  for (std::size_t base = 0; base < heads.size(); base += head_dim) {
    for (std::uint32_t i = 0; i < head_dim; i += 2) {
      const double angle = position * std::pow(theta, -static_cast<double>(i) / head_dim);
      const double a = heads[base + i];
      const double b = heads[base + i + 1];
      heads[base + i] = a * std::cos(angle) - b * std::sin(angle);
      heads[base + i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  }
}

void add(Vector& x, const Vector& delta) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += delta[i];
}

// Appends head `head` of `heads` to its history, rounded to the KV type.
void store(const Vector& heads, std::uint32_t head, const ModelShape& shape, Vector& history) {
  for (std::uint32_t d = 0; d < shape.head_dim; ++d) {
    const auto value = static_cast<float>(heads[std::size_t{head} * shape.head_dim + d]);
    history.push_back(round_to(shape.kv_dtype, value));
  }
}

}  // namespace

ReferenceLlama::ReferenceLlama(const Model& model, const FarHistoryRule& rule)
    : shape_(model.shape()), weights_(model.weights()), rule_(rule), hidden_(shape_.model_dim) {}

ReferenceHistory ReferenceLlama::empty_history() const {
  const std::vector<std::vector<Vector>> none(shape_.layers, std::vector<Vector>(shape_.kv_heads));
  const std::vector<ReferenceFarHistory> far(
      shape_.kv_heads, ReferenceFarHistory(rule_, shape_.kv_dtype, shape_.head_dim));
  return {.keys = none, .values = none, .far = {shape_.layers, far}};
}

void ReferenceLlama::consume(TokenId token, ReferenceHistory& history, ShadowError* shadow) {
  KVRM_CHECK_LT(token, shape_.vocabulary);
  KVRM_CHECK_LT(history.positions, shape_.max_len);
  for (std::uint32_t i = 0; i < shape_.model_dim; ++i) {
    hidden_[i] = weights_.embedding[std::size_t{token} * shape_.model_dim + i];
  }
  for (std::uint32_t layer = 0; layer < shape_.layers; ++layer) {
    attention(layer, history, shadow);
    feed_forward(weights_.layers[layer]);
  }
  ++history.positions;
}

void ReferenceLlama::attention(std::uint32_t layer, ReferenceHistory& history,
                               ShadowError* shadow) {
  const LayerWeights& weights = weights_.layers[layer];
  const Vector x = rms_norm(hidden_, weights.attention_norm, shape_.norm_epsilon);
  Vector query = multiply(weights.query, x);
  Vector key = multiply(weights.key, x);
  const Vector value = multiply(weights.value, x);
  rotate(query, shape_.head_dim, history.positions, shape_.rope_theta);
  rotate(key, shape_.head_dim, history.positions, shape_.rope_theta);
  Vector mixed(query.size());
  const std::size_t head_dim = shape_.head_dim;
  for (std::uint32_t head = 0; head < shape_.kv_heads; ++head) {
    store(key, head, shape_, history.keys[layer][head]);
    store(value, head, shape_, history.values[layer][head]);
    const Attended all{
        .keys = history.keys[layer][head], .values = history.values[layer][head], .bias = {}};
    history.far[layer][head].advance(history.positions, all);
    RuledAttention ruled(all, history.far[layer][head]);
    for (std::uint32_t i = 0; i < shape_.queries_per_kv_head(); ++i) {
      const std::size_t place = (head * shape_.queries_per_kv_head() + i) * head_dim;
      ruled.attend(std::span<const double>(query).subspan(place, head_dim), shadow,
                   std::span<double>(mixed).subspan(place, head_dim));
    }
  }
  add(hidden_, multiply(weights.output, mixed));
}

void ReferenceLlama::feed_forward(const LayerWeights& weights) {
  const Vector x = rms_norm(hidden_, weights.ffn_norm, shape_.norm_epsilon);
  Vector gate = multiply(weights.gate, x);
  const Vector up = multiply(weights.up, x);
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
  }
  add(hidden_, multiply(weights.down, gate));
}

std::vector<double> ReferenceLlama::logits() const {
  return multiply(weights_.classifier, rms_norm(hidden_, weights_.final_norm, shape_.norm_epsilon));
}

}  // namespace kvrm
