// Reads the llama2.c checkpoint format: a header of seven int32, then float32 tensors, each for all
// layers at once. It reads files and judges them; rounding and packing are the model's.
#pragma once

#include <span>
#include <string>

#include "engines/decoder/weight_layout.h"
#include "harness/base/result.h"
#include "harness/contract/model.h"

namespace kvrm {

struct CheckpointHeader {
  ModelShape shape;                  // max_len is the file's; number types are the defaults
  bool separate_classifier = false;  // a negative vocabulary in the file says so
};

// The header, checked by itself and against the file's size. Each error names the file and what is
// wrong with it.
Result<CheckpointHeader> read_checkpoint_header(const std::string& file);

// The weights into `storage` [layout.total()], from a file whose header was read.
Status read_checkpoint_weights(const std::string& file, const CheckpointHeader& header,
                               const WeightLayout& layout, std::span<float> storage);

}  // namespace kvrm
