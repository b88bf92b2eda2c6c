// The implementations of the matrix product. kernels/dispatch chooses among them; nothing else
// needs this header but tests.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

// LinearArgs.
const Kernel& linear_reference();  // plain loops over the unpacked weights
const Kernel& linear_onednn();     // oneDNN, on the best instruction set that it finds by itself

const Kernel& linear_input_kernel();  // LinearInputArgs, the same for every target

}  // namespace kvrm
