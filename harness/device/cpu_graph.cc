#include "harness/device/cpu_graph.h"

#include <algorithm>
#include <cstring>

#include "harness/base/check.h"
#include "harness/base/hash.h"

namespace kvrm {
namespace {

// Arguments with addresses in the device's memory told as (buffer, offset). Buffers are numbered as
// they are met, so that it does not matter what else the device holds.
class PlacedArguments {
 public:
  explicit PlacedArguments(const LiveRanges& ranges) : ranges_(ranges) {}

  std::uint64_t hash(std::span<const std::byte> args, std::uint64_t hash) {
    while (!args.empty()) {
      std::uint64_t word = 0;
      const std::size_t bytes = std::min(sizeof(word), args.size());
      std::memcpy(&word, args.data(), bytes);
      hash = hash_word(word, hash);
      args = args.subspan(bytes);
    }
    return hash;
  }

 private:
  std::uint64_t hash_word(std::uint64_t word, std::uint64_t hash) {
    const auto range = ranges_.find(word);
    if (!range) return hash_combine(hash_combine(hash, kRaw), word);
    const auto met = std::ranges::find(met_, range->begin);
    const auto ordinal = static_cast<std::uint64_t>(met - met_.begin());
    if (met == met_.end()) met_.push_back(range->begin);
    return hash_combine(hash_combine(hash, ordinal), word - range->begin);
  }

  static constexpr std::uint64_t kRaw = ~std::uint64_t{0};  // no buffer's number

  const LiveRanges& ranges_;
  std::vector<std::uintptr_t> met_;  // first addresses of buffers
};

}  // namespace

CpuGraph::CpuGraph(std::span<const Op> ops, const LiveRanges& live_ranges)
    : ops_(ops.begin(), ops.end()), launch_signature_(ops.size()) {
  PlacedArguments placed(live_ranges);
  name_hashes_.reserve(ops_.size());
  for (const Op& op : ops_) {
    KVRM_CHECK(op.kernel != nullptr && op.kernel->host != nullptr);
    name_hashes_.push_back(hash_text(op.kernel->name));
    launch_signature_ = hash_combine(launch_signature_, name_hashes_.back());
    launch_signature_ = hash_combine(launch_signature_, op.items);
    launch_signature_ =
        placed.hash({static_cast<const std::byte*>(op.args), op.args_bytes}, launch_signature_);
  }
}

std::uint64_t CpuGraph::do_launch_hash() const {
  std::uint64_t hash = ops_.size();
  for (std::size_t i = 0; i < ops_.size(); ++i) {
    const Op& op = ops_[i];
    hash = hash_combine(hash, name_hashes_[i]);
    hash = hash_combine(hash, op.items);
    const std::span args(static_cast<const std::byte*>(op.args), op.args_bytes);
    hash = hash_bytes(args, hash);
  }
  return hash;
}

std::size_t CpuGraph::do_bytes() const {
  return ops_.size() * (sizeof(Op) + sizeof(std::uint64_t));
}

}  // namespace kvrm
