// The implementations of the page kernels, by target. kernels/dispatch chooses among them; nothing
// else needs this header but tests. A SIMD namespace may be entered only on a CPU that has the
// target.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

// Targets share what is a plain copy of bytes ("gather_groups/common", "copy_blocks/common").
struct PageKernels {
  Kernel append_kv;      // AppendKvArgs
  Kernel gather_groups;  // GatherGroupsArgs
  Kernel copy_blocks;    // CopyBlocksArgs
};

namespace reference {
const PageKernels& page_kernels();
}  // namespace reference

}  // namespace kvrm
