#include "engines/history/block_copies.h"

#include <utility>

#include "harness/base/check.h"

namespace kvrm {
namespace {

constexpr std::size_t kListOffset = 64;
// Copies are few and rare; enough items for every worker.
constexpr std::uint32_t kItems = 8;

}  // namespace

Result<BlockCopies> BlockCopies::make(const PoolPlan& plan, const KvPool& pool,
                                      const KernelSet& kernels, std::uint32_t capacity,
                                      Device& device) {
  Result<Buffer> buffer = device.allocate(MemoryPurpose::metadata,
                                          kListOffset + std::size_t{capacity} * sizeof(BlockCopy));
  if (!buffer) return tl::unexpected(buffer.error());
  BlockCopies copies;
  copies.buffer_ = std::move(*buffer);
  copies.kernel_ = kernels.copy_blocks;
  copies.capacity_ = capacity;
  copies.args_.block_bytes = plan.layout.block_bytes();
  copies.args_.layer_bytes = plan.layer_bytes();
  copies.args_.pool = pool.layer(0);
  copies.args_.copies = reinterpret_cast<const BlockCopy*>(copies.buffer_.data() + kListOffset);
  copies.args_.count = copies.buffer_.as<std::uint32_t>().data();
  copies.args_.layers = plan.layers;
  copies.args_.items = kItems;
  return copies;
}

void BlockCopies::append(OpList& ops) const { ops.add(kernel_, args_, kItems); }

void BlockCopies::set(std::span<const BlockMove> moves) {
  KVRM_CHECK_LE(moves.size(), capacity_);
  auto* list = reinterpret_cast<BlockCopy*>(buffer_.data() + kListOffset);
  for (std::size_t i = 0; i < moves.size(); ++i) {
    list[i] = {
        .source = moves[i].source, .destination = moves[i].destination, .blocks = 1, .reserved = 0};
  }
  buffer_.as<std::uint32_t>()[0] = static_cast<std::uint32_t>(moves.size());
}

}  // namespace kvrm
