// The graphs of `paged_graph`: one recorded graph per (rows, attention chunks) bucket, all of them
// recorded before the first step. It chooses; it does not fill the inputs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engines/graph/checked_graph.h"
#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/device/device.h"

namespace kvrm {

// Row counts and attention chunk counts of the buckets, each ascending.
struct BucketGrid {
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> chunks;
};

// From the options: batch_buckets, by default 1, 2, 4, 8, 16, 24, ... max_batch; length_buckets in
// positions, by default max_len alone. Errors: not ascending, zero, or beyond the budget.
Result<BucketGrid> bucket_grid(const EngineSpec& spec, const ModelShape& shape);

struct BucketGraph {
  std::uint32_t rows = 0;
  std::uint32_t chunks = 0;
  CheckedGraph graph;
};

class BucketGraphs {
 public:
  // Appends the operations of a step over so many rows and chunks.
  using AppendStep = std::function<void(OpList&, std::uint32_t rows, std::uint32_t chunks)>;

  // Records every bucket, the largest first.
  BucketGraphs(const BucketGrid& grid, Device& device, const AppendStep& append_step);

  // The smallest bucket that covers a step, null where none does.
  BucketGraph* find(std::uint32_t rows, std::uint32_t chunks);

  std::uint64_t captures() const { return graphs_.size(); }
  std::uint64_t launch_hash_changes() const;
  std::size_t bytes() const;

 private:
  BucketGrid grid_;
  std::vector<std::unique_ptr<BucketGraph>> graphs_;  // [rows, chunks] of the grid
};

}  // namespace kvrm
