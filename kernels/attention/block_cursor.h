// How an item of attention walks the blocks of one history, one small functor for each addressing.
// Blocks are asked for in ascending order. No kernel code here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/mutation.h"
#include "kernels/attention/attention.h"

namespace kvrm {

class ContiguousCursor {
 public:
  ContiguousCursor(const KvSource& source, std::uint64_t block_bytes, std::uint32_t history,
                   std::uint32_t /*chunk*/)
      : first_(source.base + history * source.history_stride), block_bytes_(block_bytes) {}
  const std::byte* block(std::uint32_t logical) const { return first_ + logical * block_bytes_; }

 private:
  const std::byte* first_;
  std::uint64_t block_bytes_;
};

class TableCursor {
 public:
  TableCursor(const KvSource& source, std::uint64_t block_bytes, std::uint32_t history,
              std::uint32_t /*chunk*/)
      : base_(source.base),
        table_(source.block_table + std::size_t{history} * source.table_stride),
        block_bytes_(block_bytes) {}
  const std::byte* block(std::uint32_t logical) const {
    return base_ + table_[logical] * block_bytes_;
  }

 private:
  const std::byte* base_;
  const std::uint32_t* table_;
  std::uint64_t block_bytes_;
};

// Starts at the chunk's group and only moves on. The group is looked at with the first block, so a
// chunk without any may name a group that does not exist.
class GroupCursor {
 public:
  GroupCursor(const KvSource& source, std::uint64_t block_bytes, std::uint32_t history,
              std::uint32_t chunk)
      : base_(source.base),
        groups_(source.groups + std::size_t{history} * source.table_stride),
        group_(source.chunk_group[std::size_t{history} * source.chunk_stride + chunk]),
        block_bytes_(block_bytes) {}
  const std::byte* block(std::uint32_t logical) {
    while (logical - groups_[group_].logical >=
           groups_[group_].blocks + KVRM_MUTATE(group_cursor_overstays, 0U, 1U))
      ++group_;
    const KvGroup& group = groups_[group_];
    return base_ + (std::uint64_t{group.physical} + (logical - group.logical)) * block_bytes_;
  }

 private:
  const std::byte* base_;
  const KvGroup* groups_;
  std::size_t group_;
  std::uint64_t block_bytes_;
};

}  // namespace kvrm
