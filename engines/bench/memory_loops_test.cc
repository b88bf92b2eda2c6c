// The probes' loops do what they are timed for.
#include "engines/bench/memory_loops.h"

#include <gtest/gtest.h>

#include "harness/base/huge_array.h"
#include "harness/base/prng.h"

namespace kvrm {
namespace {

HugeArray<std::uint64_t> random_words(std::size_t count) {
  HugeArray<std::uint64_t> words(count);
  for (std::size_t i = 0; i < count; ++i) words[i] = mix64(i);
  return words;
}

std::byte* bytes_of(HugeArray<std::uint64_t>& words) {
  return reinterpret_cast<std::byte*>(words.data());
}

TEST(ReadSpan, ReadsEveryWordOnce) {
  HugeArray<std::uint64_t> words = random_words(4 * kReadUnit / sizeof(std::uint64_t));
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < words.size(); ++i) expected += words[i];
  EXPECT_EQ(read_span(bytes_of(words), words.bytes()), expected);
}

}  // namespace
}  // namespace kvrm
