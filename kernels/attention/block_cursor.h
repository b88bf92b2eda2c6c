// How an item of attention walks the blocks of one history, one small functor for each addressing.
// Blocks are asked for in ascending order. No kernel code here.
#pragma once

#include <cstddef>
#include <cstdint>

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

// Starts at the group that holds the chunk's first block and only moves on.
class GroupCursor {
 public:
  GroupCursor(const KvSource& source, std::uint64_t block_bytes, std::uint32_t history,
              std::uint32_t chunk)
      : base_(source.base),
        group_(source.groups + std::size_t{history} * source.table_stride +
               source.chunk_group[std::size_t{history} * source.chunk_stride + chunk]),
        block_bytes_(block_bytes) {}
  const std::byte* block(std::uint32_t logical) {
    while (logical - group_->logical >= group_->blocks) ++group_;
    return base_ + (std::uint64_t{group_->physical} + (logical - group_->logical)) * block_bytes_;
  }

 private:
  const std::byte* base_;
  const KvGroup* group_;
  std::uint64_t block_bytes_;
};

}  // namespace kvrm
