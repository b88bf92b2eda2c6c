// Any target can be forced by name, and the one that was forced is the one that ran.
#include "kernels/dispatch/kernel_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/attention/attention_kernels.h"
#include "kernels/dispatch/kernel_list.h"
#include "kernels/page/page_kernels.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/rowwise/rowwise_kernels.h"

namespace kvrm {
namespace {

// avx512_bf16 has an attention of its own, and the rest of avx512.
std::string shared_with(const std::string& name) { return name == "avx512_bf16" ? "avx512" : name; }

TEST(KernelSet, ListsTheBestFirstAndReferenceLast) {
  const std::vector<std::string> names = available_kernel_targets();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "reference");
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  const auto chosen = select_kernels("auto");
  ASSERT_TRUE(chosen.has_value());
  EXPECT_EQ(chosen->target, names.front());
}

TEST(KernelSet, NamesEveryKernelAfterItsTarget) {
  for (const std::string& name : available_kernel_targets()) {
    const auto set = select_kernels(name);
    ASSERT_TRUE(set.has_value());
    EXPECT_EQ(set->target, name);
    std::set<std::string_view> operations;
    for (const Kernel* kernel : kernels_of(*set)) {
      ASSERT_NE(kernel, nullptr);
      const std::string_view full(kernel->name);
      const std::size_t slash = full.find('/');
      operations.insert(full.substr(0, slash));
      EXPECT_THAT(std::string(full.substr(slash + 1)),
                  testing::AnyOf(name, "common", "onednn", shared_with(name)));
    }
    EXPECT_EQ(operations.size(), kernels_of(*set).size());
    EXPECT_EQ(set->attention->name, "attention/" + name);
  }
}

// A name proves nothing by itself: no two targets share a function, and each one's functions are
// those of its own namespace.
TEST(KernelSet, ForcedTargetsAreTheirOwnCode) {
  std::set<HostKernel> functions;
  const std::vector<std::string> names = available_kernel_targets();
  for (const std::string& name : names) {
    const auto set = select_kernels(name);
    ASSERT_TRUE(set.has_value());
    const AttentionKernels& expected = name == "avx512"        ? N_AVX3::attention_kernels()
                                       : name == "avx512_bf16" ? N_AVX3::attention_bf16_kernels()
                                       : name == "avx2"        ? N_AVX2::attention_kernels()
                                       : name == "sse4"        ? N_SSE4::attention_kernels()
                                                               : reference::attention_kernels();
    EXPECT_EQ(set->attention->host, expected.attention.host);
    EXPECT_EQ(set->attention_merge->host, expected.merge.host);
    for (const Kernel* kernel : {set->attention, set->attention_merge, set->append_kv,
                                 set->add_norm, set->rotary, set->swiglu, set->content}) {
      functions.insert(kernel->host);
    }
  }
  const bool has_shared = std::count(names.begin(), names.end(), "avx512_bf16") == 1;
  EXPECT_EQ(functions.size(), 7 * names.size() - (has_shared ? 6 : 0));
}

// Sums of squares in four, eight and sixteen lanes, and in one, differ in their last bits: what the
// forced kernel computes shows which one it was.
TEST(KernelSet, ForcedTargetsComputeDifferentBits) {
  constexpr std::uint32_t kDim = 4096;
  std::vector<float> hidden(kDim);
  for (std::uint32_t i = 0; i < kDim; ++i) hidden[i] = 1.0F / static_cast<float>(i + 1);
  const std::vector<float> weight(kDim, 1.0F);
  std::set<std::vector<float>> outputs;
  std::set<std::string> own;
  for (const std::string& name : available_kernel_targets()) {
    std::vector<float> copy = hidden;
    std::vector<float> output(kDim);
    AddNormArgs args{copy.data(), nullptr, weight.data(), output.data(), kDim, 1e-5F};
    WorkerContext worker;
    select_kernels(name)->add_norm->host(&args, 0, worker);
    outputs.insert(output);
    own.insert(shared_with(name));
  }
  EXPECT_EQ(outputs.size(), own.size());
}

TEST(KernelSet, RefusesUnknownNamesWithTheChoices) {
  for (const std::string_view name : {"", "avx9", "AVX2", "reference "}) {
    const auto set = select_kernels(name);
    ASSERT_FALSE(set.has_value()) << name;
    EXPECT_EQ(set.error().code, ExitCode::bad_input);
    EXPECT_THAT(set.error().message, testing::HasSubstr("\"" + std::string(name) + "\""));
    for (const std::string& choice : available_kernel_targets()) {
      EXPECT_THAT(set.error().message, testing::HasSubstr(choice));
    }
  }
}

}  // namespace
}  // namespace kvrm
