#include "harness/driver/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/base/mutation.h"
#include "harness/driver/live_request.h"

namespace kvrm {
namespace {

std::uint64_t hash_sample(const OutputSample& sample) {
  const std::uint64_t history = hash_bytes(std::as_bytes(std::span(sample.history)),
                                           hash_combine(sample.history_tokens, sample.token));
  return hash_bytes(std::as_bytes(std::span(sample.output)), history);
}

double largest_magnitude(std::span<const float> values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(double{value}));
  return largest;
}

void reject(OracleFinding& finding, std::string reason) {
  finding.right = false;
  finding.reason = std::move(reason);
}

}  // namespace

double output_tolerance(const ModelShape& shape, const FarHistoryRule& rule) {
  if (shape.kind == ModelKind::attention_only) return kAttentionTolerance;
  if (shape.weight_dtype == DType::bf16) return kDecoderToleranceBf16Weights;
  if (shape.kv_dtype == DType::bf16) return kDecoderToleranceBf16Kv;
  const bool far = rule.enabled && shape.kv_dtype == DType::f16;
  return far ? kFarDecoderToleranceF16Kv : kDecoderTolerance;
}

double relative_error(std::span<const float> actual, std::span<const float> expected) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (KVRM_MUTATE(verify_short_output_accepted, actual.size() != expected.size(), false) ||
      expected.empty()) {
    return kInfinite;
  }
  double largest_difference = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(double{actual[i]} - double{expected[i]});
    if (KVRM_MUTATE(verify_nan_accepted, !std::isfinite(difference), false)) return kInfinite;
    largest_difference = std::max(largest_difference, difference);
  }
  if (largest_difference == 0) return 0;
  const double scale = largest_magnitude(expected);
  return scale > 0 ? largest_difference / KVRM_MUTATE(verify_error_without_scale, scale, 1.0)
                   : kInfinite;
}

OracleChecker::OracleChecker(std::unique_ptr<Engine> oracle, const ModelShape& shape,
                             const FarHistoryRule& rule)
    : oracle_(std::move(oracle)),
      decoder_(shape.kind == ModelKind::decoder),
      tolerance_(output_tolerance(shape, rule)) {}

OracleFinding OracleChecker::check_last(const Request& request, const OutputSample& sample) {
  OracleFinding finding{.tokens = 1};
  const RowResult row = begin(request, sample.history_tokens, sample.history);
  if (decoder_ && !accept_token(row, sample.token, finding)) {
    reject(finding, fmt::format("request {}: token {} at position {}, the oracle gives {}",
                                request.id, sample.token, sample.history_tokens, row.token));
    return finding;
  }
  check_output(row, sample, finding);
  return finding;
}

OracleFinding OracleChecker::check_all(const Request& request, const OutputSample& sample) {
  const std::uint64_t hash = hash_sample(sample);
  const auto known = known_.find(request.id);
  if (known != known_.end() &&
      KVRM_MUTATE(verify_first_finding_for_all, known->second.sample_hash == hash, true))
    return known->second.finding;
  OracleFinding finding = decoder_ ? compute_all(request, sample) : check_last(request, sample);
  if (!decoder_) finding.tokens = sample.history_tokens + 1 - request.prompt_tokens;
  known_[request.id] = {hash, finding};
  return finding;
}

OracleFinding OracleChecker::compute_all(const Request& request, const OutputSample& sample) {
  OracleFinding finding;
  const std::span<const TokenId> history = sample.history;
  KVRM_CHECK_EQ(history.size(), sample.history_tokens);
  KVRM_CHECK_LE(request.prompt_tokens, history.size());
  RowResult row = begin(request, request.prompt_tokens, history.first(request.prompt_tokens));
  for (std::size_t known = request.prompt_tokens;; ++known) {
    const bool at_end = known == history.size();
    const TokenId token = at_end ? sample.token : history[known];
    const std::uint64_t ties = finding.near_ties;
    ++finding.tokens;
    if (!accept_token(row, token, finding)) {
      reject(finding, fmt::format("request {}: token {} at position {}, the oracle gives {}",
                                  request.id, token, known, row.token));
      return finding;
    }
    if (at_end) break;
    const auto next = static_cast<std::uint32_t>(known + 1);
    row = KVRM_MUTATE(verify_goes_on_from_oracle, finding.near_ties == ties, true)
              ? step()
              : begin(request, next, history.first(next));
  }
  check_output(row, sample, finding);
  return finding;
}

// The oracle's row after a whole history.
RowResult OracleChecker::begin(const Request& request, std::uint32_t history_tokens,
                               std::span<const TokenId> history) {
  oracle_->release(0);
  const bool admitted = oracle_->admit(make_admission(request, 0, history_tokens, history));
  KVRM_CHECK(admitted);
  const StepResult result =
      oracle_->prefill({.slot = 0, .first = 0, .count = history_tokens, .last = true});
  KVRM_CHECK_EQ(result.rows.size(), 1U);
  return result.rows[0];
}

RowResult OracleChecker::step() {
  constexpr std::array<SlotIndex, 1> kOnlySlot = {0};
  const bool extended = oracle_->extend(0);
  KVRM_CHECK(extended);
  oracle_->submit({.step = ++step_, .slots = kOnlySlot});
  const StepResult result = oracle_->collect();
  KVRM_CHECK_EQ(result.rows.size(), 1U);
  return result.rows[0];
}

bool OracleChecker::accept_token(const RowResult& oracle, TokenId token,
                                 OracleFinding& finding) const {
  if (token == oracle.token) return true;
  if (token >= oracle.output.size()) return false;
  const double shortfall = double{oracle.output[oracle.token]} - double{oracle.output[token]};
  const double error = shortfall / largest_magnitude(oracle.output);
  if (KVRM_MUTATE(verify_any_token_is_a_tie, !(error <= tolerance_), false)) return false;
  ++finding.near_ties;
  finding.error = std::max(finding.error, error);
  return true;
}

void OracleChecker::check_output(const RowResult& oracle, const OutputSample& sample,
                                 OracleFinding& finding) const {
  const double error = relative_error(sample.output, oracle.output);
  finding.error = std::max(finding.error, error);
  if (KVRM_MUTATE(verify_last_output_unchecked, error <= tolerance_, true)) return;
  reject(finding,
         fmt::format("request {}: the output after {} positions differs from the oracle's by "
                     "{:.2g} of its largest value, allowed is {:.2g}",
                     sample.request, sample.history_tokens, error, tolerance_));
}

}  // namespace kvrm
