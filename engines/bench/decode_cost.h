// Points of the suite `decoder`: a whole decode step of the bench's model, and its products and its
// attention by themselves, against the time in which a plain read gets their bytes.
#pragma once

#include <vector>

#include "engines/bench/bench_ground.h"
#include "engines/bench/bench_model.h"

namespace kvrm {

// The model outlives the points.
std::vector<BenchPoint> decode_points(const DecoderSize& size, LazyModel& model);

}  // namespace kvrm
