// Test only: what a step of `kvrm` left in memory, seen through the arguments of its graph: the
// bytes that it copied, whether views show the pool, and everything that nothing may depend on
// overwritten with bytes that are NaN in every type and no valid index.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/page/page.h"
#include "property_tests/models/watched_device.h"

namespace kvrm::watched {

struct StepMemoryCounts {
  std::uint64_t staged_blocks = 0;    // compared with the pool
  std::uint64_t reused_blocks = 0;    // back in a table after another step had not seen them
  std::uint64_t poisoned_blocks = 0;  // in no table
  std::uint64_t poisoned_tails = 0;   // positions of a history's last block behind its length
  std::uint64_t copied_bytes = 0;
};

class StepMemory {
 public:
  explicit StepMemory(WatchedDevice& device) : device_(device) {}

  // Bytes that the step's operations copied, by their arguments as they are now.
  std::uint64_t copied_bytes() const;
  // The record of the step left its groups to be staged all.
  bool staged_all() const;
  // Empty, or where a view of a slot is not what the pool holds.
  std::string compare_views();
  // Right after collect(), while only slots of the step hold histories: all of the pool and of the
  // views that is in no row's table or behind its length.
  void poison_what_is_not_live();
  // Right before a replay: activations, all but the tokens that the step before has sampled, and
  // write slots of views.
  void poison_activations();

  StepMemoryCounts counts;

 private:
  struct Tables {
    const std::uint32_t* length = nullptr;
    const KvGroup* groups = nullptr;
    std::uint32_t stride = 0;
    std::uint32_t rows = 0;
  };
  Tables tables() const;
  // The row's blocks in order.
  static std::vector<BlockIndex> blocks_of(const Tables& tables, std::uint32_t row);
  std::string compare_layer(const AttentionArgs& attention, const std::byte* pool);
  const std::byte* pool_of(std::uint32_t layer) const;

  WatchedDevice& device_;
  std::set<BlockIndex> in_tables_;
  std::set<BlockIndex> ever_;
};

}  // namespace kvrm::watched
