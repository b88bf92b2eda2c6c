// The KV layout, and every kernel that writes it, against the layout's own arithmetic.
#include "kernels/page/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/page/page_kernels.h"
#include "kernels/simd/targets.h"

namespace kvrm {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
constexpr std::byte kCanary{0xa5};

void run_items(const Kernel& kernel, const void* args, std::uint32_t items) {
  WorkerContext worker;
  for (std::uint32_t item = items; item-- > 0;) kernel.host(args, item, worker);
}

TEST(KvLayout, PlacesEveryElementOnce) {
  for (const DType dtype : kTypes) {
    for (const std::uint32_t block_tokens : {8U, 16U, 48U}) {
      const KvLayout layout{dtype, 3, 24, block_tokens};
      std::set<std::uint64_t> places;
      for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
        for (std::uint32_t token = 0; token < layout.block_tokens; ++token) {
          for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim) {
            places.insert(layout.key_offset(head, token, dim));
            places.insert(layout.value_offset(head, token, dim));
          }
        }
      }
      const std::uint64_t elements = layout.block_bytes() / dtype_bytes(dtype);
      EXPECT_EQ(elements, 2U * 3 * 24 * block_tokens);
      ASSERT_EQ(places.size(), elements);
      EXPECT_EQ(*places.rbegin(), layout.block_bytes() - dtype_bytes(dtype));
    }
  }
}

// The examples of the header, by hand.
TEST(KvLayout, TransposesKeysInGroupsOfSixteen) {
  const KvLayout f16{DType::f16, 2, 8, 32};
  EXPECT_EQ(f16.key_offset(0, 1, 0), 2U);
  EXPECT_EQ(f16.key_offset(0, 0, 1), 32U);
  EXPECT_EQ(f16.key_offset(0, 16, 0), 256U);
  EXPECT_EQ(f16.value_offset(0, 0, 0), 512U);
  EXPECT_EQ(f16.key_offset(1, 0, 0), 1024U);
  const KvLayout bf16{DType::bf16, 2, 8, 32};
  EXPECT_EQ(bf16.key_offset(0, 0, 1), 2U);
  EXPECT_EQ(bf16.key_offset(0, 1, 0), 4U);
  EXPECT_EQ(bf16.key_offset(0, 0, 2), 64U);
}

TEST(KvLayout, TransposesKeysOfSmallBlocksInGroupsOfEight) {
  const KvLayout f16{DType::f16, 2, 8, 8};
  EXPECT_EQ(f16.lane_tokens(), 8U);
  EXPECT_EQ(f16.key_offset(0, 1, 0), 2U);
  EXPECT_EQ(f16.key_offset(0, 0, 1), 16U);
  EXPECT_EQ(f16.value_offset(0, 0, 0), 128U);
  EXPECT_EQ(f16.key_offset(1, 0, 0), 256U);
  const KvLayout bf16{DType::bf16, 2, 8, 8};
  EXPECT_EQ(bf16.key_offset(0, 0, 1), 2U);
  EXPECT_EQ(bf16.key_offset(0, 1, 0), 4U);
  EXPECT_EQ(bf16.key_offset(0, 0, 2), 32U);
}

TEST(KvLayout, KnowsWhichBlocksThereAre) {
  for (const std::uint32_t block_tokens : {8U, 16U, 32U, 48U, 1024U}) {
    EXPECT_TRUE(is_block_tokens(block_tokens)) << block_tokens;
  }
  for (const std::uint32_t block_tokens : {0U, 1U, 4U, 12U, 24U, 40U}) {
    EXPECT_FALSE(is_block_tokens(block_tokens)) << block_tokens;
  }
}

struct AppendTarget {
  const char* name;
  const Kernel* kernel;
};

std::vector<AppendTarget> append_targets() {
  std::vector<AppendTarget> targets = {{"reference", &reference::append_kv_kernel()}};
  if (cpu_runs_sse4()) targets.push_back({"sse4", &N_SSE4::append_kv_kernel()});
  if (cpu_runs_avx2()) targets.push_back({"avx2", &N_AVX2::append_kv_kernel()});
  if (cpu_runs_avx512()) targets.push_back({"avx512", &N_AVX3::append_kv_kernel()});
  return targets;
}

class AppendKvTest : public testing::TestWithParam<AppendTarget> {};
INSTANTIATE_TEST_SUITE_P(Targets, AppendKvTest, testing::ValuesIn(append_targets()),
                         [](const auto& target) { return std::string(target.param.name); });

// Rows of keys and values with a gap between rows, and where they go.
struct AppendCase {
  AppendKvArgs args;
  std::vector<float> key;
  std::vector<float> value;
  std::vector<std::uint64_t> write_slot;

  AppendCase(const KvLayout& layout, std::vector<std::uint64_t> slots)
      : write_slot(std::move(slots)) {
    const std::uint32_t width = layout.kv_heads * layout.head_dim;
    args.layout = layout;
    args.row_stride = width + 5;
    RandomStream random(layout.head_dim, "page_test");
    for (std::size_t i = 0; i < write_slot.size() * args.row_stride; ++i) {
      key.push_back(static_cast<float>(random.normal()));
      value.push_back(static_cast<float>(random.normal() * 1000));
    }
    args.key = key.data();
    args.value = value.data();
    args.write_slot = write_slot.data();
  }
  std::uint32_t rows() const { return static_cast<std::uint32_t>(write_slot.size()); }
};

void expect_row(const AppendCase& test, std::uint32_t row, const std::byte* pool) {
  const KvLayout& layout = test.args.layout;
  const std::byte* block = pool + test.write_slot[row] / layout.block_tokens * layout.block_bytes();
  const auto token = static_cast<std::uint32_t>(test.write_slot[row] % layout.block_tokens);
  for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
    for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim) {
      const std::size_t i = std::size_t{row} * test.args.row_stride + head * layout.head_dim + dim;
      ASSERT_EQ(load_key(layout, block, head, token, dim), round_to(layout.dtype, test.key[i]));
      ASSERT_EQ(load_value(layout, block, head, token, dim), round_to(layout.dtype, test.value[i]));
    }
  }
}

void append_and_check(const Kernel& kernel, const KvLayout& layout) {
  AppendCase test(layout, {37, kNoWrite, 0, 31, 32, kNoWrite, 95});
  std::vector<std::byte> pool(128 / layout.block_tokens * layout.block_bytes(), kCanary);
  test.args.pool = pool.data();
  run_items(kernel, &test.args, test.rows());
  std::size_t written = 0;
  for (std::uint32_t row = 0; row < test.rows(); ++row) {
    if (test.write_slot[row] == kNoWrite) continue;
    ASSERT_NO_FATAL_FAILURE(expect_row(test, row, pool.data()));
    written += 2 * layout.kv_heads * layout.head_dim * dtype_bytes(layout.dtype);
  }
  std::vector<std::byte> expected(pool.size(), kCanary);
  test.args.pool = expected.data();
  run_items(reference::append_kv_kernel(), &test.args, test.rows());
  EXPECT_EQ(pool, expected);
  const auto untouched = static_cast<std::size_t>(std::count(pool.begin(), pool.end(), kCanary));
  EXPECT_GE(untouched, pool.size() - written);
}

TEST_P(AppendKvTest, WritesItsRowsAndNothingElse) {
  for (const DType dtype : kTypes) {
    for (const std::uint32_t head_dim : {8U, 24U, 128U, 256U}) {
      for (const std::uint32_t block_tokens : {8U, 32U}) {
        append_and_check(*GetParam().kernel, {dtype, 2, head_dim, block_tokens});
      }
    }
  }
}

class SparsePool {
 public:
  explicit SparsePool(std::size_t bytes) : bytes_(bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data != MAP_FAILED) data_ = static_cast<std::byte*>(data);
  }
  ~SparsePool() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  SparsePool(const SparsePool&) = delete;
  SparsePool& operator=(const SparsePool&) = delete;
  std::byte* data() const { return data_; }

 private:
  std::size_t bytes_;
  std::byte* data_ = nullptr;
};

// Small blocks put the block number, too, beyond 2^31 / block_bytes.
TEST_P(AppendKvTest, WritesBeyondTwoToThe31) {
  const SparsePool pool(6 * kGiB);
  ASSERT_NE(pool.data(), nullptr);
  for (const DType dtype : kTypes) {
    const KvLayout layout{dtype, 1, 8, 16};
    const std::uint64_t tokens_per_gib = kGiB / layout.block_bytes() * layout.block_tokens;
    AppendCase test(layout, {2 * tokens_per_gib + 3, 4 * tokens_per_gib + 17, 5 * tokens_per_gib});
    test.args.pool = pool.data();
    run_items(*GetParam().kernel, &test.args, test.rows());
    for (std::uint32_t row = 0; row < test.rows(); ++row) {
      ASSERT_NO_FATAL_FAILURE(expect_row(test, row, pool.data()));
    }
  }
}

TEST(GatherGroups, WorksBeyondTwoToThe31) {
  const SparsePool pool(6 * kGiB);
  const SparsePool view(6 * kGiB);
  ASSERT_NE(pool.data(), nullptr);
  ASSERT_NE(view.data(), nullptr);
  constexpr std::uint64_t kBlockBytes = 4096;
  const auto far = static_cast<std::uint32_t>(5 * kGiB / kBlockBytes);
  std::fill_n(pool.data() + far * kBlockBytes, kBlockBytes, std::byte{1});
  std::fill_n(pool.data() + (far + 1) * kBlockBytes, kBlockBytes, std::byte{2});
  // Row 1 starts 5 GiB into the view.
  const std::vector<KvGroup> groups = {{0, 3, 0, 0}, {0, 0, 0, 0}, {1, far, 2, 0}, {0, 0, 0, 0}};
  GatherGroupsArgs args;
  args.block_bytes = kBlockBytes;
  args.pool = pool.data();
  args.view = view.data();
  args.view_stride = 5 * kGiB;
  args.groups = groups.data();
  args.group_stride = 2;
  run_items(gather_groups_kernel(), &args, 2);
  const std::byte* row = view.data() + args.view_stride;
  EXPECT_EQ(row[kBlockBytes - 1], std::byte{0});
  EXPECT_EQ(row[kBlockBytes], std::byte{1});
  EXPECT_EQ(row[3 * kBlockBytes - 1], std::byte{2});
  EXPECT_EQ(row[3 * kBlockBytes], std::byte{0});
}

// Any cut of any block table into groups: the view holds the table's blocks in order.
RC_GTEST_PROP(GatherGroupsProperty, ViewFollowsTheTable, ()) {
  constexpr std::uint32_t kBlockBytes = 8;
  constexpr std::uint32_t kPoolBlocks = 64;
  constexpr std::uint32_t kCapacity = 12;
  std::vector<std::byte> pool(kPoolBlocks * kBlockBytes);
  for (std::size_t i = 0; i < pool.size(); ++i) pool[i] = static_cast<std::byte>(i / kBlockBytes);
  std::vector<KvGroup> groups(2 * kCapacity);
  std::vector<std::byte> expected(2 * kPoolBlocks * kBlockBytes, kCanary);
  for (std::size_t row = 0; row < 2; ++row) {
    std::uint32_t logical = 0;
    const std::uint32_t used = *rc::gen::inRange(0U, kCapacity + 1);
    for (std::uint32_t entry = 0; entry < used; ++entry) {
      const std::uint32_t blocks = *rc::gen::inRange(1U, 6U);
      const std::uint32_t physical = *rc::gen::inRange(0U, kPoolBlocks - blocks);
      groups[row * kCapacity + entry] = {logical, physical, blocks, 0};
      std::copy_n(pool.begin() + physical * kBlockBytes, blocks * kBlockBytes,
                  expected.begin() +
                      static_cast<std::ptrdiff_t>((row * kPoolBlocks + logical) * kBlockBytes));
      logical += blocks;
    }
  }
  std::vector<std::byte> view(expected.size(), kCanary);
  GatherGroupsArgs args;
  args.block_bytes = kBlockBytes;
  args.pool = pool.data();
  args.view = view.data();
  args.view_stride = kPoolBlocks * kBlockBytes;
  args.groups = groups.data();
  args.group_stride = kCapacity;
  run_items(gather_groups_kernel(), &args, 2);
  RC_ASSERT(view == expected);
}

TEST(CopyBlocks, CopiesWhatIsOrdered) {
  constexpr std::uint32_t kBlockBytes = 16;
  std::vector<std::byte> pool(8 * kBlockBytes);
  for (std::size_t i = 0; i < pool.size(); ++i) pool[i] = static_cast<std::byte>(i);
  const std::vector<std::byte> before = pool;
  // Two layers of four blocks; one item more than there are pairs to copy.
  const std::vector<BlockCopy> copies = {{0, 2, 1, 0}, {1, 3, 1, 0}};
  const std::uint32_t count = 2;
  CopyBlocksArgs args{.block_bytes = kBlockBytes,
                      .layer_bytes = 4 * kBlockBytes,
                      .pool = pool.data(),
                      .copies = copies.data(),
                      .count = &count,
                      .layers = 2,
                      .items = 5};
  run_items(copy_blocks_kernel(), &args, args.items);
  std::vector<std::byte> expected = before;
  std::copy_n(before.begin(), 2 * kBlockBytes, expected.begin() + 2 * kBlockBytes);
  std::copy_n(before.begin() + 4 * kBlockBytes, 2 * kBlockBytes,
              expected.begin() + 6 * kBlockBytes);
  EXPECT_EQ(pool, expected);
}

TEST(CopyBlocks, WorksBeyondTwoToThe31) {
  const SparsePool pool(6 * kGiB);
  ASSERT_NE(pool.data(), nullptr);
  constexpr std::uint64_t kBlockBytes = 4096;
  const auto far = static_cast<std::uint32_t>(5 * kGiB / kBlockBytes);
  std::fill_n(pool.data() + far * kBlockBytes, kBlockBytes, std::byte{7});
  const BlockCopy copy{far, far / 2 + 1, 1, 0};
  const std::uint32_t count = 1;
  CopyBlocksArgs args{.block_bytes = kBlockBytes,
                      .pool = pool.data(),
                      .copies = &copy,
                      .count = &count,
                      .layers = 1,
                      .items = 1};
  run_items(copy_blocks_kernel(), &args, args.items);
  EXPECT_EQ(pool.data()[copy.destination * kBlockBytes], std::byte{7});
}

TEST(StageGroups, EachGroupGoesToItsPlaceInItsSlotOfEveryLayer) {
  constexpr std::uint32_t kBlockBytes = 8;
  constexpr std::uint32_t kBlocks = 6;
  constexpr std::uint32_t kSlots = 3;
  constexpr std::uint32_t kViewBlocks = 4;
  std::vector<std::byte> pool(2 * kBlocks * kBlockBytes);
  for (std::size_t i = 0; i < pool.size(); ++i) pool[i] = static_cast<std::byte>(i);
  std::vector<std::byte> expected(2 * kSlots * kViewBlocks * kBlockBytes, kCanary);
  std::vector<std::byte> view = expected;
  const std::vector<StageCopy> copies = {{2, 1, 3, 2}, {0, 0, 5, 1}};
  for (std::uint32_t layer = 0; layer < 2; ++layer) {
    for (const StageCopy& copy : copies) {
      const std::size_t to = (layer * kSlots + copy.slot) * kViewBlocks + copy.logical;
      std::copy_n(pool.begin() + (layer * kBlocks + copy.physical) * kBlockBytes,
                  copy.blocks * kBlockBytes,
                  expected.begin() + static_cast<std::ptrdiff_t>(to * kBlockBytes));
    }
  }
  const std::uint32_t count = 2;
  const StageGroupsArgs args{.block_bytes = kBlockBytes,
                             .layer_bytes = kBlocks * kBlockBytes,
                             .pool = pool.data(),
                             .view = view.data(),
                             .view_stride = kViewBlocks * kBlockBytes,
                             .view_layer_bytes = kSlots * kViewBlocks * kBlockBytes,
                             .copies = copies.data(),
                             .count = &count,
                             .layers = 2,
                             .items = 3};
  run_items(stage_groups_kernel(), &args, args.items);
  EXPECT_EQ(view, expected);
}

}  // namespace
}  // namespace kvrm
