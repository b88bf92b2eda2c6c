// A graph of the CPU backend: a copy of the operations, ready to run, and their launch hash. The
// arguments stay with whoever made them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "harness/device/device.h"
#include "harness/device/live_ranges.h"

namespace kvrm {

class CpuGraph final : public RecordedGraph {
 public:
  CpuGraph(std::span<const Op> ops, const LiveRanges& live_ranges);

  std::span<const Op> ops() const { return ops_; }

 private:
  std::uint64_t do_launch_hash() const override;
  std::uint64_t do_launch_signature() const override { return launch_signature_; }
  std::size_t do_op_count() const override { return ops_.size(); }
  std::size_t do_bytes() const override;

  std::vector<Op> ops_;
  std::vector<std::uint64_t> name_hashes_;  // of each operation's kernel, since names do not change
  std::uint64_t launch_signature_ = 0;
};

}  // namespace kvrm
