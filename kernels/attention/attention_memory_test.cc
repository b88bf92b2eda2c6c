// Which memory attention touches: histories beyond 2^31 bytes, and what a length or a fixed
// compute_length makes it read. The pool is sparse, so the machine pays only for pages in use.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "harness/base/units.h"
#include "kernels/attention/attention_case.h"

namespace kvrm {
namespace {

class SparseMemory {
 public:
  explicit SparseMemory(std::size_t bytes) : bytes_(bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data != MAP_FAILED) data_ = static_cast<std::byte*>(data);
  }
  ~SparseMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  std::byte* data() const { return data_; }

  bool touched(std::size_t offset) const {
    unsigned char resident = 0;
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    EXPECT_EQ(mincore(data_ + offset / page * page, 1, &resident), 0);
    return (resident & 1U) != 0;
  }

 private:
  std::size_t bytes_;
  std::byte* data_ = nullptr;
};

// One row over a pool that the test lays out by itself.
struct OneRow {
  TestBatch batch;
  AttentionArgs args;
  std::vector<float> query;
  std::vector<float> partial;
  std::uint32_t length = 0;

  OneRow(std::uint32_t row_length, std::uint32_t block_tokens) : length(row_length) {
    batch.dtype = DType::bf16;
    batch.query_heads = 1;
    batch.kv_heads = 1;
    batch.head_dim = 64;
    batch.rows = {{77, row_length, {}}};
    args.layout = {batch.dtype, batch.kv_heads, batch.head_dim, block_tokens};
    args.rows = 1;
    args.chunks = 1;
    args.query_heads = 1;
    args.tile_tokens = 16;
    args.split_tiles = 256;
    args.scale = 0.125F;
    args.query_stride = batch.head_dim;
    query.assign(batch.head_dim, 0.5F);
    partial.assign(partial_stride(batch.head_dim), 0.0F);
    args.query = query.data();
    args.length = &length;
    args.partial = partial.data();
  }
  std::vector<float> run(const AttentionKernels& kernels) {
    partial.assign(partial.size(), 0.0F);
    run_items(kernels.attention, &args, args.chunks);
    return partial;
  }
};

class AttentionMemoryTest : public testing::TestWithParam<AttentionTarget> {};

INSTANTIATE_TEST_SUITE_P(Targets, AttentionMemoryTest, testing::ValuesIn(attention_targets()),
                         [](const auto& target) { return std::string(target.param.name); });

// Offsets around 2^31 and 2^32 in bytes and in elements, by every addressing.
TEST_P(AttentionMemoryTest, ReadsBeyondTwoToThe31) {
  OneRow one(40, 16);
  const std::uint64_t block_bytes = one.args.layout.block_bytes();
  const auto far = static_cast<std::uint32_t>(5 * kGiB / block_bytes);
  const SparseMemory pool(6 * kGiB);
  ASSERT_NE(pool.data(), nullptr);
  std::vector<std::uint32_t> near_table = {0, 1, 2};
  std::vector<std::uint32_t> far_table = {far, far + 1, far + 2};
  write_history(one.batch, one.args.layout, one.batch.rows[0], pool.data(), near_table);
  one.args.source.base = pool.data();
  const std::vector<float> expected = one.run(*GetParam().kernels);

  write_history(one.batch, one.args.layout, one.batch.rows[0], pool.data(), far_table);
  std::fill_n(pool.data(), 3 * block_bytes, std::byte{0xff});
  const std::array<KvGroup, 1> groups = {KvGroup{0, far, 3, 0}};
  const std::array<std::uint32_t, 1> chunk_group = {0};
  const std::uint32_t history = 1;
  one.args.source.block_table = far_table.data();
  one.args.source.groups = groups.data();
  one.args.source.chunk_group = chunk_group.data();
  for (const KvAddressing addressing : {KvAddressing::table, KvAddressing::groups}) {
    one.args.source.addressing = addressing;
    EXPECT_EQ(one.run(*GetParam().kernels), expected);
  }
  one.args.source.addressing = KvAddressing::contiguous;
  one.args.source.history_stride = far * block_bytes;
  one.args.history = &history;
  EXPECT_EQ(one.run(*GetParam().kernels), expected);
}

// `early_exit` reads no page past the length; `full` reads every page that it should compute.
TEST_P(AttentionMemoryTest, ComputeLengthDecidesWhatIsRead) {
  constexpr std::uint32_t kBlockTokens = 64;  // keys and values of two pages each
  OneRow one(10, kBlockTokens);
  const std::uint64_t block_bytes = one.args.layout.block_bytes();
  ASSERT_EQ(block_bytes, 4 * 4096);
  const SparseMemory pool(8 * block_bytes);
  ASSERT_NE(pool.data(), nullptr);
  ASSERT_EQ(madvise(pool.data(), 8 * block_bytes, MADV_NOHUGEPAGE), 0);
  write_history(one.batch, one.args.layout, one.batch.rows[0], pool.data(), {0});
  one.args.source.base = pool.data();
  const std::vector<float> expected = one.run(*GetParam().kernels);
  EXPECT_FALSE(pool.touched(block_bytes));
  EXPECT_FALSE(pool.touched(block_bytes + block_bytes / 2));

  one.args.compute_length = 3 * kBlockTokens;
  EXPECT_EQ(one.run(*GetParam().kernels), expected);
  for (std::uint64_t offset = block_bytes; offset < 3 * block_bytes; offset += 4096) {
    EXPECT_TRUE(pool.touched(offset)) << offset;
  }
  EXPECT_FALSE(pool.touched(3 * block_bytes));
}

}  // namespace
}  // namespace kvrm
