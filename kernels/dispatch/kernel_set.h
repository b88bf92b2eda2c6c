// The set of kernels that engines run, chosen once by name. The one list of implementations is in
// kernel_set.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/base/result.h"
#include "harness/device/device.h"

namespace kvrm {

struct KernelSet {
  std::string target;                       // "reference", "sse4", "avx2", "avx512", ...
  const Kernel* attention = nullptr;        // AttentionArgs
  const Kernel* attention_merge = nullptr;  // AttentionMergeArgs
  const Kernel* append_kv = nullptr;        // AppendKvArgs
  const Kernel* gather_groups = nullptr;    // GatherGroupsArgs
  const Kernel* copy_blocks = nullptr;      // CopyBlocksArgs
  const Kernel* stage_groups = nullptr;     // StageGroupsArgs
  const Kernel* view_slots = nullptr;       // ViewSlotsArgs
  const Kernel* far_update = nullptr;       // FarUpdateArgs
  const Kernel* linear = nullptr;           // LinearArgs
  const Kernel* linear_input = nullptr;     // LinearInputArgs
  const Kernel* embedding = nullptr;        // EmbeddingArgs
  const Kernel* add_norm = nullptr;         // AddNormArgs
  const Kernel* rotary = nullptr;           // RotaryArgs
  const Kernel* swiglu = nullptr;           // SwiGluArgs
  const Kernel* argmax = nullptr;           // ArgmaxArgs
  const Kernel* content = nullptr;          // ContentArgs
  const Kernel* digest = nullptr;           // DigestArgs
};

// "auto" is the best that this CPU runs. An unknown name, or one that this CPU cannot run, is an
// error that lists the choices.
Result<KernelSet> select_kernels(std::string_view name);

// Names that select_kernels() accepts on this CPU, best first, "reference" last.
std::vector<std::string> available_kernel_targets();

}  // namespace kvrm
