// Every kernel of every target at offsets beyond 2^32 elements (DESIGN 19, 19): what an item gives
// for row 0 it gives, bit for bit, for a row whose place no 32-bit product can name. Memory is
// sparse, so that only what is touched exists. Pools beyond 2^31 have their tests beside the
// kernels that address them by block.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/dispatch/kernel_list.h"
#include "kernels/dispatch/offsets_case.h"
#include "kernels/linear/linear.h"
#include "kernels/rowwise/rowwise.h"

namespace kvrm::offsets {
namespace {

Output embedding(const KernelSet& kernels, std::uint32_t row) {
  const Floats table = rows_up_to(row);
  const Floats hidden = rows_up_to(row);
  const Sparse<TokenId> token(row + 1);
  token[row] = row;
  fill(table, row, 1);
  run_item(kernels.embedding, EmbeddingArgs{table.data(), token.data(), hidden.data(), kWidth},
           row);
  return read(hidden, row);
}

Output add_norm(const KernelSet& kernels, std::uint32_t row) {
  const Floats hidden = rows_up_to(row);
  const Floats delta = rows_up_to(row);
  const Floats output = rows_up_to(row);
  const std::vector<float> weight(kWidth, 1.5F);
  fill(hidden, row, 2);
  fill(delta, row, 3);
  run_item(kernels.add_norm,
           AddNormArgs{hidden.data(), delta.data(), weight.data(), output.data(), kWidth, 1e-5F},
           row);
  return join(read(hidden, row), read(output, row));
}

Output rotary(const KernelSet& kernels, std::uint32_t row) {
  const Floats table = rows_up_to(row);
  const Floats query = rows_up_to(row);
  const Floats key = rows_up_to(row);
  const Sparse<std::uint32_t> position(row + 1);
  position[row] = row;
  fill(table, row, 4);
  fill(query, row, 5);
  fill(key, row, 6);
  run_item(
      kernels.rotary,
      RotaryArgs{table.data(), position.data(), query.data(), key.data(), 1, 1, kWidth, kWidth},
      row);
  return join(read(query, row), read(key, row));
}

Output swiglu(const KernelSet& kernels, std::uint32_t row) {
  const Floats gate = rows_up_to(row);
  const Floats up = rows_up_to(row);
  fill(gate, row, 7);
  fill(up, row, 8);
  run_item(kernels.swiglu, SwiGluArgs{gate.data(), up.data(), kWidth, kWidth}, row);
  return read(gate, row);
}

Output argmax(const KernelSet& kernels, std::uint32_t row) {
  const Floats logits = rows_up_to(row);
  const Sparse<std::uint32_t> length(row + 1);
  const Sparse<TokenId> token(row + 1);
  length[row] = 1;
  logits[place(row) + 11] = 1;
  run_item(kernels.argmax, ArgmaxArgs{logits.data(), kWidth, kWidth, length.data(), token.data()},
           row);
  return {static_cast<float>(token[row])};
}

Output content(const KernelSet& kernels, std::uint32_t row) {
  const Floats query = rows_up_to(row);
  const Floats key = rows_up_to(row);
  const Floats value = rows_up_to(row);
  const Sparse<std::uint64_t> content_key(row + 1);
  const Sparse<std::uint32_t> position(row + 1);
  const Sparse<std::uint32_t> length(row + 1);
  content_key[row] = 99;
  position[row] = 5;
  length[row] = 6;
  run_item(kernels.content,
           ContentArgs{content_key.data(), position.data(), length.data(), query.data(), key.data(),
                       value.data(), 1, 1, kWidth, 1, kWidth, kWidth},
           row);
  return join(join(read(query, row), read(key, row)), read(value, row));
}

Output digest(const KernelSet& kernels, std::uint32_t row) {
  const Floats output = rows_up_to(row);
  const Sparse<std::uint32_t> length(row + 1);
  const Sparse<std::uint64_t> hash(row + 1);
  fill(output, row, 9);
  length[row] = 1;
  run_item(kernels.digest, DigestArgs{output.data(), kWidth, kWidth, length.data(), hash.data()},
           row);
  return {static_cast<float>(hash[row] % 1'000'003)};
}

// `row` is the first of its row tile.
Output linear(const KernelSet& kernels, std::uint32_t row) {
  RandomStream random(10, "offsets");
  std::vector<float> weights(kWidth * kWidth);
  for (float& weight : weights) weight = static_cast<float>(random.normal());
  const PackedLinear packed(weights, kWidth, kWidth, DType::f32);
  const Floats x = rows_up_to(row);
  const Floats y = rows_up_to(row);
  fill(x, row, 11);
  LinearArgs args;
  args.weights = &packed;
  args.x = x.data();
  args.y = y.data();
  args.rows = row + kRowTile;
  args.x_stride = args.y_stride = kWidth;
  run_item(kernels.linear, args, row / kRowTile);
  return read(y, row);
}

// Rows of bf16, prepared and then multiplied.
Output linear_input(const KernelSet& kernels, std::uint32_t row) {
  std::vector<float> weights(kWidth * kWidth, 0.5F);
  const PackedLinear packed(weights, kWidth, kWidth, DType::bf16);
  const Floats x = rows_up_to(row);
  const Sparse<std::byte> prepared((std::uint64_t{row} + kRowTile) * packed.prepared_row_bytes());
  fill(x, row, 13);
  LinearInputArgs input;
  input.weights = &packed;
  input.x = x.data();
  input.prepared = prepared.data();
  input.x_stride = kWidth;
  run_item(kernels.linear_input, input, row);
  const Floats y = rows_up_to(row);
  LinearArgs args;
  args.weights = &packed;
  args.x = x.data();
  args.y = y.data();
  args.rows = row + kRowTile;
  args.x_stride = args.y_stride = kWidth;
  args.prepared = prepared.data();
  run_item(kernels.linear, args, row / kRowTile);
  return read(y, row);
}

// Two blocks of keys and values, the second one partly read.
std::vector<float> two_blocks() {
  RandomStream random(12, "offsets");
  std::vector<float> pool(2 * kLayout.block_bytes() / sizeof(float));
  for (float& value : pool) value = static_cast<float>(random.normal());
  return pool;
}

// Row `row` of `row + 1`, whose tables lie as far as it does; two chunks of a tile each.
Output attend(const KernelSet& kernels, std::uint32_t row, KvAddressing addressing) {
  const std::vector<float> pool = two_blocks();
  const Floats query = rows_up_to(row);
  const Sparse<std::uint32_t> length(row + 1);
  const Sparse<std::uint32_t> table(2 * (std::uint64_t{row} + 1));
  const Sparse<std::uint32_t> chunk_group(2 * (std::uint64_t{row} + 1));
  const Sparse<KvGroup> groups(2 * (std::uint64_t{row} + 1));
  const Floats partial(2 * (std::uint64_t{row} + 1) * partial_stride(kWidth));
  fill(query, row, 13);
  length[row] = 20;
  table[2 * std::uint64_t{row} + 1] = 1;
  groups[2 * std::uint64_t{row}] = {0, 0, 2, 0};
  AttentionArgs args;
  args.layout = kLayout;
  args.source.addressing = addressing;
  args.source.base = reinterpret_cast<const std::byte*>(pool.data());
  args.source.block_table = table.data();
  args.source.groups = groups.data();
  args.source.chunk_group = chunk_group.data();
  args.source.table_stride = args.source.chunk_stride = 2;
  args.rows = row + 1;
  args.chunks = 2;
  args.query_heads = 1;
  args.tile_tokens = 16;
  args.split_tiles = 1;
  args.scale = 0.25F;
  args.query_stride = kWidth;
  args.query = query.data();
  args.length = length.data();
  args.partial = partial.data();
  for (const std::uint32_t chunk : {0U, 1U}) {
    run_item(kernels.attention, args, chunk * args.rows + row);
  }
  const float* first = partial.data() + 2 * std::uint64_t{row} * partial_stride(kWidth);
  return {first, first + 2 * partial_stride(kWidth)};
}

Output attention(const KernelSet& kernels, std::uint32_t row) {
  return join(attend(kernels, row, KvAddressing::table),
              attend(kernels, row, KvAddressing::groups));
}

// So many chunks that row * chunks alone is beyond 2^32.
Output attention_merge(const KernelSet& kernels, std::uint32_t row) {
  AttentionMergeArgs args;
  args.chunks = row == 0 ? 2 : 32;
  const std::uint64_t first = std::uint64_t{row} * args.chunks * partial_stride(kWidth);
  const Floats partial(first + 2 * partial_stride(kWidth));
  const Floats output = rows_up_to(row);
  const Sparse<std::uint32_t> length(row + 1);
  RandomStream random(14, "offsets");
  for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
    float* floats = partial.data() + first + chunk * partial_stride(kWidth);
    for (std::uint32_t i = 0; i < kWidth + 1; ++i) floats[i] = static_cast<float>(random.normal());
    floats[kWidth + 1] = 2;  // the sum
  }
  length[row] = 20;
  args.rows = row + 1;
  args.query_heads = 1;
  args.head_dim = kWidth;
  args.chunk_tokens = 16;
  args.output_stride = kWidth;
  args.length = length.data();
  args.partial = partial.data();
  args.output = output.data();
  run_item(kernels.attention_merge, args, row);
  return read(output, row);
}

using Case = std::function<Output(const KernelSet&, std::uint32_t)>;

const std::map<std::string, Case>& cases() {
  static const std::map<std::string, Case> all = {
      {"attention", attention},
      {"attention_merge", attention_merge},
      {"append_kv", append_kv},
      {"gather_groups", gather_groups},
      {"copy_blocks", copy_blocks},
      {"stage_groups", stage_groups},
      {"view_slots", view_slots},
      {"linear", linear},
      {"linear_input", linear_input},
      {"embedding", embedding},
      {"add_norm", add_norm},
      {"rotary", rotary},
      {"swiglu", swiglu},
      {"argmax", argmax},
      {"content", content},
      {"digest", digest},
  };
  return all;
}

// FarUpdate.WorksBeyondTwoToThe31 has the one that is left.
TEST(Offsets, EveryKernelHasItsCase) {
  const auto set = select_kernels("auto");
  ASSERT_TRUE(set.has_value());
  std::set<std::string> names = {"far_update"};
  for (const auto& [name, run] : cases()) names.insert(name);
  std::set<std::string> expected;
  for (const Kernel* kernel : kernels_of(*set)) {
    const std::string full(kernel->name);
    expected.insert(full.substr(0, full.find('/')));
  }
  EXPECT_EQ(names, expected);
}

TEST(Offsets, BeyondTwoToThe32GiveWhatTheFirstRowGives) {
  for (const std::string& target : available_kernel_targets()) {
    const auto set = select_kernels(target);
    ASSERT_TRUE(set.has_value());
    for (const auto& [name, run] : cases()) {
      SCOPED_TRACE(name + " on " + target);
      const Output near = run(*set, 0);
      EXPECT_THAT(near, testing::Contains(testing::Ne(0.0F)));
      EXPECT_EQ(run(*set, kFar), near);
    }
  }
}

}  // namespace
}  // namespace kvrm::offsets
