// The implementations of the page kernels, by target. kernels/dispatch chooses among them; nothing
// else needs this header but tests. A SIMD namespace may be entered only on a CPU that has the
// target.
#pragma once

#include "harness/device/device.h"

namespace kvrm {

// AppendKvArgs.
namespace reference {
const Kernel& append_kv_kernel();
}  // namespace reference
namespace N_SSE4 {
const Kernel& append_kv_kernel();
}  // namespace N_SSE4
namespace N_AVX2 {
const Kernel& append_kv_kernel();
}  // namespace N_AVX2
namespace N_AVX3 {
const Kernel& append_kv_kernel();
}  // namespace N_AVX3

// The same for every target: FarUpdateArgs; and plain copies of bytes, GatherGroupsArgs,
// CopyBlocksArgs, StageGroupsArgs, ViewSlotsArgs.
const Kernel& far_update_kernel();
const Kernel& gather_groups_kernel();
const Kernel& copy_blocks_kernel();
const Kernel& stage_groups_kernel();
const Kernel& view_slots_kernel();

}  // namespace kvrm
