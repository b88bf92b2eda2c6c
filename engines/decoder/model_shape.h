// Which model shapes the kernels and engines can run. It judges a shape and nothing else: files and
// memory are checked where they are read and taken.
#pragma once

#include "harness/base/result.h"
#include "harness/contract/model.h"

namespace kvrm {

// One clear error, "model.shape.KEY: VALUE ...", for the first field that cannot be. Afterwards no
// product of the shape's fields overflows 64 bits.
Status check_model_shape(const ModelShape& shape);

}  // namespace kvrm
