// The block tables of all slots in device memory, as the attention kernels read them: one row a
// slot, kept from step to step and changed only where a history grew or ended. Rows of a batch
// refer to it by RowArrays::history, so that no table is copied when the batch changes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

class BlockTables {
 public:
  static Result<BlockTables> make(Device& device, std::uint32_t slots, std::uint32_t max_blocks);

  // The slot's history has this table now; with the version of the last call it only grew.
  void sync(SlotIndex slot, std::span<const BlockIndex> table, std::uint64_t version);
  // Whether sync() would change no entry that is in use, which a running step may be reading.
  bool only_grows(SlotIndex slot, std::uint64_t version) const {
    return filled_[slot] == 0 || versions_[slot] == version;
  }
  // The slot holds no history: its whole row is zero again, so that no stale id is ever left over.
  void clear(SlotIndex slot);

  const BlockIndex* data() const { return buffer_.as<BlockIndex>().data(); }  // [slots, stride()]
  std::uint32_t stride() const { return max_blocks_; }
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  BlockTables() = default;
  std::span<BlockIndex> row(SlotIndex slot) const {
    return buffer_.as<BlockIndex>().subspan(std::size_t{slot} * max_blocks_, max_blocks_);
  }

  Buffer buffer_;
  std::uint32_t max_blocks_ = 0;
  std::vector<std::uint32_t> filled_;  // [slots] entries of the row that are in use
  std::vector<std::uint64_t> versions_;
};

}  // namespace kvrm
