#include "kernels/attention/attention_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "harness/contract/content.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"
#include "kernels/simd/targets.h"

namespace kvrm {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kAlignment = 64;

// Whose KV each history holds: a row of its own, or the longest one of all rows.
std::vector<const TestRow*> rows_of_histories(const TestBatch& batch,
                                              const TestPlacement& placement) {
  std::vector<const TestRow*> rows;
  for (const TestRow& row : batch.rows) rows.push_back(&row);
  if (batch.one_history) {
    const auto shorter = [](const TestRow* a, const TestRow* b) { return a->length < b->length; };
    return {*std::max_element(rows.begin(), rows.end(), shorter)};
  }
  if (placement.reverse_histories) std::reverse(rows.begin(), rows.end());
  return rows;
}

// Physical blocks of every history, in order, and the whole pool.
struct Pool {
  KvLayout layout;
  std::vector<std::vector<std::uint32_t>> blocks;  // [history][logical]
  std::vector<std::byte> bytes;
};

// Shuffles runs of up to run_blocks blocks; contiguous placement keeps the order.
std::vector<std::uint32_t> physical_order(const TestPlacement& placement, std::uint32_t count) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  if (placement.addressing == KvAddressing::contiguous) return order;
  std::vector<std::vector<std::uint32_t>> runs;
  RandomStream random(placement.seed, "attention_test/blocks");
  for (std::uint32_t next = 0; next < count;) {
    const auto length = static_cast<std::uint32_t>(1 + random.below(placement.run_blocks));
    runs.emplace_back(order.begin() + next, order.begin() + std::min(next + length, count));
    next += length;
  }
  for (std::size_t i = runs.size(); i > 1; --i) std::swap(runs[i - 1], runs[random.below(i)]);
  order.clear();
  for (const auto& run : runs) order.insert(order.end(), run.begin(), run.end());
  return order;
}

Pool make_pool(const TestBatch& batch, const TestPlacement& placement) {
  Pool pool;
  pool.layout = {batch.dtype, batch.kv_heads, batch.head_dim, placement.block_tokens};
  const std::uint32_t covered = std::max(batch.longest(), placement.compute_length);
  const auto per_history =
      static_cast<std::uint32_t>(divide_up(std::max(1U, covered), placement.block_tokens));
  const std::vector<const TestRow*> rows = rows_of_histories(batch, placement);
  const auto histories = static_cast<std::uint32_t>(rows.size());
  const std::vector<std::uint32_t> order = physical_order(placement, histories * per_history);
  pool.bytes.assign(order.size() * pool.layout.block_bytes(), std::byte{0xff});  // NaN in any type
  for (std::uint32_t history = 0; history < histories; ++history) {
    pool.blocks.emplace_back(order.begin() + history * per_history,
                             order.begin() + (history + 1) * per_history);
    write_history(batch, pool.layout, *rows[history], pool.bytes.data(), pool.blocks.back());
  }
  return pool;
}

// The tables of every history; entries that nothing may use are invalid.
struct Tables {
  std::vector<std::uint32_t> block_table;
  std::vector<KvGroup> groups;
  std::vector<std::uint32_t> chunk_group;
  std::vector<float> far_bias;
  std::uint32_t table_stride = 0;
  std::uint32_t chunk_stride = 0;
  std::uint32_t bias_stride = 3;  // no multiple of a vector
};

// Whether a row reads any of positions [first, last).
bool reads(const TestRow& row, std::uint32_t first, std::uint32_t last) {
  last = std::min(last, row.length);
  return first < last && !(row.in_gap(first) && last <= row.far.window);
}

// Of blocks that the row does not read there is no entry. A chunk that reads none keeps an invalid
// group.
void add_history(const TestBatch& batch, const Pool& pool, std::size_t history, const TestRow& row,
                 Tables& tables) {
  const std::vector<std::uint32_t>& blocks = pool.blocks[history];
  const std::uint32_t block_tokens = pool.layout.block_tokens;
  KvGroup* groups = tables.groups.data() + history * tables.table_stride;
  std::uint32_t used = 0;
  for (std::uint32_t b = 0; b * block_tokens < row.length; ++b) {
    if (!reads(row, b * block_tokens, (b + 1) * block_tokens)) continue;
    tables.block_table[history * tables.table_stride + b] = blocks[b];
    KvGroup* last = used == 0 ? nullptr : groups + used - 1;
    if (last != nullptr && last->logical + last->blocks == b &&
        last->physical + last->blocks == blocks[b]) {
      ++last->blocks;
    } else {
      groups[used++] = {b, blocks[b], 1, 0};
    }
  }
  const std::uint32_t chunk_tokens = batch.tile_tokens * batch.split_tiles;
  for (std::uint32_t chunk = 0; chunk * chunk_tokens < row.length; ++chunk) {
    if (!reads(row, chunk * chunk_tokens, (chunk + 1) * chunk_tokens)) continue;
    const std::uint32_t block = chunk * chunk_tokens / block_tokens;
    std::uint32_t group = 0;
    while (groups[group].logical + groups[group].blocks <= block) ++group;
    tables.chunk_group[history * tables.chunk_stride + chunk] = group;
  }
}

void add_biases(std::size_t history, const TestRow& row, Tables& tables) {
  for (std::uint32_t entry = 0; entry < row.far.entries; ++entry) {
    tables.far_bias[history * tables.bias_stride + entry] = row.bias(entry);
  }
}

Tables make_tables(const TestBatch& batch, const TestPlacement& placement, const Pool& pool) {
  Tables tables;
  const std::vector<const TestRow*> rows = rows_of_histories(batch, placement);
  const std::size_t histories = pool.blocks.size();
  tables.table_stride = static_cast<std::uint32_t>(pool.blocks.front().size());
  tables.chunk_stride = static_cast<std::uint32_t>(
      divide_up(std::max(1U, batch.longest()), batch.tile_tokens * batch.split_tiles));
  tables.block_table.assign(histories * tables.table_stride, kNoBlock);
  tables.groups.assign(histories * tables.table_stride, {kNoBlock, kNoBlock, 0, 0});
  tables.chunk_group.assign(histories * tables.chunk_stride, kNoBlock);
  for (const TestRow& row : batch.rows) tables.bias_stride += row.far.entries;
  tables.far_bias.assign(histories * tables.bias_stride, kNan);
  for (std::size_t history = 0; history < histories; ++history) {
    add_history(batch, pool, history, *rows[history], tables);
    add_biases(history, *rows[history], tables);
  }
  return tables;
}

KvSource make_source(const TestPlacement& placement, const Pool& pool, const Tables& tables) {
  KvSource source;
  source.addressing = placement.addressing;
  source.prefetch_runs = placement.prefetch_runs;
  source.base = pool.bytes.data();
  source.history_stride = pool.blocks.front().size() * pool.layout.block_bytes();
  source.block_table = tables.block_table.data();
  source.groups = tables.groups.data();
  source.chunk_group = tables.chunk_group.data();
  source.table_stride = tables.table_stride;
  source.chunk_stride = tables.chunk_stride;
  source.far_bias = tables.far_bias.data();
  source.far_bias_stride = tables.bias_stride;
  return source;
}

std::vector<float> make_queries(const TestBatch& batch) {
  std::vector<float> query;
  for (const TestRow& row : batch.rows) {
    for (std::uint32_t head = 0; head < batch.query_heads; ++head) {
      for (std::uint32_t dim = 0; dim < batch.head_dim; ++dim) {
        query.push_back(row.length == 0 ? kNan : query_element(batch, row, head, dim));
      }
    }
  }
  return query;
}

// What the launches have in common with the batch; pointers are the caller's.
AttentionArgs fold_args(const TestBatch& batch, const TestPlacement& placement) {
  AttentionArgs args;
  args.rows = static_cast<std::uint32_t>(batch.rows.size());
  args.query_heads = batch.query_heads;
  args.tile_tokens = batch.tile_tokens;
  args.split_tiles = batch.split_tiles;
  args.rows_per_item = placement.rows_per_item;
  args.wanted_items = placement.wanted_items;
  args.compute_length = placement.compute_length;
  args.chunks = placement.extra_chunks + static_cast<std::uint32_t>(divide_up(
                                             std::max(batch.longest(), placement.compute_length),
                                             batch.tile_tokens * batch.split_tiles));
  args.scale = 1.0F / std::sqrt(static_cast<float>(batch.head_dim));
  args.query_stride = batch.query_heads * batch.head_dim;
  return args;
}

AttentionMergeArgs merge_args(const TestBatch& batch, const AttentionArgs& fold) {
  AttentionMergeArgs merge;
  merge.rows = fold.rows;
  merge.chunks = fold.chunks;
  merge.query_heads = fold.query_heads;
  merge.head_dim = batch.head_dim;
  merge.chunk_tokens = batch.tile_tokens * batch.split_tiles;
  merge.output_stride = fold.query_stride;
  merge.wanted_items = fold.wanted_items;
  merge.length = fold.length;
  merge.partial = fold.partial;
  return merge;
}

}  // namespace

std::uint32_t TestBatch::longest() const {
  std::uint32_t longest = 0;
  for (const TestRow& row : rows) longest = std::max(longest, row.length);
  return longest;
}

float TestRow::bias(std::uint32_t entry) const {
  return std::log(static_cast<float>(1 + mix64(content_key + entry) % largest_count));
}

float query_element(const TestBatch& batch, const TestRow& row, std::uint32_t head,
                    std::uint32_t dim) {
  return batch.query_factor * content_value(row.content_key, ContentPart::query, 0,
                                            row.content_position(row.length), head, dim);
}

void run_items(const Kernel& kernel, const void* args, std::uint32_t items) {
  std::vector<float> memory((kWorkerScratchBytes + kAlignment) / sizeof(float), kNan);
  void* first = memory.data();
  std::size_t space = memory.size() * sizeof(float);
  std::align(kAlignment, kWorkerScratchBytes, first, space);
  WorkerContext worker{0, {static_cast<std::byte*>(first), kWorkerScratchBytes}};
  for (std::uint32_t item = items; item-- > 0;) kernel.host(args, item, worker);
}

void write_history(const TestBatch& batch, const KvLayout& layout, const TestRow& row,
                   std::byte* pool, const std::vector<std::uint32_t>& blocks) {
  const std::uint32_t width = batch.kv_heads * batch.head_dim;
  std::vector<float> key;
  std::vector<float> value;
  std::vector<std::uint64_t> write_slot;
  for (std::uint32_t position = 0; position < row.length; ++position) {
    const std::uint32_t content = row.content_position(position);
    for (std::uint32_t i = 0; i < width; ++i) {
      const std::uint32_t head = i / batch.head_dim;
      const std::uint32_t dim = i % batch.head_dim;
      key.push_back(content_value(row.content_key, ContentPart::key, 0, content, head, dim));
      value.push_back(content_value(row.content_key, ContentPart::value, 0, content, head, dim));
    }
    const std::uint64_t block = blocks[position / layout.block_tokens];
    write_slot.push_back(row.in_gap(position)
                             ? kNoWrite
                             : block * layout.block_tokens + position % layout.block_tokens);
  }
  AppendKvArgs args;
  args.layout = layout;
  args.pool = pool;
  args.key = key.data();
  args.value = value.data();
  args.write_slot = write_slot.data();
  args.row_stride = width;
  WorkerContext worker;
  for (std::uint32_t item = 0; item < row.length; ++item) {
    reference::append_kv_kernel().host(&args, item, worker);
  }
}

std::vector<float> run_attention(const AttentionKernels& kernels, const TestBatch& batch,
                                 const TestPlacement& placement) {
  const Pool pool = make_pool(batch, placement);
  const Tables tables = make_tables(batch, placement, pool);
  const std::vector<float> query = make_queries(batch);
  std::vector<std::uint32_t> length;
  std::vector<std::uint32_t> history;
  std::vector<FarSpan> far;
  for (const TestRow& row : batch.rows) {
    length.push_back(row.length);
    far.push_back(row.far);
    history.push_back(
        batch.one_history ? 0 : static_cast<std::uint32_t>(batch.rows.size() - length.size()));
  }
  AttentionArgs args = fold_args(batch, placement);
  args.layout = pool.layout;
  args.source = make_source(placement, pool, tables);
  args.query = query.data();
  args.length = length.data();
  args.far = placement.pass_far ? far.data() : nullptr;
  args.history = placement.reverse_histories || batch.one_history ? history.data() : nullptr;
  std::vector<float> partial(
      std::size_t{args.rows} * args.chunks * batch.query_heads * partial_stride(batch.head_dim),
      kNan);
  partial.reserve(1);  // an address even where no row has a chunk, as a device's memory has one
  args.partial = partial.data();
  run_items(kernels.attention, &args, attention_items(args));
  AttentionMergeArgs merge = merge_args(batch, args);
  std::vector<float> output(query.size(), kNan);
  merge.output = output.data();
  run_items(kernels.merge, &merge, merge.rows);
  return output;
}

std::vector<AttentionTarget> attention_targets() {
  std::vector<AttentionTarget> targets = {{"reference", &reference::attention_kernels()}};
  if (cpu_runs_sse4()) targets.push_back({"sse4", &N_SSE4::attention_kernels()});
  if (cpu_runs_avx2()) targets.push_back({"avx2", &N_AVX2::attention_kernels()});
  if (cpu_runs_avx512()) targets.push_back({"avx512", &N_AVX3::attention_kernels()});
  // Of each query element 16 bits take part, which is off by 2^-17 of it at most.
  if (cpu_runs_avx512_bf16()) {
    targets.push_back({"avx512_bf16", &N_AVX3::attention_bf16_kernels(), 2e-5});
  }
  return targets;
}

}  // namespace kvrm
