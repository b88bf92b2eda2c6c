#include "engines/null/null_engine.h"

#include <fmt/core.h>

#include <vector>

#include "harness/base/check.h"
#include "harness/trace/trace_range.h"

namespace kvrm {
namespace {

class NullEngine final : public Engine {
 public:
  NullEngine(const EngineSpec& spec, TokenId token) : token_(token), used_(spec.budget.max_batch) {
    info_.kind = spec.kind;
    info_.label = spec.label;
    info_.slots = spec.budget.max_batch;
    info_.max_history_tokens = spec.budget.max_len;
    info_.checked = false;
    results_.reserve(info_.slots);
  }

 private:
  const EngineInfo& do_info() const override { return info_; }

  bool do_admit(const Admission& admission) override {
    KVRM_CHECK_LT(admission.slot, info_.slots);
    KVRM_CHECK_EQ(used_[admission.slot], 0);
    used_[admission.slot] = 1;
    return true;
  }

  StepResult do_prefill(const PrefillChunk& chunk) override {
    results_.clear();
    if (chunk.last) add_result(chunk.slot);
    return {results_, {}};
  }

  bool do_extend(SlotIndex /*slot*/) override { return true; }

  void do_submit(const StepPlan& plan) override {
    trace_.begin(TraceName::replay, plan.step);
    results_.clear();
    for (const SlotIndex slot : plan.slots) add_result(slot);
    usage_.counters.rows += plan.slots.size();
  }

  StepResult do_collect() override {
    trace_.end();
    return {results_, {}};
  }

  void do_release(SlotIndex slot) override {
    KVRM_CHECK_LT(slot, info_.slots);
    used_[slot] = 0;
  }

  EngineUsage do_usage() const override { return usage_; }

  void add_result(SlotIndex slot) {
    RowResult result;
    result.slot = slot;
    result.token = token_;
    result.output_digest = token_;
    results_.push_back(result);
  }

  EngineInfo info_;
  TokenId token_;
  std::vector<char> used_;  // by slot
  std::vector<RowResult> results_;
  EngineUsage usage_;
  StepTrace trace_;  // of a step it has `replay` only: it plans and samples nothing
};

}  // namespace

Result<std::unique_ptr<Engine>> make_null_engine(const EngineSpec& spec, const Model& model) {
  if (spec.budget.max_batch == 0) {
    return bad_input(fmt::format("{}: budget.max_batch: is 0", spec.label));
  }
  const TokenId token = model.shape().kind == ModelKind::decoder ? 0 : kNoToken;
  return std::make_unique<NullEngine>(spec, token);
}

}  // namespace kvrm
