// What every pooled engine has in common below its decode step: the block pool, the history of each
// slot, admission with its watermark, prefill, and the counts that follow from histories alone. How
// a step is launched, and what tables it reads, is the engines' business.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engines/decoder/decoder.h"
#include "engines/decoder/prefill.h"
#include "engines/history/block_pager.h"
#include "engines/history/kv_pool.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

// What a slot's row does in the step that is being submitted.
struct DecodeRow {
  TokenId token = kNoToken;      // consumed: the one sampled last
  std::uint32_t length = 0;      // positions attention reads; the new one is length - 1
  std::uint64_t write_slot = 0;  // where its key and value go
  std::uint64_t content_key = 0;
};

class PooledHistories {
 public:
  static Result<PooledHistories> make(const EngineSpec& spec, const PoolPlan& plan,
                                      const DecoderModel& model, const KernelSet& kernels,
                                      Device& device);

  const EngineInfo& info() const { return info_; }
  const PoolPlan& plan() const { return plan_; }
  const KvPool& pool() const { return pool_; }
  // One layer's pool as the target of writes, read through `source`, whose base is filled in where
  // it is null.
  LayerKv layer_kv(std::uint32_t layer, KvSource source) const;

  // As Engine's methods of the same names.
  bool admit(const Admission& admission);
  std::span<const RowResult> prefill(const PrefillChunk& chunk);
  bool extend(SlotIndex slot);
  void release(SlotIndex slot);

  // A step over these slots: begin_step() checks the protocol and fences the pool, decode_row()
  // says what each row does, finish_step() lifts the fence and takes the sampled tokens.
  void begin_step(const StepPlan& step, std::uint32_t rows);
  DecodeRow decode_row(SlotIndex slot) const;
  // What decode_row() will say of the step after the one that runs, once the slot has been extended
  // for it; all but its token, which is not sampled yet.
  DecodeRow next_row(SlotIndex slot) const;
  TokenId last_token(SlotIndex slot) const { return slots_[slot].last_token; }
  void finish_step(std::span<const RowResult> rows);

  // Of a slot that holds a history: its positions, room made by extend() included, its physical
  // blocks, and the runs in them.
  std::uint32_t length(SlotIndex slot) const { return pager_.length(slots_[slot].history); }
  std::span<const BlockIndex> table(SlotIndex slot) const {
    return pager_.table(slots_[slot].history);
  }
  std::uint32_t run_count(SlotIndex slot) const { return pager_.run_count(slots_[slot].history); }
  MemoryUsage memory() const;  // graphs and device metadata not included
  EngineCounters& counters() { return counters_; }
  const EngineCounters& counters() const { return counters_; }

 private:
  struct Slot {
    bool used = false;
    HistoryHandle history;
    std::uint32_t prompt_tokens = 0;  // positions to prefill
    std::uint32_t computed = 0;       // positions whose KV is written, or will be by the step begun
    std::uint64_t content_key = 0;
    TokenId last_token = kNoToken;
    std::vector<TokenId> tokens;  // [prompt_tokens] until prefilled; empty for attention_only
  };

  PooledHistories(const EngineSpec& spec, const PoolPlan& plan, KvPool pool, Prefill prefill,
                  Buffer prefill_table);
  std::uint64_t write_slot(const Slot& slot, std::uint32_t position) const;
  void count_row(const Slot& slot);

  EngineInfo info_;
  PoolPlan plan_;
  KvPool pool_;
  BlockPager pager_;
  std::uint32_t watermark_blocks_ = 0;  // kept free when admitting
  Prefill prefill_;
  Buffer prefill_table_;  // [max_blocks_per_history], the history that is being prefilled
  std::vector<LayerKv> prefill_layers_;
  std::vector<Slot> slots_;
  RowResult prefill_result_;
  Epoch steps_ = 0;
  EngineCounters counters_;
};

}  // namespace kvrm
