#include "engines/bench/prefill_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "engines/bench/kv_placement.h"
#include "engines/bench/matmul_peak.h"
#include "engines/decoder/contiguous_kv.h"
#include "engines/decoder/prefill.h"
#include "harness/bench/rounds.h"
#include "harness/contract/content.h"

namespace kvrm {
namespace {

constexpr std::uint64_t kSeed = 13;
constexpr std::uint32_t kBlockTokens = 16;

struct PrefillPoint {
  std::string shape;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t matmul_size = 0;
};

Prefill::Chunk prefill_chunk(std::uint32_t first, std::span<const TokenId> tokens,
                             const ContiguousKv& kv) {
  Prefill::Chunk chunk;
  chunk.first = first;
  chunk.count = static_cast<std::uint32_t>(tokens.size());
  chunk.tokens = tokens;
  chunk.write_slot = [&kv](std::uint32_t position) { return kv.write_slot(0, position); };
  return chunk;
}

std::vector<BenchRow> measure_beside_products(const PrefillPoint& point, RoundCase prefill,
                                              BenchGround& ground) {
  MatmulPeak bf16(ground.device(), point.matmul_size, DType::bf16);
  MatmulPeak f32(ground.device(), point.matmul_size, DType::f32);
  const RoundCase cases[] = {std::move(prefill),
                             {"matmul_f32", f32.operations(), 1, [&] { return f32.measure(); }}};
  const auto samples = run_rounds(
      cases,
      {.rounds = ground.run().repetitions, .seed = kSeed, .probe = [&] { return bf16.gflops(); }});
  std::vector<BenchRow> rows;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    BenchRow row{.suite = "decoder",
                 .design = cases[i].design,
                 .shape = point.shape,
                 .threads = ground.device().info().workers};
    set_time(row, cases[i], samples[i]);
    add_rate(row, cases[i], samples[i],
             {.probe = "matmul_bf16_gflops", .rate = "gflops", .share = "share_of_matmul_bf16"});
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::vector<BenchRow>> measure_prefill(const PrefillPoint& point, const DecoderModel& model,
                                              BenchGround& ground) {
  Device& device = ground.device();
  auto kv = ContiguousKv::make(model.shape(), kBlockTokens, model.shape().max_len, 1, device);
  if (!kv) return tl::unexpected<Error>(kv.error());
  fill_kv(model.shape().kv_dtype, kv->memory());
  auto prefill =
      Prefill::make(model, ground.kernels(), device, Prefill::rows_for_budget(point.count));
  if (!prefill) return tl::unexpected<Error>(prefill.error());
  std::vector<TokenId> tokens;
  for (std::uint32_t i = 0; i < point.count; ++i)
    tokens.push_back(content_token(1, i, model.shape().vocabulary));
  const Prefill::Chunk chunk = prefill_chunk(point.first, tokens, *kv);
  const auto run = [&] {
    const Nanoseconds start = device.clock().now();
    prefill->run(chunk, kv->layers());
    return std::max<Nanoseconds>(1, device.clock().now() - start);
  };
  return measure_beside_products(point,
                                 {.design = "prefill_chunk",
                                  .work = prefill_operations(model, point.first, point.count),
                                  .operations = point.count,
                                  .measure = run},
                                 ground);
}

}  // namespace

std::uint64_t prefill_operations(const DecoderModel& model, std::uint64_t first,
                                 std::uint64_t count) {
  const ModelShape& shape = model.shape();
  const std::uint64_t positions = count * first + count * (count + 1) / 2;  // that all rows see
  std::uint64_t operations = 0;
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    const PackedLayer& packed = model.packed_layers()[layer];
    if (layer + 1 == shape.layers) {
      operations += 2 * count * packed.query_key_value.inputs() * packed.query_key_value.outputs();
    } else {
      operations += 2 * count * layer_weights(packed);
      operations += 4 * positions * shape.query_heads * shape.head_dim;
    }
  }
  return operations;
}

std::vector<BenchPoint> prefill_points(const DecoderSize& size, LazyModel& model) {
  std::vector<BenchPoint> points;
  for (const std::uint32_t first : {0U, size.model.max_len - size.prefill_chunk}) {
    const PrefillPoint point{fmt::format("prefill-{}-at-{}", size.prefill_chunk, first), first,
                             size.prefill_chunk, size.matmul_size};
    points.push_back(
        {point.shape, 0, [&model, point](BenchGround& ground) -> Result<std::vector<BenchRow>> {
           const auto loaded = model.get();
           if (!loaded) return tl::unexpected<Error>(loaded.error());
           return measure_prefill(point, **loaded, ground);
         }});
  }
  return points;
}

}  // namespace kvrm
