// Attention in double precision, from its definition: a list of what takes part, then one softmax
// over it. It knows no tiles, chunks or blocks.
#include <algorithm>
#include <cmath>

#include "harness/contract/content.h"
#include "kernels/attention/attention_case.h"

namespace kvrm {
namespace {

struct Participant {
  std::uint32_t content_position = 0;  // of its key and value
  double bias = 0;
};

// Sinks, entries and window, in the terms of the step descriptor's FarSpan.
std::vector<Participant> participants(const TestRow& row) {
  std::vector<Participant> all;
  for (std::uint32_t sink = 0; sink < row.far.first; ++sink) all.push_back({sink, 0});
  for (std::uint32_t entry = 0; entry < row.far.entries; ++entry) {
    all.push_back({row.far.first + entry, row.bias(entry)});
  }
  for (std::uint32_t position = row.far.window; position < row.length; ++position) {
    all.push_back({static_cast<std::uint32_t>(all.size()), 0});
  }
  return all;
}

double exact_logit(const TestBatch& batch, const TestRow& row, std::uint32_t head,
                   const Participant& participant) {
  const std::uint32_t kv_head = head / (batch.query_heads / batch.kv_heads);
  double dot = 0;
  for (std::uint32_t dim = 0; dim < batch.head_dim; ++dim) {
    dot += double{query_element(batch, row, head, dim)} *
           content_value(row.content_key, ContentPart::key, 0, participant.content_position,
                         kv_head, dim);
  }
  return dot / std::sqrt(double(batch.head_dim)) + participant.bias;
}

void exact_head(const TestBatch& batch, const TestRow& row, std::uint32_t head, double* output) {
  const std::uint32_t kv_head = head / (batch.query_heads / batch.kv_heads);
  const std::vector<Participant> all = participants(row);
  std::vector<double> logits;
  for (const Participant& one : all) logits.push_back(exact_logit(batch, row, head, one));
  const double maximum = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double weight = std::exp(logits[i] - maximum);
    sum += weight;
    for (std::uint32_t dim = 0; dim < batch.head_dim; ++dim) {
      output[dim] += weight * content_value(row.content_key, ContentPart::value, 0,
                                            all[i].content_position, kv_head, dim);
    }
  }
  for (std::uint32_t dim = 0; dim < batch.head_dim; ++dim) output[dim] /= sum;
}

}  // namespace

std::vector<double> exact_attention(const TestBatch& batch) {
  const std::size_t width = std::size_t{batch.query_heads} * batch.head_dim;
  std::vector<double> output(batch.rows.size() * width, 0.0);
  for (std::size_t row = 0; row < batch.rows.size(); ++row) {
    if (batch.rows[row].length == 0) continue;
    for (std::uint32_t head = 0; head < batch.query_heads; ++head) {
      exact_head(batch, batch.rows[row], head, output.data() + row * width + head * batch.head_dim);
    }
  }
  return output;
}

}  // namespace kvrm
