#include "engines/paged/bucket_graphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "harness/base/mutation.h"
#include "harness/base/units.h"

namespace kvrm {
namespace {

Status check_buckets(const EngineSpec& spec, std::string_view name,
                     const std::vector<std::uint32_t>& buckets, std::uint32_t most) {
  std::uint32_t previous = 0;
  for (const std::uint32_t bucket : buckets) {
    if (bucket <= previous || bucket > most) {
      return bad_input(fmt::format("{}: {} has {}; buckets ascend from 1 to at most {}", spec.label,
                                   name, bucket, most));
    }
    previous = bucket;
  }
  return {};
}

std::vector<std::uint32_t> default_rows(std::uint32_t max_batch) {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t bucket = 1; bucket < max_batch; bucket += bucket < 8 ? bucket : 8) {
    rows.push_back(bucket);
  }
  rows.push_back(max_batch);
  return rows;
}

}  // namespace

Result<BucketGrid> bucket_grid(const EngineSpec& spec, const ModelShape& shape) {
  const EngineOptions& options = spec.options;
  const Budget& budget = spec.budget;
  Status valid = check_buckets(spec, "batch_buckets", options.batch_buckets, budget.max_batch);
  if (valid) {
    valid = check_buckets(spec, "length_buckets", options.length_buckets, budget.max_len);
  }
  if (!valid) return tl::unexpected(valid.error());
  BucketGrid grid{.rows = options.batch_buckets.empty() ? default_rows(budget.max_batch)
                                                        : options.batch_buckets,
                  .chunks = {}};
  std::vector<std::uint32_t> lengths = options.length_buckets;
  if (lengths.empty()) lengths.push_back(budget.max_len);
  for (const std::uint32_t length : lengths) {
    const auto chunks = static_cast<std::uint32_t>(divide_up(length, shape.chunk_tokens()));
    // Lengths within one chunk give the same graph.
    if (grid.chunks.empty() || grid.chunks.back() != chunks) grid.chunks.push_back(chunks);
  }
  return grid;
}

BucketGraphs::BucketGraphs(const BucketGrid& grid, Device& device, const AppendStep& append_step)
    : grid_(grid), graphs_(grid.rows.size() * grid.chunks.size()) {
  for (std::size_t i = graphs_.size(); i > 0; --i) {
    const std::uint32_t rows = grid.rows[(i - 1) / grid.chunks.size()];
    const std::uint32_t chunks = grid.chunks[(i - 1) % grid.chunks.size()];
    OpList ops;
    append_step(ops, rows, chunks);
    graphs_[i - 1] = std::make_unique<BucketGraph>(
        BucketGraph{rows, chunks, CheckedGraph(device, std::move(ops))});
  }
}

BucketGraph* BucketGraphs::find(std::uint32_t rows, std::uint32_t chunks) {
  const auto row =
      std::ranges::lower_bound(grid_.rows, rows + KVRM_MUTATE(paged_bucket_one_larger, 0U, 1U));
  const auto chunk = std::ranges::lower_bound(grid_.chunks, chunks);
  if (row == grid_.rows.end() || chunk == grid_.chunks.end()) return nullptr;
  const auto row_index = static_cast<std::size_t>(row - grid_.rows.begin());
  const auto chunk_index = static_cast<std::size_t>(chunk - grid_.chunks.begin());
  return graphs_[row_index * grid_.chunks.size() + chunk_index].get();
}

std::uint64_t BucketGraphs::launch_hash_changes() const {
  std::uint64_t changes = 0;
  for (const auto& bucket : graphs_) changes += bucket->graph.launch_hash_changes();
  return changes;
}

std::size_t BucketGraphs::bytes() const {
  std::size_t bytes = 0;
  for (const auto& bucket : graphs_) bytes += bucket->graph.bytes();
  return bytes;
}

}  // namespace kvrm
