// The engine under test, `kvrm`: a block pool through the pager, one committed step descriptor a
// step, and one graph for the engine's life over a fixed batch whose rows are the slots. Everything
// that varies from step to step reaches the graph through the step image alone.
//
// Transports: `fused` reads groups in place. `full` gathers every group of a layer into a
// contiguous view just before that layer's attention; the view holds one layer and is used again by
// the next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engines/decoder/decoder.h"
#include "engines/decoder/decoder_model.h"
#include "engines/descriptor/step_descriptor.h"
#include "engines/graph/checked_graph.h"
#include "engines/history/pooled_histories.h"
#include "engines/transport/group_table.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

class KvrmEngine final : public Engine {
 public:
  // The model and the device must outlive the engine. Errors name the option or the memory that
  // does not fit.
  static Result<std::unique_ptr<KvrmEngine>> make(const EngineSpec& spec, const DecoderModel& model,
                                                  const KernelSet& kernels, Device& device);

  // The device's step image, and what it must be between a collect() and the next other call; for
  // tests.
  std::span<const std::byte> image() const { return descriptor_.image_bytes(); }
  std::vector<std::byte> expected_image() const;

 private:
  struct Parts {
    PooledHistories histories;
    Decoder decoder;
    StepDescriptor descriptor;
    GroupTableShape groups;
  };
  static Result<Parts> make_parts(const EngineSpec& spec, const DecoderModel& model,
                                  const KernelSet& kernels, Device& device);
  KvrmEngine(const EngineSpec& spec, Parts parts, const KernelSet& kernels, Device& device);

  const EngineInfo& do_info() const override { return histories_.info(); }
  bool do_admit(const Admission& admission) override { return histories_.admit(admission); }
  StepResult do_prefill(const PrefillChunk& chunk) override {
    return {.rows = histories_.prefill(chunk), .phases = {}};
  }
  bool do_extend(SlotIndex slot) override { return histories_.extend(slot); }
  void do_submit(const StepPlan& step) override;
  StepResult do_collect() override;
  void do_release(SlotIndex slot) override;
  EngineUsage do_usage() const override;

  void record_graph(const EngineSpec& spec, const KernelSet& kernels);
  KvSource kv_source(const EngineSpec& spec) const;
  void append_gather(OpList& ops, const Kernel* kernel, std::uint32_t layer) const;
  void plan_step(std::span<const SlotIndex> slots);
  void activate(SlotIndex slot);
  void deactivate(SlotIndex slot);
  void clear_groups(SlotIndex slot);
  void commit();

  Device& device_;
  Transport transport_;
  PooledHistories histories_;
  Decoder decoder_;
  StepDescriptor descriptor_;
  GroupTable groups_;
  std::optional<CheckedGraph> graph_;
  std::vector<SlotIndex> step_slots_;  // of the last step, ascending
  std::vector<bool> sampled_;          // [slots] the device holds the slot's last token
  std::vector<TokenId> consumed_;      // [slots] by each slot's row in its last step
  TableEdits edits_;                   // scratch
  std::vector<RowResult> results_;
  PhaseTimes phases_;
  Nanoseconds committed_ = 0;  // when the step's replay was called
  Nanoseconds submitted_ = 0;
};

Result<std::unique_ptr<Engine>> make_kvrm_engine(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device);

}  // namespace kvrm
