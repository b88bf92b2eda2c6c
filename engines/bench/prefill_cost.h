// Points of the suite `decoder`: a chunk of a prompt through the bench's model as the engines
// prefill it, against the rate of large matrix products.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/bench/bench_ground.h"
#include "engines/bench/bench_model.h"

namespace kvrm {

// Floating-point operations of the rows [first, first + count) of a prompt that goes on: the last
// layer ends with its keys and values.
std::uint64_t prefill_operations(const DecoderModel& model, std::uint64_t first,
                                 std::uint64_t count);

// The model outlives the points.
std::vector<BenchPoint> prefill_points(const DecoderSize& size, LazyModel& model);

}  // namespace kvrm
