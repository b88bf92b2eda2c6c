// The engine under test, `kvrm`: a block pool through the pager, one committed step descriptor a
// step, and one graph for the engine's life over a fixed batch whose rows are the slots. Everything
// that varies from step to step reaches the graph through the step image alone.
//
// Transports (docs/kvrm.md): `fused` reads groups in place. `full` gathers every group of a layer
// into a contiguous view just before that layer's attention. `delta` keeps a contiguous view of
// every layer and copies what is new or remapped. `remap` shows the pool's pages in contiguous
// views by page tables.
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
#include "engines/kvrm/engine_log.h"
#include "engines/kvrm/step_planner.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/device/device.h"
#include "harness/trace/trace_range.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

class KvrmEngine final : public Engine {
 public:
  // The model and the device must outlive the engine. Errors name the option or the memory that
  // does not fit.
  static Result<std::unique_ptr<KvrmEngine>> make(const EngineSpec& spec, const DecoderModel& model,
                                                  const KernelSet& kernels, Device& device);

  ~KvrmEngine() override;
  KvrmEngine(const KvrmEngine&) = delete;
  KvrmEngine& operator=(const KvrmEngine&) = delete;

  // submit() and collect() of a step whose record comes from a log instead of being planned; the
  // device has done it when the first returns. The error says why the record was refused; the
  // engine is of no further use then.
  Status submit_logged(const StepPlan& step, std::span<const std::byte> record);
  StepResult collect_logged(std::span<const SlotIndex> slots);

  // The device's step image, and what it must be between a collect() and the next other call; for
  // tests.
  std::span<const std::byte> image() const { return descriptor_.image_bytes(); }
  std::vector<std::byte> expected_image() const;

 private:
  struct Parts {
    PooledHistories histories;
    Decoder decoder;
    StepDescriptor descriptor;
    Buffer view_slots;
    PlannerShape planner;
  };
  static Result<Parts> make_parts(const EngineSpec& spec, const DecoderModel& model,
                                  const KernelSet& kernels, Device& device);
  KvrmEngine(const EngineSpec& spec, Parts parts, const KernelSet& kernels, Device& device);

  const EngineInfo& do_info() const override { return histories_.info(); }
  bool do_admit(const Admission& admission) override;
  StepResult do_prefill(const PrefillChunk& chunk) override;
  bool do_extend(SlotIndex slot) override;
  void do_submit(const StepPlan& step) override;
  void do_prepare(const StepPlan& next) override;
  StepResult do_collect() override;
  void do_release(SlotIndex slot) override;
  EngineUsage do_usage() const override;

  Status start_log(const EngineSpec& spec);
  void commit();
  void map_views();
  void take_rows(std::span<const SlotIndex> slots);

  Device& device_;
  PooledHistories histories_;
  Decoder decoder_;
  StepDescriptor descriptor_;
  Buffer view_slots_;
  StepPlanner planner_;
  CheckedGraph graph_;
  std::optional<EngineLog> log_;
  bool in_flight_ = false;  // between submit() and collect()
  std::vector<RowResult> results_;
  PhaseTimes phases_;
  StepTrace trace_;            // beside the phases
  Nanoseconds committed_ = 0;  // when the step's replay was called
  Nanoseconds submitted_ = 0;
};

Result<std::unique_ptr<Engine>> make_kvrm_engine(const EngineSpec& spec, const DecoderModel& model,
                                                 const KernelSet& kernels, Device& device);

}  // namespace kvrm
