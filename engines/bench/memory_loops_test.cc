// The probes' loops do what they are timed for.
#include "engines/bench/memory_loops.h"

#include <gtest/gtest.h>

#include <span>

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

TEST(StreamChunk, CopiesTheChunkAndNothingBeside) {
  const std::size_t words_each = kReadUnit / sizeof(std::uint64_t);
  HugeArray<std::uint64_t> from = random_words(3 * words_each);
  HugeArray<std::uint64_t> to(3 * words_each);
  stream_chunk({.source = bytes_of(from) + kReadUnit,
                .destination = bytes_of(to) + kReadUnit,
                .bytes = kReadUnit,
                .next = bytes_of(from)});
  for (std::size_t i = 0; i < to.size(); ++i) {
    EXPECT_EQ(to[i], i / words_each == 1 ? from[i] : 0U) << i;
  }
}

}  // namespace
}  // namespace kvrm
