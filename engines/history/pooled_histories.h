// What every pooled engine has in common below its decode step: the block pool, the history of each
// slot, admission with its watermark, forks, prefill, and the counts that follow from histories
// alone. How a step is launched, and what tables it reads, is the engines' business.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engines/decoder/decoder.h"
#include "engines/history/block_pager.h"
#include "engines/history/far_slots.h"
#include "engines/history/history_prefill.h"
#include "engines/history/kv_pool.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"

namespace kvrm {

// What a slot's row does in the step that is being submitted.
struct DecodeRow {
  TokenId token = kNoToken;  // consumed: the one sampled last
  std::uint32_t position = 0;
  std::uint32_t length = 0;      // positions attention reads, of the virtual history
  std::uint64_t write_slot = 0;  // where its key and value go
  std::uint64_t content_key = 0;
  FarSpan far;
};

class PooledHistories {
 public:
  static Result<PooledHistories> make(const EngineSpec& spec, const PoolPlan& plan,
                                      const DecoderModel& model, const KernelSet& kernels,
                                      Device& device);

  const EngineInfo& info() const { return info_; }
  const PoolPlan& plan() const { return plan_; }
  const KvPool& pool() const { return pool_; }
  KvPool& pool() { return pool_; }
  // One layer's pool as the target of writes, read through `source`, whose base is filled in where
  // it is null.
  LayerKv layer_kv(std::uint32_t layer, KvSource source) const;

  // As Engine's methods of the same names.
  bool admit(const Admission& admission);
  std::span<const RowResult> prefill(const PrefillChunk& chunk);
  bool extend(SlotIndex slot);
  void release(SlotIndex slot);

  // A step over these slots: begin_step() checks the protocol, fences the pool, brings far
  // histories up to date and compacts; decode_row() says what each row does; finish_step() lifts
  // the fence and takes the sampled tokens.
  void begin_step(const StepPlan& step, std::uint32_t rows);
  DecodeRow decode_row(SlotIndex slot) const;
  // What decode_row() will say of the step after the one that runs, once the slot has been extended
  // for it; all but its token, which is not sampled yet.
  DecodeRow next_row(SlotIndex slot) const;
  TokenId last_token(SlotIndex slot) const { return slots_[slot].last_token; }
  void finish_step(std::span<const RowResult> rows);
  // What must happen on the device before the step's rows write or attend: far-history updates
  // first, then the copies. Whoever reads the copies clears them.
  const FarChanges& far_changes() const { return far_changes_; }
  // The biases of all entries of a slot's far history.
  void list_far_biases(SlotIndex slot, std::vector<FarBias>& biases) const {
    if (far_) far_->list_biases(slot, biases);
  }
  std::span<const BlockMove> copies() const { return pager_->copies(); }
  void clear_copies() { pager_->clear_copies(); }
  // Most copies that a step can order.
  std::uint32_t max_copies() const { return plan_.slots + compaction_blocks_; }

  // Of a slot that holds a history: its positions, room made by extend() included; the physical
  // blocks that attention reads, in the order of the virtual history; a number that changes when
  // anything but the table's end changes; and the runs in it.
  std::uint32_t length(SlotIndex slot) const;
  std::span<const BlockIndex> table(SlotIndex slot) const;
  std::uint64_t table_version(SlotIndex slot) const;
  std::uint32_t run_count(SlotIndex slot) const;
  std::uint32_t block_generation(BlockIndex block) const { return pager_->block_generation(block); }
  const SizeHistogram& runs_by_blocks() const { return runs_by_blocks_; }
  MemoryUsage memory() const;  // graphs and device metadata not included
  EngineCounters& counters() { return counters_; }
  EngineCounters counters() const;

 private:
  struct Slot {
    bool used = false;
    HistoryHandle history;            // not with far history, which has several
    std::uint32_t prompt_tokens = 0;  // positions to prefill
    std::uint32_t computed = 0;       // positions whose KV is written, or will be by the step begun
    std::uint64_t content_key = 0;
    std::uint64_t prefix_key = 0;  // of positions below prefix_tokens
    std::uint32_t prefix_tokens = 0;
    TokenId last_token = kNoToken;
    std::vector<TokenId> tokens;  // [prompt_tokens] until prefilled; empty for attention_only
  };

  PooledHistories(const EngineSpec& spec, const PoolPlan& plan, std::uint32_t tile_tokens,
                  KvPool pool, HistoryPrefill prefill);
  bool take_memory(const Admission& admission, Slot& slot);
  bool has_room_for(std::uint64_t blocks) const;
  void fork(const Admission& admission, Slot& slot);
  RowResult prefill_plain(const Slot& slot, const PrefillChunk& chunk);
  RowResult prefill_far(const Slot& slot, const PrefillChunk& chunk);
  Prefill::Chunk piece_of(const Slot& slot, std::uint32_t first, std::uint32_t count) const;
  std::uint64_t write_slot(const Slot& slot, std::uint32_t position) const;
  void advance_far(SlotIndex slot);
  void compact(std::span<const SlotIndex> slots);
  void count_row(SlotIndex slot);
  SlotIndex index_of(const Slot& slot) const {
    return static_cast<SlotIndex>(&slot - slots_.data());
  }

  EngineInfo info_;
  PoolPlan plan_;
  KvPool pool_;
  std::unique_ptr<BlockPager> pager_;
  std::optional<FarSlots> far_;
  FarChanges far_changes_;
  std::uint32_t watermark_blocks_ = 0;   // kept free when admitting
  std::uint32_t compaction_blocks_ = 0;  // moved in a step at most
  HistoryPrefill prefill_;
  std::vector<Slot> slots_;
  std::uint32_t used_slots_ = 0;
  RowResult prefill_result_;
  Epoch steps_ = 0;
  EngineCounters counters_;
  SizeHistogram runs_by_blocks_{};
};

}  // namespace kvrm
