#include "harness/device/cpu_graph.h"

#include "harness/base/check.h"
#include "harness/base/hash.h"

namespace kvrm {

CpuGraph::CpuGraph(std::span<const Op> ops) : ops_(ops.begin(), ops.end()) {
  name_hashes_.reserve(ops_.size());
  for (const Op& op : ops_) {
    KVRM_CHECK(op.kernel != nullptr && op.kernel->host != nullptr);
    name_hashes_.push_back(hash_text(op.kernel->name));
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
