// Where a batch's KV lies for the suites that read it: a block order for each history, and the
// tables by which a step finds the blocks, laid out as the engines have them. One memory serves
// every placement in turn; its content is any numbers, so that a key is a key wherever it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines/decoder/decoder.h"
#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"
#include "kernels/attention/attention.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

struct PlacementSpec {
  KvAddressing addressing = KvAddressing::contiguous;
  std::uint32_t block_tokens = 16;
  std::uint32_t run_blocks = 1;  // blocks in a row that are neighbours; table and groups
};

// Histories of up to max_len positions over one pool that has room for just so much.
struct PlacedBatch {
  DType dtype = DType::bf16;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t layers = 0;
  std::uint32_t chunk_tokens = 0;
  std::uint32_t max_len = 0;  // a multiple of 64
  std::span<const std::uint32_t> lengths;
  std::byte* pool = nullptr;  // [layers] of [histories, max_len] positions
};

class KvPlacement {
 public:
  static Result<KvPlacement> make(const PlacementSpec& spec, const PlacedBatch& batch,
                                  Device& device);

  std::span<const LayerKv> layers() const { return layers_; }
  // The groups of each history, where its blocks are not addressed by position.
  const std::vector<std::vector<KvGroup>>& groups() const { return groups_; }

 private:
  KvPlacement() = default;
  Status place_tables(const PlacementSpec& spec, const PlacedBatch& batch, Device& device,
                      KvSource& source);

  std::vector<std::vector<KvGroup>> groups_;
  Buffer tables_;
  std::vector<LayerKv> layers_;
};

// Physical blocks of `histories` histories of max_blocks each, in runs of run_blocks at random
// places of a pool that they fill. [history][logical block]
std::vector<std::vector<BlockIndex>> random_runs(std::uint32_t histories, std::uint32_t max_blocks,
                                                 std::uint32_t run_blocks, std::uint64_t seed);

// Fills KV memory with values of [-1, 1) that every number type holds exactly.
void fill_kv(DType dtype, std::span<std::byte> memory);

}  // namespace kvrm
