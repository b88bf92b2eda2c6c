#include "engines/bench/decoder_suite.h"

#include <iterator>
#include <utility>
#include <vector>

#include "engines/bench/bench_ground.h"
#include "engines/bench/bench_model.h"
#include "engines/bench/decode_cost.h"
#include "engines/bench/launch_cost.h"
#include "engines/bench/prefill_cost.h"

namespace kvrm {
namespace {

void move_into(std::vector<BenchPoint>& points, std::vector<BenchPoint> more) {
  std::move(more.begin(), more.end(), std::back_inserter(points));
}

Result<BenchReport> measure_decoder(const Registry& registry, const BenchRun& run) {
  const DecoderSize size = decoder_size(run.size);
  LazyModel model(size.model);
  std::vector<BenchPoint> points = decode_points(size, model);
  move_into(points, prefill_points(size, model));
  move_into(points, launch_points());
  return measure_points(registry, run, points);
}

}  // namespace

BenchSuite decoder_suite() {
  return {.name = "decoder",
          .description = "layers of an 8B-shaped model: decode, prefill, cost of a launch",
          .cases = {},
          .measure = measure_decoder};
}

}  // namespace kvrm
