// Updates of far histories against the definition in long double, over random lists of them.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/units.h"
#include "kernels/page/kv_element.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"

namespace kvrm {
namespace {

using Vector = std::vector<float>;

// Blocks of 8 tokens are tested where the layout has room for them.
std::vector<KvLayout> layouts() {
  std::vector<KvLayout> all;
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const std::uint32_t head_dim : {8U, 24U, 128U, 256U}) {
      for (const std::uint32_t block_tokens : {8U, 16U, 48U}) {
        const KvLayout layout{dtype, 2, head_dim, block_tokens};
        const std::uint64_t last = layout.key_offset(0, block_tokens - 1, head_dim - 1);
        if (last < layout.half_bytes()) all.push_back(layout);
      }
    }
  }
  return all;
}

void launch(const FarUpdateArgs& args, std::uint32_t layers) {
  alignas(64) static std::byte scratch[kWorkerScratchBytes];
  WorkerContext worker{.scratch = scratch};
  for (std::uint32_t item = layers * args.layout.kv_heads; item-- > 0;) {
    far_update_kernel().host(&args, item, worker);
  }
}

// What one entry of one head should be: the tokens that it stands for, and its parts as stored.
struct Part {
  std::vector<Vector> tokens;
  Vector stored;
  float radius = 0;
};

long double distance(const Vector& a, const Vector& b) {
  long double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const long double difference = static_cast<long double>(a[i]) - b[i];
    squares += difference * difference;
  }
  return std::sqrt(squares);
}

Vector rounded(DType dtype, const std::vector<double>& mean) {
  Vector result;
  for (const double value : mean) result.push_back(round_to(dtype, static_cast<float>(value)));
  return result;
}

Vector mean_of_tokens(DType dtype, const std::vector<Vector>& tokens) {
  std::vector<double> mean(tokens.front().size());
  for (std::size_t d = 0; d < mean.size(); ++d) {
    for (const Vector& token : tokens) mean[d] += double{token[d]};
    mean[d] = mean[d] / static_cast<double>(tokens.size());
  }
  return rounded(dtype, mean);
}

Vector mean_of_entries(DType dtype, const Part& a, const Part& b) {
  std::vector<double> mean;
  const auto m = static_cast<double>(a.tokens.size());
  const auto n = static_cast<double>(b.tokens.size());
  for (std::size_t d = 0; d < a.stored.size(); ++d) {
    mean.push_back((m * a.stored[d] + n * b.stored[d]) / (m + n));
  }
  return rounded(dtype, mean);
}

// A pool of two layers with random content in which histories are updated; every launch is checked
// whole: the bytes that should change have the right values and no others change.
class FarPool {
 public:
  static constexpr std::uint32_t kLayers = 2;
  static constexpr std::uint32_t kBlocks = 12;
  static constexpr BlockIndex kRadiiBlock = 3;
  static constexpr BlockIndex kFirstSummary = 4;

  FarPool(const KvLayout& layout, std::uint64_t seed)
      : layout_(layout),
        random_(seed, "far_update_test"),
        layer_bytes_(kBlocks * layout.block_bytes()),
        pool_(kLayers * layer_bytes_, std::byte{0xa5}) {}

  std::uint64_t slot_of(std::uint32_t entry) const {
    return std::uint64_t{kFirstSummary} * layout_.block_tokens + entry;
  }
  // Random content for a source block, of one scale in all of it.
  void fill_block(BlockIndex block, bool equal_tokens) {
    const double scale = std::exp(4 * random_.normal());
    for_each_part([&](std::uint32_t layer, std::uint32_t head, bool key) {
      Vector vector(layout_.head_dim);
      for (std::uint32_t token = 0; token < layout_.block_tokens; ++token) {
        for (float& x : vector) {
          if (token > 0 && equal_tokens) break;
          x = round_to(layout_.dtype, static_cast<float>(scale * random_.normal()));
        }
        store(layer, head, key, std::uint64_t{block} * layout_.block_tokens + token, vector);
      }
    });
  }
  void run(const std::vector<FarUpdate>& updates) {
    for (const FarUpdate& update : updates) expect(update);
    const std::vector<std::byte> before = pool_;
    const auto count = static_cast<std::uint32_t>(updates.size());
    launch({.layout = layout_,
            .layer_bytes = layer_bytes_,
            .pool = pool_.data(),
            .updates = updates.data(),
            .count = &count},
           kLayers);
    check(updates, before);
  }
  std::size_t tokens_of(std::uint32_t entry) { return parts_[{0, 0, true, entry}].tokens.size(); }
  // The block's first half is `vector` in every head, the second half is its negative.
  void fill_block_with(BlockIndex block, Vector vector) {
    vector.resize(layout_.head_dim);
    for (std::uint32_t token = 0; token < layout_.block_tokens; ++token) {
      if (token == layout_.block_tokens / 2) {
        for (float& x : vector) x = -x;
      }
      for_each_part([&](std::uint32_t layer, std::uint32_t head, bool key) {
        store(layer, head, key, std::uint64_t{block} * layout_.block_tokens + token, vector);
      });
    }
  }
  float radius(std::uint32_t entry, bool key) {
    return load_radius(kLayers - 1, layout_.kv_heads - 1, key, entry);
  }

 private:
  struct Name {
    std::uint32_t layer = 0;
    std::uint32_t head = 0;
    bool key = false;
    std::uint32_t entry = 0;
    auto operator<=>(const Name&) const = default;
  };

  template <class F>
  void for_each_part(F visit) {
    for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
      for (std::uint32_t head = 0; head < layout_.kv_heads; ++head) {
        visit(layer, head, true);
        visit(layer, head, false);
      }
    }
  }
  std::byte* place(std::uint32_t layer, std::uint32_t head, bool key, std::uint64_t slot,
                   std::uint32_t dim) {
    const auto token = static_cast<std::uint32_t>(slot % layout_.block_tokens);
    return pool_.data() + layer * layer_bytes_ +
           slot / layout_.block_tokens * layout_.block_bytes() +
           (key ? layout_.key_offset(head, token, dim) : layout_.value_offset(head, token, dim));
  }
  void store(std::uint32_t layer, std::uint32_t head, bool key, std::uint64_t slot,
             const Vector& vector) {
    for (std::uint32_t dim = 0; dim < vector.size(); ++dim) {
      store_element(layout_.dtype, place(layer, head, key, slot, dim), vector[dim]);
    }
  }
  Vector load(std::uint32_t layer, std::uint32_t head, bool key, std::uint64_t slot) {
    Vector vector;
    for (std::uint32_t dim = 0; dim < layout_.head_dim; ++dim) {
      vector.push_back(load_element(layout_.dtype, place(layer, head, key, slot, dim)));
    }
    return vector;
  }
  std::byte* radius_place(std::uint32_t layer, std::uint32_t head, bool key, std::uint32_t entry) {
    return pool_.data() + layer * layer_bytes_ + kRadiiBlock * layout_.block_bytes() +
           head * layout_.head_bytes() + entry * 8 + (key ? 0 : 4);
  }
  float load_radius(std::uint32_t layer, std::uint32_t head, bool key, std::uint32_t entry) {
    float radius = 0;
    std::memcpy(&radius, radius_place(layer, head, key, entry), sizeof(radius));
    return radius;
  }

  // What the update should leave, from what the ones before it should have left.
  void expect(const FarUpdate& update) {
    for_each_part([&](std::uint32_t layer, std::uint32_t head, bool key) {
      Part& entry = parts_[{layer, head, key, update.entry}];
      if (update.kind == FarUpdateKind::merge) {
        const Part source = parts_[{layer, head, key, update.source_entry}];
        const Vector mean = mean_of_entries(layout_.dtype, entry, source);
        least_radius_[{layer, head, key, update.entry}] =
            std::max(entry.radius + distance(entry.stored, mean),
                     source.radius + distance(source.stored, mean));
        entry.tokens.insert(entry.tokens.end(), source.tokens.begin(), source.tokens.end());
        entry.stored = mean;
      } else {
        entry.tokens.clear();
        for (std::uint32_t i = 0; i < update.count; ++i) {
          entry.tokens.push_back(load(layer, head, key, update.source_slot + i));
        }
        entry.stored = mean_of_tokens(layout_.dtype, entry.tokens);
        least_radius_[{layer, head, key, update.entry}] = farthest(entry);
      }
      // Later merges of the list go on from about this.
      entry.radius = static_cast<float>(least_radius_[{layer, head, key, update.entry}]);
    });
  }
  static long double farthest(const Part& part) {
    long double most = 0;
    for (const Vector& token : part.tokens) most = std::max(most, distance(token, part.stored));
    return most;
  }

  void check(const std::vector<FarUpdate>& updates, std::vector<std::byte> before) {
    for (const FarUpdate& update : updates) {
      for_each_part([&](std::uint32_t layer, std::uint32_t head, bool key) {
        Part& part = parts_[{layer, head, key, update.entry}];
        ASSERT_EQ(load(layer, head, key, update.entry_slot), part.stored);
        part.radius = load_radius(layer, head, key, update.entry);
        ASSERT_GE(part.radius, farthest(part));  // never understated
        const long double least = least_radius_[{layer, head, key, update.entry}];
        ASSERT_GE(part.radius, least * (1 - 1e-6L));
        ASSERT_LE(part.radius, least * (1 + 1e-6L) + 1e-44L);
        // Then let the old pool have the same, to see what else differs.
        std::copy_n(radius_place(layer, head, key, update.entry), 4,
                    before.begin() + (radius_place(layer, head, key, update.entry) - pool_.data()));
        for (std::uint32_t dim = 0; dim < layout_.head_dim; ++dim) {
          const std::byte* at = place(layer, head, key, update.entry_slot, dim);
          std::copy_n(at, dtype_bytes(layout_.dtype), before.begin() + (at - pool_.data()));
        }
      });
    }
    ASSERT_TRUE(pool_ == before) << "bytes changed that no update names";
  }

  KvLayout layout_;
  RandomStream random_;
  std::uint64_t layer_bytes_;
  std::vector<std::byte> pool_;
  std::map<Name, Part> parts_;
  std::map<Name, long double> least_radius_;
};

FarUpdate summarise_block(const FarPool& pool, const KvLayout& layout, BlockIndex source,
                          std::uint32_t entry) {
  return {.kind = FarUpdateKind::summarise,
          .radii_block = FarPool::kRadiiBlock,
          .entry = entry,
          .entry_slot = pool.slot_of(entry),
          .source_slot = std::uint64_t{source} * layout.block_tokens,
          .count = layout.block_tokens};
}

FarUpdate merge_entries(FarPool& pool, std::uint32_t entry, std::uint32_t source, std::size_t count,
                        std::size_t source_count) {
  return {.kind = FarUpdateKind::merge,
          .radii_block = FarPool::kRadiiBlock,
          .entry = entry,
          .source_entry = source,
          .entry_slot = pool.slot_of(entry),
          .source_slot = pool.slot_of(source),
          .count = static_cast<std::uint32_t>(count),
          .source_count = static_cast<std::uint32_t>(source_count)};
}

// Merges and summaries in one list that depend on one another, as a window that slides gives them.
TEST(FarUpdate, FollowsTheDefinitionInTheOrderOfTheList) {
  for (const KvLayout& layout : layouts()) {
    SCOPED_TRACE(testing::Message() << dtype_name(layout.dtype) << " head_dim " << layout.head_dim
                                    << " block_tokens " << layout.block_tokens);
    FarPool pool(layout, layout.head_dim + layout.block_tokens);
    // Entries in two summary blocks, so that offsets within a block and across them matter.
    const std::uint32_t places[3] = {0, layout.block_tokens - 1, layout.block_tokens + 1};
    for (BlockIndex block = 0; block < 3; ++block) pool.fill_block(block, false);
    ASSERT_NO_FATAL_FAILURE(pool.run({summarise_block(pool, layout, 0, places[0]),
                                      summarise_block(pool, layout, 2, places[2])}));
    ASSERT_NO_FATAL_FAILURE(pool.run({summarise_block(pool, layout, 1, places[1])}));
    for (int round = 0; round < 4; ++round) {
      const std::uint32_t source = places[1 + round % 2];
      pool.fill_block(1, round == 2);
      const std::size_t count = pool.tokens_of(places[0]);
      ASSERT_NO_FATAL_FAILURE(
          pool.run({merge_entries(pool, places[0], source, count, layout.block_tokens),
                    summarise_block(pool, layout, 1, source)}));
      EXPECT_EQ(pool.tokens_of(places[0]), count + layout.block_tokens);
    }
    ASSERT_NO_FATAL_FAILURE(pool.run({}));
  }
}

// Rounding to nearest would understate about half of these.
TEST(FarUpdate, RadiiNeverUnderstate) {
  const KvLayout layout{DType::f32, 2, 8, 16};
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    FarPool pool(layout, seed);
    pool.fill_block(0, false);
    pool.fill_block(1, false);
    ASSERT_NO_FATAL_FAILURE(
        pool.run({summarise_block(pool, layout, 0, 5), summarise_block(pool, layout, 1, 17)}));
    ASSERT_NO_FATAL_FAILURE(pool.run({merge_entries(pool, 5, 17, 16, 16)}));
  }
}

// The exact distance is 1 + 2^-61 and its squares sum to 1 in double.
TEST(FarUpdate, RadiiDoNotUnderstateWhatADoubleLoses) {
  const KvLayout layout{DType::f32, 2, 8, 16};
  FarPool pool(layout, 1);
  pool.fill_block_with(0, {1, 0x1p-30F});
  ASSERT_NO_FATAL_FAILURE(pool.run({summarise_block(pool, layout, 0, 0)}));
  EXPECT_GT(pool.radius(0, true), 1);
}

TEST(FarUpdate, EqualTokensGiveThemselvesAndNoRadius) {
  for (const KvLayout& layout : layouts()) {
    FarPool pool(layout, 7);
    pool.fill_block(0, true);
    ASSERT_NO_FATAL_FAILURE(
        pool.run({summarise_block(pool, layout, 0, 0), summarise_block(pool, layout, 0, 1)}));
    ASSERT_NO_FATAL_FAILURE(
        pool.run({merge_entries(pool, 0, 1, layout.block_tokens, layout.block_tokens)}));
    EXPECT_EQ(pool.radius(0, true), 0);
    EXPECT_EQ(pool.radius(0, false), 0);
  }
}

// Blocks, radii and layers beyond 4 GiB in a mapping of which little is touched.
TEST(FarUpdate, WorksBeyondTwoToThe31) {
  constexpr std::size_t kBytes = 12 * kGiB;
  void* mapping = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  auto* pool = static_cast<std::byte*>(mapping);
  const KvLayout layout{DType::f32, 1, 8, 16};
  const auto gib = static_cast<BlockIndex>(kGiB / layout.block_bytes());
  const std::uint64_t layer_bytes = 6 * kGiB;
  const BlockIndex source = 5 * gib;
  const BlockIndex summaries = 3 * gib + 1;
  const std::byte* entry = pool + layer_bytes + summaries * layout.block_bytes();
  for (std::uint32_t token = 0; token < 16; ++token) {
    const float value = token == 0 ? 16 : 0;
    std::memcpy(pool + layer_bytes + source * layout.block_bytes() + layout.key_offset(0, token, 3),
                &value, sizeof(value));
  }
  const std::vector<FarUpdate> updates = {{.radii_block = 4 * gib,
                                           .entry = 2,
                                           .entry_slot = std::uint64_t{summaries} * 16 + 2,
                                           .source_slot = std::uint64_t{source} * 16,
                                           .count = 16},
                                          {.kind = FarUpdateKind::merge,
                                           .radii_block = 4 * gib,
                                           .entry = 1,
                                           .source_entry = 2,
                                           .entry_slot = std::uint64_t{summaries} * 16 + 1,
                                           .source_slot = std::uint64_t{summaries} * 16 + 2,
                                           .count = 48,
                                           .source_count = 16}};
  const std::uint32_t count = 2;
  launch({.layout = layout,
          .layer_bytes = layer_bytes,
          .pool = pool,
          .updates = updates.data(),
          .count = &count},
         2);
  EXPECT_EQ(load_key(layout, entry, 0, 2, 3), 1);
  EXPECT_EQ(load_key(layout, entry, 0, 1, 3), 0.25F);
  float radius = 0;
  std::memcpy(&radius, pool + layer_bytes + 4 * gib * layout.block_bytes() + 2 * 8, sizeof(radius));
  EXPECT_NEAR(radius, 15, 1e-5);
  munmap(mapping, kBytes);
}

}  // namespace
}  // namespace kvrm
