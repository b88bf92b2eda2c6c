#include "property_tests/oracle/oracle_engine.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/base/mutation.h"
#include "property_tests/oracle/reference_content.h"
#include "property_tests/oracle/reference_llama.h"

namespace kvrm {
namespace {

// The one request: tokens known (decoder), and how many positions are in its history.
struct Held {
  ContentHistory content;   // its positions are those computed so far
  std::uint32_t known = 0;  // positions of the admission
  std::uint32_t room = 0;   // positions that memory was taken for
  std::vector<TokenId> tokens;
  ReferenceHistory history;
};

class OracleEngine final : public Engine {
 public:
  OracleEngine(const Model& model, const FarHistoryRule& rule)
      : shape_(model.shape()), rule_(rule) {
    info_ = {.kind = "oracle",
             .label = "oracle",
             .slots = 1,
             .max_history_tokens = shape_.max_len,
             .exact = !rule.enabled,
             .far_history = rule};
    if (shape_.kind == ModelKind::decoder) llama_.emplace(model, rule);
  }

 private:
  const EngineInfo& do_info() const override { return info_; }

  bool do_admit(const Admission& admission) override {
    KVRM_CHECK(!held_.has_value());
    KVRM_CHECK_EQ(admission.slot, 0U);
    KVRM_CHECK_LE(admission.token_count, shape_.max_len);
    held_.emplace();
    KVRM_CHECK(!admission.fork_from.has_value());
    held_->content = {.content_key = admission.content_key,
                      .prefix_key = admission.prefix_key,
                      .prefix_tokens = admission.prefix_tokens};
    held_->known = held_->room = admission.token_count;
    if (llama_) {
      KVRM_CHECK_EQ(admission.tokens.size(), admission.token_count);
      held_->tokens.assign(admission.tokens.begin(), admission.tokens.end());
      held_->history = llama_->empty_history();
    }
    return true;
  }

  StepResult do_prefill(const PrefillChunk& chunk) override {
    KVRM_CHECK(held_.has_value());
    KVRM_CHECK_EQ(chunk.first, held_->content.positions);
    KVRM_CHECK_LE(chunk.first + chunk.count, held_->known);
    KVRM_CHECK_EQ(chunk.last, chunk.first + chunk.count == held_->known);
    for (std::uint32_t i = 1; i <= chunk.count; ++i) consume_next(chunk.last && i == chunk.count);
    return chunk.last ? give_row() : StepResult{};
  }

  bool do_extend(SlotIndex slot) override {
    KVRM_CHECK(held_.has_value());
    KVRM_CHECK_EQ(slot, 0U);
    KVRM_CHECK_LT(held_->room, shape_.max_len);
    ++held_->room;
    return true;
  }

  void do_submit(const StepPlan& plan) override {
    KVRM_CHECK_EQ(plan.slots.size(), 1U);
    KVRM_CHECK(held_.has_value());
    KVRM_CHECK_LT(held_->content.positions, held_->room);
  }

  StepResult do_collect() override {
    consume_next(true);
    return give_row();
  }

  void do_release(SlotIndex) override { held_.reset(); }

  EngineUsage do_usage() const override {
    EngineUsage usage;
    usage.shadow = shadow_;
    if (!held_) return usage;
    usage.memory.live_bytes = kept(held_->content.positions) * shape_.kv_bytes_per_token();
    usage.memory.reserved_bytes = usage.memory.allocated_bytes =
        kept(held_->room) * shape_.kv_bytes_per_token();
    return usage;
  }

  // Positions and entries that the rule keeps of `positions`.
  std::uint64_t kept(std::uint32_t positions) const {
    const std::uint64_t summarised_from = std::uint64_t{rule_.sink_tokens} + rule_.window_tokens;
    if (!rule_.enabled || positions < summarised_from) return positions;
    const std::uint64_t blocks = (positions - summarised_from) / rule_.block_tokens;
    return positions - blocks * rule_.block_tokens +
           KVRM_MUTATE(oracle_kept_without_entries,
                       std::min<std::uint64_t>(blocks, rule_.summaries), blocks);
  }

  // The rows that are given are the ones that have a shadow.
  void consume_next(bool given) {
    if (llama_) {
      llama_->consume(held_->tokens[held_->content.positions], held_->history,
                      given ? &shadow_ : nullptr);
    }
    ++held_->content.positions;
  }

  // The result at the last position.
  StepResult give_row() {
    row_ = RowResult{};
    if (llama_) {
      const std::vector<double> logits = llama_->logits();
      // max_element gives the first of equal ones.
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      row_.token = static_cast<TokenId>(best);
      row_.output_digest = row_.token;
      held_->tokens.push_back(row_.token);
      output_.assign(logits.begin(), logits.end());
    } else {
      output_ = reference_content_attention(shape_, held_->content, rule_, shadow_);
      row_.output_digest = hash_bytes(std::as_bytes(std::span<const float>(output_)));
    }
    row_.output = output_;
    return {.rows = std::span<const RowResult>(&row_, 1), .phases = {}};
  }

  const ModelShape& shape_;
  FarHistoryRule rule_;
  EngineInfo info_;
  std::optional<ReferenceLlama> llama_;  // decoder only
  std::optional<Held> held_;
  RowResult row_;
  std::vector<float> output_;
  ShadowError shadow_;
};

}  // namespace

std::unique_ptr<Engine> make_oracle_engine(const Model& model, const FarHistoryRule& rule) {
  return std::make_unique<OracleEngine>(model, rule);
}

}  // namespace kvrm
