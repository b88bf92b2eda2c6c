// Test only: every kernel of a set, for tests that must leave none out. A kernel that is missing
// here changes the size of the set and does not compile.
#pragma once

#include <string>
#include <vector>

#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

inline constexpr std::size_t kKernels = 17;
static_assert(sizeof(KernelSet) == sizeof(std::string) + kKernels * sizeof(void*));

inline std::vector<const Kernel*> kernels_of(const KernelSet& set) {
  return {set.attention,   set.attention_merge, set.append_kv,  set.gather_groups,
          set.copy_blocks, set.stage_groups,    set.view_slots, set.far_update,
          set.linear,      set.linear_input,    set.embedding,  set.add_norm,
          set.rotary,      set.swiglu,          set.argmax,     set.content,
          set.digest};
}

}  // namespace kvrm
