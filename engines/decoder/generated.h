// Weights from a seed, for a decoder at any shape: values that keep activations near unit size and
// make every token depend on its whole history. Not a trained model.
#pragma once

#include <cstdint>
#include <span>

#include "engines/decoder/weight_layout.h"
#include "harness/contract/model.h"

namespace kvrm {

// Fills `storage` [layout.total()]. Each tensor has its own random stream, so that it depends on
// the seed, its name, its layer and its size only.
void generate_weights(const ModelShape& shape, std::uint64_t seed, const WeightLayout& layout,
                      std::span<float> storage);

}  // namespace kvrm
