#include "kernels/dispatch/kernel_set.h"

#include <array>

#include "kernels/attention/attention_kernels.h"
#include "kernels/linear/linear_kernels.h"
#include "kernels/page/page_kernels.h"
#include "kernels/rowwise/rowwise_kernels.h"

namespace kvrm {
namespace {

// One instruction-set target: its name, whether this CPU runs it, and its kernels. The functions
// that give kernels are called only where it does.
struct Target {
  const char* name;
  bool (*supported)();
  const AttentionKernels& (*attention)();
  const PageKernels& (*page)();
  const RowwiseKernels& (*rowwise)();
  const Kernel& (*linear)();
};

bool always() { return true; }

// Best first.
constexpr std::array kTargets = {
    Target{"reference", always, reference::attention_kernels, reference::page_kernels,
           reference::rowwise_kernels, linear_reference},
};

KernelSet kernels_of(const Target& target) {
  const AttentionKernels& attention = target.attention();
  const PageKernels& page = target.page();
  const RowwiseKernels& rowwise = target.rowwise();
  KernelSet set;
  set.target = target.name;
  set.attention = &attention.attention;
  set.attention_merge = &attention.merge;
  set.append_kv = &page.append_kv;
  set.gather_groups = &page.gather_groups;
  set.copy_blocks = &page.copy_blocks;
  set.linear = &target.linear();
  set.embedding = &rowwise.embedding;
  set.add_norm = &rowwise.add_norm;
  set.rotary = &rowwise.rotary;
  set.swiglu = &rowwise.swiglu;
  set.argmax = &rowwise.argmax;
  set.content = &rowwise.content;
  set.digest = &rowwise.digest;
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
