#include "engines/graph/op_list.h"

#include "harness/base/check.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

constexpr std::size_t kChunkBytes = 16 * kKiB;
constexpr std::size_t kArgsAlignment = 16;  // what operator new[] gives

}  // namespace

std::size_t OpList::bytes() const {
  return ops_.capacity() * sizeof(Op) + chunks_.size() * kChunkBytes;
}

void OpList::clear() {
  ops_.clear();
  chunk_ = 0;
  used_ = 0;
}

void OpList::add_bytes(const Kernel* kernel, const void* args, std::size_t bytes,
                       std::uint32_t items) {
  KVRM_CHECK(kernel != nullptr);
  KVRM_CHECK_LE(bytes, kChunkBytes);
  if (used_ + bytes > kChunkBytes) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) chunks_.push_back(std::make_unique<std::byte[]>(kChunkBytes));
  std::byte* place = chunks_[chunk_].get() + used_;
  std::memcpy(place, args, bytes);
  used_ += round_up(bytes, kArgsAlignment);
  ops_.push_back({kernel, place, static_cast<std::uint32_t>(bytes), items});
}

}  // namespace kvrm
