#include "kernels/dispatch/kernel_set.h"

#include <array>

#include "kernels/attention/attention_kernels.h"
#include "kernels/linear/linear_kernels.h"
#include "kernels/page/page_kernels.h"
#include "kernels/rowwise/rowwise_kernels.h"
#include "kernels/simd/targets.h"

namespace kvrm {
namespace {

// One instruction-set target: its name, whether this CPU runs it, and its kernels. The functions
// that give kernels are called only where it does.
struct Target {
  const char* name;
  bool (*supported)();
  const AttentionKernels& (*attention)();
  const Kernel& (*append_kv)();
  const RowwiseKernels& (*rowwise)();
  const Kernel& (*linear)();
};

bool always() { return true; }

// Best first, as measured (docs/performance.md).
constexpr std::array kTargets = {
    Target{"avx512", cpu_runs_avx512, N_AVX3::attention_kernels, N_AVX3::append_kv_kernel,
           N_AVX3::rowwise_kernels, linear_onednn},
    Target{"avx512_bf16", cpu_runs_avx512_bf16, N_AVX3::attention_bf16_kernels,
           N_AVX3::append_kv_kernel, N_AVX3::rowwise_kernels, linear_onednn},
    Target{"avx2", cpu_runs_avx2, N_AVX2::attention_kernels, N_AVX2::append_kv_kernel,
           N_AVX2::rowwise_kernels, linear_onednn},
    Target{"sse4", cpu_runs_sse4, N_SSE4::attention_kernels, N_SSE4::append_kv_kernel,
           N_SSE4::rowwise_kernels, linear_onednn},
    Target{"reference", always, reference::attention_kernels, reference::append_kv_kernel,
           reference::rowwise_kernels, linear_reference},
};

KernelSet kernels_of(const Target& target) {
  const AttentionKernels& attention = target.attention();
  const RowwiseKernels& rowwise = target.rowwise();
  KernelSet set;
  set.target = target.name;
  set.attention = &attention.attention;
  set.attention_merge = &attention.merge;
  set.append_kv = &target.append_kv();
  set.gather_groups = &gather_groups_kernel();
  set.copy_blocks = &copy_blocks_kernel();
  set.stage_groups = &stage_groups_kernel();
  set.view_slots = &view_slots_kernel();
  set.far_update = &far_update_kernel();
  set.linear = &target.linear();
  set.linear_input = &linear_input_kernel();
  set.embedding = &embedding_kernel();
  set.add_norm = &rowwise.add_norm;
  set.rotary = &rowwise.rotary;
  set.swiglu = &rowwise.swiglu;
  set.argmax = &rowwise.argmax;
  set.content = &rowwise.content;
  set.digest = &digest_kernel();
  return set;
}

}  // namespace

Result<KernelSet> select_kernels(std::string_view name) {
  for (const Target& target : kTargets) {
    if (target.supported() && (name == "auto" || name == target.name)) return kernels_of(target);
  }
  std::string choices = "auto";
  for (const std::string& choice : available_kernel_targets()) choices += ", " + choice;
  return bad_input("kernel target \"" + std::string(name) +
                   "\" is unknown or this CPU cannot run it; choices: " + choices);
}

std::vector<std::string> available_kernel_targets() {
  std::vector<std::string> names;
  for (const Target& target : kTargets) {
    if (target.supported()) names.emplace_back(target.name);
  }
  return names;
}

}  // namespace kvrm
