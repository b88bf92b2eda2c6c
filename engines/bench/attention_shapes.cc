#include "engines/bench/attention_shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "harness/base/units.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kLiveBytes = 256 * kMiB;
constexpr std::uint32_t kMostLayers = 128;

// Sixteen lengths of a lognormal distribution with mean 600 (599.9 here) and sigma 0.9, clipped to
// [16, 2048].
const std::vector<std::uint32_t> kMixed600 = {215, 503,  409, 1553, 518,  138, 676, 161,
                                              309, 1079, 166, 743,  2048, 620, 102, 359};

AttentionShape full_shape(std::string name, std::uint32_t max_len,
                          std::vector<std::uint32_t> lengths) {
  AttentionShape shape;
  shape.name = std::move(name);
  shape.max_len = max_len;
  shape.lengths = std::move(lengths);
  shape.live_bytes_wanted = kLiveBytes;
  return shape;
}

struct SweepPoint {
  std::uint32_t batch = 0;
  std::uint32_t context = 0;
  DType dtype = DType::bf16;
};

// Batch and context each over its whole range with the other at 16 x 2048, the corners of both, the
// one long history that all threads share, and the other number types.
constexpr SweepPoint kSweep[] = {{1, 128},
                                 {1, 2048},
                                 {1, 8192},
                                 {1, 32768},
                                 {4, 2048},
                                 {16, 128},
                                 {16, 512},
                                 {16, 8192},
                                 {16, 32768},
                                 {64, 2048},
                                 {256, 128},
                                 {256, 2048},
                                 {256, 8192},
                                 {256, 32768},
                                 {16, 2048, DType::f16},
                                 {16, 2048, DType::f32}};

AttentionShape sweep_shape(const SweepPoint& point) {
  AttentionShape shape = full_shape(
      fmt::format("batch-{}-ctx-{}-{}", point.batch, point.context, dtype_name(point.dtype)),
      point.context, std::vector<std::uint32_t>(point.batch, point.context));
  shape.dtype = point.dtype;
  shape.sweep = true;
  return shape;
}

// Long enough for runs of 64 blocks, and for more than one of them.
AttentionShape tiny_shape(DType dtype) {
  AttentionShape shape;
  shape.name = fmt::format("tiny-{}", dtype_name(dtype));
  shape.dtype = dtype;
  shape.query_heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.max_len = 2048;
  shape.lengths = {1536, 17, 300};
  return shape;
}

}  // namespace

std::uint64_t AttentionShape::live_positions() const {
  return std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0});
}

std::uint32_t AttentionShape::layers() const {
  const std::uint64_t wanted = divide_up(live_bytes_wanted, live_positions() * token_bytes());
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, 1, kMostLayers));
}

std::vector<AttentionShape> attention_shapes(BenchSize size) {
  if (size == BenchSize::tiny) {
    return {tiny_shape(DType::f32), tiny_shape(DType::f16), tiny_shape(DType::bf16)};
  }
  std::vector<AttentionShape> shapes = {
      full_shape("uniform-2048", 2048, std::vector<std::uint32_t>(16, 2048)),
      full_shape("mixed-600", 2048, kMixed600)};
  for (const SweepPoint& point : kSweep) shapes.push_back(sweep_shape(point));
  return shapes;
}

}  // namespace kvrm
