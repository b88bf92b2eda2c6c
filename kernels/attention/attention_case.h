// Test support: one batch of rows whose queries, keys and values are generated content, run through
// any attention kernel with any placement of its KV, and its exact result in double precision.
// Everything that no row may read is NaN.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_kernels.h"

namespace kvrm {

// A row is what its result may depend on, and nothing else.
struct TestRow {
  std::uint64_t content_key = 0;
  std::uint32_t length = 0;
  FarSpan far;
  std::uint32_t largest_count = 1;  // of an entry; 1: every bias is 0

  std::uint32_t gap() const { return far.window - far.first - far.entries; }
  bool in_gap(std::uint32_t position) const {
    return position >= far.first + far.entries && position < far.window;
  }
  // Content is numbered without the gap.
  std::uint32_t content_position(std::uint32_t position) const {
    return position < far.window ? position : position - gap();
  }
  float bias(std::uint32_t entry) const;
};

struct TestBatch {
  DType dtype = DType::f32;
  std::uint32_t query_heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t head_dim = 16;
  std::uint32_t tile_tokens = 16;
  std::uint32_t split_tiles = 4;
  float query_factor = 1;  // sharpens the softmax
  std::vector<TestRow> rows;
  bool one_history = false;  // of which all rows are positions: their content keys are one

  std::uint32_t longest() const;
};

// Where the KV lies and how the launch looks: what a row's result must not depend on.
struct TestPlacement {
  KvAddressing addressing = KvAddressing::contiguous;
  std::uint32_t block_tokens = 16;
  std::uint32_t run_blocks = 1;      // table and groups: longest run of adjacent blocks
  std::uint32_t extra_chunks = 0;    // launched beyond the longest history
  std::uint32_t compute_length = 0;  // contiguous only
  std::uint32_t prefetch_runs = 0;
  std::uint32_t wanted_items = 0;
  std::uint32_t rows_per_item = 1;  // above 1 with one_history only
  bool reverse_histories = false;   // row r reads the tables of another row
  bool pass_far = true;             // false: AttentionArgs::far is null
  std::uint64_t seed = 1;           // of the physical order of blocks
};

float query_element(const TestBatch& batch, const TestRow& row, std::uint32_t head,
                    std::uint32_t dim);

// [rows, query_heads * head_dim]
std::vector<float> run_attention(const AttentionKernels& kernels, const TestBatch& batch,
                                 const TestPlacement& placement);
// The same from the definition: what takes part, in a list (attention_exact.cc).
std::vector<double> exact_attention(const TestBatch& batch);

// The targets that this CPU runs, "reference" among them.
struct AttentionTarget {
  const char* name = nullptr;
  const AttentionKernels* kernels = nullptr;
  double most_error = 3e-6;  // of outputs around 1
};
std::vector<AttentionTarget> attention_targets();

// Runs all items on this thread, in descending order, with scratch that starts as NaN.
void run_items(const Kernel& kernel, const void* args, std::uint32_t items);

// Writes a row's keys and values at positions [0, length) of a block-structured history, none in
// its gap.
void write_history(const TestBatch& batch, const KvLayout& layout, const TestRow& row,
                   std::byte* pool, const std::vector<std::uint32_t>& blocks);

}  // namespace kvrm
