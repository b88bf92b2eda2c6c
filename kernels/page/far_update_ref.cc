// The only implementation, for every target: it runs once in a block of tokens, and so its results
// are the same bits on every one. Loads go element by element through the layout; what is between
// them are plain loops over dimensions.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "harness/base/check.h"
#include "harness/base/mutation.h"
#include "kernels/page/kv_element.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kMaxHeadDim = 256;

enum class Part : std::uint8_t { key, value };

// The keys or the values of one kv head of one layer.
template <Part kPart>
struct HeadVectors {
  const KvLayout layout;
  std::uint32_t head = 0;
  std::byte* layer = nullptr;

  // Calls visit(place, dim) for every element of the vector at block * block_tokens + offset.
  template <class Visit>
  void for_each_element(std::uint64_t slot, Visit visit) const {
    std::byte* block = layer + (slot / layout.block_tokens) * layout.block_bytes();
    const auto token = static_cast<std::uint32_t>(slot % layout.block_tokens);
    for (std::uint32_t dim = 0; dim < layout.head_dim; ++dim) {
      visit(block + (kPart == Part::key ? layout.key_offset(head, token, dim)
                                        : layout.value_offset(head, token, dim)),
            dim);
    }
  }
  void load(std::uint64_t slot, float* vector) const {
    for_each_element(slot, [&](const std::byte* place, std::uint32_t dim) {
      vector[dim] = load_element(layout.dtype, place);
    });
  }
  // Replaces `vector` by what is stored: its elements rounded to f32, then to the KV type.
  void store(std::uint64_t slot, double* vector) const {
    for_each_element(slot, [&](std::byte* place, std::uint32_t dim) {
      store_element(layout.dtype, place, static_cast<float>(vector[dim]));
      vector[dim] = load_element(layout.dtype, place);
    });
  }
};

double distance(const float* a, const double* b, std::uint32_t count) {
  double squares = 0;
  for (std::uint32_t i = 0; i < count; ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

// A float that is not below the exact value of which `radius` is the double-precision result: 256
// squares, their sum, a root and an addition err by less than 2^-40 of it.
float rounded_up(double radius) {
  const double enough = radius * (1 + 0x1p-40);
  const auto nearest = static_cast<float>(enough);
  return KVRM_MUTATE(far_radius_rounded_down, nearest >= enough, true)
             ? nearest
             : std::nextafter(nearest, std::numeric_limits<float>::infinity());
}

// Stores the mean of `update.count` tokens; the radius is the largest distance from it. A block of
// the most tokens and dimensions fits into a worker's scratch.
template <Part kPart>
float summarise(const HeadVectors<kPart>& vectors, const FarUpdate& update,
                std::span<std::byte> scratch) {
  const std::uint32_t dims = vectors.layout.head_dim;
  KVRM_CHECK_LE(std::size_t{update.count} * dims * sizeof(float), scratch.size());
  auto* tokens = reinterpret_cast<float*>(scratch.data());
  double mean[kMaxHeadDim] = {};
  for (std::uint32_t i = 0; i < update.count; ++i) {
    float* token = tokens + std::size_t{i} * dims;
    vectors.load(update.source_slot + i, token);
    for (std::uint32_t dim = 0; dim < dims; ++dim) mean[dim] += token[dim];
  }
  for (std::uint32_t dim = 0; dim < dims; ++dim) mean[dim] /= update.count;
  vectors.store(update.entry_slot, mean);
  double farthest = 0;
  for (std::uint32_t i = 0; i < update.count; ++i) {
    farthest = std::max(farthest, distance(tokens + std::size_t{i} * dims, mean, dims));
  }
  return rounded_up(farthest);
}

// Stores the mean weighted by counts; the balls of both lie within the radius of it.
template <Part kPart>
float merge(const HeadVectors<kPart>& vectors, const FarUpdate& update, float radius,
            float source_radius) {
  const std::uint32_t dims = vectors.layout.head_dim;
  double mean[kMaxHeadDim];
  float entry[kMaxHeadDim];
  float source[kMaxHeadDim];
  vectors.load(update.entry_slot, entry);
  vectors.load(update.source_slot, source);
  const double count = update.count;
  const double source_count = KVRM_MUTATE(far_merge_unweighted, update.source_count, update.count);
  for (std::uint32_t dim = 0; dim < dims; ++dim) {
    mean[dim] = (count * entry[dim] + source_count * source[dim]) / (count + source_count);
  }
  vectors.store(update.entry_slot, mean);
  return rounded_up(std::max(radius + distance(entry, mean, dims),
                             KVRM_MUTATE(far_radius_of_source_forgotten, source_radius, 0.0F) +
                                 distance(source, mean, dims)));
}

struct Radii {
  float key = 0;
  float value = 0;
};
static_assert(sizeof(Radii) == 8);

void update_head(const FarUpdateArgs& args, const FarUpdate& update, std::uint32_t item,
                 std::span<std::byte> scratch) {
  std::byte* layer = args.pool + (item / args.layout.kv_heads) * args.layer_bytes;
  const std::uint32_t head = item % args.layout.kv_heads;
  const HeadVectors<Part::key> keys{args.layout, head, layer};
  const HeadVectors<Part::value> values{args.layout, head, layer};
  std::byte* radii =
      layer + update.radii_block * args.layout.block_bytes() + head * args.layout.head_bytes();
  Radii result;
  if (update.kind == FarUpdateKind::summarise) {
    result = {summarise(keys, update, scratch), summarise(values, update, scratch)};
  } else {
    Radii entry;
    Radii source;
    std::memcpy(&entry, radii + update.entry * sizeof(Radii), sizeof(Radii));
    std::memcpy(&source, radii + update.source_entry * sizeof(Radii), sizeof(Radii));
    result = {merge(keys, update, entry.key, source.key),
              merge(values, update, entry.value, source.value)};
  }
  std::memcpy(radii + update.entry * sizeof(Radii), &result, sizeof(Radii));
}

void far_update(const void* raw_args, std::uint32_t item, WorkerContext& worker) {
  const auto& args = *static_cast<const FarUpdateArgs*>(raw_args);
  KVRM_CHECK_LE(args.layout.head_dim, kMaxHeadDim);
  for (std::uint32_t i = 0; i < *args.count; ++i) {
    update_head(args, args.updates[i], item, worker.scratch);
  }
}

constexpr Kernel kFarUpdate = {"far_update/common", far_update};

}  // namespace

const Kernel& far_update_kernel() { return kFarUpdate; }

}  // namespace kvrm
